"""The venue's announcements about itself (dossier 4.12)."""

import json

import pytest

from feedhandler.bybit.maintenance import Announcement, Calendar, parse

BEGIN_S = 1_800_000_000.0


def announced(**fields: object) -> Announcement:
    """Return a maintenance of everything, of half an hour, with other fields as given."""
    item = {
        "id": "a",
        "title": "Upgrade",
        "state": "scheduled",
        "begin": str(int(BEGIN_S * 1e3)),
        "end": str(int(BEGIN_S * 1e3) + 1_800_000),
        "href": "",
        "serviceTypes": [1, 2, 3, 4, 5],
        "product": [1, 2],
        "uidSuffix": [],
        "maintainType": 1,
        "env": 1,
        **fields,
    }
    [found] = parse(json.dumps({"topic": "system.status", "ts": 1, "data": [item]}).encode())
    return found


def test_an_announcement_is_read() -> None:
    """Times are strings of ms on the wire, seconds here; unknown fields are ignored (dossier 4.12)."""
    found = announced(news="more")
    assert (found.id, found.title, found.begin_s, found.end_s) == ("a", "Upgrade", BEGIN_S, BEGIN_S + 1800)
    assert (announced(begin="", end="soon").begin_s, announced(end="soon").end_s) == (0.0, 0.0)


def test_what_is_no_announcement_is_refused() -> None:
    """Anything else raises a `ValueError`, never another exception."""
    with pytest.raises(ValueError, match="data"):
        parse(b'{"topic":"system.status"}')


@pytest.mark.parametrize(
    ("fields", "products"),
    [
        ({}, ["linear", "inverse", "spot"]),
        ({"product": []}, ["linear", "inverse", "spot", "option"]),
        ({"product": [3]}, ["option"]),
        ({"serviceTypes": [1]}, []),
        ({"serviceTypes": []}, ["linear", "inverse", "spot"]),
        ({"state": "completed"}, []),
        ({"state": "ongoing"}, ["linear", "inverse", "spot"]),
    ],
)
def test_whom_it_concerns(fields: dict[str, object], products: list[str]) -> None:
    """Product codes 1 futures, 2 spot, 3 option; service type 5 is market data; empty lists except nothing."""
    found = announced(**fields)
    assert [name for name in ("linear", "inverse", "spot", "option", "status") if found.affects(name)] == products


def test_it_is_told_when_it_comes_and_again_as_it_comes_near() -> None:
    """At once, ten minutes and one minute ahead, at its begin; each once, a change of state again."""
    calendar = Calendar("linear")
    calendar.take([announced()])
    told = [ahead for ahead in range(7200, -60, -1) if calendar.due(BEGIN_S - ahead)]
    assert told == [7200, 600, 60, 0]
    calendar.take([announced(state="ongoing")])
    assert [found.state for found in calendar.due(BEGIN_S + 5)] == ["ongoing"]
    assert calendar.due(BEGIN_S + 6) == []


def test_a_loss_in_its_time_is_its_doing() -> None:
    """From a minute before its begin to a minute after its end, or as long as it is ongoing; not once it is completed."""
    calendar = Calendar("linear")
    calendar.take([announced()])
    assert [calendar.ongoing(BEGIN_S + at) is not None for at in (-61, -60, 0, 1860, 1861)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    calendar.take([announced(state="ongoing")])
    assert calendar.ongoing(BEGIN_S + 9999) is not None
    calendar.take([announced(state="completed")])
    assert calendar.ongoing(BEGIN_S) is None
    assert calendar.due(BEGIN_S) == []
