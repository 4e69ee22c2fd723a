"""What memory a worker takes that carries many books.

A real worker with 500 books of depth 50, and with 100 of depth 1000: before it carries a topic, when each book has its
snapshot, when deltas have run long enough for each journal to be folded several times, and when a subscriber has
joined everything, so that each book was composed. ``python -m bench.memory``
"""

from typing import Final

import msgspec

from bench.command import Options, main, say
from bench.machine import memory_bytes
from bench.market import Shape
from bench.rig import Rig
from bench.tables import Spread, table
from bench.venue import Pace

REPEATS: Final = 3
DELTAS_EACH: Final = 200
"""Messages for each book: a journal is folded beyond 32."""
QUICK_DELTAS_EACH: Final = 40
SECONDS: Final = 20
QUICK_SECONDS: Final = 1

SHAPES: Final = (
    Shape(symbols=500, depth=50, only_books=True, books_per_cycle=250),
    Shape(symbols=100, depth=1000, only_books=True, books_per_cycle=250, levels=(10, 60)),
)
QUICK_SHAPES: Final = (
    Shape(symbols=20, depth=50, only_books=True, books_per_cycle=20),
    Shape(symbols=4, depth=1000, only_books=True, books_per_cycle=20, levels=(10, 60)),
)


class Row(msgspec.Struct):
    """The repeats with one shape. Resident memory of the worker in bytes."""

    books: int
    depth: int
    stages: dict[str, Spread]
    peak: Spread


def measure(options: Options) -> list[Row]:
    """Run every shape."""
    shapes = QUICK_SHAPES if options.quick else SHAPES
    each, seconds = (QUICK_DELTAS_EACH, QUICK_SECONDS) if options.quick else (DELTAS_EACH, SECONDS)
    rows = []
    for shape in shapes:
        stages: dict[str, list[float]] = {}
        peaks: list[float] = []
        for repeat in range(options.repeats):
            say(f"memory, repeat {repeat + 1} of {options.repeats}: {shape.symbols} books of depth {shape.depth}")
            messages = shape.symbols * each
            with Rig(shape, subscribers=0) as rig:
                found = {"no topics": rig.idle_memory_bytes, "snapshots": memory_bytes(rig.worker.pid)}
                rig.run(Pace(messages // seconds, messages))
                found["deltas"] = memory_bytes(rig.worker.pid)
                rig.join(1)
                found["joined"] = memory_bytes(rig.worker.pid)
            for stage, memory in found.items():
                stages.setdefault(stage, []).append(memory["VmRSS"])
            peaks.append(found["joined"]["VmHWM"])
        spreads = {stage: Spread.of(values) for stage, values in stages.items()}
        rows.append(Row(shape.symbols, shape.depth, spreads, Spread.of(peaks)))
    return rows


def text(rows: list[Row]) -> str:
    """Return the table."""
    return table(
        ("books", *(f"{stage} MiB" for stage in rows[0].stages), "peak MiB", "KiB a book"),
        (
            (
                f"{row.books} of depth {row.depth}",
                *(spread.per(2**20).text() for spread in (*row.stages.values(), row.peak)),
                f"{(row.stages['joined'].median - row.stages['no topics'].median) / row.books / 1024:.0f}",
            )
            for row in rows
        ),
    )


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
