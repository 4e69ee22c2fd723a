"""Private topics of the account: positions, wallet, greeks (dossier 6.4 to 6.6). No snapshot on subscribing: load it by REST.

Every number may be ``""``, as portfolio margin has it in many fields. Only the key of a row is always there.
"""

from typing import Generic

import msgspec
from msgspec import UNSET, UnsetType

from feedhandler.bybit.messages.envelope import N, TimeMs, wire_names


class Position(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        position_index="positionIdx",
        initial_margin="positionIM",
        maintenance_margin="positionMM",
        initial_margin_by_mark_price="positionIMByMp",
        maintenance_margin_by_mark_price="positionMMByMp",
        liquidation_price="liqPrice",
        current_realised_pnl="curRealisedPnl",
        cumulative_realised_pnl="cumRealisedPnl",
        session_average_price="sessionAvgPrice",
        status="positionStatus",
        created_ms="createdTime",
        updated_ms="updatedTime",
        opened_ms="openTime",
        venue_sequence="seq",
        mmr_system_updated_ms="mmrSysUpdatedTime",
        leverage_system_updated_ms="leverageSysUpdatedTime",
        tpsl_mode_2023="tpSlMode",
    ),
):
    """A position (dossier 6.4). One comes with every order made, amended or cancelled, also where nothing changed."""

    symbol: str
    category: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    """`words.Side`; ``""`` when flat, in older frames ``None``."""
    size: N | UnsetType = UNSET
    position_index: int | UnsetType = UNSET
    """0 = one-way; 1, 2 = the buy and the sell side of hedge mode."""
    position_value: N | UnsetType = UNSET
    risk_id: int | UnsetType = UNSET
    risk_limit_value: N | UnsetType = UNSET
    entry_price: N | UnsetType = UNSET
    mark_price: N | UnsetType = UNSET
    leverage: N | UnsetType = UNSET
    break_even_price: N | UnsetType = UNSET
    auto_add_margin: int | UnsetType = UNSET
    """0 or 1."""
    initial_margin: N | UnsetType = UNSET
    maintenance_margin: N | UnsetType = UNSET
    initial_margin_by_mark_price: N | UnsetType = UNSET
    maintenance_margin_by_mark_price: N | UnsetType = UNSET
    liquidation_price: N | UnsetType = UNSET
    take_profit: N | UnsetType = UNSET
    stop_loss: N | UnsetType = UNSET
    trailing_stop: N | UnsetType = UNSET
    unrealised_pnl: N | UnsetType = UNSET
    current_realised_pnl: N | UnsetType = UNSET
    """Of the position as it is held now."""
    session_average_price: N | UnsetType = UNSET
    """USDC contracts."""
    delta: N | UnsetType = UNSET
    """Options only, as are the next three."""
    gamma: N | UnsetType = UNSET
    vega: N | UnsetType = UNSET
    theta: N | UnsetType = UNSET
    cumulative_realised_pnl: N | UnsetType = UNSET
    """Of all time."""
    status: str | UnsetType = UNSET
    """`words.PositionStatus`."""
    adl_rank_indicator: int | UnsetType = UNSET
    is_reduce_only: bool | UnsetType = UNSET
    created_ms: TimeMs | UnsetType = UNSET
    updated_ms: TimeMs | UnsetType = UNSET
    opened_ms: int | UnsetType = UNSET
    """0 = not said."""
    venue_sequence: int | UnsetType = UNSET
    """Cross sequence of the last trade; -1 = never traded. Other symbols may share it."""
    mmr_system_updated_ms: TimeMs | UnsetType = UNSET
    """When the venue changes, or changed, the maintenance margin rate by itself."""
    leverage_system_updated_ms: TimeMs | UnsetType = UNSET
    tpsl_mode: str | UnsetType = UNSET
    """Deprecated, as are the next three: always the same."""
    bust_price: N | UnsetType = UNSET
    position_balance: N | UnsetType = UNSET
    trade_mode: int | UnsetType = UNSET
    tpsl_mode_2023: str | UnsetType = UNSET
    """`tpsl_mode`, as it was spelt in 2023."""


class Coin(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        spot_hedging_size="spotHedgingQty",
        order_initial_margin="totalOrderIM",
        position_initial_margin="totalPositionIM",
        position_maintenance_margin="totalPositionMM",
        cumulative_realised_pnl="cumRealisedPnl",
        collateral_restriction="colRes",
    ),
):
    """One coin of a wallet, amounts in that coin unless said (dossier 6.5)."""

    coin: str
    equity: N | UnsetType = UNSET
    usd_value: N | UnsetType = UNSET
    """USD; zero for coins that are no collateral."""
    wallet_balance: N | UnsetType = UNSET
    locked: N | UnsetType = UNSET
    """By open spot orders."""
    spot_hedging_size: N | UnsetType = UNSET
    borrow_amount: N | UnsetType = UNSET
    accrued_interest: N | UnsetType = UNSET
    order_initial_margin: N | UnsetType = UNSET
    position_initial_margin: N | UnsetType = UNSET
    position_maintenance_margin: N | UnsetType = UNSET
    unrealised_pnl: N | UnsetType = UNSET
    """Its change alone brings no message."""
    cumulative_realised_pnl: N | UnsetType = UNSET
    bonus: N | UnsetType = UNSET
    collateral_switch: bool | UnsetType = UNSET
    """The user takes it as collateral; means something only where `margin_collateral` is true."""
    margin_collateral: bool | UnsetType = UNSET
    """The venue takes it as collateral."""
    collateral_restriction: str | UnsetType = UNSET
    """``"0"`` none, ``"1"`` none yet, ``"2"`` in force, ``"-1"`` unknown."""
    spot_borrow: N | UnsetType = UNSET
    free: N | UnsetType = UNSET
    """Deprecated, as are the next two."""
    available_to_borrow: N | UnsetType = UNSET
    available_to_withdraw: N | UnsetType = UNSET


class Wallet(
    msgspec.Struct,
    Generic[N],
    kw_only=True,
    gc=False,
    rename=wire_names(
        initial_margin_rate="accountIMRate",
        maintenance_margin_rate="accountMMRate",
        unrealised_pnl="totalPerpUPL",
        initial_margin="totalInitialMargin",
        maintenance_margin="totalMaintenanceMargin",
        initial_margin_rate_by_mark_price="accountIMRateByMp",
        maintenance_margin_rate_by_mark_price="accountMMRateByMp",
        initial_margin_by_mark_price="totalInitialMarginByMp",
        maintenance_margin_by_mark_price="totalMaintenanceMarginByMp",
        loan_to_value="accountLTV",
        coins="coin",
    ),
):
    """A wallet, amounts in USD (dossier 6.5). Unrealised profit or loss alone brings no message."""

    account_type: str | UnsetType = UNSET
    """``UNIFIED``."""
    initial_margin_rate: N | UnsetType = UNSET
    """0.1 = 10 %."""
    maintenance_margin_rate: N | UnsetType = UNSET
    total_equity: N | UnsetType = UNSET
    total_wallet_balance: N | UnsetType = UNSET
    total_margin_balance: N | UnsetType = UNSET
    total_available_balance: N | UnsetType = UNSET
    unrealised_pnl: N | UnsetType = UNSET
    """Of perpetuals and futures."""
    initial_margin: N | UnsetType = UNSET
    maintenance_margin: N | UnsetType = UNSET
    initial_margin_rate_by_mark_price: N | UnsetType = UNSET
    maintenance_margin_rate_by_mark_price: N | UnsetType = UNSET
    initial_margin_by_mark_price: N | UnsetType = UNSET
    maintenance_margin_by_mark_price: N | UnsetType = UNSET
    loan_to_value: N | UnsetType = UNSET
    """Deprecated."""
    coins: list[Coin[N]] | UnsetType | None = UNSET
    """Those that changed."""


class Greeks(msgspec.Struct, Generic[N], kw_only=True, gc=False, rename="camel"):
    """Greeks of all options of a coin (dossier 6.6)."""

    base_coin: str
    total_delta: N | UnsetType = UNSET
    total_gamma: N | UnsetType = UNSET
    total_vega: N | UnsetType = UNSET
    total_theta: N | UnsetType = UNSET
