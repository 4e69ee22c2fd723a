"""Bybit's messages as Structs, and the decoder for each topic (dossier 4 and 6). Pure: no I/O, no clock.

The Structs are generic in ``N``, what prices, sizes and rates become: ``float`` (a correctly rounded double), ``Decimal``
(exact) or ``str`` (the venue's own text). Zero padding differs between products and depths: never compare the text.
Where the venue may send ``""`` for "not applicable", it stays ``""``, with every ``N``; a field that the message does not
have is ``msgspec.UNSET``. Fields not known here are ignored; words from a list that may grow (sides, phases, order
statuses) are plain strings, and `words` has those that are known. Times are Unix ms.
"""

import re
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from feedhandler.bybit import topics
from feedhandler.bybit.messages import words
from feedhandler.bybit.messages.account import Coin, Greeks, Position, Wallet
from feedhandler.bybit.messages.blocktrades import (
    PublicBlockTrade,
    PublicBlockTradeLeg,
    Quote,
    QuoteLeg,
    Rfq,
    RfqLeg,
    RfqTrade,
    RfqTradeLeg,
)
from feedhandler.bybit.messages.envelope import D, DecimalOrBlank, Message, N
from feedhandler.bybit.messages.orders import (
    Execution,
    ExtraFee,
    FastExecution,
    Order,
    SpreadExecution,
    SpreadOrder,
    Strategy,
)
from feedhandler.bybit.messages.public import (
    AdlAlert,
    Book,
    Candle,
    InsurancePool,
    Liquidation,
    PriceLimit,
    RpiBook,
    SystemStatus,
    Trade,
)
from feedhandler.bybit.messages.retired import OldLiquidation, TokenCandle, TokenTicker, TokenValue
from feedhandler.bybit.messages.tickers import FuturesTicker, OptionTicker, SpotTicker, SpreadTicker
from feedhandler.bybit.messages.uninterrupted import signals_held

__all__ = [
    "AdlAlert",
    "Book",
    "Candle",
    "Coin",
    "D",
    "Decode",
    "Execution",
    "ExtraFee",
    "FastExecution",
    "FuturesTicker",
    "Greeks",
    "InsurancePool",
    "Liquidation",
    "Message",
    "N",
    "OldLiquidation",
    "OptionTicker",
    "Order",
    "Position",
    "PriceLimit",
    "PublicBlockTrade",
    "PublicBlockTradeLeg",
    "Quote",
    "QuoteLeg",
    "Rfq",
    "RfqLeg",
    "RfqTrade",
    "RfqTradeLeg",
    "RpiBook",
    "SpotTicker",
    "SpreadExecution",
    "SpreadOrder",
    "SpreadTicker",
    "Strategy",
    "SystemStatus",
    "TokenCandle",
    "TokenTicker",
    "TokenValue",
    "Trade",
    "Wallet",
    "decoder",
    "words",
]

Decode = Callable[[bytes], Any]

# What a Struct's N becomes when float, Decimal or str is asked for.
_Numbers = dict[type, Any]
_ALWAYS: Final[_Numbers] = {float: float, Decimal: Decimal, str: str}
_OR_BLANK: Final[_Numbers] = {float: float | Literal[""], Decimal: DecimalOrBlank, str: str}
_TEXT_OR_NUMBER: Final[_Numbers] = {**_OR_BLANK, str: str | float}

_ONE: Final[dict[str, tuple[Any, _Numbers]]] = {
    "orderbook": (Book, _ALWAYS),
    "orderbook.rpi": (RpiBook, _ALWAYS),
    "priceLimit": (PriceLimit, _OR_BLANK),
    "liquidation": (OldLiquidation, _ALWAYS),
    "tickers_lt": (TokenTicker, _OR_BLANK),
    "lt": (TokenValue, _OR_BLANK),
}
_MANY: Final[dict[str, tuple[Any, _Numbers]]] = {
    "publicTrade": (Trade, _ALWAYS),
    "kline": (Candle, _ALWAYS),
    "kline_lt": (TokenCandle, _ALWAYS),
    "allLiquidation": (Liquidation, _ALWAYS),
    "insurance": (InsurancePool, _OR_BLANK),
    "adlAlert": (AdlAlert, _TEXT_OR_NUMBER),
    "rfq.open.public.trades": (PublicBlockTrade, _OR_BLANK),
    "order": (Order, _OR_BLANK),
    "execution": (Execution, _OR_BLANK),
    "execution.fast": (FastExecution, _OR_BLANK),
    "position": (Position, _OR_BLANK),
    "wallet": (Wallet, _OR_BLANK),
    "greeks": (Greeks, _OR_BLANK),
    "strategy": (Strategy, _OR_BLANK),
    "spread.order": (SpreadOrder, _OR_BLANK),
    "spread.execution": (SpreadExecution, _OR_BLANK),
    "rfq.open.rfqs": (Rfq, _OR_BLANK),
    "rfq.open.quotes": (Quote, _OR_BLANK),
    "rfq.open.trades": (RfqTrade, _OR_BLANK),
}
"""What `Message.data` is, or is a list of, by stream or family of streams; tickers are `_TICKERS`."""
_TICKERS: Final[dict[str, Any]] = {
    "spot": SpotTicker,
    "linear": FuturesTicker,
    "inverse": FuturesTicker,
    "option": OptionTicker,
    "spread": SpreadTicker,
}

_OPTION: Final = re.compile(r"-[CP](-|$)")
_decoders: dict[tuple[str, str, type], Decode] = {}
_built: dict[tuple[Any, bool], Decode] = {}


def decoder(product: str, topic: str, numbers: type = float) -> Decode:
    """Return the decoder for messages of ``topic``, built once for each.

    ``product`` tells apart what the same topic means on different products; with ``""`` the message's own shape decides.
    It gives a `Message` of `Book`, `RpiBook`, a ticker, `PriceLimit`, or of a list of any other Struct here; of plain
    JSON for any other topic (``dcp`` has no messages at all, dossier 6). It raises `msgspec.DecodeError`, a `ValueError`,
    and nothing else, where the bytes are not what the venue promises.
    """
    key = (product, topic, numbers)
    found = _decoders.get(key)
    if found is None:
        found = _decoders[key] = _choose(product, topic, numbers)
    return found


def _choose(product: str, topic: str, numbers: type) -> Decode:
    if numbers not in _ALWAYS:
        raise TypeError(f"numbers can be float, Decimal or str, not {numbers!r}")
    if topic == "system.status":
        return _build(SystemStatus, many=True)
    name, symbol = topics.split(topic)
    if name == "tickers":
        return _choose_ticker(product, symbol, numbers)
    family, _, _ = name.partition(".")
    for shapes in (_ONE, _MANY):
        if found := shapes.get(name) or shapes.get(family):
            struct, as_asked = found
            return _build(struct[as_asked[numbers]], many=shapes is _MANY)
    return _build(Any)


def _choose_ticker(product: str, symbol: str, numbers: type) -> Decode:
    if _OPTION.search(symbol):
        product = "option"
    elif "_" in symbol:
        product = "spread"
    number = _OR_BLANK[numbers]
    if product:
        return _build(_TICKERS.get(product, _TICKERS["linear"])[number])
    spot, futures = (_build(_TICKERS[name][number]) for name in ("spot", "linear"))
    # Only spot has this field, and always (dossier 4.5).
    return lambda payload: spot(payload) if b'"usdIndexPrice"' in payload else futures(payload)


def _build(item: Any, *, many: bool = False) -> Decode:
    key = (item, many)
    found = _built.get(key)
    if found is None:
        envelope: Any = Message
        shape = envelope[types.GenericAlias(list, (item,)) if many else item]
        with signals_held():
            # Not strict: the venue's numbers are text.
            read = msgspec.json.Decoder(shape, strict=False, dec_hook=_decimal_or_blank).decode

        def decode(payload: bytes) -> Any:
            try:
                return read(payload)
            except (RecursionError, UnicodeDecodeError) as error:  # nesting without end; bytes that are no UTF-8
                raise msgspec.DecodeError(str(error)) from error

        found = _built[key] = decode
    return found


def _decimal_or_blank(_kind: type, value: Any) -> Decimal | str:
    if value == "":
        return ""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        raise ValueError(f"{value!r:.40} is no number") from None
