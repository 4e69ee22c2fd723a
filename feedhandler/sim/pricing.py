"""What an instrument is worth: its own price, or an option's by Black and Scholes. Pure."""

import math
from typing import Final

from feedhandler.sim.listing import Instrument

VOLATILITY: Final = 0.55
"""Implied volatility of every option, per year."""


def fair_price(instrument: Instrument, now_ms: int) -> float:
    """Return where a market of ``instrument`` begins: its own price, or an option's value by Black and Scholes."""
    return option_values(instrument, instrument.price, now_ms)[0] if instrument.kind == "option" else instrument.price


def option_values(instrument: Instrument, underlying: float, now_ms: int) -> tuple[float, float, float, float, float]:
    """Return value, delta, gamma, vega and theta of an option (no interest, volatility `VOLATILITY`)."""
    years = max((instrument.expiry_ms - now_ms) / 86_400_000, 0.2) / 365
    deviation = VOLATILITY * math.sqrt(years)
    d1 = math.log(underlying / instrument.strike) / deviation + deviation / 2
    d2 = d1 - deviation
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    call = underlying * _normal(d1) - instrument.strike * _normal(d2)
    value = call if instrument.is_call else call - underlying + instrument.strike
    delta = _normal(d1) - (0.0 if instrument.is_call else 1.0)
    gamma = density / (underlying * deviation)
    vega = underlying * density * math.sqrt(years) / 100
    theta = -underlying * density * VOLATILITY / (2 * math.sqrt(years)) / 365
    return max(value, 0.0), delta, gamma, vega, theta


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
