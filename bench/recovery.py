"""How long a strategy is without data: after a reset of the connection, and after a lost delta.

One worker, 30 books of depth 50 on the simulated Bybit, one line; a plain subscriber. What the simulator itself takes is
in the figures: its acknowledgement and its first snapshot come after a delay of their own, shown beside them. A gap is the
first of its book on its connection; one that follows within 30 s is asked for after 0.1 s, the next after 0.2 s (backoff).
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.feed import Ear, Feed, is_data, wait_until
from support.simulator import Simulator

from bench.command import Options, main, say
from bench.tables import table
from feedhandler import wire

REPEATS = 50

SYMBOLS = [f"COIN{number}USDT" for number in range(30)]
SUBJECTS = [f"linear.orderbook.50.{symbol}" for symbol in SYMBOLS]
CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = {symbols}
streams = ["orderbook.50"]
"""


def first_snapshots_ns(ear: Ear, start: int) -> dict[str, int]:
    """Return when each subject's first snapshot came, of the records after the first ``start``."""
    found: dict[str, int] = {}
    for record in list(ear.records)[start:]:
        if is_data(record) and record.kind == wire.SNAPSHOT:
            found.setdefault(record.subject, record.received_ns)
    return found


def reset_once(venue: Simulator, ear: Ear) -> float:
    """Reset the connection; return the ms until every topic has data again."""
    start = len(ear.records)
    cut_ns = time.time_ns()
    venue.fault("reset")
    found: dict[str, int] = wait_until(
        lambda: f if len(f := first_snapshots_ns(ear, start)) == len(SUBJECTS) else None, "data again"
    )
    return (max(found.values()) - cut_ns) / 1e6


def gap_once(venue: Simulator, ear: Ear, number: int) -> float:
    """Lose a delta of one book; return the ms from the gap's proof to the healing snapshot."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    start = len(ear.records)
    venue.fault("skip", topic=subject.removeprefix("linear."))
    healed: int = wait_until(lambda: first_snapshots_ns(ear, start).get(subject), "the book healed")
    told = next(
        record.received_ns
        for record in list(ear.records)[start:]
        if record.subject == subject and record.kind == wire.STATUS and b'"resyncing"' in record.payload
    )
    return (healed - told) / 1e6


class Recovered(msgspec.Struct):
    """What was measured, in ms."""

    reset_ms: list[float]
    """From the cut to data on all topics."""
    gap_ms: list[float]
    """From the gap's proof to the healing snapshot."""
    messages_per_s: float
    simulator: dict[str, Any]
    """The simulator's own delays and settings."""


def measure(options: Options) -> Recovered:
    """Cut, and lose a delta, again and again."""
    resets: list[float] = []
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Simulator("--rate", "10") as venue:
        feed = Feed(Path(folder), CONFIG.format(url=venue.url_of("linear"), symbols=json.dumps(SYMBOLS)))
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            wait_until(lambda: all(ear.data(subject) for subject in SUBJECTS), "data")
            for number in range(3 if options.quick else options.repeats):
                say(f"{number + 1}")
                resets.append(reset_once(venue, ear))
                gaps.append(gap_once(venue, ear, number))
                ear.records.clear()
            counters = feed.counters("linear")
        return Recovered(resets, gaps, counters["frames"] / counters["uptime_s"], venue.settings())


def text(found: Recovered) -> str:
    """Return the table."""
    rows = [
        (what, f"{median(values):.1f}", f"{max(values):.1f}", str(len(values)))
        for what, values in (("reset to data on all 30 topics", found.reset_ms), ("gap to healed book", found.gap_ms))
    ]
    load = f"at {found.messages_per_s:,.0f} messages/s; the simulator's own delays: {json.dumps(found.simulator)}"
    return f"{table(('recovery', 'median ms', 'worst ms', 'times'), rows)}\n\n{load}"


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
