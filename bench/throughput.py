"""What a message costs the worker and its subscribers: CPU time, rate, losses.

A real worker between a made-up venue and 1, 2 or 4 subscribers, saturated (the venue sends as fast as the worker
reads) and at fixed rates. CPU time is of the main thread, which runs Python, and of the whole process, ZeroMQ's thread
included; a subscriber's is the mean of all. Each repeat starts every process anew, and warms it up.

Nothing here passes or fails: figures are medians of the repeats, with their range. ``python -m bench.throughput``
"""

from itertools import product
from typing import Final

import msgspec

from bench.command import Options, main, say
from bench.market import Shape
from bench.rig import Rig, Run
from bench.tables import Spread, table
from bench.venue import Flood, Order, Pace

REPEATS: Final = 5
WARM_UP_S: Final = 0.5


class Load(msgspec.Struct, frozen=True):
    """What is sent."""

    name: str
    order: Order

    @property
    def warm_up(self) -> Order:
        """The same for a short while."""
        if isinstance(self.order, Flood):
            return Flood(1)
        return Pace(self.order.per_s, int(self.order.per_s * WARM_UP_S))


LOADS: Final = (
    Load("1 k/s", Pace(1_000, 5_000)),
    Load("10 k/s", Pace(10_000, 50_000)),
    Load("50 k/s", Pace(50_000, 200_000)),
    Load("saturated", Flood(3)),
)
SUBSCRIBERS: Final = (1, 2, 4)
QUICK_LOADS: Final = (Load("1 k/s", Pace(1_000, 1_000)), Load("saturated", Flood(2)))


class Row(msgspec.Struct):
    """The repeats of one load with so many subscribers. CPU time in µs per message."""

    load: str
    subscribers: int
    messages: int
    worker_per_s: Spread
    delivered_per_s: Spread
    worker_main_us: Spread
    worker_process_us: Spread
    subscriber_main_us: Spread
    subscriber_process_us: Spread
    venue_us: Spread
    lost: int
    """Of all repeats and subscribers."""
    breaks: int


def measure(options: Options) -> list[Row]:
    """Run every load with every number of subscribers."""
    loads, counts = (QUICK_LOADS, (1,)) if options.quick else (LOADS, SUBSCRIBERS)
    shape = Shape(books_per_cycle=24 if options.quick else Shape().books_per_cycle)
    runs: dict[tuple[int, str], list[Run]] = {}
    # Repeats outermost: what else the machine does then meets every row alike.
    for repeat, count in product(range(options.repeats), counts):
        with Rig(shape, subscribers=count) as rig:
            for load in loads:
                say(f"throughput, repeat {repeat + 1} of {options.repeats}: {count} subscribers, {load.name}")
                rig.run(load.warm_up)
                runs.setdefault((count, load.name), []).append(rig.run(load.order))
    return [_row(load, count, repeats) for (count, load), repeats in runs.items()]


def _row(load: str, subscribers: int, runs: list[Run]) -> Row:
    def per_message(cpu_ns: float, run: Run) -> float:
        return cpu_ns / run.sent.messages / 1e3

    return Row(
        load=load,
        subscribers=subscribers,
        messages=runs[0].sent.messages,
        worker_per_s=Spread.of(run.worker_per_s for run in runs),
        delivered_per_s=Spread.of(run.delivered_per_s for run in runs),
        worker_main_us=Spread.of(per_message(run.worker.main, run) for run in runs),
        worker_process_us=Spread.of(per_message(run.worker.process, run) for run in runs),
        subscriber_main_us=Spread.of(
            per_message(sum(cpu.main for cpu in run.subscribers) / subscribers, run) for run in runs
        ),
        subscriber_process_us=Spread.of(
            per_message(sum(cpu.process for cpu in run.subscribers) / subscribers, run) for run in runs
        ),
        venue_us=Spread.of(per_message(run.venue.process, run) for run in runs),
        lost=sum(run.lost for run in runs),
        breaks=sum(run.breaks for run in runs),
    )


def text(rows: list[Row]) -> str:
    """Return the tables."""
    cost = table(
        (
            "load, subscribers",
            "worker main µs",
            "worker process µs",
            "subscriber main µs",
            "subscriber process µs",
            "venue µs",
        ),
        (
            (
                f"{row.load}, {row.subscribers}",
                row.worker_main_us.text(2),
                row.worker_process_us.text(2),
                row.subscriber_main_us.text(2),
                row.subscriber_process_us.text(2),
                row.venue_us.text(2),
            )
            for row in rows
        ),
    )
    rate = table(
        ("load, subscribers", "messages each repeat", "worker 1000/s", "delivered 1000/s", "lost", "sequence breaks"),
        (
            (
                f"{row.load}, {row.subscribers}",
                f"{row.messages}",
                row.worker_per_s.per(1e3).text(),
                row.delivered_per_s.per(1e3).text(),
                f"{row.lost}",
                f"{row.breaks}",
            )
            for row in rows
        ),
    )
    return f"CPU time per message:\n\n{cost}\n\nRates (delivered: to the slowest subscriber):\n\n{rate}"


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
