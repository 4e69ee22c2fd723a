"""What the simulated Bybit lists: instruments by product and symbol. Pure.

Three rules, in this order:

1. the static catalogue of real names;
2. any well-formed base that contains a digit (``COIN17USDT``, ``SYM001USDT``, ``T5USD``) is listed on spot, linear
   and inverse, so that a test can have thousands of symbols; its first number is its rank beyond the catalogue's;
3. symbols added at start (``--symbols``).

Dated futures and options are listed by pattern, for the coins that have them, at any real date; so are spreads, of two
linear contracts of one coin or of one and the coin itself. Everything else is unknown to the venue and refused with the
product's text (dossier 3.4).
"""

import datetime as dt
import hashlib
import math
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from feedhandler.sim import catalogue

_WORD = r"[^\W_a-z]+"
_DATE = r"(?P<day>\d{1,2})(?P<month>JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(?P<year>\d{2})"
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_LETTERS: Final = "FGHJKMNQUVXZ"
_LINEAR: Final = re.compile(rf"(?P<base>{_WORD}?)(?P<quote>USDT|USDC|PERP)(?:-{_DATE})?")
_LINEAR_USDC_DATED: Final = re.compile(rf"(?P<base>{_WORD})-{_DATE}")
_INVERSE: Final = re.compile(rf"(?P<base>{_WORD}?)USD(?:(?P<letter>[{_MONTH_LETTERS}])(?P<year>\d{{2}}))?")
_OPTION: Final = re.compile(rf"(?P<base>{_WORD})-{_DATE}-(?P<strike>\d+(?:\.\d+)?)-(?P<right>[CP])(?P<usdt>-USDT)?")
_SPOT: Final = re.compile(rf"(?P<base>{_WORD}?)(?P<quote>{'|'.join(catalogue.SPOT_QUOTES)})")
_DIGITS: Final = re.compile(r"\d+")
_EXPIRY_HOUR: Final = 8
"""Futures and options are delivered at 08:00 UTC."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One listed symbol. Prices are counted in ticks, sizes in lots."""

    product: str
    symbol: str
    base: str
    kind: str
    """``spot``, ``perpetual``, ``dated``, ``option`` or ``spread``."""
    rank: int
    """Place in the order of activity, 0 = busiest."""
    price: float
    """What it trades at when the simulation begins, in quote coin."""
    tick: float
    price_decimals: int
    lot: float
    size_decimals: int
    expiry_ms: int = 0
    """Delivery, Unix ms; 0 = never."""
    strike: float = 0.0
    is_call: bool = False

    def price_text(self, ticks: int) -> str:
        """Return a price, padded to the tick: ``"82642.80"``."""
        return f"{ticks * self.tick:.{self.price_decimals}f}"

    @property
    def quote(self) -> str:
        """The coin that prices are in, of spot and linear."""
        if self.product == "spot":
            return self.symbol.removeprefix(self.base)
        return "USDT" if self.symbol.startswith(f"{self.base}USDT") else "USDC"

    def size_text(self, lots: int) -> str:
        """Return a size, padded to the lot: ``"0.200"``."""
        return f"{lots * self.lot:.{self.size_decimals}f}"


def trimmed(text: str) -> str:
    """Return a decimal text without its trailing zeros: ``"83805.50"`` becomes ``"83805.5"``."""
    return text.rstrip("0").rstrip(".") if "." in text else text


class Listing:
    """Looks symbols up; every instrument is built once."""

    def __init__(self, further: Iterable[str] = ()) -> None:
        """List the catalogue and ``further`` symbols, each on every product whose grammar it follows."""
        self._further = frozenset(further)
        self._found: dict[tuple[str, str], Instrument | None] = {}

    def find(self, product: str, symbol: str) -> Instrument | None:
        """Return the instrument, or None where ``product`` lists no such symbol."""
        key = (product, symbol)
        if key not in self._found:
            # Refusals are not kept: whoever asks for endless nonsense must not fill our memory.
            found = _FINDERS[product](symbol, symbol in self._further)
            if found is None:
                return None
            self._found[key] = found
        return self._found[key]

    def instrument(self, product: str, symbol: str) -> Instrument:
        """Return an instrument that is known to be listed; `LookupError` where it is not."""
        found = self.find(product, symbol)
        if found is None:
            raise LookupError(f"{product} does not list {symbol}")
        return found

    def has_base(self, base: str) -> bool:
        """Say whether ``base`` is a coin with options (``publicTrade.BTC``)."""
        return base in catalogue.OPTION_BASES

    def option_chain(self, base: str, now_ms: int) -> list[Instrument]:
        """Return contracts of ``base`` near the money, of the next two Fridays after ``now_ms``."""
        price = _usd_price(base)
        step = 10 ** math.floor(math.log10(price)) / 20
        middle = round(price / step)
        today = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).date()
        friday = today + dt.timedelta(days=(4 - today.weekday()) % 7 or 7)
        chain = []
        for weeks in (0, 1):
            date = friday + dt.timedelta(weeks=weeks)
            for offset in (-2, -1, 0, 1, 2):
                strike = trimmed(f"{(middle + offset) * step:.4f}")
                for right in "CP":
                    symbol = f"{base}-{date.day}{_MONTHS[date.month - 1]}{date.year % 100:02d}-{strike}-{right}-USDT"
                    chain.append(self.instrument("option", symbol))
        return chain

    def pool(self, product: str, pool: str) -> list[str]:
        """Return the symbols that an insurance pool of ``product`` names."""
        if pool == "inverse":
            return [f"{base}USD" for base in catalogue.INVERSE_BASES[:6]]
        bases = catalogue.LINEAR_BASES[200:208] if product == "linear" else catalogue.INVERSE_BASES[:4]
        return [f"{base}{'USDT' if pool == 'USDT' else 'PERP'}" for base in bases]


def _spot(symbol: str, further: bool) -> Instrument | None:
    match = _SPOT.fullmatch(symbol)
    if match is None:
        return None
    base, quote = match["base"], match["quote"]
    rank = _rank(base, catalogue.SPOT_BASES, further)
    if rank is None or base == quote:
        return None
    if quote != "USDT" and rank >= catalogue.BUSY_SPOT_BASES and not _has_digit(base) and not further:
        return None
    price = _usd_price(base) / catalogue.SPOT_QUOTES[quote]
    listed = catalogue.MAJORS.get(base) if catalogue.SPOT_QUOTES[quote] == 1.0 else None
    tick, price_decimals = _step(listed[3]) if listed else _tick_for(price)
    lot, size_decimals = _step(listed[4]) if listed else _lot_for(price, finer=2)
    return Instrument(
        product="spot",
        symbol=symbol,
        base=base,
        kind="spot",
        rank=rank + (0 if quote == "USDT" else 60),
        price=price,
        tick=tick,
        price_decimals=price_decimals,
        lot=lot,
        size_decimals=size_decimals,
    )


def _linear(symbol: str, further: bool) -> Instrument | None:
    match = _LINEAR.fullmatch(symbol)
    dated = _LINEAR_USDC_DATED.fullmatch(symbol) if match is None else None
    if match is None and dated is None:
        return None
    expiry_ms = 0
    if dated is not None or (match is not None and match["day"]):
        found = dated or match
        assert found is not None  # noqa: S101 - one of the two matched; this tells the type checker
        base = found["base"]
        date_ms = _date_ms(found["day"], found["month"], found["year"])
        if date_ms is None or not (base in catalogue.DATED_BASES or _has_digit(base) or further):
            return None
        expiry_ms = date_ms
        if match is not None and match["quote"] == "PERP":
            return None
        rank = 120 + catalogue.DATED_BASES.index(base) if base in catalogue.DATED_BASES else _number(base)
        return _future("linear", symbol, base, rank, expiry_ms)
    assert match is not None  # noqa: S101 - as above
    base, quote = match["base"], match["quote"]
    if quote == "USDT":
        rank_or_none = _rank(base, catalogue.LINEAR_BASES, further)
        return None if rank_or_none is None else _future("linear", symbol, base, rank_or_none, 0)
    rank_or_none = _rank(base, catalogue.USDC_PERPETUAL_BASES, further)
    return None if rank_or_none is None else _future("linear", symbol, base, rank_or_none + 60, 0)


def _inverse(symbol: str, further: bool) -> Instrument | None:
    match = _INVERSE.fullmatch(symbol)
    if match is None:
        return None
    base = match["base"]
    rank = _rank(base, catalogue.INVERSE_BASES, further)
    if rank is None:
        return None
    expiry_ms = 0
    if match["letter"]:
        if base not in ("BTC", "ETH") and not _has_digit(base):
            return None
        month = _MONTH_LETTERS.index(match["letter"]) + 1
        last = dt.date(2000 + int(match["year"]), month, 28)
        expiry_ms = _at_expiry_hour_ms(last - dt.timedelta(days=(last.weekday() - 4) % 7))
    price = _usd_price(base)
    tick, price_decimals = (0.5, 2) if base == "BTC" else _tick_for(price)
    return Instrument(
        product="inverse",
        symbol=symbol,
        base=base,
        kind="dated" if expiry_ms else "perpetual",
        rank=rank * 4 + 15,
        price=price,
        tick=tick,
        price_decimals=price_decimals,
        lot=1.0,
        size_decimals=0,
        expiry_ms=expiry_ms,
    )


def _option(symbol: str, further: bool) -> Instrument | None:
    match = _OPTION.fullmatch(symbol)
    if match is None:
        return None
    base = match["base"]
    expiry_ms = _date_ms(match["day"], match["month"], match["year"])
    if expiry_ms is None or float(match["strike"]) <= 0:
        return None
    if base not in catalogue.OPTION_BASES and not _has_digit(base) and not further:
        return None
    underlying = _usd_price(base)
    tick, price_decimals = {"BTC": (5.0, 0), "ETH": (0.1, 1), "SOL": (0.01, 2)}.get(base) or _tick_for(underlying / 10)
    return Instrument(
        product="option",
        symbol=symbol,
        base=base,
        kind="option",
        rank=400,
        price=underlying,
        tick=tick,
        price_decimals=price_decimals,
        lot=0.01 if base == "BTC" else 0.1,
        size_decimals=2 if base == "BTC" else 1,
        expiry_ms=expiry_ms,
        strike=float(match["strike"]),
        is_call=match["right"] == "C",
    )


def _spread(symbol: str, further: bool) -> Instrument | None:
    far_symbol, _, near_symbol = symbol.partition("_")
    far = _linear(far_symbol, further)
    # The coin itself is written as a pair: SOLUSDT_SOL/USDT.
    is_with_spot = "/" in near_symbol
    near = _spot(near_symbol.replace("/", ""), further) if is_with_spot else _linear(near_symbol, further)
    if far is None or near is None or far.base != near.base or far.quote != near.quote or far == near:
        return None
    if is_with_spot and near_symbol != f"{near.base}/{near.quote}":
        return None
    # What the legs differ by comes from the name: a small part of the price, sometimes below zero.
    digest = hashlib.blake2b(symbol.encode(), digest_size=4).digest()
    basis = (int.from_bytes(digest) / 2**32 - 0.3) * 0.0005
    decimals = max(0, min(8, 7 - math.ceil(math.log10(far.price))))
    return Instrument(
        product="spread",
        symbol=symbol,
        base=far.base,
        kind="spread",
        rank=300,
        price=far.price * basis,
        tick=10.0**-decimals,
        price_decimals=decimals,
        lot=far.lot,
        size_decimals=far.size_decimals,
        expiry_ms=far.expiry_ms,
    )


_FINDERS: Final = {"spot": _spot, "linear": _linear, "inverse": _inverse, "option": _option, "spread": _spread}


def _future(product: str, symbol: str, base: str, rank: int, expiry_ms: int) -> Instrument:
    price = _usd_price(base)
    listed = catalogue.MAJORS.get(base)
    tick, price_decimals = _step(listed[1]) if listed else _tick_for(price)
    lot, size_decimals = _step(listed[2]) if listed else _lot_for(price, finer=0)
    return Instrument(
        product=product,
        symbol=symbol,
        base=base,
        kind="dated" if expiry_ms else "perpetual",
        rank=rank,
        price=price,
        tick=tick,
        price_decimals=price_decimals,
        lot=lot,
        size_decimals=size_decimals,
        expiry_ms=expiry_ms,
    )


def _rank(base: str, bases: tuple[str, ...], further: bool) -> int | None:
    """Return the place of ``base`` in the order of activity, or None where it is not listed."""
    if base in bases:
        return bases.index(base)
    if _has_digit(base):
        return _number(base)
    return len(bases) if further else None


def _has_digit(base: str) -> bool:
    return any(character.isdecimal() for character in base)


def _number(base: str) -> int:
    match = _DIGITS.search(base)
    return 50 + min(int(match[0]), 1000) if match else 500


def _usd_price(base: str) -> float:
    listed = catalogue.MAJORS.get(base)
    if listed is not None:
        return listed[0]
    digest = hashlib.blake2b(base.encode(), digest_size=4).digest()
    price: float = 10.0 ** (int.from_bytes(digest) / 2**32 * 4.5 - 2.5)
    return round(price, 8)


def _step(text: str) -> tuple[float, int]:
    """Return a step written as the venue does (``"0.10"``) with the decimals it is shown with."""
    return float(text), len(text.partition(".")[2])


def _tick_for(price: float) -> tuple[float, int]:
    """Return a tick that gives a price five significant digits: enough room below it for a thousand levels."""
    decimals = max(1, 4 - math.floor(math.log10(price)))
    return 10.0**-decimals, decimals


def _lot_for(price: float, finer: int) -> tuple[float, int]:
    """Return a lot worth about a dollar."""
    decimals = max(0, math.ceil(math.log10(price)) + finer)
    return 10.0**-decimals, decimals


def _date_ms(day: str, month: str, year: str) -> int | None:
    try:
        return _at_expiry_hour_ms(dt.date(2000 + int(year), _MONTHS.index(month) + 1, int(day)))
    except ValueError:
        return None


def _at_expiry_hour_ms(date: dt.date) -> int:
    return int(dt.datetime(date.year, date.month, date.day, _EXPIRY_HOUR, tzinfo=dt.UTC).timestamp() * 1000)
