"""What a fault does to one data frame. Pure: a payload goes in, what is to be written comes out."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from feedhandler.sim.books import Book
from feedhandler.sim.faults import Fault
from feedhandler.sim.frames import BINARY, fragments, frame, parse
from feedhandler.sim.publication import Publication


class Wire(msgspec.Struct):
    """Something to be written."""

    framed: bytes
    segment_bytes: int = 0
    """Written in TCP segments of this size; 0 = as it comes."""
    delay_ms: float = 0.0
    is_last: bool = False
    """True: the socket is cut after it."""


class Aim(msgspec.Struct):
    """The frame that a fault hits."""

    connection: int
    product: str
    topic: str
    payload: bytes
    publication: Publication | None
    """None for recorded frames."""


_STAMP: Final = re.compile(rb'"(ts|creationTime)":(\d+)')
_TYPE: Final = re.compile(rb'"type":"[a-z]+"')


def is_update(aim: Aim) -> bool:
    """Say whether a frame changes a state or stands for itself: what may be lost without the client's start."""
    if b'"type":"snapshot"' not in aim.payload[:300]:
        return True
    family = aim.topic.partition(".")[0]
    is_book = family == "orderbook" and not aim.topic.startswith("orderbook.1.")
    return not (is_book or (family == "tickers" and aim.product in ("linear", "inverse")) or family == "insurance")


def is_delta(aim: Aim) -> bool:
    """Say whether a frame is a delta of a book."""
    return aim.topic.startswith("orderbook.") and b'"type":"delta"' in aim.payload[:300]


def applies(fault: Fault, aim: Aim) -> bool:
    """Say whether a fault can do its harm to this frame."""
    if (aim.connection, aim.topic) in fault.healed:
        return False
    if fault.kind in ("skip", "duplicate", "reorder"):
        return is_update(aim)
    if fault.kind in ("unknown_delete", "crossed"):
        return is_delta(aim) and isinstance(aim.publication, Book)
    if fault.kind == "regroup":
        return aim.topic.startswith("publicTrade.") and aim.payload.count(b'"seq":') > 1
    if fault.kind == "abort_mid_frame":
        return len(aim.payload) > 1
    return True


def alter(fault: Fault, aim: Aim) -> list[Wire]:
    """Return what is written in place of the frame."""
    return _ALTERATIONS[fault.kind](fault, aim)


def is_last_word(wire: Wire) -> bool:
    """Say whether no further fault can be put on top: what is written is no single whole frame any more."""
    return bool(wire.segment_bytes) or wire.is_last or len(parse(wire.framed)) != 1


def release(fault: Fault, aim: Aim) -> list[Wire]:
    """Return the frame that this one overtook, if there is one (``reorder``)."""
    held = fault.held.pop((aim.connection, aim.topic), None)
    return [] if held is None else [Wire(held)]


def _nothing(fault: Fault, aim: Aim) -> list[Wire]:
    del fault, aim
    return []


def _duplicate(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    return [Wire(frame(aim.payload)), Wire(frame(aim.payload))]


def _reorder(fault: Fault, aim: Aim) -> list[Wire]:
    fault.held[aim.connection, aim.topic] = frame(aim.payload)
    return []


def _delay(fault: Fault, aim: Aim) -> list[Wire]:
    return [Wire(frame(aim.payload), delay_ms=fault.number("ms"))]


def _regroup(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    message: dict[str, Any] = msgspec.json.decode(aim.payload)
    return [Wire(frame(msgspec.json.encode(message | {"data": [item]}))) for item in message["data"]]


def _unknown_delete(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    return [Wire(frame(_with_level(aim, b"a", _far_level(aim))))]


def _crossed(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    book = aim.publication
    if not isinstance(book, Book):
        return [Wire(frame(aim.payload))]
    asks = book.market.asks.keys
    instrument = book.market.instrument
    above = instrument.price_text((asks[0] if asks else book.market.last_ticks) + 10)
    rpi = b',"0"' if ".rpi." in aim.topic else b""
    level = b'["%b","%b"%b]' % (above.encode(), instrument.size_text(1).encode(), rpi)
    return [Wire(frame(_with_level(aim, b"b", level)))]


def _abort_mid_frame(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    framed = frame(aim.payload)
    return [Wire(framed[: len(framed) // 2], is_last=True)]


def _garbage(fault: Fault, aim: Aim) -> list[Wire]:
    good = frame(aim.payload)
    senseless = {
        "invalid": frame(b'{"topic":"' + aim.topic.encode() + b'","type":delta,}'),
        "truncated": frame(aim.payload[: len(aim.payload) // 2]),
        "binary": frame(b"\x00\x01\x02\xff", BINARY),
        "empty": frame(b""),
        "list": frame(b"[1,2,3]"),
        "latin1": frame(b'{"topic":"' + aim.topic.encode() + b'","data":"\xe9\xff"}'),
    }
    return [Wire(senseless.get(fault.parameters["what"], senseless["invalid"])), Wire(good)]


def _unknown_topic(fault: Fault, aim: Aim) -> list[Wire]:
    name = fault.parameters["name"].encode()
    return [
        Wire(frame(b'{"topic":"' + name + b'","type":"snapshot","ts":1,"data":{"s":"X","x":[1]}}')),
        Wire(frame(aim.payload)),
    ]


def _unknown_type(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    return [Wire(frame(_TYPE.sub(b'"type":"checkpoint"', aim.payload, count=1)))]


def _extra_fields(fault: Fault, aim: Aim) -> list[Wire]:
    del fault
    payload = aim.payload.replace(b'"data":{', b'"data":{"newField":{"a":[1,null]},', 1)
    payload = payload.replace(b'"data":[{', b'"data":[{"newField":"1",', 1)
    return [Wire(frame(b'{"venueNote":{"x":[1,{"y":null}]},' + payload[1:-1] + b',"lastKey":true}'))]


def _skew(fault: Fault, aim: Aim) -> list[Wire]:
    shift_ms = int(fault.number("ms"))
    return [
        Wire(frame(_STAMP.sub(lambda match: b'"%b":%d' % (match[1], int(match[2]) + shift_ms), aim.payload, count=1)))
    ]


def _fragment(fault: Fault, aim: Aim) -> list[Wire]:
    return [Wire(fragments(aim.payload, int(fault.number("parts"))))]


def _split(fault: Fault, aim: Aim) -> list[Wire]:
    return [Wire(frame(aim.payload), segment_bytes=max(1, int(fault.number("segment_bytes"))))]


def _far_level(aim: Aim) -> bytes:
    """Return the deletion of an ask that lies beyond everything there is."""
    book = aim.publication
    if not isinstance(book, Book):
        return b'["999999999","0"]'
    asks = book.market.asks.keys
    price = book.market.instrument.price_text((asks[-1] if asks else book.market.last_ticks) + 1000)
    return b'["%b","0","0"]' % price.encode() if ".rpi." in aim.topic else b'["%b","0"]' % price.encode()


def _with_level(aim: Aim, side: bytes, level: bytes) -> bytes:
    """Return the message with one more level: in front of the bids, or behind the asks, as sorting has it."""
    if side == b"b":
        head, mark, tail = aim.payload.partition(b'"b":[')
        return head + mark + level + (b"" if tail.startswith(b"]") else b",") + tail
    head, mark, tail = aim.payload.partition(b'],"u":')
    return head + (b"" if head.endswith(b"[") else b",") + level + mark + tail


_ALTERATIONS: Final[dict[str, Callable[[Fault, Aim], list[Wire]]]] = {
    "mute": _nothing,
    "stall": _nothing,
    "skip": _nothing,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "delay": _delay,
    "regroup": _regroup,
    "unknown_delete": _unknown_delete,
    "crossed": _crossed,
    "abort_mid_frame": _abort_mid_frame,
    "garbage": _garbage,
    "unknown_topic": _unknown_topic,
    "unknown_type": _unknown_type,
    "extra_fields": _extra_fields,
    "skew": _skew,
    "fragment": _fragment,
    "split": _split,
}
