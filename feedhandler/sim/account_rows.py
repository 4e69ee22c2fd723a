"""What the simulated account's messages say: fields, their order and types (dossier 6.1 to 6.6). Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from feedhandler.sim.ledger import (
    LEVERAGE,
    MAINTENANCE_RATE,
    ZERO,
    Execution,
    Ledger,
    Order,
    Position,
    mark_of,
    plain,
    price_of,
    size_of,
)

Row = dict[str, Any]

_PRICE_DIGITS: Final = Decimal("1e-8")
_ROUND_TRIP_FEES: Final = Decimal("0.0011")


def order_row(order: Order) -> Row:
    """Return an ``order`` item."""
    instrument = order.instrument
    is_spot = order.category == "spot"
    filled = size_of(instrument, order.filled_lots)
    is_priceless = is_spot and order.is_market
    return {
        "category": order.category,
        "symbol": instrument.symbol,
        "orderId": order.id,
        "orderLinkId": order.link_id,
        "parentOrderLinkId": "",
        "isLeverage": "0" if is_spot else "",
        "blockTradeId": "",
        "price": "0" if is_priceless else plain(price_of(instrument, order.ticks)),
        "brokerOrderPrice": "",
        "qty": plain(size_of(instrument, order.lots)),
        "side": side_of(order.is_buy),
        "positionIdx": 0,
        "orderStatus": order.status,
        "createType": "CreateByUser",
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason,
        "avgPrice": plain((order.value / filled).quantize(_PRICE_DIGITS)) if filled else "",
        "leavesQty": plain(size_of(instrument, order.leaves_lots)),
        "leavesValue": plain(order.leaves_value),
        "cumExecQty": plain(filled),
        "cumExecValue": plain(order.value),
        "cumExecFee": plain(order.fee),
        "closedPnl": plain(order.closed_pnl),
        "feeCurrency": order.fee_coin if is_spot else "",
        "timeInForce": "IOC" if order.is_market else "GTC",
        "orderType": type_of(order),
        "stopOrderType": "",
        "ocoTriggerBy": "",
        "orderIv": "",
        "marketUnit": "baseCoin" if is_priceless else "",
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "0",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "tpslMode": "" if is_spot else "UNKNOWN",
        "tpLimitPrice": "" if is_spot else "0",
        "slLimitPrice": "" if is_spot else "0",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": plain(price_of(instrument, order.last_ticks_on_created)),
        "reduceOnly": False,
        "closeOnTrigger": False,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
        "cumFeeDetail": {order.fee_coin: plain(order.fee)} if order.fee else {},
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def execution_row(execution: Execution) -> Row:
    """Return an ``execution`` item."""
    order, fill = execution.order, execution.fill
    instrument = order.instrument
    is_spot = order.category == "spot"
    row: Row = {
        "category": order.category,
        "symbol": instrument.symbol,
        "isLeverage": "0",
        "orderId": order.id,
        "orderLinkId": order.link_id,
        "side": side_of(order.is_buy),
        "orderPrice": "0" if is_spot and order.is_market else plain(price_of(instrument, order.ticks)),
        "orderQty": plain(size_of(instrument, order.lots)),
        "leavesQty": plain(size_of(instrument, execution.leaves_lots)),
    }
    if not is_spot:
        row["createType"] = "CreateByUser"
    return row | {
        "orderType": type_of(order),
        "stopOrderType": "" if is_spot else "UNKNOWN",
        "execFee": plain(execution.fee),
        "execId": fill.id,
        "execPrice": plain(execution.price),
        "execQty": plain(execution.size),
        "execPnl": plain(execution.pnl),
        "execType": "Trade",
        "execValue": plain(execution.value),
        "execTime": str(fill.time_ms),
        "isMaker": execution.is_maker,
        "feeRate": plain(execution.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": "" if is_spot else plain(mark_of(order.market)),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "" if is_spot else plain(execution.closed_size),
        "extraFees": "",
        "seq": fill.sequence,
        "feeCurrency": order.fee_coin,
        "marketUnit": "baseCoin" if is_spot and order.is_market else "",
    }


def fast_row(execution: Execution) -> Row:
    """Return an ``execution.fast`` item; makers' order link ids are left out."""
    order, fill = execution.order, execution.fill
    return {
        "category": order.category,
        "symbol": order.instrument.symbol,
        "orderId": order.id,
        "isMaker": execution.is_maker,
        "orderLinkId": "" if execution.is_maker else order.link_id,
        "execId": fill.id,
        "execPrice": plain(execution.price),
        "execQty": plain(execution.size),
        "side": side_of(order.is_buy),
        "execTime": str(fill.time_ms),
        "seq": fill.sequence,
    }


def position_row(position: Position) -> Row:
    """Return a ``position`` item of a contract."""
    size, mark = abs(position.size), mark_of(position.market)
    sign = 1 if position.size > 0 else -1
    entry = (position.cost / size).quantize(_PRICE_DIGITS) if size else ZERO
    initial, maintenance = plain(position.cost / LEVERAGE), plain(size * mark * MAINTENANCE_RATE)
    return {
        "category": "linear",
        "symbol": position.market.instrument.symbol,
        "side": side_of(position.size > 0) if size else "",
        "size": plain(size),
        "positionIdx": 0,
        "positionValue": plain(position.cost),
        "riskId": 1,
        "riskLimitValue": "2000000",
        "entryPrice": plain(entry),
        "markPrice": plain(mark),
        "leverage": str(LEVERAGE),
        "breakEvenPrice": plain((entry * (1 + sign * _ROUND_TRIP_FEES)).quantize(_PRICE_DIGITS)) if size else "0",
        "autoAddMargin": 0,
        "positionIM": initial,
        "positionMM": maintenance,
        "positionIMByMp": initial,
        "positionMMByMp": maintenance,
        "liqPrice": "",
        "takeProfit": "0",
        "stopLoss": "0",
        "trailingStop": "0",
        "unrealisedPnl": plain(position.unrealised),
        "curRealisedPnl": plain(position.realised),
        "sessionAvgPrice": "",
        "cumRealisedPnl": plain(position.realised_ever),
        "positionStatus": "Normal",
        "adlRankIndicator": 2 if size else 0,
        "isReduceOnly": False,
        "createdTime": str(position.created_ms),
        "updatedTime": str(position.updated_ms),
        "openTime": position.opened_ms,
        # The venue writes "-1" as a string where the symbol was never traded.
        "seq": position.sequence if position.sequence >= 0 else "-1",
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "tpslMode": "Full",
        "bustPrice": "",
        "positionBalance": "0",
        "tradeMode": 0,
    }


def wallet_row(ledger: Ledger, prices: Mapping[str, Decimal]) -> Row:
    """Return the ``wallet`` item of the unified account; ``prices`` are the coins' in USD."""
    coins = [_coin_row(ledger, coin, prices.get(coin, ZERO)) for coin in ledger.balances]

    def total(name: str) -> Decimal:
        return sum((Decimal(row[name]) * prices.get(row["coin"], ZERO) for row in coins), ZERO)

    balance, unrealised = total("walletBalance"), total("unrealisedPnl")
    margin = balance + unrealised
    initial, maintenance = total("totalOrderIM") + total("totalPositionIM"), total("totalPositionMM")
    return {
        "accountType": "UNIFIED",
        "accountIMRate": _rate(initial, margin),
        "accountMMRate": _rate(maintenance, margin),
        "totalEquity": _usd(margin),
        "totalWalletBalance": _usd(balance),
        "totalMarginBalance": _usd(margin),
        "totalAvailableBalance": _usd(margin - initial - total("locked")),
        "totalPerpUPL": _usd(unrealised),
        "totalInitialMargin": _usd(initial),
        "totalMaintenanceMargin": _usd(maintenance),
        "accountIMRateByMp": _rate(initial, margin),
        "accountMMRateByMp": _rate(maintenance, margin),
        "totalInitialMarginByMp": _usd(initial),
        "totalMaintenanceMarginByMp": _usd(maintenance),
        "accountLTV": "0",
        "coin": coins,
    }


def _coin_row(ledger: Ledger, coin: str, price: Decimal) -> Row:
    positions = ledger.positions_in(coin)
    balance, locked = ledger.balances[coin], ledger.locked(coin)
    unrealised = sum((position.unrealised for position in positions), ZERO)
    initial = sum((position.cost / LEVERAGE for position in positions), ZERO)
    maintenance = sum((abs(each.size) * mark_of(each.market) * MAINTENANCE_RATE for each in positions), ZERO)
    free = max(ZERO, balance - locked - initial - ledger.order_margin(coin))
    return {
        "coin": coin,
        "equity": plain(balance + unrealised),
        "usdValue": _usd((balance + unrealised) * price),
        "walletBalance": plain(balance),
        "locked": plain(locked),
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "accruedInterest": "0",
        "totalOrderIM": plain(ledger.order_margin(coin)),
        "totalPositionIM": plain(initial),
        "totalPositionMM": plain(maintenance),
        "unrealisedPnl": plain(unrealised),
        "cumRealisedPnl": plain(sum((position.realised_ever for position in positions), ZERO)),
        "bonus": "0",
        "collateralSwitch": True,
        "marginCollateral": True,
        "colRes": "0",
        "spotBorrow": "0",
        "free": "",
        "availableToBorrow": "",
        "availableToWithdraw": plain(free),
    }


def greeks_row(base: str, delta: float, gamma: float, vega: float, theta: float) -> Row:
    """Return a ``greeks`` item."""
    numbers = {"totalDelta": delta, "totalGamma": gamma, "totalVega": vega, "totalTheta": theta}
    return {"baseCoin": base} | {name: plain(Decimal(f"{number:.8f}")) for name, number in numbers.items()}


def side_of(is_buy: bool) -> str:
    """Return the venue's word for a side."""
    return "Buy" if is_buy else "Sell"


def type_of(order: Order) -> str:
    """Return the venue's word for an order's type."""
    return "Market" if order.is_market else "Limit"


def _usd(amount: Decimal) -> str:
    return plain(amount.quantize(_PRICE_DIGITS))


def _rate(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(Decimal("1e-4"))) if whole > 0 else "0"
