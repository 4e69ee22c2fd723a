"""What the simulated Bybit lists."""

import pytest

from feedhandler.sim import catalogue
from feedhandler.sim.listing import Listing, trimmed

NOW_MS = 1_760_000_000_000


@pytest.mark.parametrize(
    ("product", "symbol"),
    [
        ("linear", "BTCUSDT"),
        ("linear", "1000PEPEUSDT"),
        ("linear", "BTCPERP"),
        ("linear", "BTC-26DEC25"),
        ("linear", "BTCUSDT-26SEP25"),
        ("linear", "USDCUSDT"),
        ("spot", "BTCUSDT"),
        ("spot", "ETHBTC"),
        ("spot", "USDCUSDT"),
        ("spot", "BTCEUR"),
        ("inverse", "BTCUSD"),
        ("inverse", "BTCUSDZ26"),
        ("option", "BTC-25JUN27-106000-P-USDT"),
        ("option", "BTC-6JAN23-17500-C"),
        ("option", "ETH-26DEC25-3100.5-C"),
    ],
)
def test_real_symbols_are_listed(product: str, symbol: str) -> None:
    """Dossier 1.2: every form of symbol that the products have."""
    found = Listing().find(product, symbol)
    assert found is not None
    assert found.symbol == symbol
    assert found.price > 0


@pytest.mark.parametrize(
    ("product", "symbol"),
    [
        ("linear", "NOPEUSDT"),
        ("linear", "NOPEPERP"),
        ("linear", "NOPE-26DEC25"),
        ("linear", "BTCUSTD"),
        ("linear", "BTCUSDTT"),
        ("linear", "btcusdt"),
        ("linear", "BTC-31FEB26"),
        ("linear", "BTCPERP-26DEC25"),
        ("linear", "BTCUSD"),
        ("linear", ""),
        ("spot", "NOPEUSDT"),
        ("spot", "USDTUSDT"),
        ("spot", "BTCUSD"),
        ("spot", "SIDUSEUR"),
        ("inverse", "NOPEUSD"),
        ("inverse", "BTCUSDT"),
        ("inverse", "XLMUSDZ26"),
        ("option", "NOPE-25JUN27-106000-P-USDT"),
        ("option", "BTC-25JUN27-0-P-USDT"),
        ("option", "BTC-31JUN27-106000-P-USDT"),
        ("option", "BTC-25JUN27-106000-X"),
    ],
)
def test_other_symbols_are_unknown(product: str, symbol: str) -> None:
    """A mistyped, retired or foreign symbol is refused, as the venue does (dossier 3.4)."""
    assert Listing().find(product, symbol) is None


@pytest.mark.parametrize(
    ("product", "symbol"),
    [
        ("linear", "COIN17USDT"),
        ("linear", "SYM001PERP"),
        ("linear", "COIN3-26DEC25"),
        ("linear", "COIN3USDT-26DEC25"),
        ("spot", "T5USDT"),
        ("spot", "T5EUR"),
        ("inverse", "T5USD"),
        ("inverse", "T5USDM26"),
        ("option", "T5-25JUN27-100-C"),
    ],
)
def test_base_with_a_digit_is_listed(product: str, symbol: str) -> None:
    """The rule that gives tests thousands of symbols."""
    assert Listing().find(product, symbol) is not None


def test_further_symbols_are_listed_where_their_grammar_fits() -> None:
    """``--symbols`` adds names, not grammar."""
    listing = Listing(["NOPEUSDT", "NOPE-26DEC25", "NOPE-25JUN27-100-C", "nope"])
    assert listing.find("linear", "NOPEUSDT") is not None
    assert listing.find("spot", "NOPEUSDT") is not None
    assert listing.find("linear", "NOPE-26DEC25") is not None
    assert listing.find("option", "NOPE-25JUN27-100-C") is not None
    assert listing.find("inverse", "NOPEUSDT") is None
    assert listing.find("linear", "nope") is None


def test_catalogue_is_large() -> None:
    """Enough real names for a realistic feed."""
    listing = Listing()
    assert sum(listing.find("linear", f"{base}USDT") is not None for base in catalogue.LINEAR_BASES) >= 300
    assert sum(listing.find("spot", f"{base}USDT") is not None for base in catalogue.SPOT_BASES) >= 200
    assert len(catalogue.INVERSE_BASES) >= 15


def test_every_instrument_has_room_for_a_thousand_levels_below_its_price() -> None:
    """A tick so coarse that a 1000-level book would reach zero is a mistake of the catalogue."""
    listing = Listing()
    for product, bases, quote in (
        ("linear", catalogue.LINEAR_BASES, "USDT"),
        ("spot", catalogue.SPOT_BASES, "USDT"),
        ("inverse", catalogue.INVERSE_BASES, "USD"),
    ):
        for base in bases:
            found = listing.find(product, base + quote)
            assert found is not None
            assert found.price / found.tick > 1500, found
            assert float(found.price_text(round(found.price / found.tick))) == pytest.approx(found.price, rel=0.001)


def test_option_chain_is_listed_and_expires_on_fridays_to_come() -> None:
    """`publicTrade.BTC` needs contracts that exist now."""
    listing = Listing()
    chain = listing.option_chain("BTC", NOW_MS)
    assert len(chain) == 20
    assert all(found.expiry_ms > NOW_MS for found in chain)
    assert all(listing.find("option", found.symbol) is found for found in chain)
    assert listing.has_base("BTC")
    assert not listing.has_base("NOPE")


def test_instrument_that_must_exist_is_missed_loudly() -> None:
    """For callers that have asked before."""
    with pytest.raises(LookupError, match="linear does not list NOPEUSDT"):
        Listing().instrument("linear", "NOPEUSDT")


def test_pools_name_listed_symbols() -> None:
    """Insurance pools (dossier 4.9) speak of symbols that the product has."""
    listing = Listing()
    for product in ("linear", "inverse"):
        for pool in ("USDT", "USDC", "inverse"):
            assert listing.pool(product, pool)
    assert all(listing.find("linear", symbol) for symbol in listing.pool("linear", "USDT"))
    assert all(listing.find("inverse", symbol) for symbol in listing.pool("inverse", "inverse"))


def test_prices_and_sizes_are_padded_to_tick_and_lot() -> None:
    """Dossier 4: futures pad (``"82642.80"``, ``"0.200"``)."""
    found = Listing().find("linear", "BTCUSDT")
    assert found is not None
    assert found.price_text(826_428) == "82642.80"
    assert found.size_text(200) == "0.200"


@pytest.mark.parametrize(
    ("text", "short"), [("83805.00", "83805"), ("0.500", "0.5"), ("100", "100"), ("0.000", "0"), ("1.25", "1.25")]
)
def test_trimmed_drops_trailing_zeros_only(text: str, short: str) -> None:
    """Dossier 4: spot trims (``"83805"``, ``"0.5"``); whole numbers keep their zeros."""
    assert trimmed(text) == short


@pytest.mark.parametrize(
    "symbol",
    [
        "SOLUSDT_SOL/USDT",
        "BTCUSDT_BTC/USDT",
        "BTCUSDT-26SEP25_BTC/USDT",
        "BTCUSDT-26SEP25_BTCUSDT",
        "BTCUSDT-26DEC25_BTCUSDT-26SEP25",
        "BTCPERP_BTC/USDC",
        "COIN3USDT_COIN3/USDT",
    ],
)
def test_spreads_are_pairs_of_listed_legs(symbol: str) -> None:
    """Dossier 1.2: the symbol contains an underscore and, where one leg is the coin itself, a slash."""
    found = Listing().instrument("spread", symbol)
    assert (found.symbol, found.kind) == (symbol, "spread")
    assert found.tick < 0.02
    assert found.price != 0


@pytest.mark.parametrize(
    "symbol",
    [
        *("SOLUSDT", "SOL/USDT", "SOLUSDT_", "_SOL/USDT", "SOLUSDT_SOLUSDT", "SOLUSDT_BTC/USDT", "SOLUSDT_SOL/USDC"),
        *(
            "SOLUSDT_S/OLUSDT",
            "SOLUSDT_NOPE/USDT",
            "NOPEUSDT_NOPE/USDT",
            "solusdt_sol/usdt",
            "SOLUSDT_SOL/USDT_SOL/USDT",
        ),
        *("BTCUSDT-26SEP25_BTCPERP", "SOL/USDT_SOLUSDT"),
    ],
)
def test_other_pairs_are_no_spreads(symbol: str) -> None:
    """Two legs of one coin and quote, the contract first."""
    assert Listing().find("spread", symbol) is None


def test_some_spreads_are_below_zero() -> None:
    """What the legs differ by may be negative (dossier 4.5)."""
    listing = Listing()
    prices = [listing.instrument("spread", f"COIN{number}USDT_COIN{number}/USDT").price for number in range(40)]
    assert min(prices) < 0 < max(prices)


@pytest.mark.parametrize(
    ("product", "symbol", "quote"),
    [
        ("linear", "BTCUSDT", "USDT"),
        ("linear", "BTCUSDT-26SEP25", "USDT"),
        ("linear", "BTCPERP", "USDC"),
        ("linear", "BTC-26DEC25", "USDC"),
        ("spot", "ETHBTC", "BTC"),
    ],
)
def test_quote_coin(product: str, symbol: str, quote: str) -> None:
    """What prices are in, and profits of linear contracts."""
    assert Listing().instrument(product, symbol).quote == quote
