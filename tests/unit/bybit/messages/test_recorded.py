"""Every frame of the venue that is at hand, held field by field against its own JSON."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from support.venue_frames import RECORDINGS, assert_same, recorded

from feedhandler.bybit import messages, topics
from feedhandler.bybit.messages import decoder
from feedhandler.bybit.operations import Acknowledgement, Pong, parse_reply

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings at hand (FEEDHANDLER_RECORDINGS)")


@pytest.mark.parametrize("numbers", [float, Decimal, str])
def test_every_frame_reads_as_its_json(numbers: type) -> None:
    """Field by field, under the venue's own names, in every product and year that was recorded, private topics too."""
    seen: Counter[str] = Counter()
    for frame in recorded():
        if not frame.topic:
            continue
        message = decoder("", frame.topic, numbers)(frame.payload)
        read = msgspec.to_builtins(message, builtin_types=(Decimal,))
        assert_same(read, json.loads(frame.payload), numbers)
        assert type(message.data) is not dict, frame.place
        seen[topics.split(frame.topic)[0]] += 1
    assert seen.total() > 180
    assert seen.keys() >= {"order", "execution", "position", "wallet", "greeks", "system", "priceLimit", "kline.5"}
    assert seen.keys() >= {"liquidation", "allLiquidation", "orderbook.1000", "publicTrade", "tickers"}


@pytest.mark.parametrize("numbers", [float, Decimal, str])
def test_every_frame_comes_back_from_its_struct(numbers: type) -> None:
    """Encoded and decoded again, a message is the same: no field is lost on the way out."""
    for frame in recorded():
        if frame.topic:
            decode = decoder("", frame.topic, numbers)
            message = decode(frame.payload)
            again = msgspec.json.encode(message)
            assert decode(again) == message, frame.place
            assert json.loads(again).keys() == frame.keys - {"conn_id", "req_id", "op", "success"}, frame.place


def test_every_other_frame_is_an_answer_or_a_request() -> None:
    """What has no topic is one of the venue's control messages, or what a client sends."""
    kinds: Counter[type] = Counter()
    for frame in recorded():
        is_request = frame.payload == b'{"op":"ping"}' or ("args" in frame.keys and b'"pong"' not in frame.payload)
        if not frame.topic and not is_request:
            reply = parse_reply(frame.payload)
            assert reply is not None, frame.place
            kinds[type(reply)] += 1
    assert kinds[Acknowledgement] > 10
    assert kinds[Pong] > 5


@pytest.mark.parametrize(
    ("product", "wanted"),
    [("spot", messages.SpotTicker), ("linear", messages.FuturesTicker), ("option", messages.OptionTicker)],
)
def test_tickers_are_told_apart_by_their_shape(product: str, wanted: type) -> None:
    """Without a product, the shape chooses the Struct that the product would."""
    found = 0
    for frame in recorded():
        if frame.topic.startswith("tickers."):
            by_shape: Any = decoder("", frame.topic)(frame.payload)
            if isinstance(by_shape.data, wanted):
                assert by_shape == decoder(product, frame.topic)(frame.payload)
                found += 1
    assert found
