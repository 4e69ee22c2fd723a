"""Books, trades, candles and the small public topics (dossier 4)."""

from typing import Generic

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, TimeMs, wire_names


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
    updated_ms: TimeMs | UnsetType = UNSET


class AdlAlert(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "coin": "c",
        "symbol": "s",
        "fund_balance": "b",
        "highest_balance": "mb",
        "trigger_ratio": "i_pr",
        "drawdown_ratio": "pr",
        "trigger_threshold": "adl_tt",
        "stop_ratio": "adl_sr",
    },
):
    """Auto-deleveraging alert of a pool (dossier 4.10). Documented as text, shown as numbers: both are read."""

    coin: str
    symbol: str
    fund_balance: N | UnsetType = UNSET
    """In `coin`; of a shared pool as it was at 00:00 UTC."""
    highest_balance: N | UnsetType = UNSET
    """Deprecated: always ``""``."""
    trigger_ratio: N | UnsetType = UNSET
    drawdown_ratio: N | UnsetType = UNSET
    """Of 8 h."""
    trigger_threshold: N | UnsetType = UNSET
    stop_ratio: N | UnsetType = UNSET


class SystemStatus(
    msgspec.Struct, gc=False, kw_only=True, rename=wire_names(begin_ms="begin", end_ms="end", environment="env")
):
    """A maintenance of the venue (dossier 4.12)."""

    id: str
    title: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    """`words.MaintenanceState`."""
    begin_ms: TimeMs | UnsetType = UNSET
    end_ms: TimeMs | UnsetType = UNSET
    """Expected until completed."""
    href: str | UnsetType = UNSET
    service_types: list[int] | UnsetType | None = UNSET
    """`words.MaintenanceService`; none named = all."""
    product: list[int] | UnsetType | None = UNSET
    """`words.MaintenanceProduct`; none named = all."""
    uid_suffix: list[int] | UnsetType | None = UNSET
    """Last digits of the user ids it touches; none named = all."""
    maintain_type: int | UnsetType = UNSET
    """`words.MaintenanceKind`."""
    environment: int | UnsetType = UNSET
    """`words.Environment`."""
