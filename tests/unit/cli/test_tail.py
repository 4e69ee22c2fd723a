"""The lines of ``feedhandler tail``."""

import json
from typing import Any

import pytest
from support.records import BOOK, TRADES, delta, record, snapshot, status

from feedhandler import wire
from feedhandler.cli.tail import _Lines


def line(of: Any, **options: bool) -> str:
    """Return a record's line without its time."""
    shown = _Lines(as_json=options.get("as_json", False), decoded=options.get("decoded", False)).of(of)
    return shown if options.get("as_json") else shown.split(" ", 1)[1]


def payload(topic: str, data: Any, **rest: Any) -> bytes:
    return json.dumps({"topic": topic, "ts": 1, "data": data, **rest}).encode()


def book(kind: str, bids: list[list[str]], asks: list[list[str]], topic: str = "orderbook.50.BTCUSDT") -> bytes:
    return payload(topic, {"s": "BTCUSDT", "b": bids, "a": asks, "u": 7}, type=kind)


def test_delta_of_a_book_shows_what_it_led_to() -> None:
    """The best prices after it, not those among the changed levels."""
    lines = _Lines(as_json=False, decoded=False)
    lines.of(snapshot(1, payload=book("snapshot", [["99", "1"], ["98", "2"]], [])))
    shown = lines.of(delta(2, payload=book("delta", [["98", "3"]], [["101", "1"]])))
    assert shown.endswith(f"{BOOK} delta #2 u 7, bid 99 × 1, ask 101 × 1, 2 + 1 levels, changed 1 + 1")


def test_one_sided_and_rpi_books() -> None:
    """No ask is none; an RPI level has three numbers."""
    rpi = record(
        "spot.orderbook.rpi.BTCUSDT", 1, wire.SNAPSHOT,
        payload=book("snapshot", [["99", "1", "0.5"]], [], "orderbook.rpi.BTCUSDT"),
    )  # fmt: skip
    assert line(rpi) == "spot.orderbook.rpi.BTCUSDT snapshot #1 u 7, bid 99 × 1 × 0.5, ask none, 1 + 0 levels"


def test_book_without_snapshots_shows_what_changed() -> None:
    """Its state is not ours to know."""
    subject = "spot.orderbook.full.BTCUSDT"
    full = record(subject, 1, wire.DELTA, payload=book("delta", [["99", "1"]], [], "orderbook.full.BTCUSDT"))
    assert line(full) == f"{subject} delta #1 u 7, changed 1 + 0"


def test_trades_show_the_first_three() -> None:
    """Side, price and size; of more the number."""
    item = {"T": 1, "s": "X", "S": "Sell", "v": "0.000001", "p": "84000.10", "i": "a"}
    five = record(TRADES, 1, wire.UPDATE, flags=wire.COMPOSED, payload=payload("publicTrade.X", [item] * 5))
    one = "Sell 84000.1 × 0.000001"
    assert line(five) == f"{TRADES} update composed #1 {one}, {one}, {one} and 2 more"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"symbol": "X", "lastPrice": "1.5", "bid1Price": "", "ask1Price": "2"}, "last 1.5, ask 2"),
        ({"symbol": "X", "openInterest": "1"}, "1 other field"),
        ({"symbol": "X"}, "0 other fields"),
    ],
)
def test_ticker(data: dict[str, str], shown: str) -> None:
    """Its prices where it has any, else how much it says."""
    subject = "linear.tickers.X"
    assert line(record(subject, 1, wire.DELTA, payload=payload("tickers.X", data))) == f"{subject} delta #1 {shown}"


def test_others_show_their_payload() -> None:
    """What has no summary is shown whole."""
    trade = payload("news.today", {"text": "soon"})
    shown = line(record("linear.news.today", 1, wire.UPDATE, payload=trade))
    assert shown == f"linear.news.today update #1 {trade.decode()}"
    notice = b'{"notice":"restarting","text":"soon","worker":"linear","time_ns":1}'
    shown = line(record("linear.notice", 0, wire.NOTICE, payload=notice))
    assert shown == f"linear.notice notice #0 {notice.decode()}"


FILL = {"execId": "e", "orderId": "o", "symbol": "X", "side": "Buy", "execPrice": "84000.10", "execQty": "0.5"}
ORDER = {
    "orderId": "o",
    "symbol": "X",
    "side": "Sell",
    "price": "5",
    "qty": "2",
    "orderStatus": "New",
    "cumExecQty": "0",
}


@pytest.mark.parametrize(
    ("topic", "data", "shown"),
    [
        ("priceLimit.X", {"symbol": "X", "buyLmt": "2", "sellLmt": "1"}, "buy up to 2, sell down to 1"),
        ("insurance.USDT", [{"coin": "USDT", "balance": "5"}, {"coin": "BTC"}], "USDT, balance 5; BTC"),
        ("system.status", [{"id": "1", "state": "ongoing", "title": "upgrade"}], "ongoing, upgrade"),
        ("order", [ORDER], "X, Sell, 2, at 5, New, filled 0"),
        ("order.linear", [ORDER | {"price": ""}], "X, Sell, 2, New, filled 0"),
        ("execution", [FILL | {"execType": "Trade", "execFee": "-0.1"}], "X, Buy, 0.5, at 84000.1, Trade, fee -0.1"),
        ("execution.fast.spot", [FILL, FILL], "X, Buy, 0.5, at 84000.1; X, Buy, 0.5, at 84000.1"),
        ("position", [{"symbol": "X", "side": "", "size": "0", "unrealisedPnl": ""}], "X, 0"),
        ("wallet", [{"totalEquity": "7", "totalAvailableBalance": "", "coin": []}], "equity 7"),
    ],
)
def test_rows_show_what_matters_of_them(topic: str, data: Any, shown: str) -> None:
    """By stream, one after the other; a field that is absent or blank is left out."""
    subject = f"any.{topic}"
    assert line(record(subject, 1, wire.UPDATE, payload=payload(topic, data))) == f"{subject} update #1 {shown}"


def test_status_names_state_reason_and_missing_lines() -> None:
    """The flag of a repeated status says nothing to a reader."""
    assert line(status(BOOK, 3, repeated=True)).endswith("live\x1b[0m")
    shown = line(status(BOOK, 4, "down", reason="reset by peer", lines=2))
    assert "down" in shown
    assert shown.endswith(": reset by peer (1 of 2 lines up)")


def test_decoded_names_every_field() -> None:
    """Under our names; what the message does not have is left out."""
    item = {"T": 1, "s": "X", "S": "Sell", "v": "2", "p": "3", "i": "a"}
    shown = line(record(TRADES, 1, wire.UPDATE, payload=payload("publicTrade.X", [item])), decoded=True)
    assert shown.endswith("data=[{time_ms=1, symbol=X, side=Sell, size=2.0, price=3.0, trade_id=a}], time_ms=1}")


@pytest.mark.parametrize("decoded", [False, True])
def test_undecodable_payload_in_json_is_text(decoded: bool) -> None:
    """The line is JSON all the same, and says why."""
    shown = json.loads(line(record(TRADES, 1, wire.UPDATE, payload=b"{\xff"), as_json=True, decoded=decoded))
    assert (shown["payload"], shown["kind"]) == ("{\ufffd", "update")
    assert shown["undecodable"]
