"""Private messages: every field that the dossier lists (section 6), by its name and type, and the venue's quirks."""

import json
import re
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from msgspec import UNSET, inspect

from feedhandler.bybit import messages
from feedhandler.bybit.messages import decoder, words
from feedhandler.bybit.products import PRODUCTS


def frame(topic: str, *rows: dict[str, Any], **rest: Any) -> bytes:
    return json.dumps({"id": "m-1", "topic": topic, "creationTime": 1790000000123, "data": rows, **rest}).encode()


# The lists of the dossier, as they stand there. A word in brackets is the type, where it is not text.

LISTS: Final[dict[Any, str]] = {
    messages.Order: """
        category symbol orderId orderLinkId parentOrderLinkId isLeverage blockTradeId price brokerOrderPrice qty side
        positionIdx(int) orderStatus createType cancelType rejectReason avgPrice leavesQty leavesValue cumExecQty
        cumExecValue cumExecFee closedPnl feeCurrency timeInForce orderType stopOrderType ocoTriggerBy orderIv marketUnit
        slippageToleranceType slippageTolerance triggerPrice takeProfit stopLoss tpslMode tpLimitPrice slLimitPrice
        tpTriggerBy slTriggerBy triggerDirection(int) triggerBy lastPriceOnCreated reduceOnly(bool) closeOnTrigger(bool)
        placeType smpType smpGroup(int) smpOrderId createdTime updatedTime cumFeeDetail(object) rpiTakerAccess(bool)
        rpiMatchedQty tpSlMode
    """,
    messages.Execution: """
        category symbol isLeverage orderId orderLinkId side orderPrice orderQty leavesQty createType orderType
        stopOrderType execFee execId execPrice execQty execPnl execType execValue execTime isMaker(bool) feeRate tradeIv
        markIv markPrice indexPrice underlyingPrice blockTradeId closedSize extraFees(list) seq(int) feeCurrency
        marketUnit
    """,
    messages.FastExecution: """
        category symbol orderId isMaker(bool) orderLinkId execId execPrice execQty side execTime seq(int)
    """,
    messages.Position: """
        category symbol side size positionIdx(int) positionValue riskId(int) riskLimitValue entryPrice markPrice leverage
        breakEvenPrice autoAddMargin(int) positionIM positionMM positionIMByMp positionMMByMp liqPrice takeProfit
        stopLoss trailingStop unrealisedPnl curRealisedPnl sessionAvgPrice delta gamma vega theta cumRealisedPnl
        positionStatus adlRankIndicator(int) isReduceOnly(bool) createdTime updatedTime openTime(int) seq(int)
        mmrSysUpdatedTime leverageSysUpdatedTime tpslMode bustPrice positionBalance tradeMode(int) tpSlMode
    """,
    messages.Wallet: """
        accountType accountIMRate accountMMRate totalEquity totalWalletBalance totalMarginBalance totalAvailableBalance
        totalPerpUPL totalInitialMargin totalMaintenanceMargin accountIMRateByMp accountMMRateByMp
        totalInitialMarginByMp totalMaintenanceMarginByMp accountLTV coin(list)
    """,
    messages.Coin: """
        coin equity usdValue walletBalance locked spotHedgingQty borrowAmount accruedInterest totalOrderIM
        totalPositionIM totalPositionMM unrealisedPnl cumRealisedPnl bonus collateralSwitch(bool) marginCollateral(bool)
        colRes spotBorrow free availableToBorrow availableToWithdraw
    """,
    messages.Greeks: "baseCoin totalDelta totalGamma totalVega totalTheta",
    messages.Strategy: """
        strategyId strategyType category symbol size side duration(int) status(int) terminateType(int) terminateRemark
        executedDuration(int) executedSize executedAvgPrice executedStartTimeE3(int) executedEndTimeE3(int)
        createdTimeE3(int) updatedTimeE3(int) isRandom(bool) reduceOnly(bool) limitPrice triggerCount(int)
        tradingCount(int) chaseDistance ChasePercentE4(int) maxChasePrice chaseOrderPrice strategyPrefer interval(int)
        leverageType(int) postOnly(int) triggerPrice isTriggered(bool) strategyTp strategySl orderType orderPriceOffset
        positionValue filledPositionValue
    """,
    messages.SpreadOrder: """
        category symbol parentOrderId orderId orderLinkId side orderStatus cancelType rejectReason timeInForce price qty
        avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee orderType isLeverage createdTime updatedTime
        feeCurrency createType closedPnl cumFeeDetail(object)
    """,
    messages.SpreadExecution: """
        category symbol isLeverage orderId orderLinkId side orderPrice orderQty leavesQty createType orderType execFee
        execFeeV2 feeCoin parentExecId execId execPrice execQty execPnl execType execValue execTime isMaker(bool) feeRate
        markPrice closedSize seq(int)
    """,
    messages.Rfq: """
        rfqId rfqLinkId counterparties(list) expiresAt strategyType status acceptOtherQuoteStatus deskCode createdAt
        updatedAt legs(list)
    """,
    messages.RfqLeg: "category symbol side qty",
    messages.Quote: """
        rfqId rfqLinkId quoteId quoteLinkId expiresAt deskCode status execQuoteSide createdAt updatedAt
        quoteBuyList(list) quoteSellList(list)
    """,
    messages.QuoteLeg: "category symbol price qty",
    messages.RfqTrade: """
        rfqId rfqLinkId quoteId quoteLinkId quoteSide strategyType status rfqDeskCode quoteDeskCode createdAt updatedAt
        legs(list)
    """,
    messages.RfqTradeLeg: """
        category orderId symbol side price qty markPrice execFee execId resultCode(int) resultMessage rejectParty
    """,
    messages.PublicBlockTrade: "rfqId strategyType createdAt updatedAt legs(list)",
    messages.PublicBlockTradeLeg: "category symbol side price qty markPrice",
}
_SORTS: Final[list[tuple[type[inspect.Type], str]]] = [
    (inspect.ListType, "list"),
    (inspect.DictType, "object"),
    (inspect.BoolType, "bool"),
    (inspect.CustomType, "text"),
    (inspect.StrType, "text"),
    (inspect.LiteralType, "text"),
    (inspect.IntType, "int"),
]


class Number:
    """Stands for what a Struct's numbers become."""


def sort_of(found: inspect.Type) -> str:
    """Return how the venue writes a field of this type; a time that may be ``""`` is written as text."""
    kinds = found.types if isinstance(found, inspect.UnionType) else (found,)
    return next(sort for kind, sort in _SORTS if any(isinstance(one, kind) for one in kinds))


@pytest.mark.parametrize("struct", LISTS, ids=lambda struct: struct.__name__)
def test_every_field_of_the_list_is_there(struct: Any) -> None:
    """Each field of the dossier's list, and no other, under its wire name and with its type."""
    listed = {name: sort or "text" for name, sort in re.findall(r"(\w+)(?:\((\w+)\))?", LISTS[struct])}
    shape = inspect.type_info(struct[Number])
    assert isinstance(shape, inspect.StructType)
    assert {field.encode_name: sort_of(field.type) for field in shape.fields} == listed


@pytest.mark.parametrize("struct", LISTS, ids=lambda struct: struct.__name__)
def test_only_the_key_of_a_row_must_be_there(struct: Any) -> None:
    """Older frames lack fields, and the venue drops some: a row with its key alone is a row."""
    shape = inspect.type_info(struct[Number])
    assert isinstance(shape, inspect.StructType)
    required = [field.encode_name for field in shape.fields if field.required]
    assert len(required) == (0 if struct is messages.Wallet else 1)
    row = msgspec.convert(dict.fromkeys(required, "k"), struct[str])
    assert all(getattr(row, field.name) is UNSET for field in shape.fields if not field.required)


TOPICS: Final = {
    "order": messages.Order,
    "execution": messages.Execution,
    "execution.fast": messages.FastExecution,
    "position": messages.Position,
    "wallet": messages.Wallet,
    "greeks": messages.Greeks,
    "strategy": messages.Strategy,
    "spread.order": messages.SpreadOrder,
    "spread.execution": messages.SpreadExecution,
    "rfq.open.rfqs": messages.Rfq,
    "rfq.open.quotes": messages.Quote,
    "rfq.open.trades": messages.RfqTrade,
}
KEYS: Final = {
    "orderId": "o",
    "execId": "e",
    "symbol": "X",
    "baseCoin": "ETH",
    "strategyId": "s",
    "rfqId": "r",
    "quoteId": "q",
}


@pytest.mark.parametrize("product", ["private", ""])
@pytest.mark.parametrize("stream", TOPICS)
def test_every_private_stream_has_its_struct(product: str, stream: str) -> None:
    """Alone and by category, with the envelope of private messages; but for dcp, which has no messages."""
    found = PRODUCTS["private"].stream(stream)
    assert found is not None
    for topic in (stream, *(f"{stream}.{category}" for category in found.words)):
        message = decoder(product, topic)(frame(topic, KEYS))
        assert (message.topic, message.id, message.creation_time_ms) == (topic, "m-1", 1790000000123)
        assert (message.time_ms, message.type) == (UNSET, UNSET)
        assert [type(row) for row in message.data] == [TOPICS[stream]]
    assert {*TOPICS, "dcp"} == {one.name for one in PRODUCTS["private"].streams}


def test_fast_execution_has_no_id_on_its_envelope() -> None:
    """Usually none (dossier 6.3)."""
    payload = (
        b'{"topic":"execution.fast","creationTime":5,"data":[{"execId":"e","orderLinkId":"","seq":140612148849382}]}'
    )
    message = decoder("private", "execution.fast")(payload)
    assert (message.id, message.creation_time_ms) == (UNSET, 5)
    assert (message.data[0].order_link_id, message.data[0].venue_sequence) == ("", 140612148849382)


ORDER: Final = {
    "category": "linear", "symbol": "BTCUSDT", "orderId": "o-1", "orderLinkId": "mine", "side": "Buy",
    "orderType": "Limit", "price": "27673.40", "qty": "0.001", "avgPrice": "", "leavesQty": "0.001", "cumExecQty": "0",
    "orderStatus": "New", "createdTime": "1682917170023", "updatedTime": "", "reduceOnly": False, "positionIdx": 0,
    "isLeverage": "", "cumFeeDetail": {"MNT": "0.00242968", "USDT": "0.50"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "price", "fee"),
    [(float, 27673.4, 0.5), (Decimal, Decimal("27673.40"), Decimal("0.50")), (str, "27673.40", "0.50")],
)
def test_order(numbers: type, price: Any, fee: Any) -> None:
    """Numbers as asked for, empty texts as they are, times as Unix ms, what is absent UNSET."""
    (order,) = decoder("private", "order", numbers)(frame("order", ORDER)).data
    assert (order.order_id, order.order_link_id, order.side) == ("o-1", "mine", words.Side.BUY)
    assert (order.price, type(order.price), order.average_price, order.trigger_price) == (price, numbers, "", UNSET)
    assert (order.created_ms, order.updated_ms) == (1682917170023, "")
    assert (order.reduce_only, order.position_index, order.is_leverage) == (False, 0, "")
    assert (order.fees_by_coin["USDT"], type(order.fees_by_coin["USDT"])) == (fee, numbers)


def test_two_filled_of_a_cancel_that_came_too_late() -> None:
    """The reject reason tells them apart (dossier 6.1)."""
    filled = {**ORDER, "orderStatus": "Filled", "rejectReason": "EC_NoError"}
    late = {**filled, "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}
    first, second = decoder("private", "order")(frame("order", filled, late)).data
    assert first.status == second.status == words.OrderStatus.FILLED
    assert (first.reject_reason, second.reject_reason) == ("EC_NoError", "EC_OrigClOrdIDDoesNotExist")


@pytest.mark.parametrize("numbers", [float, Decimal, str])
@pytest.mark.parametrize("nothing", ["", None], ids=["empty text", "null"])
def test_collections_may_be_nothing(nothing: str | None, numbers: type) -> None:
    """Extra fees are a list or an empty text (dossier 6.2); what nobody made is null."""
    row = {"execId": "e", "extraFees": nothing}
    assert decoder("private", "execution", numbers)(frame("execution", row)).data[0].extra_fees == nothing
    row = {"orderId": "o", "cumFeeDetail": nothing}
    for topic in ("order", "spread.order"):
        assert decoder("private", topic, numbers)(frame(topic, row)).data[0].fees_by_coin == nothing


def test_execution_with_extra_fees() -> None:
    """Each is a Struct with its numbers as asked for."""
    fee = {"feeCoin": "USDT", "feeType": "GST", "subFeeType": "IND_GST", "feeRate": "0.0000675", "fee": "0.0064"}
    row = {"execId": "e", "execFee": "-1.5", "seq": 140612148849382, "isMaker": True, "extraFees": [fee]}
    (execution,) = decoder("private", "execution", Decimal)(frame("execution", row)).data
    assert (execution.fee, execution.venue_sequence, execution.is_maker) == (Decimal("-1.5"), 140612148849382, True)
    assert execution.extra_fees == [
        messages.ExtraFee(
            fee_coin="USDT",
            fee_type="GST",
            sub_fee_type="IND_GST",
            fee_rate=Decimal("0.0000675"),
            fee=Decimal("0.0064"),
        )
    ]


@pytest.mark.parametrize("sequence", ["-1", -1])
def test_position_that_never_traded(sequence: Any) -> None:
    """Its sequence is -1, as text (dossier 6.4); a flat one has no side."""
    row = {"symbol": "BTCUSDT", "side": "", "size": "0", "leverage": "", "seq": sequence, "openTime": 0}
    (position,) = decoder("private", "position.linear")(frame("position.linear", row)).data
    assert (position.venue_sequence, position.side, position.size, position.leverage) == (-1, "", 0.0, "")


def test_spelling_of_2023() -> None:
    """``tpslMode`` was ``tpSlMode`` then (dossier 6.1)."""
    (order,) = decoder("private", "order")(frame("order", {**ORDER, "tpSlMode": "UNKNOWN"})).data
    assert (order.tpsl_mode, order.tpsl_mode_2023) == (UNSET, "UNKNOWN")


def test_wallet() -> None:
    """Coins inside; portfolio margin has empty texts (dossier 6.5)."""
    coin = {"coin": "BTC", "equity": "0.00102964", "totalOrderIM": "", "collateralSwitch": True, "colRes": "0"}
    row = {
        "accountType": "UNIFIED",
        "totalEquity": "10262.91",
        "accountIMRate": "",
        "totalPerpUPL": "-1",
        "coin": [coin],
    }
    (wallet,) = decoder("private", "wallet", Decimal)(frame("wallet", row)).data
    assert (wallet.total_equity, wallet.initial_margin_rate) == (Decimal("10262.91"), "")
    assert wallet.unrealised_pnl == Decimal(-1)
    (read,) = wallet.coins
    assert (read.coin, read.equity, read.order_initial_margin) == ("BTC", Decimal("0.00102964"), "")
    assert (read.collateral_switch, read.collateral_restriction, read.margin_collateral) == (True, "0", UNSET)


def test_strategy() -> None:
    """One key begins with a capital (dossier 6.7)."""
    row = {"strategyId": "s", "ChasePercentE4": 100, "createdTimeE3": 1776734716717, "status": 3, "limitPrice": ""}
    (strategy,) = decoder("private", "strategy")(frame("strategy", row)).data
    assert (strategy.chase_percent_e4, strategy.created_ms, strategy.limit_price) == (100, 1776734716717, "")
    assert strategy.status == words.StrategyStatus.TERMINATED


def test_quote() -> None:
    """Two lists of legs, one of which may be null."""
    leg = {"category": "linear", "symbol": "X", "price": "2", "qty": "1"}
    row = {"rfqId": "r", "quoteId": "q", "quoteBuyList": [leg], "quoteSellList": None, "expiresAt": "5"}
    (quote,) = decoder("private", "rfq.open.quotes")(frame("rfq.open.quotes", row)).data
    assert quote.buy_legs == [messages.QuoteLeg(symbol="X", category="linear", price=2.0, size=1.0)]
    assert (quote.sell_legs, quote.expires_ms) == (None, 5)


def test_unknown_words_come_through() -> None:
    """Lists grow: a word that is not known breaks nothing, and equals no member."""
    row = {**ORDER, "orderStatus": "Suspended", "side": "Auction", "timeInForce": "GTD", "brandNew": [{"x": 1}]}
    (order,) = decoder("private", "order")(frame("order", row, more={"y": 2})).data
    assert (order.status, order.side, order.time_in_force) == ("Suspended", "Auction", "GTD")
    assert order.status not in words.OPEN | words.CLOSED


def test_order_statuses_are_open_or_closed() -> None:
    """Each is one of the two (dossier 6.1)."""
    assert {status.value for status in words.OPEN} == {"New", "PartiallyFilled", "Untriggered"}
    assert words.OPEN.isdisjoint(words.CLOSED)
    assert set(words.OrderStatus) == words.OPEN | words.CLOSED


@pytest.mark.parametrize("number", ["abc", "1e", [], {}, None])
@pytest.mark.parametrize("numbers", [float, Decimal])
def test_what_is_no_number_is_an_error(number: Any, numbers: type) -> None:
    """A price that cannot be read is not guessed at, and the error says where it stands."""
    with pytest.raises(msgspec.DecodeError, match=r"\$\.data\[0\]\.price"):
        decoder("private", "order", numbers)(frame("order", {"orderId": "o", "price": number}))
