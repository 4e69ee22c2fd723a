"""Scripts of faults: what they say, and what is wrong with them."""

import pytest

from feedhandler.sim.script import ScriptError, Step, parse


def test_each_line_is_a_step() -> None:
    """Seconds, kind, parameters; comments and empty lines are none."""
    assert parse(
        "# faults\n\n10 reset product=linear\n20.5 skip topic=orderbook.50.BTCUSDT count=2 # two\n40 off\n"
    ) == [
        Step(10.0, {"kind": "reset", "product": "linear"}),
        Step(20.5, {"kind": "skip", "topic": "orderbook.50.BTCUSDT", "count": "2"}),
        Step(40.0, {"kind": "off"}),
    ]


def test_a_step_is_said_as_it_was_written() -> None:
    """For whoever watches."""
    assert [str(step) for step in parse("20.50 skip count=2\n0 off id=3")] == ["20.5 s: skip count=2", "0 s: off id=3"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("soon reset", 'begins with the seconds after the start, not "soon"'),
        ("-1 reset", 'not "-1"'),
        ("nan reset", 'not "nan"'),
        ("inf reset", 'not "inf"'),
        ("5", 'there is no fault ""'),
        ("5 burn", 'there is no fault "burn"'),
        ("5 reset now", '"now" is no name=value'),
        ("5 skip colour=red", '"colour" means nothing to skip'),
        ("5 skip count=many", "count"),
        ("5 off topic=x", '"topic" means nothing to off'),
        ("5 off id=x", 'id is a number, not "x"'),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(line: str, why: str) -> None:
    """Before anything starts."""
    with pytest.raises(ScriptError) as told:
        parse(f"# first\n{line}\n")
    assert str(told.value).startswith("line 2: ")
    assert why in str(told.value)
