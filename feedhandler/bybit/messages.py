"""Bybit's public messages as Structs, and the decoder for each topic (dossier 4). Pure: no I/O, no clock.

The Structs are generic in ``N``, what prices, sizes and rates become: ``float`` (a correctly rounded double), ``Decimal``
(exact) or ``str`` (the venue's own text). Zero padding differs between products and depths: never compare the text.
Where the venue may send ``""`` for "not applicable", it stays ``""``, with every ``N``; a field that the message does not
have is ``msgspec.UNSET``. Fields not known here are ignored; words from a list that may grow (sides, phases, tick
directions) are plain strings. Times are Unix ms.
"""

import re
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit import topics

N = TypeVar("N")
D = TypeVar("D")


class Message(
    msgspec.Struct, Generic[D], gc=False, rename={"time_ms": "ts", "matching_time_ms": "cts", "cross_sequence": "cs"}
):
    """The envelope (dossier 4)."""

    topic: str
    data: D
    time_ms: int | UnsetType = UNSET
    """When the venue's push system made it. On a snapshot this is the time of serving, not of the state (dossier 5.5)."""
    type: str | UnsetType = UNSET
    """``snapshot`` or ``delta``, as the venue says; it calls trades snapshots. Absent on price limits."""
    matching_time_ms: int | UnsetType = UNSET
    """Books: the matching engine's time of the state; joins with `Trade.time_ms` (dossier 4.1)."""
    cross_sequence: int | UnsetType = UNSET
    """Tickers of futures and spot: cross sequence; may repeat, not contiguous (dossier 4.5)."""
    id: str | UnsetType = UNSET
    """Options only."""


class Book(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={"symbol": "s", "bids": "b", "asks": "a", "update_id": "u", "venue_sequence": "seq"},
):
    """Order book, whole or changed levels (dossier 4.1). A size of zero in a delta removes the level."""

    symbol: str
    bids: list[tuple[N, N]]
    """Price and size; best (highest) first."""
    asks: list[tuple[N, N]]
    """Price and size; best (lowest) first."""
    update_id: int
    """Per topic; +1 on each delta."""
    venue_sequence: int | UnsetType = UNSET
    """Comparable between the depths of a symbol; not contiguous. Missing on old option books."""


class RpiBook(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={"symbol": "s", "bids": "b", "asks": "a", "update_id": "u", "venue_sequence": "seq"},
):
    """Order book with retail price improvement (dossier 4.2). A level is gone only when both sizes are zero."""

    symbol: str
    bids: list[tuple[N, N, N]]
    """Price, size without RPI, RPI size; best (highest) first."""
    asks: list[tuple[N, N, N]]
    """Price, size without RPI, RPI size; best (lowest) first."""
    update_id: int
    venue_sequence: int | UnsetType = UNSET


class Trade(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "time_ms": "T",
        "symbol": "s",
        "side": "S",
        "size": "v",
        "price": "p",
        "trade_id": "i",
        "tick_direction": "L",
        "is_block_trade": "BT",
        "is_rpi": "RPI",
        "venue_sequence": "seq",
        "mark_price": "mP",
        "index_price": "iP",
        "mark_iv": "mIv",
        "trade_iv": "iv",
    },
):
    """One public trade (dossier 4.4). A message holds up to 1024, in match order."""

    time_ms: int
    """Match time."""
    symbol: str
    side: str
    """The taker's: ``Buy`` or ``Sell``."""
    size: N
    """Base coin; contracts (USD) on inverse; coins on options."""
    price: N
    trade_id: str
    """Unique per symbol. A UUID; on spot 19 digits, too many for a double."""
    tick_direction: str | UnsetType = UNSET
    """Futures: ``PlusTick``, ``ZeroPlusTick``, ``MinusTick``, ``ZeroMinusTick``."""
    is_block_trade: bool | UnsetType = UNSET
    is_rpi: bool | UnsetType = UNSET
    """Spot and futures since 2025."""
    venue_sequence: int | UnsetType = UNSET
    """Cross sequence; since August 2025. Several messages may share one."""
    mark_price: N | UnsetType = UNSET
    """Options, as are the next three."""
    index_price: N | UnsetType = UNSET
    mark_iv: N | UnsetType = UNSET
    trade_iv: N | UnsetType = UNSET


class FuturesTicker(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "symbol": "symbol",
        "tick_direction": "tickDirection",
        "change_24h_ratio": "price24hPcnt",
        "last_price": "lastPrice",
        "price_24h_ago": "prevPrice24h",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
        "price_1h_ago": "prevPrice1h",
        "mark_price": "markPrice",
        "index_price": "indexPrice",
        "open_interest": "openInterest",
        "open_interest_value": "openInterestValue",
        "single_open_interest": "singleOpenInterest",
        "single_open_interest_value": "singleOpenInterestValue",
        "turnover_24h": "turnover24h",
        "volume_24h": "volume24h",
        "funding_interval_h": "fundingIntervalHour",
        "funding_cap": "fundingCap",
        "next_funding_time_ms": "nextFundingTime",
        "funding_rate": "fundingRate",
        "bid_price": "bid1Price",
        "bid_size": "bid1Size",
        "ask_price": "ask1Price",
        "ask_size": "ask1Size",
        "delivery_time": "deliveryTime",
        "basis": "basis",
        "basis_rate": "basisRate",
        "basis_rate_year": "basisRateYear",
        "delivery_fee_rate": "deliveryFeeRate",
        "predicted_delivery_price": "predictedDeliveryPrice",
        "pre_open_price": "preOpenPrice",
        "pre_open_size": "preQty",
        "pre_listing_phase": "curPreListingPhase",
    },
):
    """Ticker of linear and inverse contracts (dossier 4.5). In a delta an absent field is unchanged: UNSET, not ``""``."""

    symbol: str
    tick_direction: str | UnsetType = UNSET
    change_24h_ratio: N | UnsetType = UNSET
    """-0.1 = 10 % down."""
    last_price: N | UnsetType = UNSET
    price_24h_ago: N | UnsetType = UNSET
    high_24h: N | UnsetType = UNSET
    low_24h: N | UnsetType = UNSET
    price_1h_ago: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    index_price: N | UnsetType = UNSET
    open_interest: N | UnsetType = UNSET
    """Both sides; base coin, USD contracts on inverse."""
    open_interest_value: N | UnsetType = UNSET
    """In the quote coin; on inverse in the base coin."""
    single_open_interest: N | UnsetType = UNSET
    """One side; since June 2026."""
    single_open_interest_value: N | UnsetType = UNSET
    turnover_24h: N | UnsetType = UNSET
    volume_24h: N | UnsetType = UNSET
    funding_interval_h: N | UnsetType = UNSET
    """Perpetuals only."""
    funding_cap: N | UnsetType = UNSET
    next_funding_time_ms: int | Literal[""] | UnsetType = UNSET
    """``""`` on dated futures."""
    funding_rate: N | UnsetType = UNSET
    """``""`` on dated futures."""
    bid_price: N | UnsetType = UNSET
    """Best bid and ask: a convenience, slower than ``orderbook.1``."""
    bid_size: N | UnsetType = UNSET
    ask_price: N | UnsetType = UNSET
    ask_size: N | UnsetType = UNSET
    delivery_time: str | UnsetType = UNSET
    """ISO text, ``2025-12-26T08:00:00Z``; dated futures only, as are the next five."""
    basis: N | UnsetType = UNSET
    basis_rate: N | UnsetType = UNSET
    basis_rate_year: N | UnsetType = UNSET
    delivery_fee_rate: N | UnsetType = UNSET
    predicted_delivery_price: N | UnsetType = UNSET
    pre_open_price: N | UnsetType = UNSET
    """Contracts before listing, as are the next two; ``""`` on the others."""
    pre_open_size: N | UnsetType = UNSET
    pre_listing_phase: str | UnsetType = UNSET


class SpotTicker(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "last_price": "lastPrice",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
        "price_24h_ago": "prevPrice24h",
        "volume_24h": "volume24h",
        "turnover_24h": "turnover24h",
        "change_24h_ratio": "price24hPcnt",
        "usd_index_price": "usdIndexPrice",
    },
):
    """Ticker of a spot pair; always whole (dossier 4.5). It has no best bid and ask: use ``orderbook.1``."""

    symbol: str
    last_price: N | UnsetType = UNSET
    high_24h: N | UnsetType = UNSET
    low_24h: N | UnsetType = UNSET
    price_24h_ago: N | UnsetType = UNSET
    volume_24h: N | UnsetType = UNSET
    turnover_24h: N | UnsetType = UNSET
    change_24h_ratio: N | UnsetType = UNSET
    usd_index_price: N | UnsetType = UNSET
    """``""`` for coins that are no collateral."""


class OptionTicker(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "bid_price": "bidPrice",
        "bid_size": "bidSize",
        "bid_iv": "bidIv",
        "ask_price": "askPrice",
        "ask_size": "askSize",
        "ask_iv": "askIv",
        "last_price": "lastPrice",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
        "mark_price": "markPrice",
        "index_price": "indexPrice",
        "mark_iv": "markPriceIv",
        "underlying_price": "underlyingPrice",
        "open_interest": "openInterest",
        "turnover_24h": "turnover24h",
        "volume_24h": "volume24h",
        "total_volume": "totalVolume",
        "total_turnover": "totalTurnover",
        "predicted_delivery_price": "predictedDeliveryPrice",
        "change_24h_ratio": "change24h",
    },
):
    """Ticker of an option; always whole (dossier 4.5). Zero stands for "none"."""

    symbol: str
    bid_price: N | UnsetType = UNSET
    bid_size: N | UnsetType = UNSET
    bid_iv: N | UnsetType = UNSET
    ask_price: N | UnsetType = UNSET
    ask_size: N | UnsetType = UNSET
    ask_iv: N | UnsetType = UNSET
    last_price: N | UnsetType = UNSET
    high_24h: N | UnsetType = UNSET
    low_24h: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    index_price: N | UnsetType = UNSET
    mark_iv: N | UnsetType = UNSET
    underlying_price: N | UnsetType = UNSET
    open_interest: N | UnsetType = UNSET
    turnover_24h: N | UnsetType = UNSET
    volume_24h: N | UnsetType = UNSET
    total_volume: N | UnsetType = UNSET
    total_turnover: N | UnsetType = UNSET
    delta: N | UnsetType = UNSET
    gamma: N | UnsetType = UNSET
    vega: N | UnsetType = UNSET
    theta: N | UnsetType = UNSET
    predicted_delivery_price: N | UnsetType = UNSET
    """A value only in the last 30 minutes."""
    change_24h_ratio: N | UnsetType = UNSET


class Candle(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={"start_ms": "start", "end_ms": "end", "is_final": "confirm", "last_trade_time_ms": "timestamp"},
):
    """One candle (dossier 4.6)."""

    start_ms: int
    end_ms: int
    """Its last ms."""
    interval: str
    """Minutes, or ``D``, ``W``, ``M``."""
    open: N
    close: N
    high: N
    low: N
    volume: N
    """USD contracts on inverse."""
    turnover: N
    """Coin on inverse."""
    is_final: bool
    """True exactly once, at its end."""
    last_trade_time_ms: int


class Liquidation(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={"time_ms": "T", "symbol": "s", "position_side": "S", "size": "v", "bankruptcy_price": "p"},
):
    """One liquidation (dossier 4.7). It has no id: two equal ones in a message are two."""

    time_ms: int
    symbol: str
    position_side: str
    """``Buy`` = a long position was liquidated: the opposite of what most venues mean."""
    size: N
    bankruptcy_price: N


class PriceLimit(msgspec.Struct, Generic[N], gc=False, rename={"highest_buy": "buyLmt", "lowest_sell": "sellLmt"}):
    """The prices that the venue accepts (dossier 4.11)."""

    symbol: str
    highest_buy: N
    lowest_sell: N


class InsurancePool(msgspec.Struct, Generic[N], gc=False, rename={"updated_ms": "updateTime"}):
    """An insurance pool (dossier 4.9)."""

    coin: str
    symbols: str | UnsetType = UNSET
    balance: N | UnsetType = UNSET
    updated_ms: int | Literal[""] | UnsetType = UNSET


class AdlAlert(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "coin": "c",
        "symbol": "s",
        "fund_balance": "b",
        "trigger_ratio": "i_pr",
        "drawdown_ratio": "pr",
        "trigger_threshold": "adl_tt",
        "stop_ratio": "adl_sr",
    },
):
    """Auto-deleveraging alert of a pool (dossier 4.10). Documented as text, shown as numbers: both are read."""

    coin: str
    symbol: str
    fund_balance: N | float | UnsetType = UNSET
    trigger_ratio: N | float | UnsetType = UNSET
    drawdown_ratio: N | float | UnsetType = UNSET
    """Of 8 h."""
    trigger_threshold: N | float | UnsetType = UNSET
    stop_ratio: N | float | UnsetType = UNSET


class SystemStatus(msgspec.Struct, gc=False, rename="camel"):
    """A maintenance of the venue (dossier 4.12)."""

    id: str
    title: str
    state: str
    """``scheduled``, ``ongoing``, ``completed``, ``canceled``."""
    begin: int
    end: int
    """Expected until completed."""
    href: str = ""
    service_types: list[int] = []
    product: list[int] = []
    uid_suffix: list[int] = []
    maintain_type: int | UnsetType = UNSET
    env: int | UnsetType = UNSET


Decode = Callable[[bytes], Any]

_OPTION: Final = re.compile(r"-[CP](-|$)")
_decoders: dict[tuple[str, str, type], Decode] = {}
_built: dict[tuple[Any, bool], Decode] = {}


def decoder(product: str, topic: str, numbers: type = float) -> Decode:
    """Return the decoder for messages of ``topic``, built once for each.

    ``product`` tells apart what the same topic means on different products; with ``""`` the message's own shape decides.
    It gives a `Message` of `Book`, `RpiBook`, a ticker, `PriceLimit`, or of a list of `Trade`, `Candle`, `Liquidation`,
    `InsurancePool`, `AdlAlert`, `SystemStatus`; of plain JSON for any other topic.
    """
    key = (product, topic, numbers)
    found = _decoders.get(key)
    if found is None:
        found = _decoders[key] = _choose(product, topic, numbers)
    return found


def _choose(product: str, topic: str, numbers: type) -> Decode:
    if numbers not in (float, Decimal, str):
        raise TypeError(f"numbers can be float, Decimal or str, not {numbers!r}")
    name, symbol = topics.split(topic)
    if name == "tickers":
        return _choose_ticker(product, symbol, numbers)
    if name == "orderbook.rpi":
        return _exact(RpiBook, numbers)
    if name.startswith("orderbook."):
        return _exact(Book, numbers)
    if name == "publicTrade":
        return _exact(Trade, numbers, many=True)
    if name.startswith("kline."):
        return _exact(Candle, numbers, many=True)
    if name == "allLiquidation":
        return _exact(Liquidation, numbers, many=True)
    if name == "priceLimit":
        return _blankable(PriceLimit, numbers)
    if name == "insurance":
        return _blankable(InsurancePool, numbers, many=True)
    if name == "adlAlert":
        return _blankable(AdlAlert, numbers, many=True)
    if topic == "system.status":
        return _build(SystemStatus, many=True)
    return _build(Any)


def _choose_ticker(product: str, symbol: str, numbers: type) -> Decode:
    if product == "option" or _OPTION.search(symbol):
        return _blankable(OptionTicker, numbers)
    if product == "spot":
        return _blankable(SpotTicker, numbers)
    futures = _blankable(FuturesTicker, numbers)
    if product:
        return futures
    spot = _blankable(SpotTicker, numbers)
    # Only spot has this field, and always (dossier 4.5).
    return lambda payload: spot(payload) if b'"usdIndexPrice"' in payload else futures(payload)


def _exact(item: Any, numbers: type, *, many: bool = False) -> Decode:
    """Decode Structs whose numbers are always numbers."""
    return _build(item[numbers], many=many)


def _blankable(item: Any, numbers: type, *, many: bool = False) -> Decode:
    """Decode Structs whose numbers may be ``""``."""
    if numbers is not Decimal:
        return _build(item[float | Literal[""] if numbers is float else str], many=many)
    # msgspec has no union of Decimal and "": the text is read, and converted field by field.
    names = [name for name, hint in typing.get_type_hints(item).items() if hint is N or N in typing.get_args(hint)]
    read = _build(item[str], many=many)

    def decode(payload: bytes) -> Any:
        message = read(payload)
        for row in message.data if many else (message.data,):
            for name in names:
                value = getattr(row, name)
                if value is not UNSET and value != "":
                    setattr(row, name, Decimal(str(value)))
        return message

    return decode


def _build(item: Any, *, many: bool = False) -> Decode:
    key = (item, many)
    found = _built.get(key)
    if found is None:
        envelope: Any = Message
        # Not strict: the venue's numbers are text.
        found = _built[key] = msgspec.json.Decoder(
            envelope[types.GenericAlias(list, (item,)) if many else item], strict=False
        ).decode
    return found
