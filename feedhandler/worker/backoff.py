"""How long to wait before the venue is dialled again. Pure."""

from collections.abc import Callable
from typing import Final

REFUSED_CAP_S: Final = 120.0
"""The longest pause after refusals that call for patience, unless the venue itself asks for more."""
AUTH_RETRY_S: Final = 60.0
AUTH_RETRY_CAP_S: Final = 600.0
"""Pauses after the venue refused our key; doubled each time. A wrong key does not become right by asking: the venue
hangs up on those who loop, and counts their connections (dossier 3.1). Yet somebody may mend the key, or the clock, and
should not have to tell us."""
KEY_LOOK_S: Final = 3.0
"""How often a key that is not there is looked for: on this machine, at the cost of nobody. Once it is there it is used
within 5 s."""


class Backoff:
    """When to dial again: the first retry at once, then base * 2^n with jitter, up to the cap."""

    def __init__(self, base_s: float, cap_s: float, jitter: Callable[[], float]) -> None:
        """``jitter`` returns chance, 0 to 1."""
        self._base_s = base_s
        self._cap_s = cap_s
        self._jitter = jitter
        self._retries = 0

    def next_s(self, least_s: float = 0.0) -> float:
        """Return the pause before the next retry. Half of it is jitter: many workers must not dial in step.

        ``least_s`` is what a refusal calls for: no retry is immediate then, and the pauses double from there.
        """
        self._retries += 1
        if least_s:
            wait_s: float = min(least_s * 2 ** min(self._retries - 1, 30), max(REFUSED_CAP_S, least_s))
            return wait_s + self._jitter()
        if self._retries == 1:
            return 0.0
        pause_s: float = min(self._base_s * 2 ** min(self._retries - 2, 30), self._cap_s)
        return pause_s * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        """Start over: data has flowed."""
        self._retries = 0


def auth_pause_s(failures: int, jitter: float) -> float:
    """Return the pause after so many failed authentications in a row; up to a tenth more is ``jitter``, 0 to 1."""
    pause_s: float = min(AUTH_RETRY_S * 2 ** min(failures - 1, 30), AUTH_RETRY_CAP_S)
    return pause_s * (1 + jitter / 10)
