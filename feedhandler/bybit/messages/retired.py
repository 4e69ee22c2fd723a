"""Topics that the venue serves no more, or says that it will not (dossier 4.8 and 4.13): old recordings hold them."""

from typing import Generic

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, wire_names


class OldLiquidation(msgspec.Struct, Generic[N], gc=False, rename=wire_names(updated_ms="updatedTime")):
    """One liquidation of ``liquidation.{symbol}``, at most one per second and symbol; until 2025 (dossier 4.8)."""

    updated_ms: int
    symbol: str
    side: str
    """`words.Side`, as the venue sent it: the dossier does not say whose it is."""
    size: N
    price: N


class TokenCandle(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={"start_ms": "start", "end_ms": "end", "is_final": "confirm", "last_trade_time_ms": "timestamp"},
):
    """One candle of a leveraged token, ``kline_lt.{interval}.{symbol}``: without volume and turnover (dossier 4.13)."""

    start_ms: int
    end_ms: int
    """Its last ms."""
    interval: str
    """Minutes, or ``D``, ``W``, ``M``."""
    open: N
    close: N
    high: N
    low: N
    is_final: bool
    """True exactly once, at its end."""
    last_trade_time_ms: int


class TokenTicker(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "change_24h_ratio": "price24hPcnt",
        "last_price": "lastPrice",
        "price_24h_ago": "prevPrice24h",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
    },
):
    """Ticker of a leveraged token, ``tickers_lt.{symbol}`` (dossier 4.13)."""

    symbol: str
    change_24h_ratio: N | UnsetType = UNSET
    """-0.1 = 10 % down."""
    last_price: N | UnsetType = UNSET
    price_24h_ago: N | UnsetType = UNSET
    high_24h: N | UnsetType = UNSET
    low_24h: N | UnsetType = UNSET


class TokenValue(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename=wire_names(time_ms="time", net_asset_value="nav"),
):
    """What a leveraged token is made of, ``lt.{symbol}`` (dossier 4.13)."""

    symbol: str
    time_ms: int | UnsetType = UNSET
    net_asset_value: N | UnsetType = UNSET
    basket_position: N | UnsetType = UNSET
    leverage: N | UnsetType = UNSET
    basket_loan: N | UnsetType = UNSET
    circulation: N | UnsetType = UNSET
    """Tokens that are out."""
    basket: N | UnsetType = UNSET
