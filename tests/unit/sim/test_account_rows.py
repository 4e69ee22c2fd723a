"""Fields of the private messages: which there are, in which order, of which type."""

import re
from decimal import Decimal
from typing import Any

import pytest

from feedhandler.sim.account import Account
from feedhandler.sim.account_rows import greeks_row, wallet_row
from feedhandler.sim.ledger import Ledger
from feedhandler.sim.listing import Listing
from feedhandler.sim.market import Market

NOW_NS = 1_760_000_000_000_000_000

ORDER = """category symbol orderId orderLinkId parentOrderLinkId isLeverage blockTradeId price brokerOrderPrice qty side
    positionIdx orderStatus createType cancelType rejectReason avgPrice leavesQty leavesValue cumExecQty cumExecValue
    cumExecFee closedPnl feeCurrency timeInForce orderType stopOrderType ocoTriggerBy orderIv marketUnit
    slippageToleranceType slippageTolerance triggerPrice takeProfit stopLoss tpslMode tpLimitPrice slLimitPrice
    tpTriggerBy slTriggerBy triggerDirection triggerBy lastPriceOnCreated reduceOnly closeOnTrigger placeType smpType
    smpGroup smpOrderId createdTime updatedTime cumFeeDetail rpiTakerAccess rpiMatchedQty"""
EXECUTION = """category symbol isLeverage orderId orderLinkId side orderPrice orderQty leavesQty createType orderType
    stopOrderType execFee execId execPrice execQty execPnl execType execValue execTime isMaker feeRate tradeIv markIv
    markPrice indexPrice underlyingPrice blockTradeId closedSize extraFees seq feeCurrency marketUnit"""
FAST = "category symbol orderId isMaker orderLinkId execId execPrice execQty side execTime seq"
POSITION = """category symbol side size positionIdx positionValue riskId riskLimitValue entryPrice markPrice leverage
    breakEvenPrice autoAddMargin positionIM positionMM positionIMByMp positionMMByMp liqPrice takeProfit stopLoss
    trailingStop unrealisedPnl curRealisedPnl sessionAvgPrice cumRealisedPnl positionStatus adlRankIndicator isReduceOnly
    createdTime updatedTime openTime seq mmrSysUpdatedTime leverageSysUpdatedTime tpslMode bustPrice positionBalance
    tradeMode"""
WALLET = """accountType accountIMRate accountMMRate totalEquity totalWalletBalance totalMarginBalance
    totalAvailableBalance totalPerpUPL totalInitialMargin totalMaintenanceMargin accountIMRateByMp accountMMRateByMp
    totalInitialMarginByMp totalMaintenanceMarginByMp accountLTV coin"""
COIN = """coin equity usdValue walletBalance locked spotHedgingQty borrowAmount accruedInterest totalOrderIM
    totalPositionIM totalPositionMM unrealisedPnl cumRealisedPnl bonus collateralSwitch marginCollateral colRes spotBorrow
    free availableToBorrow availableToWithdraw"""

NUMBERS = {
    *("positionIdx", "triggerDirection", "smpGroup", "riskId", "autoAddMargin", "adlRankIndicator", "openTime"),
    *("tradeMode", "seq"),
}
BOOLEANS = {
    *("reduceOnly", "closeOnTrigger", "rpiTakerAccess", "isMaker", "isReduceOnly", "collateralSwitch"),
    "marginCollateral",
}


def told(product: str) -> dict[str, dict[str, Any]]:
    """The last item of each family after a market order, of which a part closes a position on contracts."""
    account = Account(1)
    market = Market(Listing().instrument(product, "BTCUSDT"), 1, NOW_NS)
    account.take(market, is_buy=True, lots=3, now_ns=NOW_NS)
    account.take(market, is_buy=False, lots=2, now_ns=NOW_NS)
    return {each.family: each.items[-1] for each in account.drain()[0]}


def test_order_of_keys_is_the_venues() -> None:
    """Dossier 6.1 to 6.5, a contract's rows."""
    rows = told("linear")
    assert list(rows["order"]) == ORDER.split()
    assert list(rows["execution"]) == EXECUTION.split()
    assert list(rows["execution.fast"]) == FAST.split()
    assert list(rows["position"]) == POSITION.split()
    assert list(rows["wallet"]) == WALLET.split()
    assert list(rows["wallet"]["coin"][0]) == COIN.split()


def test_spot_executions_have_no_create_type() -> None:
    """Dossier 6.2; and there is no position on spot."""
    rows = told("spot")
    assert list(rows["execution"]) == [name for name in EXECUTION.split() if name != "createType"]
    assert "position" not in rows


@pytest.mark.parametrize("product", ["linear", "spot"])
def test_types_are_the_venues(product: str) -> None:
    """Numbers are decimal texts but for the few that are ints; no text has an exponent or a needless zero."""
    rows = told(product)
    rows["coin"] = rows["wallet"].pop("coin")[0]
    for row in rows.values():
        for name, value in row.items():
            if name == "cumFeeDetail":
                assert [type(fee) for fee in value.values()] == [str]
            elif name in BOOLEANS:
                assert type(value) is bool, name
            elif name in NUMBERS:
                assert type(value) is int, name
            else:
                assert type(value) is str, name
                assert not re.search(r"\d[eE]|\.\d*0$|^-0$", value) or name.endswith("Id"), (name, value)


def test_position_that_was_never_traded_says_minus_one_as_text() -> None:
    """Dossier 6.4."""
    account = Account(1)
    market = Market(Listing().instrument("linear", "BTCUSDT"), 1, NOW_NS)
    account.place(market, is_buy=True, ticks=-market.bids.keys[3], lots=1, now_ns=NOW_NS)
    position = next(each.items[0] for each in account.drain()[0] if each.family == "position")
    assert (position["seq"], position["side"], position["size"]) == ("-1", "", "0")
    assert (position["entryPrice"], position["unrealisedPnl"]) == ("0", "0")
    assert position["createdTime"] <= position["updatedTime"]


def test_wallet_totals_are_in_usd() -> None:
    """Each coin at its price; one without a price counts nothing."""
    ledger = Ledger()
    prices = {"USDT": Decimal(1), "BTC": Decimal(80_000)}
    row = wallet_row(ledger, prices)
    assert row["totalWalletBalance"] == "280000"
    assert row["totalEquity"] == row["totalMarginBalance"] == row["totalAvailableBalance"] == "280000"
    assert [(coin["coin"], coin["usdValue"]) for coin in row["coin"]] == [
        ("USDT", "200000"),
        ("USDC", "0"),
        ("BTC", "80000"),
        ("ETH", "0"),
    ]
    assert wallet_row(ledger, {})["accountIMRate"] == "0"


def test_greeks() -> None:
    """Dossier 6.6."""
    assert greeks_row("ETH", 0.07, -1e-8, 0.0, -12.5) == {
        "baseCoin": "ETH",
        "totalDelta": "0.07",
        "totalGamma": "-0.00000001",
        "totalVega": "0",
        "totalTheta": "-12.5",
    }
