"""The venue's connection budget."""

from hypothesis import given
from hypothesis import strategies as st

from feedhandler.supervisor.budget import Budget


def granted(budget: Budget, now_s: float) -> list[str]:
    """Return who may dial now."""
    return [request.connection for request in budget.grant(now_s)]


def test_within_the_budget_everybody_dials_at_once_in_order() -> None:
    """Attempts within the limit are granted in the order of their requests."""
    budget = Budget(attempts=3, window_s=10)
    for name in "abc":
        budget.request(7, name, 0)
    assert granted(budget, 0.0) == ["a", "b", "c"]
    assert (budget.spent(0.0), budget.waiting) == (3, 0)


def test_beyond_the_budget_the_more_important_go_first_when_the_window_moves_on() -> None:
    """A spent budget lets nobody dial; when attempts leave the window, the highest priority goes first."""
    budget = Budget(attempts=2, window_s=10)
    for name, priority in (("a", 0), ("b", 0), ("c", 0), ("d", 5), ("e", 5)):
        budget.request(7, name, priority)
    assert granted(budget, 0.0) == ["d", "e"]
    assert granted(budget, 9.9) == []
    assert budget.waiting == 3
    assert granted(budget, 10.0) == ["a", "b"]
    assert granted(budget, 20.0) == ["c"]


def test_a_process_that_is_gone_wants_nothing_any_more() -> None:
    """Requests of a dead process are dropped; those of others stay, also of another process of the same worker."""
    budget = Budget(attempts=1, window_s=10)
    budget.request(7, "a", 0)
    assert granted(budget, 0.0) == ["a"]
    budget.request(7, "b", 0)
    budget.request(8, "c", 0)
    budget.keep({8, 9})
    assert granted(budget, 10.0) == ["c"]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(-2, 2)), max_size=60))
def test_no_window_ever_sees_more_than_the_limit(requests: list[tuple[float, int]]) -> None:
    """Whatever the storm, any window counts at most the limit, and everybody dials in the end."""
    budget = Budget(attempts=5, window_s=7)
    now_s, dialled = 0.0, []
    for pause_s, priority in requests:
        now_s += pause_s
        budget.request(7, "x", priority)
        dialled += [now_s] * len(budget.grant(now_s))
    while budget.waiting:
        now_s += 1.0
        dialled += [now_s] * len(budget.grant(now_s))
    assert len(dialled) == len(requests)
    assert all(sum(start <= other < start + 7 for other in dialled) <= 5 for start in dialled)
