"""Tickers: each product has its own fields (dossier 4.5)."""

from typing import Generic

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, TimeMs


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
    next_funding_time_ms: TimeMs | UnsetType = UNSET
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


class SpreadTicker(
    msgspec.Struct,
    Generic[N],
    gc=False,
    rename={
        "bid_price": "bidPrice",
        "bid_size": "bidSize",
        "ask_price": "askPrice",
        "ask_size": "askSize",
        "last_price": "lastPrice",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
        "price_24h_ago": "prevPrice24h",
        "volume_24h": "volume24h",
    },
):
    """Ticker of a spread combination; always whole (dossier 4.5). Prices may be negative; an empty side is ``""``."""

    symbol: str
    bid_price: N | UnsetType = UNSET
    bid_size: N | UnsetType = UNSET
    ask_price: N | UnsetType = UNSET
    ask_size: N | UnsetType = UNSET
    last_price: N | UnsetType = UNSET
    high_24h: N | UnsetType = UNSET
    low_24h: N | UnsetType = UNSET
    price_24h_ago: N | UnsetType = UNSET
    volume_24h: N | UnsetType = UNSET
