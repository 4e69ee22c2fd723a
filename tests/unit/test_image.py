"""What a late joiner gets: states composed from records, in the venue's own shape."""

from typing import Any

import msgspec
import pytest
from support.lane import book, message, ticker

from feedhandler.image import BookImage, FieldsImage, Image, ImageError, RpiBookImage, new_image

BOOK, RPI, TICKER, POOL = "orderbook.50.BTCUSDT", "orderbook.rpi.BTCUSDT", "tickers.BTCUSDT", "insurance.USDT"


def composed(image: Image, *payloads: bytes) -> dict[str, Any]:
    for payload in payloads:
        image.fold(payload)
    decoded: dict[str, Any] = msgspec.json.decode(image.compose())
    return decoded


@pytest.mark.parametrize("image", [BookImage(), RpiBookImage(), FieldsImage()])
def test_nothing_folded_makes_no_image(image: Image) -> None:
    """There is no state without a record."""
    with pytest.raises(ImageError, match="no snapshot yet"):
        image.compose()


# Books.


def test_book_is_a_snapshot_in_the_venues_shape() -> None:
    """Names, key order and the ids of the last record; bids descend, asks ascend."""
    image = BookImage()
    image.fold(book(BOOK, "snapshot", 5, [("99", "1"), ("98.5", "2")], [("100", "3"), ("101", "4")]))
    image.fold(book(BOOK, "delta", 6, [("99.5", "7")], [("99.75", "8")]))
    assert image.compose() == (
        b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1700000000000,"data":{"s":"BTCUSDT",'
        b'"b":[["99.5","7"],["99","1"],["98.5","2"]],"a":[["99.75","8"],["100","3"],["101","4"]],'
        b'"u":6,"seq":60},"cts":1}'
    )


def test_sizes_are_absolute() -> None:
    """A known price replaces the size, an unknown one inserts (dossier 5.1)."""
    data = composed(
        BookImage(),
        book(BOOK, "snapshot", 1, [("99", "5")], []),
        book(BOOK, "delta", 2, [("99", "2"), ("98", "1")], [("100", "1")]),
    )["data"]
    assert (data["b"], data["a"]) == ([["99", "2"], ["98", "1"]], [["100", "1"]])


@pytest.mark.parametrize("zero", ["0", "0.0", "0.000", "00", "0e5"])
def test_zero_removes_a_level_however_it_is_spelt(zero: str) -> None:
    """Deleted levels are "0" in every recording; others are compared numerically (dossier 4)."""
    data = composed(
        BookImage(),
        book(BOOK, "snapshot", 1, [("99", "5"), ("98", "1")], [("100", "1")]),
        book(BOOK, "delta", 2, [("99", zero)], [("100", zero)]),
    )["data"]
    assert (data["b"], data["a"]) == ([["98", "1"]], [])


def test_removed_level_may_come_back_and_an_unknown_one_be_removed() -> None:
    """Levels leave the window and return; the removal of an unknown one is tolerated (dossier 5.4)."""
    data = composed(
        BookImage(),
        book(BOOK, "snapshot", 1, [("99", "5")], []),
        book(BOOK, "delta", 2, [("99", "0"), ("97", "0")], []),
        book(BOOK, "delta", 3, [("99", "6")], []),
    )["data"]
    assert data["b"] == [["99", "6"]]


def test_snapshot_replaces_the_whole_book() -> None:
    """The server's own repair (dossier 5.1)."""
    data = composed(
        BookImage(),
        book(BOOK, "snapshot", 9, [("99", "5")], [("100", "1")]),
        book(BOOK, "snapshot", 1, [("50", "1")], []),
    )["data"]
    assert (data["b"], data["a"], data["u"]) == ([["50", "1"]], [], 1)


def test_removed_levels_do_not_pile_up() -> None:
    """A long walk leaves no trail of zeros behind."""
    image = BookImage()
    image.fold(book(BOOK, "snapshot", 1, [("1", "1")], []))
    for step in range(1, 2000):
        image.fold(book(BOOK, "delta", step + 1, [(str(step), "0"), (str(step + 1), "1")], []))
    assert len(image._bids) < 200
    assert composed(image)["data"]["b"] == [["2000", "1"]]


def test_price_in_two_spellings_is_refused() -> None:
    """One of them would stay as a ghost level."""
    image = BookImage()
    image.fold(book(BOOK, "snapshot", 1, [("99.0", "5")], []))
    image.fold(book(BOOK, "delta", 2, [("99.00", "6")], []))
    with pytest.raises(ImageError, match="a price is spelt in two ways"):
        image.compose()


@pytest.mark.parametrize("image", [BookImage, RpiBookImage])
def test_seq_and_cts_may_be_absent(image: type[Image]) -> None:
    """Old option books have no seq, old recordings no cts (dossier 4.1): the image has none either."""
    payload = message(BOOK, "snapshot", {"s": "S", "b": [], "a": [], "u": 0})
    assert set(composed(image(), payload)) == {"topic", "type", "ts", "data"}
    assert composed(image(), payload)["data"] == {"s": "S", "b": [], "a": [], "u": 0}


def test_large_ids_are_exact() -> None:
    """Cross sequences reach 1.4e14 (dossier 4), update ids any 64-bit number."""
    payload = message(BOOK, "snapshot", {"s": "S", "b": [], "a": [], "u": 2**63, "seq": 2**53 + 1}, cts=2**62 + 1)
    image = composed(BookImage(), payload)
    assert (image["data"]["u"], image["data"]["seq"], image["cts"]) == (2**63, 2**53 + 1, 2**62 + 1)


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"s": "S", "b": [["1"]], "a": [], "u": 1},
        {"s": "S", "b": [["1", "2", "3", "4"]], "a": [], "u": 1},
        {"s": "S", "b": [[1, 2]], "a": [], "u": 1},
        {"s": "S", "b": None, "a": [], "u": 1},
    ],
)
@pytest.mark.parametrize("image", [BookImage, RpiBookImage])
def test_malformed_book_raises_value_error(image: type[Image], data: Any) -> None:
    """What the feed takes for a broken contract."""
    with pytest.raises(ValueError, match=r"Object missing|Expected|Array"):
        image().fold(message(BOOK, "snapshot", data))


@pytest.mark.parametrize("level", [("price", "1"), ("99", "size"), ("99", "")])
def test_level_that_is_no_number_raises_value_error(level: tuple[str, str]) -> None:
    """At latest when the book is composed."""
    image = BookImage()
    with pytest.raises(ValueError, match="could not convert string to float"):
        composed(image, book(BOOK, "snapshot", 1, [level], []))


# Books with retail price improvement.


def test_rpi_level_is_gone_only_when_both_sizes_are_zero() -> None:
    """Triples of price, size without RPI, RPI size (dossier 4.2)."""
    image = RpiBookImage()
    image.fold(book(RPI, "snapshot", 5, [("99", "0", "2"), ("98", "1", "0")], [("101", "1", "1"), ("100", "1", "0")]))
    image.fold(book(RPI, "delta", 6, [("98", "0", "0.0"), ("97", "3", "4")], [("101", "0", "5"), ("105", "0", "0")]))
    assert image.compose() == (
        b'{"topic":"orderbook.rpi.BTCUSDT","type":"snapshot","ts":1700000000000,"data":{"s":"BTCUSDT",'
        b'"b":[["99","0","2"],["97","3","4"]],"a":[["100","1","0"],["101","0","5"]],"u":6,"seq":60},"cts":1}'
    )


def test_rpi_snapshot_replaces_the_whole_book() -> None:
    """As for any book."""
    data = composed(
        RpiBookImage(),
        book(RPI, "snapshot", 9, [("99", "5", "0")], [("100", "1", "0")]),
        book(RPI, "snapshot", 1, [("50", "1", "0")], []),
    )["data"]
    assert (data["b"], data["a"]) == ([["50", "1", "0"]], [])


# Fields.


def test_absent_field_keeps_its_value_and_an_empty_one_is_a_value() -> None:
    """The venue's own text stays, spelling included (dossier 4.5)."""
    image = FieldsImage()
    image.fold(ticker(TICKER, "snapshot", lastPrice="100.50", fundingRate="0.0001", nextFundingTime="17"))
    image.fold(ticker(TICKER, "delta", fundingRate="", bid1Price="100.40"))
    assert image.compose() == (
        b'{"topic":"tickers.BTCUSDT","ts":1700000000000,"data":{"symbol":"BTCUSDT","lastPrice":"100.50",'
        b'"fundingRate":"","nextFundingTime":"17","bid1Price":"100.40"},"type":"snapshot","cs":5}'
    )


def test_new_ticker_snapshot_forgets_old_fields() -> None:
    """A snapshot is the whole state."""
    data = composed(FieldsImage(), ticker(TICKER, "snapshot", old="1", kept="2"), ticker(TICKER, "snapshot", kept="3"))[
        "data"
    ]
    assert data == {"symbol": "BTCUSDT", "kept": "3"}


def test_values_of_any_type_pass_through() -> None:
    """Numbers, nulls and nested values are copied, not read."""
    odd = {"n": 1.50, "null": None, "deep": {"x": [1, {"y": "é"}]}, "big": 2**60}
    data = composed(FieldsImage(), message(TICKER, "snapshot", {"a": 1}), message(TICKER, "delta", odd))["data"]
    assert data == {"a": 1} | odd


def test_insurance_rows_are_known_by_coin_and_symbols() -> None:
    """A delta brings the rows that changed (dossier 4.9); rows keep their order."""
    rows = [
        {"coin": "USDT", "symbols": "A", "balance": "1", "updateTime": "1"},
        {"coin": "USDT", "symbols": "B", "balance": "2", "updateTime": "1"},
        {"coin": "USDC", "symbols": "A", "balance": "3", "updateTime": "1"},
    ]
    changed = [
        {"coin": "USDT", "symbols": "B", "balance": "9", "updateTime": "2"},
        {"coin": "BTC", "symbols": "A", "balance": "4", "updateTime": "2"},
    ]
    image = composed(FieldsImage(), message(POOL, "snapshot", rows), message(POOL, "delta", changed))
    assert image["type"] == "snapshot"
    assert image["data"] == [rows[0], changed[0], rows[2], changed[1]]


def test_message_without_a_type_may_be_folded() -> None:
    """priceLimit has none; its image says snapshot."""
    image = composed(FieldsImage(), message("priceLimit.BTCUSDT", "", {"buyLmt": "1"}))
    assert image == {
        "topic": "priceLimit.BTCUSDT",
        "type": "snapshot",
        "ts": 1_700_000_000_000,
        "data": {"buyLmt": "1"},
    }


@pytest.mark.parametrize("data", [None, "x", [1], [[]], 5])
def test_malformed_fields_raise_value_error(data: Any) -> None:
    """What the feed takes for a broken contract."""
    with pytest.raises(ValueError, match="Expected"):
        FieldsImage().fold(message(TICKER, "snapshot", data))


# What no right book can be.


@pytest.mark.parametrize(
    ("bids", "asks", "fault"),
    [
        ([("9", "1")], [("10", "1")], ""),
        ([("10", "1")], [("10.0", "1")], "crossed: best bid 10, best ask 10.0"),
        ([("9", "1"), ("10.5", "1")], [("10", "1"), ("11", "1")], "crossed: best bid 10.5, best ask 10"),
        ([("10.5", "0.0"), ("9", "1")], [("10", "1")], ""),
        ([], [("10", "1")], ""),
        ([("10", "1")], [], ""),
        ([("9", "1"), ("8", "1"), ("7", "1")], [("10", "1")], "too deep: 3 levels on a side of 2"),
        ([("9", "1")], [("10", "1"), ("11", "1"), ("12", "1")], "too deep: 3 levels on a side of 2"),
    ],
)
def test_crossed_or_too_deep_a_book_is_wrong(
    bids: list[tuple[str, ...]], asks: list[tuple[str, ...]], fault: str
) -> None:
    """Prices are compared as numbers, and removed levels are none (dossier 5.4)."""
    image = BookImage(2)
    image.fold(book(BOOK, "snapshot", 1, bids, asks))
    assert image.fault() == fault


def test_deletes_of_levels_that_are_not_there_are_counted() -> None:
    """They change nothing, and tell that something is odd (dossier 5.4)."""
    image = BookImage(50)
    image.fold(book(BOOK, "snapshot", 1, [("9", "1")], [("10", "1")]))
    image.fold(book(BOOK, "delta", 2, [("9", "0")], [("10", "0")]))
    assert image.unknown_deletes == 0
    image.fold(book(BOOK, "delta", 3, [("9", "0"), ("8", "1")], [("11", "0")]))
    assert image.unknown_deletes == 2
    assert image.fault() == ""
    assert composed(image)["data"]["b"] == [["8", "1"]]


def test_depth_is_read_from_the_topic() -> None:
    """One that is no number says nothing."""
    levels: list[tuple[str, ...]] = [(str(price), "1") for price in range(1, 27)]
    for topic, fault in (("orderbook.25.X", "too deep: 26 levels on a side of 25"), ("orderbook.new.X", "")):
        image = new_image(topic)
        assert isinstance(image, BookImage)
        image.fold(book(topic, "snapshot", 1, levels, []))
        assert image.fault() == fault
