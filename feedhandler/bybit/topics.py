"""Bybit's topic grammar, and which product serves which topic (dossier 1.2 and 4).

The builders at the end make topics for scripts: ``topics.orderbook(50, "BTCUSDT")``.
"""

import difflib
import re
from collections.abc import Iterable
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
_LEG = rf"{_WORD}(?:/{_WORD}|-{_DATE})?"
_BASE: Final = (re.compile(_WORD), "BTC")
_SYMBOLS: Final = {
    "spot": (re.compile(_WORD), "BTCUSDT"),
    "linear": (
        re.compile(rf"{_WORD}(?:USDT|USDC|PERP)(?:-{_DATE})?|{_WORD}-{_DATE}"),
        "BTCUSDT, BTCPERP, BTCUSDT-25DEC26",
    ),
    "inverse": (re.compile(rf"{_WORD}USD(?:[FGHJKMNQUVXZ]\d{{2}})?"), "BTCUSD, BTCUSDZ26"),
    "option": (re.compile(rf"{_WORD}-{_DATE}-\d+(?:\.\d+)?-[CP](?:-USDT)?"), "BTC-25DEC26-100000-C-USDT"),
    "spread": (re.compile(rf"{_LEG}_{_LEG}"), "SOLUSDT_SOL/USDT"),
}

# Families whose name has a second word; the others are followed by the symbol at once, but for the streams whose name
# has dots of its own.
_TWO_WORDS: Final = ("orderbook", "kline")
_PRIVATE: Final = PRODUCTS["private"]
_DOTTED: Final = (*(stream.name for stream in _PRIVATE.streams if "." in stream.name), "rfq.open.public.trades")
_RETIRED: Final = {
    "liquidation": "the venue replaced it by allLiquidation",
    "orderbook.500": "the venue removed it; orderbook.200 and orderbook.1000 are served",
}
_NEAR_NAME: Final = 0.7
_NEAR_WORD: Final = 0.8
"""How alike a misspelt name of a stream, or the word behind it, must be to a right one, from 0 to 1 (`difflib`)."""


def split(topic: str) -> tuple[str, str]:
    """Split a topic into stream name and the rest: ``("orderbook.50", "BTCUSDT")``, ``("execution.fast", "linear")``."""
    for name in _DOTTED:
        if topic == name or topic.startswith(f"{name}."):
            return name, topic[len(name) + 1 :]
    family, _, rest = topic.partition(".")
    if family in _TWO_WORDS:
        word, _, rest = rest.partition(".")
        return f"{family}.{word}", rest
    return family, rest


def parse(product: str, topic: str) -> Topic:
    """Take ``topic`` apart as ``product`` serves it; raise `TopicError` where it does not."""
    name, symbol = split(topic)
    stream = _stream(PRODUCTS[product], name, topic)
    if topic != name or not stream.alone:
        _check_symbol(product, stream, symbol, topic)
    return Topic(topic, stream, symbol)


def check_stream(product: str, name: str) -> Stream:
    """Return the stream ``name`` of ``product``; raise `TopicError` where it is not served."""
    return _stream(PRODUCTS[product], name, name)


def nature(product: str, topic: str) -> Nature:
    """Return the nature of any topic, also of one that passed unchecked.

    A stream that only other products serve has the nature it has there. One unknown to us is an event stream:
    publishing every frame as it came is always right. A book of unknown depth is still a book.
    """
    name, _ = split(topic)
    for known in (PRODUCTS[product], *PRODUCTS.values()):
        if (stream := known.stream(name)) is not None:
            return stream.nature
    return Nature.BOOK if name.startswith("orderbook.") else Nature.EVENT


def example(product: str, stream: Stream) -> str:
    """Return a topic of ``stream`` as ``product`` serves it."""
    if stream.alone:
        return stream.name
    _, text = _BASE if stream.by == "base" else _SYMBOLS.get(product, (None, ""))
    return f"{stream.name}.{stream.words[0] if stream.words else text.split(', ', 1)[0]}"


def refusals(private_topics: Iterable[str], *, allow_dcp: bool = False) -> dict[str, str]:
    """Say which topics of one private endpoint are wrong together, and why, by topic; empty = none (dossier 6).

    Each must have passed `parse` for itself. ``allow_dcp``: the user knows that our connection keeps the venue's
    cancelling of all orders from firing while the strategy is dead.
    """
    wanted = list(private_topics)
    found = {}
    for topic in wanted:
        name, category = split(topic)
        if name == "dcp" and not allow_dcp:
            found[topic] = (
                f'"{topic}": while this feed is connected, the venue will not cancel your orders when your strategy dies;'
                " say allow_dcp = true if that is meant"
            )
        elif category and name in wanted:
            found[topic] = f'"{topic}": the venue takes "{name}" or its categories, not both; "{name}" has them all'
    return found


def _stream(product: Product, name: str, topic: str) -> Stream:
    stream = product.stream(name)
    if stream is not None:
        return stream
    served = [other.name for other in product.streams]
    if name in _RETIRED:
        raise TopicError(f'"{topic}" is no longer served: {_RETIRED[name]}')
    family, _, _ = name.partition(".")
    if product is not _PRIVATE and _PRIVATE.stream(name) is not None:
        raise TopicError(f'{product.name} does not serve "{topic}": {name} is a private stream')
    elsewhere = [other.name for other in PRODUCTS.values() if other.stream(name) is not None]
    if elsewhere:
        raise TopicError(
            f'{product.name} does not serve "{topic}"; {" and ".join(elsewhere)} {"does" if len(elsewhere) == 1 else "do"}'
        )
    if words := [other.removeprefix(f"{family}.") for other in served if other.startswith(f"{family}.")]:
        raise TopicError(f'{product.name} does not serve "{topic}"; of {family} it serves {", ".join(words)}')
    # A misspelt family hides that its name has several words, so all words are compared, and those before the symbol.
    spelt = (topic, topic.rpartition(".")[0], name)
    alike, near = max((difflib.SequenceMatcher(None, word, other).ratio(), other) for other in served for word in spelt)
    hint = f'did you mean "{near}"?' if alike >= _NEAR_NAME else f"it serves {', '.join(_short(served))}"
    raise TopicError(f'{product.name} does not serve "{topic}"; {hint}')


def _short(names: list[str]) -> list[str]:
    klines = [name for name in names if name.startswith("kline.")]
    others = [name for name in names if name not in klines]
    return [*others, f"kline.{{{','.join(name.removeprefix('kline.') for name in klines)}}}"] if klines else others


def _check_symbol(product: str, stream: Stream, symbol: str, topic: str) -> None:
    if not stream.by:
        raise TopicError(f'"{topic}": nothing follows {stream.name}; write "{stream.name}"')
    if not symbol:
        raise TopicError(f'"{topic}" names no {stream.by}; write "{example(product, stream)}"')
    pattern, looks = _BASE if stream.by == "base" else _SYMBOLS.get(product, _BASE)
    if stream.words:
        pattern, looks = re.compile("|".join(stream.words)), ", ".join(stream.words)
    if pattern.fullmatch(symbol):
        return
    if pattern.fullmatch(symbol.upper()):
        raise TopicError(f'"{topic}": {stream.by} "{symbol}" must be in capitals; did you mean "{symbol.upper()}"?')
    if near := difflib.get_close_matches(symbol.lower(), stream.words, n=1, cutoff=_NEAR_WORD):
        raise TopicError(f'"{topic}": "{symbol}" is no {stream.by} of {stream.name}; did you mean "{near[0]}"?')
    whose = stream.name if stream.by == "category" else product
    raise TopicError(f'"{topic}": "{symbol}" is no {stream.by} of {whose}; they look like {looks}')


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
