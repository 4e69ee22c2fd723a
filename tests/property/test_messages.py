"""Messages of every topic: any bytes are read or refused, and the same content reads the same however it is written.

By the decoders, which strategies use, and by a live feed, which publishes what it reads.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect
from support.lane import Rig
from support.pair import Pair
from support.venue_frames import assert_same

from feedhandler import wire
from feedhandler.bybit import messages
from feedhandler.bybit.messages import Message, decoder
from feedhandler.bybit.operations import Acknowledgement, Pong, parse_reply
from feedhandler.bybit.topics import split

NUMBERS: Final = (float, Decimal, str)
I64_MAX: Final = 2**63 - 1


class Number:
    """Stands for what a Struct's numbers become where they are always numbers."""


class Blank:
    """The same where they may be an empty text."""


TOPICS: Final[dict[str, tuple[Any, type | None, bool]]] = {
    "orderbook.1.BTCUSDT": (messages.Book, Number, False),
    "orderbook.50.BTCUSDT": (messages.Book, Number, False),
    "orderbook.full.BTCUSDT": (messages.Book, Number, False),
    "orderbook.25.SOLUSDT_SOL/USDT": (messages.Book, Number, False),
    "orderbook.rpi.BTCUSDT": (messages.RpiBook, Number, False),
    "publicTrade.BTCUSDT": (messages.Trade, Number, True),
    "tickers.BTCUSD": (messages.FuturesTicker, Blank, False),
    "tickers.BTC-25DEC26-100000-C-USDT": (messages.OptionTicker, Blank, False),
    "tickers.SOLUSDT_SOL/USDT": (messages.SpreadTicker, Blank, False),
    "kline.1.BTCUSDT": (messages.Candle, Number, True),
    "allLiquidation.BTCUSDT": (messages.Liquidation, Number, True),
    "priceLimit.BTCUSDT": (messages.PriceLimit, Blank, False),
    "insurance.USDT": (messages.InsurancePool, Blank, True),
    "adlAlert.USDT": (messages.AdlAlert, Blank, True),
    "liquidation.BTCUSDT": (messages.OldLiquidation, Number, False),
    "kline_lt.1.BTC3LUSDT": (messages.TokenCandle, Number, True),
    "tickers_lt.BTC3LUSDT": (messages.TokenTicker, Blank, False),
    "lt.BTC3LUSDT": (messages.TokenValue, Blank, False),
    "system.status": (messages.SystemStatus, None, True),
    "rfq.open.public.trades": (messages.PublicBlockTrade, Blank, True),
    "order": (messages.Order, Blank, True),
    "execution.spot": (messages.Execution, Blank, True),
    "execution.fast.linear": (messages.FastExecution, Blank, True),
    "position": (messages.Position, Blank, True),
    "wallet": (messages.Wallet, Blank, True),
    "greeks": (messages.Greeks, Blank, True),
    "strategy": (messages.Strategy, Blank, True),
    "spread.order": (messages.SpreadOrder, Blank, True),
    "spread.execution": (messages.SpreadExecution, Blank, True),
    "rfq.open.rfqs": (messages.Rfq, Blank, True),
    "rfq.open.quotes": (messages.Quote, Blank, True),
    "rfq.open.trades": (messages.RfqTrade, Blank, True),
}
"""Each topic's Struct, what its numbers may be, and whether there are several in a message."""

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from([">10", "a/b", '"', "\\"])
WHOLE: Final = st.integers(-I64_MAX, I64_MAX)
NUMBER: Final = st.decimals(-(10**12), 10**12, places=8).map(lambda number: f"{number:f}")
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def of_struct(struct: inspect.StructType) -> st.SearchStrategy[dict[str, Any]]:
    """Return what the venue may send for a Struct, as it is decoded from JSON."""
    required = {field.encode_name: of(field.type) for field in struct.fields if field.required}
    optional = {field.encode_name: of(field.type) for field in struct.fields if not field.required}
    return st.fixed_dictionaries(required, optional=optional)


def of(found: inspect.Type) -> st.SearchStrategy[Any]:
    match found:
        case inspect.UnionType(types=types):
            return st.one_of(*(of(one) for one in types))
        case inspect.CustomType(cls=cls):
            return NUMBER if cls is Number else NUMBER | st.just("")
        case inspect.StructType():
            return of_struct(found)
        case inspect.ListType(item_type=item):
            return st.lists(of(item), max_size=3)
        case inspect.TupleType(item_types=items):
            return st.tuples(*(of(item) for item in items)).map(list)
        case inspect.DictType(value_type=value):
            return st.dictionaries(TEXT, of(value), max_size=3)
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.IntType():
            return WHOLE | WHOLE.map(str)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.StrType():
            return TEXT
    raise AssertionError(f"no strategy for {found}")


def of_topic(topic: str) -> st.SearchStrategy[dict[str, Any]]:
    struct, number, many = TOPICS[topic]
    shape = inspect.type_info(struct[number] if number else struct)
    assert isinstance(shape, inspect.StructType)
    data = of_struct(shape)
    envelope = {"topic": st.just(topic), "data": st.lists(data, max_size=3) if many else data}
    extra = dict.fromkeys(("ts", "cts", "cs", "creationTime"), WHOLE) | dict.fromkeys(("type", "id"), TEXT)
    return st.fixed_dictionaries(envelope, optional=extra)


STRATEGIES: Final = {topic: of_topic(topic) for topic in TOPICS}
MESSAGES: Final = st.sampled_from(sorted(TOPICS)).flatmap(STRATEGIES.__getitem__)


def shuffled(draw: st.DrawFn, value: Any) -> Any:
    """Return the same content, keys in another order and among keys that nobody knows."""
    if isinstance(value, dict):
        items = [(key, shuffled(draw, inner)) for key, inner in value.items()]
        # Not in the maps that have coins for keys: there a key more is content.
        if "topic" in value or "symbol" in value or "orderId" in value:
            items += [(f"new{key}", inner) for key, inner in draw(st.dictionaries(TEXT, JSON, max_size=3)).items()]
        return dict(draw(st.permutations(items)))
    return [shuffled(draw, inner) for inner in value] if isinstance(value, list) else value


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """Return a message, and a text of it as another encoder might write it."""
    message = draw(MESSAGES)
    text = json.dumps(
        shuffled(draw, message),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, "\t"])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " :  ")])),
    )
    # Outside of texts there is neither of the two.
    for character, escape in draw(st.sampled_from([(), ((">", "\\u003e"),), (("/", "\\/"), ("<", "\\u003C"))])):
        text = text.replace(character, escape)
    return message, text.encode()


@pytest.mark.parametrize("numbers", NUMBERS)
@given(MESSAGES)
@settings(max_examples=150)
def test_every_field_reads_as_its_json(numbers: type, message: dict[str, Any]) -> None:
    """Whatever fields are there: each has its value, none is made up, and all are there again when it is encoded."""
    decode = decoder("", message["topic"], numbers)
    read = decode(json.dumps(message).encode())
    assert_same(msgspec.to_builtins(read, builtin_types=(Decimal,)), message, numbers)
    assert decode(msgspec.json.encode(read)) == read


@pytest.mark.parametrize("numbers", NUMBERS)
@given(rewritten())
@settings(max_examples=150)
def test_the_same_content_reads_the_same(numbers: type, written: tuple[dict[str, Any], bytes]) -> None:
    r"""Order of keys, white space, keys that nobody knows and escapes (``\\u003e``) change nothing (dossier 4 and 11)."""
    message, text = written
    decode = decoder("", message["topic"], numbers)
    assert decode(text) == decode(json.dumps(message).encode())


@pytest.mark.parametrize("topic", TOPICS)
@given(st.data())
@settings(max_examples=20)
def test_product_changes_nothing_where_the_topic_says_it_all(topic: str, data: st.DataObject) -> None:
    """Only tickers differ by product."""
    payload = json.dumps(data.draw(STRATEGIES[topic])).encode()
    for product in ("spot", "linear", "option", "spread", "private"):
        if split(topic)[0] != "tickers":
            assert decoder(product, topic)(payload) == decoder("", topic)(payload)


def read_or_refuse(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError as error:
        return error


BYTES: Final = st.one_of(
    st.binary(max_size=60),
    rewritten().map(lambda pair: pair[1]),
    # A message that breaks off, or with a byte in the wrong place.
    st.tuples(rewritten(), st.integers(0, 2000)).map(lambda cut: cut[0][1][: cut[1]]),
    st.tuples(rewritten(), st.integers(0, 2000), st.integers(0, 255)).map(
        lambda hit: hit[0][1][: hit[1]] + bytes([hit[2]]) + hit[0][1][hit[1] + 1 :]
    ),
    st.dictionaries(st.sampled_from(["topic", "data", "ts", "type", "op", "success", "args"]), JSON).map(
        lambda some: json.dumps(some).encode(errors="surrogatepass")
    ),
)


@given(BYTES, st.sampled_from(sorted(TOPICS)), st.sampled_from(NUMBERS), st.sampled_from(["", "spot", "spread"]))
@settings(max_examples=400)
def test_any_bytes_are_a_message_an_answer_or_refused(payload: bytes, topic: str, numbers: type, product: str) -> None:
    """Read as data they give a message or a ValueError, read as an answer one or None: nothing else is ever raised."""
    read = read_or_refuse(lambda: decoder(product, topic, numbers)(payload))
    assert isinstance(read, Message | msgspec.DecodeError)
    assert isinstance(parse_reply(payload), Acknowledgement | Pong | None)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("numbers", NUMBERS)
@given(st.data())
@settings(max_examples=15)
def test_any_json_in_any_field_is_a_message_or_refused(numbers: type, topic: str, data: st.DataObject) -> None:
    """A field may hold what it never did: the message is read or refused."""
    message = data.draw(STRATEGIES[topic])
    row = message["data"][0] if isinstance(message["data"], list) and message["data"] else message["data"]
    holder = data.draw(st.sampled_from([message, row])) if isinstance(row, dict) else message
    if holder:
        holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON)
    payload = json.dumps(message).encode(errors="surrogatepass")
    read = read_or_refuse(lambda: decoder("", topic, numbers)(payload))
    assert isinstance(read, Message | msgspec.DecodeError)


CARRIED: Final = ("orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.full.BTCUSDT", "orderbook.rpi.BTCUSDT")
PLAIN: Final = ("tickers.BTCUSDT", "publicTrade.BTCUSDT", "kline.1.BTCUSDT", "insurance.USDT", "priceLimit.BTCUSDT")


def rows(topic: str) -> st.SearchStrategy[Any]:
    """Return data as a topic's are, or nearly."""
    if topic.startswith("orderbook."):
        levels = st.lists(st.tuples(NUMBER, NUMBER).map(list) | JSON, max_size=3)
        numbers = st.integers(0, 3) | WHOLE | JSON
        return st.fixed_dictionaries({"u": numbers}, optional={"b": levels, "a": levels, "s": TEXT, "seq": WHOLE})
    one = st.dictionaries(TEXT, JSON, max_size=3)
    return one if topic.startswith(("tickers.", "priceLimit.")) else st.lists(one, max_size=2)


NEARLY_FRAMES: Final = BYTES | st.sampled_from((*CARRIED, *PLAIN)).flatmap(
    lambda topic: st.fixed_dictionaries(
        {"topic": st.just(topic)},
        optional={"type": st.sampled_from(["snapshot", "delta", "", "else"]), "data": JSON | rows(topic), "ts": JSON},
    ).map(lambda some: json.dumps(some).encode(errors="surrogatepass"))
)


def started() -> Rig:
    rig = Rig()
    rig.start(*CARRIED, *PLAIN)
    return rig


@given(st.lists(NEARLY_FRAMES, min_size=1, max_size=6))
@settings(max_examples=150)
def test_any_bytes_to_a_live_feed_are_a_record_an_answer_or_counted(payloads: list[bytes]) -> None:
    """Each frame is published as it came, is one of the venue's answers, or is counted; nothing else ever happens."""
    rig = started()
    for payload in payloads:
        counted = rig.feed.counters.total()
        is_data = rig.come(payload)
        published = [record.payload for record in rig.take() if record.kind != wire.STATUS]
        if is_data:
            assert published in ([payload], []), "published as it came, or not at all"
            assert published or rig.feed.counters.total() > counted
        else:
            assert published == []
            # What is no answer either, the connection counts (`unparsed`).
            assert isinstance(parse_reply(payload), Acknowledgement | Pong | None)
    # Whatever came, time goes on and newcomers are answered.
    rig.tick(1)
    for route in rig.feed.routes.values():
        rig.feed.answer(route, rig.now_ns, rig.now_s)


@given(st.lists(st.tuples(st.sampled_from([0, 1]), NEARLY_FRAMES), min_size=1, max_size=8))
@settings(max_examples=100)
def test_any_bytes_on_either_of_two_lines_are_data_or_an_answer(frames: list[tuple[int, bytes]]) -> None:
    """Two copies of what makes no sense, or one that differs from the other, are nothing that a race stumbles over."""
    pair = Pair(*CARRIED, *PLAIN).start()
    for line, payload in frames:
        if not pair.come(line, payload):
            assert isinstance(parse_reply(payload), Acknowledgement | Pong | None)
        pair.tick()
    pair.tick(1)
    for route in pair.feed.routes.values():
        pair.feed.answer(route, pair.now_ns, pair.now_s)


@given(rewritten())
@settings(max_examples=100)
def test_a_feed_takes_the_same_content_the_same_way(written: tuple[dict[str, Any], bytes]) -> None:
    """Written otherwise, a message gets the same kind and number, and makes the same states and counters."""
    message, text = written
    outcomes = []
    for payload in (json.dumps(message).encode(), text):
        rig = Rig()
        rig.carry(message["topic"])
        rig.lane.opened(rig.now_ns)
        rig.subscribe(message["topic"])
        taken = rig.come(payload)
        records = [(record.kind, record.flags, record.sequence) for record in rig.take()]
        outcomes.append((taken, records, rig.state(message["topic"]), dict(rig.feed.counters)))
    assert outcomes[0] == outcomes[1]
