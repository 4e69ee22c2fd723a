"""From what was promised and what was seen to a verdict. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from feedhandler.bybit.products import Nature
from feedhandler.drill import promises
from feedhandler.drill.expectation import Expectation
from feedhandler.drill.ledger import Ledger, Mark, Told
from feedhandler.drill.promises import Finding
from feedhandler.wire import DOWN, LIVE, STALE

SHOWN: Final = 3
"""Findings of one promise that are shown; of more the number is given."""


class Judged(NamedTuple):
    """A subject's ledger, and where it stood before the fault."""

    ledger: Ledger
    mark: Mark

    @property
    def told(self) -> list[Told]:
        """New statuses since."""
        return self.ledger.told[self.mark.told :]


class Seen(msgspec.Struct):
    """What was seen beside the subjects' own records."""

    told_ns: int | None = None
    """When a strategy could know that a worker is gone, Unix ns."""
    whole_ns: int | None = None
    """When everything was live again, on as many connections as before."""
    counted: bool = True
    """The heartbeat's counter grew."""
    passed: bool = True
    """What was to reach the strategy as sent did."""
    further: list[Finding] = []


class Result(msgspec.Struct, kw_only=True):
    """One row of the scorecard."""

    fault: str
    text: str
    where: str = ""
    """The worker, and the topic where one topic is concerned."""
    lines: int = 1
    detected_after_s: float | None = None
    """From the fault until the last of those concerned was told; None = nothing to tell."""
    blind_s: float | None = None
    """The longest time without data that was told."""
    missed: int = 0
    """Messages of the venue that never came."""
    gone: int = 0
    """Of those: events, which no snapshot makes good."""
    repeated: int = 0
    disordered: int = 0
    recovered_after_s: float | None = None
    """From the fault until all was live again; None = nothing was otherwise."""
    broken: list[Finding] = []
    skipped: str = ""
    """Why it was not drilled."""
    note: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken


def judge(
    result: Result,
    expectation: Expectation,
    struck_ns: int,
    seen: Seen,
    *,
    concerned: Sequence[Judged],
    jolted: Sequence[Judged] = (),
    others: Sequence[Judged] = (),
) -> Result:
    """Fill in ``result``.

    ``concerned`` are the subjects that the fault hits, ``jolted`` those that suffer with them (they share a connection
    that is lost), ``others`` those that must not notice.
    """
    everybody = [*concerned, *jolted, *others]
    broken = [*_since(everybody), *seen.further]
    if expectation.told:
        broken += _untold(concerned, expectation)
        told_ns = max((one.told[0].at_ns for one in concerned if one.told), default=None)
    else:
        told_ns = seen.told_ns
        if expectation.new_epoch:
            broken += [
                Finding(promises.TOLD, f"{one.ledger.subject} has no new epoch")
                for one in concerned
                if one.ledger.epoch <= one.mark.epoch
            ]
            if told_ns is None:
                broken.append(Finding(promises.TOLD, "nobody could see that the worker is gone"))
        else:
            broken += _noticed(concerned, promises.NOTHING)
    broken += _noticed(others, promises.UNTOUCHED)
    for one in everybody:
        if one.ledger.nature is Nature.EVENT:
            broken += _unbounded(one)
    if told_ns is not None:
        result.detected_after_s = (told_ns - struck_ns) / 1e9
        if result.detected_after_s > expectation.told_within_s:
            broken.append(_late(promises.IN_TIME, result.detected_after_s, expectation.told_within_s))
    if seen.whole_ns is None:
        broken += _not_whole(everybody)
    elif expectation.told or expectation.ends_connection:
        result.recovered_after_s = (seen.whole_ns - struck_ns) / 1e9
        if result.recovered_after_s > expectation.whole_within_s:
            broken.append(_late(promises.WHOLE_IN_TIME, result.recovered_after_s, expectation.whole_within_s))
    if not seen.counted:
        broken.append(Finding(promises.COUNTED, f"{expectation.counter} did not grow"))
    if not seen.passed:
        broken.append(Finding(promises.PASSED, f"no such {expectation.passed} came"))
    result.blind_s = _blind_s([*concerned, *jolted])
    for one in everybody:
        before, now = one.mark.counts, one.ledger.counts
        result.missed += now.missed - before.missed
        result.gone += now.gone - before.gone
        result.repeated += now.repeated - before.repeated
        result.disordered += now.disordered - before.disordered
    result.broken = [*result.broken, *broken]
    return result


def _since(everybody: Iterable[Judged]) -> list[Finding]:
    return [finding for one in everybody for finding in one.ledger.findings[one.mark.findings :]]


def _late(promise: str, took_s: float, within_s: float) -> Finding:
    return Finding(promise, f"after {took_s:.2f} s instead of {within_s:.2f} s")


def _untold(concerned: Sequence[Judged], expectation: Expectation) -> list[Finding]:
    """Find those who were not told the states promised, in their order."""
    found = []
    for one in concerned:
        states = iter([told.state for told in one.told])
        if missing := [state for state in expectation.told if state not in states]:
            said = ", ".join(told.state for told in one.told) or "nothing"
            found.append(Finding(promises.TOLD, f"{one.ledger.subject} was told {said}, not {missing[0]}"))
    reasons = {told.reason for one in concerned for told in one.told}
    if expectation.reason and not any(expectation.reason in reason for reason in reasons):
        found.append(Finding(promises.TOLD, f'no reason says "{expectation.reason}", but {sorted(reasons)}'))
    return found


def _noticed(untouched: Sequence[Judged], promise: str) -> list[Finding]:
    """Find those who were told of a loss, though there was none of theirs."""
    return [
        Finding(promise, f"{one.ledger.subject} was told {told.state}{f': {told.reason}' if told.reason else ''}")
        for one in untouched
        for told in one.told
        if told.state != LIVE or (told.is_new_hole and not (promise == promises.NOTHING and _has_no_ids(one)))
    ]


def _has_no_ids(one: Judged) -> bool:
    """Say whether two lines' copies of a topic cannot be told apart: a change of line then announces a possible hole."""
    return one.ledger.nature is Nature.EVENT and ".publicTrade." not in one.ledger.subject


def _unbounded(one: Judged) -> list[Finding]:
    """Find event topics that came back without a word on how long they were blind."""
    was_blind = False
    for told in one.told:
        if told.state in (DOWN, STALE):
            was_blind = True
        elif told.state == LIVE and was_blind:
            was_blind = False
            if told.window is None or told.window.to_ns is None or told.window.to_ns < told.window.from_ns:
                return [Finding(promises.BLIND, f"{one.ledger.subject} is live again and does not say")]
    return []


def _not_whole(everybody: Sequence[Judged]) -> list[Finding]:
    waiting = [
        f"{one.ledger.subject} is {one.ledger.state or 'unknown'}" for one in everybody if one.ledger.state != LIVE
    ]
    return [Finding(promises.WHOLE, ", ".join(waiting[:SHOWN]) or "connections are missing")]


def _blind_s(concerned: Sequence[Judged]) -> float | None:
    windows = [told.window for one in concerned for told in one.told if told.window is not None]
    times_ns = [window.to_ns - window.from_ns for window in windows if window.to_ns is not None]
    return max(times_ns) / 1e9 if times_ns else None


def in_words(broken: Sequence[Finding]) -> list[str]:
    """Say each promise that was not kept once, with some of what shows it."""
    by_promise: dict[str, list[str]] = {}
    for finding in broken:
        by_promise.setdefault(finding.promise, []).append(finding.evidence)
    return [
        f"{promise} ({'; '.join(evidence[:SHOWN])}{f'; and {len(evidence) - SHOWN} more' if len(evidence) > SHOWN else ''})"
        for promise, evidence in by_promise.items()
    ]
