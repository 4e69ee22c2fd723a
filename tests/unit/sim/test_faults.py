"""Faults as data: what is switched on, and whom it hits."""

import pytest

from feedhandler.sim.faults import FOREVER, KINDS, Fault, FaultError, Faults


def switched_on(faults: Faults, **query: str) -> Fault:
    made = faults.build(query, 0.0)
    faults.switch_on(made)
    return made


def test_every_fault_of_the_dossier_has_a_kind() -> None:
    """Dossier 9.5, by its numbers; 19 is `renew` without a topic, 20 is a slow line beside ``--pace``."""
    named = {
        1: "skip",
        2: "duplicate",
        3: "reorder",
        4: "restart restart_delta",
        5: "renew",
        6: "lower",
        7: "empty one_sided",
        8: "unknown_delete",
        9: "crossed",
        10: "abort_mid_frame abort_after_ack abort_before_ack",
        11: "mute",
        12: "nopong",
        13: "stall",
        14: "refuse",
        15: "limit",
        16: "delist",
        17: "extra_fields unknown_topic unknown_type",
        18: "garbage",
        19: "renew",
        20: "delay",
        21: "skew",
        22: "maintenance",
    }
    assert {name for names in named.values() for name in names.split()} <= set(KINDS)


def test_fault_is_built_from_text() -> None:
    """Numbers from text, the kind's defaults for the rest."""
    fault = Faults().build(
        {"kind": "skip", "topic": "a.*", "product": "spot", "connection": "3", "count": "2", "probability": "0.5"}, 0.0
    )
    assert (fault.topic, fault.product, fault.connection, fault.count, fault.probability) == ("a.*", "spot", 3, 2, 0.5)
    assert Faults().build({"kind": "close", "code": "1001"}, 0.0).number("code") == 1001
    assert Faults().build({"kind": "mute"}, 0.0).count == FOREVER


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"kind": "nonsense"}, 'no fault "nonsense"'),
        ({}, 'no fault ""'),
        ({"kind": "skip", "code": "1"}, '"code" means nothing to skip'),
        ({"kind": "skip", "count": "many"}, "count"),
        ({"kind": "delay", "ms": "soon"}, 'ms of delay is a number, not "soon"'),
    ],
)
def test_senseless_faults_are_refused(query: dict[str, str], words: str) -> None:
    """With words that say what would be right."""
    with pytest.raises(FaultError, match=words):
        Faults().build(query, 0.0)


def test_status_of_a_refusal_may_be_a_word() -> None:
    """``reset`` and ``hang`` are no HTTP status."""
    assert Faults().build({"kind": "refuse", "status": "reset"}, 0.0).parameters == {"status": "reset"}


@pytest.mark.parametrize(
    ("query", "product", "connection", "topic", "does"),
    [
        ({}, "spot", 1, "a.B", True),
        ({"product": "linear"}, "spot", 1, "a.B", False),
        ({"connection": "2"}, "spot", 1, "a.B", False),
        ({"topic": "a.B"}, "spot", 1, "a.B", True),
        ({"topic": "a.B"}, "spot", 1, "a.BC", False),
        ({"topic": "a.*"}, "spot", 1, "a.BC", True),
        ({"topic": "b.*"}, "spot", 1, "a.BC", False),
        ({"topic": "a.B"}, "spot", 1, "", True),
    ],
)
def test_fault_matches_product_connection_and_topic(
    query: dict[str, str], product: str, connection: int, topic: str, does: bool
) -> None:
    """Exact topics, or prefixes ending in ``*``; requests and sockets have no topic."""
    assert Faults().build({"kind": "mute"} | query, 0.0).matches(product, connection, topic) is does


def test_count_is_a_total_unless_each_connection_has_it() -> None:
    """``count=1`` hits one connection; with ``each=1`` every one of them."""
    faults = Faults()
    total, each = switched_on(faults, kind="skip"), switched_on(faults, kind="skip", each="1")
    assert [faults.hits(total, number, 0.0) for number in (1, 2, 1)] == [True, False, False]
    assert [faults.hits(each, number, 0.0) for number in (1, 2, 1, 2)] == [True, True, False, False]
    assert (total.hits, each.hits) == (1, 2)


def test_spent_and_overdue_faults_end() -> None:
    """A total that is used up, a time that is over; ``each`` has no total, and what is held back must come out."""
    faults = Faults()
    spent, overdue = switched_on(faults, kind="skip"), switched_on(faults, kind="mute", seconds="2")
    each, holding = switched_on(faults, kind="skip", each="1"), switched_on(faults, kind="reorder")
    for fault in (spent, each, holding):
        assert faults.hits(fault, 1, 0.0)
    holding.held[1, "a"] = b"frame"
    faults.expire(1.0)
    assert list(faults.active.values()) == [overdue, each, holding]
    assert not faults.hits(overdue, 1, 2.0)
    faults.expire(2.0)
    faults.expire(2.0)
    assert list(faults.active.values()) == [each, holding]


def test_seconds_without_count_hit_until_they_are_over() -> None:
    """``skip`` for two seconds is not one skip."""
    assert Faults().build({"kind": "skip", "seconds": "2"}, 0.0).count == FOREVER
    assert Faults().build({"kind": "skip", "seconds": "2", "count": "1"}, 0.0).count == 1


def test_probability_is_drawn_from_the_seed() -> None:
    """Equal seeds hit the same frames."""

    def drawn(seed: int) -> list[bool]:
        faults = Faults(seed)
        fault = switched_on(faults, kind="skip", probability="0.3", count="0")
        return [faults.hits(fault, 1, 0.0) for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 30 < sum(drawn(1)) < 90


def test_faults_are_switched_off_one_or_all() -> None:
    """``kind=off``."""
    faults = Faults()
    first, second = switched_on(faults, kind="mute"), switched_on(faults, kind="nopong")
    assert faults.data == [first]
    assert faults.requests == [second]
    assert faults.switch_off(first.id) == [first]
    assert faults.data == []
    assert faults.switch_off() == [second]
    assert faults.switch_off() == []


def test_request_faults_may_name_the_operation() -> None:
    """``noack&op=unsubscribe`` leaves subscriptions alone."""
    faults = Faults()
    fault = switched_on(faults, kind="noack", op="unsubscribe", connection="2")
    assert faults.request("noack", "option", 2, 0.0, op="subscribe") is None
    assert faults.request("noack", "option", 1, 0.0, op="unsubscribe") is None
    assert faults.request("nopong", "option", 2, 0.0) is None
    assert faults.request("noack", "option", 2, 0.0, op="unsubscribe") is fault


def test_mute_may_end_with_a_new_subscription() -> None:
    """``heals=resubscribe``: the subscription was lost inside the venue; others are not healed by it."""
    faults = Faults()
    lasting = switched_on(faults, kind="mute")
    healing = switched_on(faults, kind="mute", topic="a.B", heals="resubscribe")
    faults.heal("spot", 1, "a.B")
    faults.heal("spot", 1, "a.C")
    assert healing.healed == {(1, "a.B")}
    assert lasting.healed == set()


def test_stall_is_seen_without_being_spent() -> None:
    """A black hole answers nothing, however often it is asked."""
    faults = Faults()
    switched_on(faults, kind="stall", product="spot", seconds="2")
    assert faults.is_stalled("spot", 1, 1.0)
    assert not faults.is_stalled("linear", 1, 1.0)
    assert not faults.is_stalled("spot", 1, 2.0)
