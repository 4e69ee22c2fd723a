"""Tickers, price limits, pools and announcements of the simulated Bybit."""

import json
import random
from typing import Any

from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import Market
from feedhandler.sim.tickers import FuturesTicker, OptionTicker, PlatformStatus, Pool, PriceLimit, SpotTicker

NOW_NS = 1_760_000_000_000_000_000
S = 1_000_000_000

PERPETUAL = (
    "symbol tickDirection price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h prevPrice1h markPrice indexPrice "
    "openInterest openInterestValue singleOpenInterest singleOpenInterestValue turnover24h volume24h "
    "fundingIntervalHour fundingCap nextFundingTime fundingRate bid1Price bid1Size ask1Price ask1Size"
)
DATED = (
    "symbol tickDirection price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h prevPrice1h markPrice indexPrice "
    "openInterest openInterestValue singleOpenInterest singleOpenInterestValue turnover24h volume24h deliveryTime "
    "basisRate deliveryFeeRate predictedDeliveryPrice basis basisRateYear nextFundingTime fundingRate "
    "bid1Price bid1Size ask1Price ask1Size"
)
OPTION = (
    "symbol bidPrice bidSize bidIv askPrice askSize askIv lastPrice highPrice24h lowPrice24h markPrice indexPrice "
    "markPriceIv underlyingPrice openInterest turnover24h volume24h totalVolume totalTurnover delta gamma vega theta "
    "predictedDeliveryPrice change24h"
)


def market(product: str = "linear", symbol: str = "BTCUSDT") -> Market:
    found = Listing().find(product, symbol)
    assert isinstance(found, Instrument)
    return Market(found, 1, NOW_NS)


def decoded(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    message: dict[str, Any] = json.loads(payload)
    return message


def futures(product: str = "linear", symbol: str = "BTCUSDT") -> FuturesTicker:
    made = FuturesTicker(product, f"tickers.{symbol}", market(product, symbol), 100, random.Random(1))
    made.resume(NOW_NS)
    return made


def test_futures_ticker_has_ts_last_and_the_documented_fields() -> None:
    """Dossier 4.5: all strings; ``ts`` after the data; pre-market fields on linear perpetuals."""
    message = decoded(futures().first(NOW_NS))
    assert list(message) == ["topic", "type", "data", "cs", "ts"]
    assert list(message["data"]) == [*PERPETUAL.split(), "preOpenPrice", "preQty", "curPreListingPhase"]
    assert all(isinstance(text, str) for text in message["data"].values())
    assert message["data"]["preOpenPrice"] == ""


def test_inverse_ticker_has_no_pre_market_fields() -> None:
    """Dossier 4.5; open interest is in contracts, its value in coin."""
    data = decoded(futures("inverse", "BTCUSD").first(NOW_NS))["data"]
    assert list(data) == PERPETUAL.split()
    assert float(data["openInterestValue"]) < float(data["openInterest"])


def test_dated_future_has_a_delivery_and_no_funding() -> None:
    """Dossier 4.5: ``nextFundingTime`` and ``fundingRate`` are empty, ``deliveryTime`` is ISO text."""
    data = decoded(futures("linear", "BTC-26DEC25").first(NOW_NS))["data"]
    assert list(data) == DATED.split()
    assert (data["nextFundingTime"], data["fundingRate"]) == ("", "")
    assert data["deliveryTime"] == "2025-12-26T08:00:00Z"


def test_ticker_deltas_rebuild_the_ticker() -> None:
    """Dossier 4.5: an absent field means unchanged; some unchanged ones are sent all the same; ``symbol`` always."""
    subject = futures()
    merged = decoded(subject.first(NOW_NS))["data"]
    now_ns, redundant, deltas = NOW_NS, 0, 0
    for _ in range(300):
        now_ns += subject.market.next_gap_ns()
        assert subject.touched(subject.market, subject.market.step(now_ns))
        for payload in subject.publish(now_ns):
            message = decoded(payload)
            assert message["type"] == "delta"
            assert message["cs"] == subject.market.sequence
            assert message["data"]["symbol"] == "BTCUSDT"
            deltas += 1
            redundant += any(merged[name] == text for name, text in message["data"].items() if name != "symbol")
            merged |= message["data"]
        assert merged == subject.fields(now_ns // 10**6)
    assert deltas > 100
    assert redundant > 10


def test_unchanged_ticker_publishes_nothing() -> None:
    """A push needs a change, redundant fields or not."""
    subject = futures()
    published = [payload for _ in range(50) for payload in subject.publish(NOW_NS)]
    assert all(set(decoded(payload)["data"]) > {"symbol"} for payload in published)
    assert len(published) < 40


def test_empty_sides_are_empty_texts() -> None:
    """A market without orders has no best price."""
    subject = futures()
    for side in (subject.market.bids, subject.market.asks):
        for key in list(side.keys):
            side.put(key, 0)
    fields = subject.fields(NOW_NS // 10**6)
    assert (fields["bid1Price"], fields["ask1Size"]) == ("", "")
    option = OptionTicker("option", "tickers.X", subject_without_orders(), 100)
    data = decoded(option.first(NOW_NS))["data"]
    assert (data["bidPrice"], data["bidIv"], data["askPrice"], data["askSize"]) == ("0", "0", "0", "0")


def subject_without_orders() -> Market:
    empty = market("option", "BTC-25JUN27-106000-P-USDT")
    for side in (empty.bids, empty.asks):
        for key in list(side.keys):
            side.put(key, 0)
    return empty


def test_spot_ticker_is_a_snapshot_without_best_prices() -> None:
    """Dossier 4.5: ``topic, ts, type, cs, data``; only trades change it."""
    subject = SpotTicker("spot", "tickers.BTCUSDT", market("spot"), 50)
    message = decoded(subject.first(NOW_NS))
    assert list(message) == ["topic", "ts", "type", "cs", "data"]
    keys = "symbol lastPrice highPrice24h lowPrice24h prevPrice24h volume24h turnover24h price24hPcnt usdIndexPrice"
    assert list(message["data"]) == keys.split()
    assert not subject.touched(subject.market, [])
    fills = next(filter(None, (subject.market.step(NOW_NS + number * S) for number in range(50))))
    assert subject.touched(subject.market, fills)
    assert decoded(subject.publish(NOW_NS)[0])["type"] == "snapshot"


def test_coin_without_collateral_has_no_usd_index() -> None:
    """Dossier 4.5: ``usdIndexPrice`` is ``""`` for such coins."""
    subject = SpotTicker("spot", "tickers.COIN900USDT", market("spot", "COIN900USDT"), 50)
    assert decoded(subject.first(NOW_NS))["data"]["usdIndexPrice"] == ""


def test_option_ticker_is_a_snapshot_with_its_own_names() -> None:
    """Dossier 4.5: ``bidPrice``, not ``bid1Price``; ``id`` in the envelope."""
    subject = OptionTicker("option", "tickers.X", market("option", "BTC-25JUN27-106000-P-USDT"), 100)
    assert subject.touched(subject.market, [])
    message = decoded(subject.publish(NOW_NS)[0])
    assert list(message) == ["topic", "ts", "type", "id", "data"]
    assert list(message["data"]) == OPTION.split()
    assert all(isinstance(text, str) for text in message["data"].values())


def test_price_limit_has_no_type_and_is_sent_when_it_moved() -> None:
    """Dossier 4.11."""
    subject = PriceLimit("linear", "priceLimit.BTCUSDT", market(), 300)
    message = decoded(subject.first(NOW_NS))
    assert list(message) == ["topic", "data", "ts"]
    assert message["data"] == {"symbol": "BTCUSDT", "buyLmt": "88200.00", "sellLmt": "79800.00"}
    assert subject.touched(subject.market, [])
    assert subject.publish(NOW_NS) == []
    subject.market.mark = 90_000.0
    assert decoded(subject.publish(NOW_NS)[0])["data"]["buyLmt"] == "94500.00"
    spot = PriceLimit("spot", "priceLimit.BTCUSDT", market("spot"), 300)
    assert decoded(spot.first(NOW_NS))["data"]["buyLmt"] == "88200"


def pool(topic: str, coin: str = "USDT") -> Pool:
    made = Pool("linear", topic, coin, Listing().pool("linear", coin), random.Random(1))
    made.resume(NOW_NS)
    return made


def test_insurance_sends_changed_balances_only() -> None:
    """Dossier 4.9: snapshot, then deltas each second, nothing while unchanged; all strings."""
    subject = pool("insurance.USDT")
    first = decoded(subject.first(NOW_NS))
    assert first["type"] == "snapshot"
    assert [list(item) for item in first["data"]] == [["coin", "symbols", "balance", "updateTime"]] * 8
    now_ns, sent = NOW_NS, 0
    for _ in range(40):
        now_ns = subject.next_wake_ns(now_ns)
        for payload in subject.wake(now_ns):
            message = decoded(payload)
            assert (message["type"], len(message["data"])) == ("delta", 1)
            sent += 1
    assert now_ns == NOW_NS + 40 * S
    assert 5 < sent < 35
    assert subject.wake(now_ns) == []
    assert subject.publish(now_ns) == []


def test_adl_alerts_come_each_second_with_numbers() -> None:
    """Dossier 4.10: 1 s, snapshots; the example's JSON numbers."""
    subject = pool("adlAlert.inverse", "inverse")
    for number in range(1, 20):
        message = decoded(subject.wake(NOW_NS + number * S)[0])
        assert message["type"] == "snapshot"
        assert len(message["data"]) == 6
        item = message["data"][0]
        assert list(item) == ["c", "s", "b", "mb", "i_pr", "pr", "adl_tt", "adl_sr"]
        assert (item["c"], item["s"]) == ("BTC", "BTCUSD")
        assert isinstance(item["pr"], float)


def test_no_market_moves_a_pool_or_the_status() -> None:
    """They speak by their own clock, or when told to."""
    somewhere = market()
    assert not pool("insurance.USDT").touched(somewhere, [])
    status = PlatformStatus("status", "system.status")
    assert not status.touched(somewhere, [])
    assert status.publish(NOW_NS) == []


def test_announcement_is_kept_for_newcomers() -> None:
    """Dossier 4.12: the documented fields, without a ``type``."""
    status = PlatformStatus("status", "system.status")
    assert status.first(NOW_NS) is None
    payload = status.announce(NOW_NS, "ongoing", 1, 2)
    assert status.first(NOW_NS) == payload
    message = decoded(payload)
    assert list(message) == ["topic", "ts", "data"]
    keys = "id title state begin end href serviceTypes product uidSuffix maintainType env"
    assert list(message["data"][0]) == keys.split()
