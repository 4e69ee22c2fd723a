"""Bybit's topic grammar, and which product serves which topic (dossier 1.2 and 4).

The builders at the end make topics for scripts: ``topics.orderbook(50, "BTCUSDT")``.
"""

import difflib
import re
from typing import Final

import msgspec

from feedhandler.bybit.products import PRODUCTS, Nature, Product, Stream
from feedhandler.errors import FeedError


class TopicError(FeedError, ValueError):
    """A topic that the product does not serve; the text says why and what would be right."""


class Topic(msgspec.Struct, frozen=True):
    """A topic taken apart: ``orderbook.50.BTCUSDT`` is stream ``orderbook.50`` of symbol ``BTCUSDT``."""

    text: str
    stream: Stream
    symbol: str


# One word of a symbol: capital letters, digits, and the letters of scripts without capitals (Bybit lists such coins).
_WORD = r"[^\W_a-z]+"
_DATE = r"\d{1,2}(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)\d{2}"
_BASE: Final = re.compile(_WORD)
_SYMBOLS: Final = {
    "spot": (re.compile(_WORD), "BTCUSDT"),
    "linear": (
        re.compile(rf"{_WORD}(?:USDT|USDC|PERP)(?:-{_DATE})?|{_WORD}-{_DATE}"),
        "BTCUSDT, BTCPERP, BTCUSDT-25DEC26",
    ),
    "inverse": (re.compile(rf"{_WORD}USD(?:[FGHJKMNQUVXZ]\d{{2}})?"), "BTCUSD, BTCUSDZ26"),
    "option": (re.compile(rf"{_WORD}-{_DATE}-\d+(?:\.\d+)?-[CP](?:-USDT)?"), "BTC-25DEC26-100000-C-USDT"),
}
_POOLS: Final = re.compile("USDT|USDC|inverse")
_STATUS: Final = re.compile("status")

# Families whose name has a second word; the others are followed by the symbol at once.
_TWO_WORDS: Final = ("orderbook", "kline")
_PRIVATE: Final = ("order", "execution", "position", "wallet", "greeks", "dcp")
_RETIRED: Final = {
    "liquidation": "the venue replaced it by allLiquidation",
    "orderbook.500": "the venue removed it; orderbook.200 and orderbook.1000 are served",
}


def split(topic: str) -> tuple[str, str]:
    """Split a topic into stream name and the rest: ``("orderbook.50", "BTCUSDT")``."""
    family, _, rest = topic.partition(".")
    if family in _TWO_WORDS:
        word, _, rest = rest.partition(".")
        return f"{family}.{word}", rest
    return family, rest


def parse(product: str, topic: str) -> Topic:
    """Take ``topic`` apart as ``product`` serves it; raise `TopicError` where it does not."""
    name, symbol = split(topic)
    # A misspelt family hides that its name has two words, so all words before the symbol are compared.
    stream = _stream(PRODUCTS[product], name, topic, topic.rpartition(".")[0])
    _check_symbol(product, stream, symbol, topic)
    return Topic(topic, stream, symbol)


def check_stream(product: str, name: str) -> Stream:
    """Return the stream ``name`` of ``product``; raise `TopicError` where it is not served."""
    return _stream(PRODUCTS[product], name, name, name)


def nature(product: str, topic: str) -> Nature:
    """Return the nature of any topic, also of one that passed unchecked.

    A stream unknown to us is an event stream: publishing every frame as it came is always right. A book of
    unknown depth is still a book.
    """
    name, _ = split(topic)
    stream = PRODUCTS[product].stream(name)
    if stream is not None:
        return stream.nature
    return Nature.BOOK if name.startswith("orderbook.") else Nature.EVENT


def _stream(product: Product, name: str, topic: str, likely: str) -> Stream:
    stream = product.stream(name)
    if stream is not None:
        return stream
    served = [other.name for other in product.streams]
    if name in _RETIRED:
        raise TopicError(f'"{topic}" is no longer served: {_RETIRED[name]}')
    elsewhere = [other.name for other in PRODUCTS.values() if other.stream(name) is not None]
    if elsewhere:
        raise TopicError(
            f'{product.name} does not serve "{topic}"; {" and ".join(elsewhere)} {"does" if len(elsewhere) == 1 else "do"}'
        )
    family, _, _ = name.partition(".")
    if family in _PRIVATE:
        raise TopicError(f'{product.name} does not serve "{topic}": {family} is a private stream')
    if words := [other.removeprefix(f"{family}.") for other in served if other.startswith(f"{family}.")]:
        raise TopicError(f'{product.name} does not serve "{topic}"; of {family} it serves {", ".join(words)}')
    near = difflib.get_close_matches(likely, served, n=1) or difflib.get_close_matches(name, served, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"it serves {', '.join(_short(served))}"
    raise TopicError(f'{product.name} does not serve "{topic}"; {hint}')


def _short(names: list[str]) -> list[str]:
    klines = [name for name in names if name.startswith("kline.")]
    others = [name for name in names if name not in klines]
    return [*others, f"kline.{{{','.join(name.removeprefix('kline.') for name in klines)}}}"] if klines else others


def _check_symbol(product: str, stream: Stream, symbol: str, topic: str) -> None:
    if stream.by == "pool":
        pattern, example = _POOLS, "USDT, USDC, inverse"
    elif stream.by == "base":
        pattern, example = _BASE, "BTC"
    elif stream.by == "word":
        pattern, example = _STATUS, "status"
    else:
        pattern, example = _SYMBOLS[product]
    if not symbol:
        raise TopicError(f'"{topic}" names no {stream.by}; write "{stream.name}.{example.split(",", 1)[0]}"')
    if pattern.fullmatch(symbol):
        return
    if pattern.fullmatch(symbol.upper()):
        raise TopicError(f'"{topic}": {stream.by} "{symbol}" must be in capitals; did you mean "{symbol.upper()}"?')
    raise TopicError(f'"{topic}": "{symbol}" is no {stream.by} of {product}; they look like {example}')


def orderbook(depth: int | str, symbol: str) -> str:
    """Order book of ``depth`` levels a side: 1, 50, 200, 1000, ``"rpi"``, ``"full"``; options 25 and 100."""
    return f"orderbook.{depth}.{symbol}"


def trades(symbol: str) -> str:
    """Public trades of a symbol; on options of a base coin."""
    return f"publicTrade.{symbol}"


def tickers(symbol: str) -> str:
    """Ticker of a symbol."""
    return f"tickers.{symbol}"


def kline(interval: int | str, symbol: str) -> str:
    """Candles; intervals are minutes (1 to 720) or ``D``, ``W``, ``M``."""
    return f"kline.{interval}.{symbol}"


def liquidations(symbol: str) -> str:
    """All liquidations of a symbol (linear and inverse)."""
    return f"allLiquidation.{symbol}"


def price_limit(symbol: str) -> str:
    """Highest buy and lowest sell price the venue accepts."""
    return f"priceLimit.{symbol}"
