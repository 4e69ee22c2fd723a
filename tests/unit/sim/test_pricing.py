"""What instruments are worth."""

import pytest

from feedhandler.sim.listing import Listing
from feedhandler.sim.pricing import fair_price, option_values

NOW_NS = 1_760_000_000_000_000_000


def test_option_values_agree_with_parity() -> None:
    """Call minus put is underlying minus strike; a call's delta is a put's plus one."""
    call, put = (Listing().instrument("option", f"BTC-25JUN27-90000-{right}-USDT") for right in "CP")
    call_value, call_delta, gamma, vega, theta = option_values(call, 84_000.0, NOW_NS // 10**6)
    put_value, put_delta, *_ = option_values(put, 84_000.0, NOW_NS // 10**6)
    assert call_value - put_value == pytest.approx(84_000 - 90_000)
    assert call_delta - put_delta == pytest.approx(1.0)
    assert gamma > 0
    assert vega > 0
    assert theta < 0
    assert fair_price(call, NOW_NS // 10**6) == call_value


def test_other_instruments_are_worth_their_price() -> None:
    """A future begins at its own price."""
    future = Listing().instrument("linear", "BTCUSDT")
    assert fair_price(future, NOW_NS // 10**6) == future.price
