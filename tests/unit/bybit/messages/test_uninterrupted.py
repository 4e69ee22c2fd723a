"""A signal that comes while a decoder is built is not lost."""

import signal
from collections.abc import Iterator

import msgspec
import pytest

from feedhandler.bybit import messages
from feedhandler.bybit.messages.uninterrupted import signals_held


class Interrupted(BaseException):
    pass


@pytest.fixture
def _raising() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_raising")
def test_signal_waits_for_the_end_of_the_block() -> None:
    """Its handler runs when the block ends, and not before; the mask is then what it was."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    reached = []

    def block() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGUSR1)
            reached.append("end")

    with pytest.raises(Interrupted):
        block()
    assert reached == ["end"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.usefixtures("_raising")
def test_decoders_are_built_while_signals_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the midst of msgspec's work, which would drop what its handler raises, is heard after it."""
    build = msgspec.json.Decoder
    built = []

    def decoder(*arguments: object, **options: object) -> object:
        signal.raise_signal(signal.SIGUSR1)
        built.append(build(*arguments, **options))  # type: ignore[call-overload]  # whatever it is called with
        return built[-1]

    monkeypatch.setattr(messages, "_built", {})
    monkeypatch.setattr(messages, "_decoders", {})
    monkeypatch.setattr(msgspec.json, "Decoder", decoder)
    with pytest.raises(Interrupted):
        messages.decoder("linear", "orderbook.50.BTCUSDT")
    assert len(built) == 1


def test_nothing_is_held_where_nothing_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a signal mask (Windows) the block runs all the same."""
    monkeypatch.delattr(signal, "pthread_sigmask")
    with signals_held():
        reached = True
    assert reached
