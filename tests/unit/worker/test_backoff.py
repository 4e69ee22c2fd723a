"""When the venue is dialled again."""

import random

from feedhandler.worker.backoff import AUTH_RETRY_CAP_S, REFUSED_CAP_S, Backoff, auth_pause_s


def test_first_retry_is_immediate_and_the_others_double_up_to_the_cap() -> None:
    """base * 2^n, of which half is jitter."""
    for jitter, share in ((0.0, 0.5), (1.0, 1.0)):
        backoff = Backoff(0.5, 30, lambda jitter=jitter: jitter)  # type: ignore[misc]  # mypy infers no lambda with a default
        pauses = [backoff.next_s() for _ in range(9)]
        assert pauses == [0, *(share * pause for pause in (0.5, 1, 2, 4, 8, 16, 30, 30))]


def test_jitter_is_chance() -> None:
    """Two connections do not dial in step."""
    one, other = Backoff(0.5, 30, random.Random(1).random), Backoff(0.5, 30, random.Random(2).random)
    assert [one.next_s() for _ in range(5)] != [other.next_s() for _ in range(5)]


def test_reset_starts_over() -> None:
    """After data has flowed the next retry is immediate again."""
    backoff = Backoff(0.5, 30, lambda: 1.0)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0


def test_backoff_has_no_end() -> None:
    """However long the venue is away, there is a next pause."""
    backoff = Backoff(0.5, 30, lambda: 1.0)
    assert {backoff.next_s() for _ in range(5000)} >= {30.0}
    refused = Backoff(0.5, 30, lambda: 0.0)
    assert [refused.next_s(5) for _ in range(5000)][-1] == REFUSED_CAP_S


def test_refusal_waits_from_the_first_retry_on() -> None:
    """No immediate retry after too many connections; the pauses double from what was asked for, jitter on top."""
    backoff = Backoff(0.5, 30, lambda: 0.25)
    assert [backoff.next_s(5) for _ in range(7)] == [5.25, 10.25, 20.25, 40.25, 80.25, 120.25, 120.25]
    assert Backoff(0.5, 30, lambda: 0.0).next_s(600) == 600


def test_failed_authentications_are_repeated_after_a_minute_and_ever_later() -> None:
    """60 s, doubling up to 10 min, up to a tenth of jitter on top: fewer than ten attempts in the first hour."""
    assert [auth_pause_s(failures, 0.0) for failures in range(1, 7)] == [60, 120, 240, 480, 600, 600]
    assert auth_pause_s(1, 1.0) == 66
    assert auth_pause_s(5000, 0.0) == AUTH_RETRY_CAP_S
    assert sum(auth_pause_s(failures, 0.0) for failures in range(1, 10)) > 3600
