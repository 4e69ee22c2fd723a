"""Run every benchmark and keep what they find in ``bench/results/<date>-<commit>.md``. ``python -m bench.report``"""

import argparse
import time
from pathlib import Path
from typing import Final

from bench import client, latency, memory, micro, throughput
from bench.command import Options, measured
from bench.machine import commit, facts
from bench.tables import facts_table

RESULTS: Final = Path(__file__).parent / "results"
PARTS: Final = (throughput, latency, memory, micro, client)


def report(*, quick: bool) -> str:
    """Run them one after the other; return the report."""
    sections = [f"# Measured on {time.strftime('%Y-%m-%d', time.gmtime())} at {commit()}", facts_table(facts())]
    for part in PARTS:
        name = part.__name__.rpartition(".")[2]
        what = (part.__doc__ or "").rpartition("``python")[0].strip()
        found = measured(part.measure, part.text, Options(1 if quick else part.REPEATS, quick))
        sections += [f"## {name.capitalize()}", what, f"{found.circumstances}.", found.text]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show that it works; the figures mean nothing")
    parser.add_argument("--to", type=Path, metavar="FILE", help="default bench/results/<date>-<commit>.md")
    arguments = parser.parse_args()
    path = arguments.to or RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{commit()}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(report(quick=arguments.quick))
    print(path)


if __name__ == "__main__":
    main()
