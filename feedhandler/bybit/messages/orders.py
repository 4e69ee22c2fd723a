"""Private topics of orders and executions (dossier 6.1 to 6.3, 6.7, 6.8). No history on subscribing: load it by REST.

Every number may be ``""``. Only the key of a row is always there; any other field may be missing, as in older frames.
Sizes are in base coin unless said; on inverse in contracts of 1 USD.
"""

from typing import Generic, Literal

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, TimeMs, wire_names

# A map or list that nobody made is null where the venue's language is Go.


class Order(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        position_index="positionIdx",
        size="qty",
        status="orderStatus",
        average_price="avgPrice",
        leaves_size="leavesQty",
        filled_size="cumExecQty",
        filled_value="cumExecValue",
        filled_fee="cumExecFee",
        fees_by_coin="cumFeeDetail",
        fee_coin="feeCurrency",
        tpsl_mode="tpslMode",
        tpsl_mode_2023="tpSlMode",
        take_profit_limit_price="tpLimitPrice",
        stop_loss_limit_price="slLimitPrice",
        take_profit_trigger_by="tpTriggerBy",
        stop_loss_trigger_by="slTriggerBy",
        last_price_at_creation="lastPriceOnCreated",
        rpi_matched_size="rpiMatchedQty",
        created_ms="createdTime",
        updated_ms="updatedTime",
    ),
):
    """One order after a change of it (dossier 6.1). A cancel that races a fill gives two with ``Filled``."""

    order_id: str
    category: str | UnsetType = UNSET
    """``spot``, ``linear``, ``inverse`` or ``option``."""
    symbol: str | UnsetType = UNSET
    order_link_id: str | UnsetType = UNSET
    """The client's own id."""
    parent_order_link_id: str | UnsetType = UNSET
    is_leverage: str | UnsetType = UNSET
    """Whether it borrows: ``"0"``, ``"1"`` or ``""``."""
    block_trade_id: str | UnsetType = UNSET
    price: N | UnsetType = UNSET
    broker_order_price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    side: str | UnsetType = UNSET
    """`words.Side`."""
    position_index: int | UnsetType = UNSET
    """0 = one-way; 1, 2 = the buy and the sell side of hedge mode."""
    status: str | UnsetType = UNSET
    """`words.OrderStatus`; `words.OPEN` says which may still change."""
    create_type: str | UnsetType = UNSET
    cancel_type: str | UnsetType = UNSET
    """``UNKNOWN`` where it was not cancelled."""
    reject_reason: str | UnsetType = UNSET
    """``EC_NoError`` where it was not rejected."""
    average_price: N | UnsetType = UNSET
    """``""`` = nothing filled yet."""
    leaves_size: N | UnsetType = UNSET
    """What is not filled; ``""`` or zero once it is done, by product."""
    leaves_value: N | UnsetType = UNSET
    filled_size: N | UnsetType = UNSET
    filled_value: N | UnsetType = UNSET
    filled_fee: N | UnsetType = UNSET
    closed_pnl: N | UnsetType = UNSET
    fee_coin: str | UnsetType = UNSET
    time_in_force: str | UnsetType = UNSET
    """`words.TimeInForce`."""
    order_type: str | UnsetType = UNSET
    """``Limit`` or ``Market``."""
    stop_order_type: str | UnsetType = UNSET
    oco_trigger_by: str | UnsetType = UNSET
    order_iv: N | UnsetType = UNSET
    """Options: volatility, 0.5 = 50 %."""
    market_unit: str | UnsetType = UNSET
    """Spot market orders: ``baseCoin`` or ``quoteCoin``, which `size` is counted in."""
    slippage_tolerance_type: str | UnsetType = UNSET
    slippage_tolerance: N | UnsetType = UNSET
    trigger_price: N | UnsetType = UNSET
    take_profit: N | UnsetType = UNSET
    stop_loss: N | UnsetType = UNSET
    tpsl_mode: str | UnsetType = UNSET
    """``Full`` or ``Partial``."""
    tpsl_mode_2023: str | UnsetType = UNSET
    """The same, as it was spelt in 2023."""
    take_profit_limit_price: N | UnsetType = UNSET
    stop_loss_limit_price: N | UnsetType = UNSET
    take_profit_trigger_by: str | UnsetType = UNSET
    stop_loss_trigger_by: str | UnsetType = UNSET
    trigger_direction: int | UnsetType = UNSET
    """1 = the price rises to the trigger, 2 = it falls to it."""
    trigger_by: str | UnsetType = UNSET
    last_price_at_creation: N | UnsetType = UNSET
    reduce_only: bool | UnsetType = UNSET
    close_on_trigger: bool | UnsetType = UNSET
    place_type: str | UnsetType = UNSET
    """Options: ``iv`` or ``price``."""
    smp_type: str | UnsetType = UNSET
    """Self-match prevention."""
    smp_group: int | UnsetType = UNSET
    smp_order_id: str | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    fees_by_coin: dict[str, N] | Literal[""] | UnsetType | None = UNSET
    rpi_taker_access: bool | UnsetType = UNSET
    """Since 2026, as is the next."""
    rpi_matched_size: N | UnsetType = UNSET


class ExtraFee(msgspec.Struct, Generic[N], kw_only=True, gc=False, rename="camel"):
    """A fee besides the trading fee, as some countries ask for (dossier 6.2)."""

    fee_coin: str | UnsetType = UNSET
    fee_type: str | UnsetType = UNSET
    sub_fee_type: str | UnsetType = UNSET
    fee_rate: N | UnsetType = UNSET
    fee: N | UnsetType = UNSET


class Execution(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        execution_id="execId",
        order_size="orderQty",
        leaves_size="leavesQty",
        fee="execFee",
        fee_coin="feeCurrency",
        price="execPrice",
        size="execQty",
        pnl="execPnl",
        type="execType",
        value="execValue",
        time_ms="execTime",
        venue_sequence="seq",
    ),
):
    """One execution (dossier 6.2): fills, and also funding, delivery and the like. Unique by its id."""

    execution_id: str
    category: str | UnsetType = UNSET
    symbol: str | UnsetType = UNSET
    is_leverage: str | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    order_link_id: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    order_price: N | UnsetType = UNSET
    order_size: N | UnsetType = UNSET
    leaves_size: N | UnsetType = UNSET
    create_type: str | UnsetType = UNSET
    """Not on spot and options."""
    order_type: str | UnsetType = UNSET
    stop_order_type: str | UnsetType = UNSET
    fee: N | UnsetType = UNSET
    """Negative = a rebate."""
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    pnl: N | UnsetType = UNSET
    type: str | UnsetType = UNSET
    """`words.ExecutionType`."""
    value: N | UnsetType = UNSET
    time_ms: TimeMs | UnsetType = UNSET
    is_maker: bool | UnsetType = UNSET
    fee_rate: N | UnsetType = UNSET
    """0.001 = 0.1 %."""
    trade_iv: N | UnsetType = UNSET
    """Options, as are the volatility and the prices below."""
    mark_iv: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    index_price: N | UnsetType = UNSET
    underlying_price: N | UnsetType = UNSET
    block_trade_id: str | UnsetType = UNSET
    closed_size: N | UnsetType = UNSET
    extra_fees: list[ExtraFee[N]] | Literal[""] | UnsetType | None = UNSET
    venue_sequence: int | UnsetType = UNSET
    """Cross sequence; executions of one moment share it, and other symbols may."""
    fee_coin: str | UnsetType = UNSET
    market_unit: str | UnsetType = UNSET


class FastExecution(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        execution_id="execId", price="execPrice", size="execQty", time_ms="execTime", venue_sequence="seq"
    ),
):
    """One fill, earlier and with less about it (dossier 6.3)."""

    execution_id: str
    category: str | UnsetType = UNSET
    symbol: str | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    is_maker: bool | UnsetType = UNSET
    order_link_id: str | UnsetType = UNSET
    """``""`` for the maker, also for one that an amendment made a taker."""
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    side: str | UnsetType = UNSET
    time_ms: TimeMs | UnsetType = UNSET
    venue_sequence: int | UnsetType = UNSET


class SpreadOrder(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        status="orderStatus",
        size="qty",
        average_price="avgPrice",
        leaves_size="leavesQty",
        filled_size="cumExecQty",
        filled_value="cumExecValue",
        filled_fee="cumExecFee",
        fees_by_coin="cumFeeDetail",
        fee_coin="feeCurrency",
        created_ms="createdTime",
        updated_ms="updatedTime",
    ),
):
    """An order of a spread combination, or a leg of one (dossier 6.8)."""

    order_id: str
    category: str | UnsetType = UNSET
    """`words.SpreadCategory`."""
    symbol: str | UnsetType = UNSET
    """Of the combination (``SOLUSDT_SOL/USDT``) or of the leg."""
    parent_order_id: str | UnsetType = UNSET
    """Of a leg: its combination's order."""
    order_link_id: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """`words.OrderStatus`."""
    cancel_type: str | UnsetType = UNSET
    reject_reason: str | UnsetType = UNSET
    time_in_force: str | UnsetType = UNSET
    price: N | UnsetType = UNSET
    """A combination's may be negative."""
    size: N | UnsetType = UNSET
    average_price: N | UnsetType = UNSET
    leaves_size: N | UnsetType = UNSET
    leaves_value: N | UnsetType = UNSET
    filled_size: N | UnsetType = UNSET
    filled_value: N | UnsetType = UNSET
    filled_fee: N | UnsetType = UNSET
    order_type: str | UnsetType = UNSET
    is_leverage: str | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    fee_coin: str | UnsetType = UNSET
    create_type: str | UnsetType = UNSET
    closed_pnl: N | UnsetType = UNSET
    fees_by_coin: dict[str, N] | Literal[""] | UnsetType | None = UNSET


class SpreadExecution(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        execution_id="execId",
        parent_execution_id="parentExecId",
        order_size="orderQty",
        leaves_size="leavesQty",
        fee="execFee",
        spot_fee="execFeeV2",
        price="execPrice",
        size="execQty",
        pnl="execPnl",
        type="execType",
        value="execValue",
        time_ms="execTime",
        venue_sequence="seq",
    ),
):
    """An execution of a spread combination, or of a leg of one (dossier 6.8)."""

    execution_id: str
    category: str | UnsetType = UNSET
    """`words.SpreadCategory`."""
    symbol: str | UnsetType = UNSET
    is_leverage: str | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    """``""`` on a leg, as is `order_link_id`."""
    order_link_id: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    order_price: N | UnsetType = UNSET
    order_size: N | UnsetType = UNSET
    leaves_size: N | UnsetType = UNSET
    create_type: str | UnsetType = UNSET
    order_type: str | UnsetType = UNSET
    fee: N | UnsetType = UNSET
    """Of the futures leg."""
    spot_fee: N | UnsetType = UNSET
    """Of the spot leg."""
    fee_coin: str | UnsetType = UNSET
    parent_execution_id: str | UnsetType = UNSET
    """Of a leg: its combination's execution."""
    price: N | UnsetType = UNSET
    size: N | UnsetType = UNSET
    pnl: N | UnsetType = UNSET
    type: str | UnsetType = UNSET
    """`words.ExecutionType`."""
    value: N | UnsetType = UNSET
    time_ms: TimeMs | UnsetType = UNSET
    is_maker: bool | UnsetType = UNSET
    fee_rate: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    closed_size: N | UnsetType = UNSET
    venue_sequence: int | UnsetType = UNSET


class Strategy(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        type="strategyType",
        duration_s="duration",
        executed_duration_s="executedDuration",
        executed_average_price="executedAvgPrice",
        executed_start_ms="executedStartTimeE3",
        executed_end_ms="executedEndTimeE3",
        created_ms="createdTimeE3",
        updated_ms="updatedTimeE3",
        chase_percent_e4="ChasePercentE4",
        preference="strategyPrefer",
        interval_s="interval",
        take_profit="strategyTp",
        stop_loss="strategySl",
    ),
):
    """An order worked by the venue over time: TWAP, iceberg, chase, POV (dossier 6.7)."""

    strategy_id: str
    type: str | UnsetType = UNSET
    """``twap``, ``chaseOrder``, ``iceberg``, ``pov``."""
    category: str | UnsetType = UNSET
    """``UTA_USDT``, ``UTA_SPOT`` and so on."""
    symbol: str | UnsetType = UNSET
    size: N | UnsetType = UNSET
    side: str | UnsetType = UNSET
    duration_s: int | UnsetType = UNSET
    """TWAP only."""
    status: int | UnsetType = UNSET
    """`words.StrategyStatus`."""
    terminate_type: int | UnsetType = UNSET
    """0 = it goes on."""
    terminate_remark: str | UnsetType = UNSET
    executed_duration_s: int | UnsetType = UNSET
    executed_size: N | UnsetType = UNSET
    executed_average_price: N | UnsetType = UNSET
    executed_start_ms: int | UnsetType = UNSET
    executed_end_ms: int | UnsetType = UNSET
    """0 = not yet."""
    created_ms: int | UnsetType = UNSET
    updated_ms: int | UnsetType = UNSET
    is_random: bool | UnsetType = UNSET
    reduce_only: bool | UnsetType = UNSET
    limit_price: N | UnsetType = UNSET
    trigger_count: int | UnsetType = UNSET
    trading_count: int | UnsetType = UNSET
    chase_distance: N | UnsetType = UNSET
    chase_percent_e4: int | UnsetType = UNSET
    """100 = 1 %."""
    max_chase_price: N | UnsetType = UNSET
    chase_order_price: N | UnsetType = UNSET
    preference: str | UnsetType = UNSET
    interval_s: int | UnsetType = UNSET
    leverage_type: int | UnsetType = UNSET
    post_only: int | UnsetType = UNSET
    """0 or 1."""
    trigger_price: N | UnsetType = UNSET
    is_triggered: bool | UnsetType = UNSET
    take_profit: N | UnsetType = UNSET
    stop_loss: N | UnsetType = UNSET
    order_type: str | UnsetType = UNSET
    order_price_offset: N | UnsetType = UNSET
    position_value: N | UnsetType = UNSET
    filled_position_value: N | UnsetType = UNSET
