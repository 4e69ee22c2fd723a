"""The fields of every public message, list by list as the dossier has them (section 4); the private ones are section 6's.

A word in brackets is the type, where it is not text: a number, a level, or a row of them.
"""

import re
from typing import Any, Final

import pytest
from msgspec import inspect

from feedhandler.bybit import messages

LISTS: Final[dict[str, tuple[Any, str]]] = {
    "4.1": (messages.Book, "s b(list) a(list) u(int) seq(int)"),
    "4.2": (messages.RpiBook, "s b(list) a(list) u(int) seq(int)"),
    "4.4": (messages.Trade, "T(int) s S v p L i BT(bool) RPI(bool) seq(int) mP iP mIv iv"),
    "4.5 linear and inverse": (
        messages.FuturesTicker,
        """
        symbol tickDirection price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h prevPrice1h markPrice indexPrice
        openInterest openInterestValue singleOpenInterest singleOpenInterestValue turnover24h volume24h
        fundingIntervalHour fundingCap nextFundingTime fundingRate bid1Price bid1Size ask1Price ask1Size deliveryTime
        basisRate deliveryFeeRate predictedDeliveryPrice basis basisRateYear preOpenPrice preQty curPreListingPhase
        """,
    ),
    "4.5 option": (
        messages.OptionTicker,
        """
        symbol bidPrice bidSize bidIv askPrice askSize askIv lastPrice highPrice24h lowPrice24h markPrice indexPrice
        markPriceIv underlyingPrice openInterest turnover24h volume24h totalVolume totalTurnover delta gamma vega theta
        predictedDeliveryPrice change24h
        """,
    ),
    "4.5 spot": (
        messages.SpotTicker,
        """
        symbol lastPrice highPrice24h lowPrice24h prevPrice24h volume24h turnover24h price24hPcnt usdIndexPrice
        """,
    ),
    "4.5 spread": (
        messages.SpreadTicker,
        "symbol bidPrice bidSize askPrice askSize lastPrice highPrice24h lowPrice24h prevPrice24h volume24h",
    ),
    "4.6": (
        messages.Candle,
        "start(int) end(int) interval open close high low volume turnover confirm(bool) timestamp(int)",
    ),
    "4.7": (messages.Liquidation, "T(int) s S v p"),
    "4.8": (messages.OldLiquidation, "updatedTime(int) symbol side size price"),
    "4.9": (messages.InsurancePool, "coin symbols balance updateTime"),
    "4.10": (messages.AdlAlert, "c s b mb i_pr pr adl_tt adl_sr"),
    "4.11": (messages.PriceLimit, "symbol buyLmt sellLmt"),
    "4.12": (
        messages.SystemStatus,
        """
        id title state begin end href serviceTypes(list) product(list) uidSuffix(list) maintainType(int) env(int)
        """,
    ),
    "4.13 candles": (
        messages.TokenCandle,
        "start(int) end(int) interval open close high low confirm(bool) timestamp(int)",
    ),
    "4.13 tickers": (messages.TokenTicker, "symbol price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h"),
    "4.13 tokens": (
        messages.TokenValue,
        "time(int) symbol nav basketPosition leverage basketLoan circulation basket",
    ),
}
_SORTS: Final = (
    (inspect.ListType, "list"),
    (inspect.BoolType, "bool"),
    (inspect.CustomType, "text"),
    (inspect.StrType, "text"),
    (inspect.LiteralType, "text"),
    (inspect.IntType, "int"),
)


class Number:
    """Stands for what prices and sizes become."""


@pytest.mark.parametrize("section", LISTS)
def test_4_every_field_has_its_name_and_type(section: str) -> None:
    """4: each field of the list, and no other; deprecated and removed ones too."""
    struct, text = LISTS[section]
    shape = inspect.type_info(struct if struct is messages.SystemStatus else struct[Number])
    assert isinstance(shape, inspect.StructType)
    found = {}
    for field in shape.fields:
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        found[field.encode_name] = next(sort for kind, sort in _SORTS if any(isinstance(one, kind) for one in kinds))
    assert found == {name: sort or "text" for name, sort in re.findall(r"(\w+)(?:\((\w+)\))?", text)}


def test_4_envelope() -> None:
    """4 and 6: ``topic`` and ``data`` always; ``type`` and times where the topic has them."""
    shape = inspect.type_info(messages.Message[int])
    assert isinstance(shape, inspect.StructType)
    names = {field.encode_name: field.required for field in shape.fields}
    assert [name for name, required in names.items() if required] == ["topic", "data"]
    assert set(names) == {"topic", "type", "ts", "data", "cts", "cs", "id", "creationTime"}
