"""How long a message takes from the venue's socket write to the subscriber's receive, and where.

A real worker between a made-up venue and one subscriber. The venue wakes each millisecond and sends what is due back
to back, each message stamped as it is written; so at 50 k/s a message also waits for up to 49 that came with it. All
clocks are CLOCK_REALTIME of one machine. Each repeat starts every process anew, and warms it up.

Nothing here passes or fails: figures are medians of the repeats' quantiles, with their range. ``python -m bench.latency``
"""

from typing import Final

import msgspec

from bench.command import Options, main, say
from bench.market import Shape
from bench.rig import Rig, Run
from bench.subscriber import LEGS, QUANTILES
from bench.tables import Spread, table
from bench.venue import Pace

REPEATS: Final = 5
PACES: Final = (Pace(1_000, 10_000), Pace(10_000, 100_000), Pace(50_000, 250_000))
QUICK_PACES: Final = (Pace(1_000, 1_000),)
WARM_UP_S: Final = 0.5


class Row(msgspec.Struct):
    """The repeats at one rate. Times in µs."""

    per_s: int
    messages: int
    legs: dict[str, dict[str, Spread]]
    """By leg of the way (`LEGS`) and quantile (`QUANTILES`)."""
    lost: int
    largest_burst: int
    """Most messages that the venue ever sent back to back."""


def measure(options: Options) -> list[Row]:
    """Run every rate."""
    paces = QUICK_PACES if options.quick else PACES
    shape = Shape(books_per_cycle=24 if options.quick else Shape().books_per_cycle)
    runs: dict[int, list[Run]] = {}
    for repeat in range(options.repeats):
        with Rig(shape) as rig:
            for pace in paces:
                say(f"latency, repeat {repeat + 1} of {options.repeats}: {pace.per_s} messages/s")
                rig.run(Pace(pace.per_s, int(pace.per_s * WARM_UP_S)), latency=True)
                runs.setdefault(pace.per_s, []).append(rig.run(pace, latency=True))
    return [_row(per_s, repeats) for per_s, repeats in runs.items()]


def _row(per_s: int, runs: list[Run]) -> Row:
    found = [run.got[0].latency_ns for run in runs]
    return Row(
        per_s=per_s,
        messages=runs[0].sent.messages,
        legs={
            leg: {name: Spread.of(latency_ns[leg][name] / 1e3 for latency_ns in found) for name in QUANTILES}
            for leg in LEGS
        },
        lost=sum(run.lost for run in runs),
        largest_burst=max(run.sent.largest_burst for run in runs),
    )


def text(rows: list[Row]) -> str:
    """Return the tables."""
    times = table(
        ("messages/s, leg", *(f"{name} µs" for name in QUANTILES)),
        (
            (f"{row.per_s}, {leg}", *(spread.text(digits=0) for spread in quantiles.values()))
            for row in rows
            for leg, quantiles in row.legs.items()
        ),
    )
    sent = table(
        ("messages/s", "messages each repeat", "lost", "largest burst of the venue"),
        ((f"{row.per_s}", f"{row.messages}", f"{row.lost}", f"{row.largest_burst}") for row in rows),
    )
    return f"{times}\n\n{sent}"


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
