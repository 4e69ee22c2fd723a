"""The faults as data: each is one that the simulated Bybit knows, and one that something is promised of."""

import pytest

from feedhandler.drill import faults
from feedhandler.drill.expectation import Timing, expect
from feedhandler.drill.faults import FAULTS
from feedhandler.sim.faults import BOOK, KINDS, Faults


@pytest.mark.parametrize("name", FAULTS)
def test_each_strike_is_a_fault_of_the_simulated_bybit(name: str) -> None:
    """With parameters that it knows and values that it takes."""
    aims = {"product": "linear", "connection": "3", "topic": "orderbook.50.BTCUSDT", "symbol": "BTCUSDT"}
    for strike in FAULTS[name].strikes:
        built = Faults().build(
            {"kind": strike.kind, **{aim: aims[aim] for aim in strike.aim}, **strike.parameters}, now_s=0.0
        )
        assert built.kind == strike.kind


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_never_ends_by_itself_is_switched_off(name: str) -> None:
    """Or the drill would wait for it for ever."""
    fault = FAULTS[name]
    endless = [strike for strike in fault.strikes if int(strike.parameters.get("count", KINDS[strike.kind].count)) == 0]
    assert not endless or fault.until != faults.SPENT


@pytest.mark.parametrize("name", FAULTS)
def test_what_hits_a_book_as_published_hits_every_line(name: str) -> None:
    """Its update ids are common to all; a connection cannot be named."""
    fault = FAULTS[name]
    if any(KINDS[strike.kind].where == BOOK for strike in fault.strikes):
        assert fault.hits == faults.VENUE
        assert all("connection" not in strike.aim for strike in fault.strikes)


@pytest.mark.parametrize("name", FAULTS)
def test_something_is_promised_of_each_fault(name: str) -> None:
    """With one line and with two."""
    for lines in (1, 2):
        assert expect(FAULTS[name], lines, Timing()).whole_within_s > 0
