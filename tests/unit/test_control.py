"""What the processes say to each other."""

from typing import Any, get_type_hints

import msgspec
import pytest

from feedhandler import control
from feedhandler.wire import Heartbeat, LineFacts

# One value of each type: what is counted in a heartbeat is the wire format's affair.
_LINE = LineFacts(line=1, up=True, wins=3, second_copies=2, lag_us_mean=1.5, lag_us_max=9.0)
_VALUES: dict[Any, Any] = {int: 1, float: 1.5, str: "linear", dict[str, int]: {"live": 2}, list[LineFacts]: [_LINE]}
HEARTBEAT = Heartbeat(**{name: _VALUES[kind] for name, kind in get_type_hints(Heartbeat).items()})
WORKER = control.WorkerStatus(
    worker="linear",
    endpoint="linear",
    product="linear",
    network="sim",
    url="ws://127.0.0.1:9001/v5/public/linear",
    publish=["ipc:///run/linear.pub"],
    state="running",
    pid=42,
    epoch=7,
    restarts=0,
    last_exit="",
    beat_age_s=0.5,
    heartbeat=HEARTBEAT,
    topics={"orderbook.50.BTCUSDT": ("live", "")},
    restart="handing over",
)
STATUS = control.StatusReply(
    pid=41,
    version="0.1.0",
    uptime_s=2.0,
    network="sim",
    config="deploy/config.toml",
    runtime="/run",
    simulated_bybit="ws://127.0.0.1:9001",
    attempts=2,
    attempts_waiting=0,
    workers=[WORKER, msgspec.structs.replace(WORKER, pid=None, beat_age_s=None, heartbeat=None)],
)


@pytest.mark.parametrize(
    "message",
    [
        control.Hello(worker="linear", pid=42),
        control.Beat(
            worker="linear",
            pid=42,
            heartbeat=HEARTBEAT,
            states={"tickers.BTCUSDT": ("live", "")},
            lines=["subscribed"],
            known_ns=5,
            blind_from_ns={"publicTrade.BTCUSDT": 3},
        ),
        control.Dial(worker="linear", pid=42, connection="linear/0"),
        control.Bound(worker="linear", pid=42, unbound=["tcp://127.0.0.1:5600"]),
        control.StatusRequest(),
        control.Restart(worker="linear"),
        control.Stop(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_supervisor_reads_what_workers_and_commands_say(message: control.ToSupervisor) -> None:
    """Every message to the supervisor comes out as it went in, of the same type."""
    assert control.decode_to_supervisor(control.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        control.Assign(epoch=7, topics=["tickers.BTCUSDT"], blind_from_ns={"tickers.BTCUSDT": 3}),
        control.Yield(),
        control.Bind(),
        control.Bind(alone=True, blind_from_ns={"tickers.BTCUSDT": 3}),
        control.Retire(),
        control.Stop(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_worker_reads_what_the_supervisor_says(message: control.ToWorker) -> None:
    """Every message to a worker comes out as it went in, of the same type."""
    assert control.decode_to_worker(control.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        STATUS,
        control.Progress(text="handing over"),
        control.Restarted(worker="linear", old_pid=None, pid=43, topics=5, live=4, took_s=3.5, remark="late"),
        control.Done(),
        control.Done(text="stopping"),
        control.Refused(text="no such worker", exit_code=2),
    ],
    ids=lambda message: type(message).__name__,
)
def test_command_reads_what_the_supervisor_answers(message: control.ToCommand) -> None:
    """Every answer to a command comes out as it went in, of the same type."""
    assert control.decode_to_command(control.encode(message)) == message


def test_message_is_json_with_its_type_first() -> None:
    """A message is JSON that a person can read on the socket, its type in front."""
    assert control.encode(control.Hello(worker="linear", pid=42)) == b'{"type":"hello","worker":"linear","pid":42}'


def test_types_are_distinct() -> None:
    """No two messages share a type word."""
    messages = [*control.ToSupervisor.__args__, *control.ToWorker.__args__, *control.ToCommand.__args__]
    words = {message: message.__struct_config__.tag for message in messages}
    assert len(set(words.values())) == len(words)


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (control.decode_to_supervisor, control.Assign(epoch=1, topics=[])),
        (control.decode_to_worker, control.StatusRequest()),
        (control.decode_to_command, control.Stop()),
    ],
)
def test_message_for_somebody_else_is_refused(decode: Any, message: msgspec.Struct) -> None:
    """A message that is meant for another receiver does not decode."""
    with pytest.raises(msgspec.ValidationError):
        decode(control.encode(message))


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"type":"hello"}', b'{"type":"nonsense"}', b'{"type":"hello","worker":1,"pid":2}', b"\xff"]
)
def test_nonsense_is_a_value_error(text: bytes) -> None:
    """What is no message raises ValueError, whichever way it is wrong."""
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own classes and UnicodeDecodeError alike
        control.decode_to_supervisor(text)
