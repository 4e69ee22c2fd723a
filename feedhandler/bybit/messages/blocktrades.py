"""Block trades by request for quotes: the private topics (dossier 6.8), and the public one of done trades (4.14).

Every number may be ``""``. Only the key of a row is always there. A list that nobody made is null.
"""

from typing import Generic

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, TimeMs, wire_names


class RfqLeg(msgspec.Struct, Generic[N], kw_only=True, gc=False, rename=wire_names(size="qty")):
    """One leg that quotes are asked for."""

    symbol: str
    category: str | UnsetType = UNSET
    """``spot``, ``linear`` or ``option``."""
    side: str | UnsetType = UNSET
    size: N | UnsetType = UNSET


class Rfq(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        accepts_other_quotes="acceptOtherQuoteStatus",
        expires_ms="expiresAt",
        created_ms="createdAt",
        updated_ms="updatedAt",
    ),
):
    """A request for quotes, sent or received (``rfq.open.rfqs``)."""

    rfq_id: str
    rfq_link_id: str | UnsetType = UNSET
    """The asker's own id; hidden where it is anonymous, as is `desk_code`."""
    counterparties: list[str] | UnsetType | None = UNSET
    expires_ms: TimeMs | UnsetType = UNSET
    strategy_type: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """`words.BlockTradeStatus`."""
    accepts_other_quotes: str | UnsetType = UNSET
    """Quotes of others than liquidity providers: ``"true"`` or ``"false"``."""
    desk_code: str | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    legs: list[RfqLeg[N]] | UnsetType | None = UNSET


class QuoteLeg(msgspec.Struct, Generic[N], kw_only=True, gc=False, rename=wire_names(size="qty")):
    """One leg of a quote."""

    symbol: str
    category: str | UnsetType = UNSET
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET


class Quote(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        executed_side="execQuoteSide",
        expires_ms="expiresAt",
        created_ms="createdAt",
        updated_ms="updatedAt",
        buy_legs="quoteBuyList",
        sell_legs="quoteSellList",
    ),
):
    """A quote, sent or received (``rfq.open.quotes``)."""

    quote_id: str
    rfq_id: str | UnsetType = UNSET
    rfq_link_id: str | UnsetType = UNSET
    quote_link_id: str | UnsetType = UNSET
    expires_ms: TimeMs | UnsetType = UNSET
    desk_code: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """`words.BlockTradeStatus`."""
    executed_side: str | UnsetType = UNSET
    """``""`` until it is executed. ``Buy``: the maker trades as the legs say, the taker the other way."""
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    buy_legs: list[QuoteLeg[N]] | UnsetType | None = UNSET
    sell_legs: list[QuoteLeg[N]] | UnsetType | None = UNSET


class RfqTradeLeg(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(size="qty", fee="execFee", execution_id="execId"),
):
    """One leg of a block trade of one's own."""

    symbol: str
    category: str | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    """On spot the index price."""
    fee: N | UnsetType = UNSET
    """Negative = a rebate."""
    execution_id: str | UnsetType = UNSET
    result_code: int | UnsetType = UNSET
    """0 = it was done."""
    result_message: str | UnsetType = UNSET
    reject_party: str | UnsetType = UNSET


class RfqTrade(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(created_ms="createdAt", updated_ms="updatedAt"),
):
    """A block trade of one's own, all legs of it (``rfq.open.trades``)."""

    rfq_id: str
    rfq_link_id: str | UnsetType = UNSET
    quote_id: str | UnsetType = UNSET
    quote_link_id: str | UnsetType = UNSET
    quote_side: str | UnsetType = UNSET
    strategy_type: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """`words.BlockTradeStatus`."""
    rfq_desk_code: str | UnsetType = UNSET
    quote_desk_code: str | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    legs: list[RfqTradeLeg[N]] | UnsetType | None = UNSET


class PublicBlockTradeLeg(msgspec.Struct, Generic[N], kw_only=True, gc=False, rename=wire_names(size="qty")):
    """One leg of a block trade of anybody."""

    symbol: str
    category: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    """On spot the index price."""


class PublicBlockTrade(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(created_ms="createdAt", updated_ms="updatedAt"),
):
    """A block trade of anybody, all legs of it (``rfq.open.public.trades``, dossier 4.14)."""

    rfq_id: str
    strategy_type: str | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    legs: list[PublicBlockTradeLeg[N]] | UnsetType | None = UNSET
