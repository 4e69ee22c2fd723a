"""A strategy that joins late: what it gets is held against what the first one has."""

import time
from collections.abc import Sequence
from typing import Final

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.drill import promises
from feedhandler.drill.expectation import JOIN_S, TOPICS_A_SECOND, Expectation
from feedhandler.drill.ledger import Ledger
from feedhandler.drill.promises import Finding
from feedhandler.drill.scene import PATIENCE_MORE_S, Scene, patience_s
from feedhandler.drill.scoring import Seen
from feedhandler.drill.strategy import Strategy

PROOF_RECORDS: Final = 2
"""Records of a book that must continue its image."""
NAMED: Final = 3
BOOKS_COMPARED: Final = 50
"""Books held against the venue's: the venue answers for one after the other, and has other work."""


def join(scene: Scene, subjects: Sequence[str]) -> tuple[Expectation, Seen]:
    """Subscribe to live subjects anew; return what is promised of that, and what was seen."""
    present = {subject: scene.ledgers[subject] for subject in subjects}
    expectation = Expectation(told_within_s=JOIN_S + len(present) / TOPICS_A_SECOND)
    joined = {subject: Ledger(subject, ledger.product) for subject, ledger in present.items()}
    waiting = set(joined)
    seen = Seen(whole_ns=time.time_ns())
    newcomer = Strategy(
        {worker: plan.publish for worker, plan in scene.plans.items()}, [wire.prefix(subject) for subject in joined]
    )

    def has_joined() -> bool:
        for _, record in newcomer.receive(0.0):
            joined[record.subject].take(record)
        waiting.difference_update([subject for subject in waiting if _is_in_step(joined[subject], present[subject])])
        return not waiting

    try:
        if scene.wait(has_joined, patience_s(expectation.told_within_s)):
            seen.told_ns = time.time_ns()
        else:
            named = ", ".join(sorted(waiting)[:NAMED])
            seen.further.append(Finding(promises.JOINED, f"{len(waiting)} subjects did not, as {named}"))
        books = [ledger for ledger in joined.values() if ledger.nature is Nature.BOOK]
        scene.wait(
            lambda: has_joined() and all(book.counts.records >= PROOF_RECORDS for book in books), PATIENCE_MORE_S
        )
        for ledger in books[:BOOKS_COMPARED]:
            scene.compare(ledger)
        seen.further += [finding for ledger in joined.values() for finding in ledger.findings]
    finally:
        newcomer.close()
    scene.settle()
    return expectation, seen


def _is_in_step(joined: Ledger, present: Ledger) -> bool:
    """Say whether a newcomer has the status, and the image where one is due."""
    needs_none = present.nature in (Nature.EVENT, Nature.DELTAS) or not present.counts.records
    return bool(joined.state) and (joined.in_step or needs_none)
