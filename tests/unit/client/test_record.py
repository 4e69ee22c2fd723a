"""Records as a strategy sees them."""

from decimal import Decimal

import pytest
from support.records import BOOK, START_NS, TRADES, image, record, status

from feedhandler import wire
from feedhandler.bybit import messages
from feedhandler.client.record import Record, local_status

TRADE = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":2,'
    b'"data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"0.1","p":"100.50","i":"x"}]}'
)


def test_record_has_the_fields_of_the_wire() -> None:
    """Every field of the wire's record, under the same name and in the same order, then our own."""
    assert Record.__struct_fields__ == (*wire.Record._fields, "product", "local")


def test_topic_is_the_subject_without_its_endpoint() -> None:
    """The venue's own name for it."""
    assert image(1).topic == "orderbook.50.BTCUSDT"


@pytest.mark.parametrize(
    ("flags", "image", "repeated", "simulated"),
    [(0, False, False, False), (1, True, False, False), (2, False, True, False), (8, False, False, True)],
)
def test_flags_have_names(flags: int, image: bool, repeated: bool, simulated: bool) -> None:
    """Each bit reads as a word."""
    found = record(BOOK, 1, wire.SNAPSHOT, flags=flags)
    assert (found.is_image, found.is_repeated, found.is_simulated) == (image, repeated, simulated)


def test_payload_is_decoded_by_its_topic() -> None:
    """Typed, with the numbers that were asked for."""
    found = record(TRADES, 1, wire.UPDATE, payload=TRADE)
    (trade,) = found.decode().data
    assert isinstance(trade, messages.Trade)
    assert (trade.price, trade.time_ms) == (100.5, 1)
    assert found.decode(Decimal).data[0].price == Decimal("100.50")
    assert found.decode(str).data[0].price == "100.50"


def test_our_own_kinds_are_decoded_by_their_kind() -> None:
    """A status, a heartbeat and a notice, whatever the subject."""
    assert isinstance(status(BOOK, 1).decode(), wire.Status)
    payload = b'{"notice":"restarting","text":"","worker":"linear","time_ns":1}'
    assert isinstance(record("linear.notice", 0, wire.NOTICE, payload=payload).decode(), wire.Notice)


def test_local_status_is_marked_and_reads_like_any_other() -> None:
    """In a worker's form, with the mark that no worker sent it."""
    content = wire.Status(state="down", since_ns=START_NS, worker="linear", network="sim", lines_up=0, lines=1)
    made = local_status(BOOK, "linear", wire.SIMULATED, 7, 8, content, START_NS)
    assert made.local
    assert (made.kind, made.flags, made.line, made.epoch, made.sequence) == (wire.STATUS, 8, wire.NO_LINE, 7, 8)
    assert (made.received_ns, made.published_ns) == (START_NS, START_NS)
    assert made.decode() == content
