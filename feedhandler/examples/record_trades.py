"""Public trades into Parquet files, a new one each hour. Needs pyarrow: pip install "feedhandler[parquet]".

python -m feedhandler.examples.record_trades trades --config feedhandler/examples/feed.toml
"""

import argparse
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import UNSET

import feedhandler
from feedhandler import wire

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError:
    sys.exit('record_trades needs pyarrow: pip install "feedhandler[parquet]"')

COLUMNS = ("time_ms", "symbol", "side", "price", "size", "trade_id")
TYPES = (pa.int64(), pa.string(), pa.string(), pa.float64(), pa.float64(), pa.string())
SCHEMA = pa.schema([*zip(COLUMNS, TYPES, strict=True), ("received_ns", pa.int64())])
ROWS = 10_000


def write(folder: Path, feed: feedhandler.Subscriber, until_s: float, stop: list[Any]) -> None:
    """Write one file, until the time is over; only a whole file gets its final name."""
    path = folder / f"trades-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.parquet"
    part = path.with_suffix(".part")
    count = 0
    with parquet.ParquetWriter(part, SCHEMA) as writer:
        rows: list[dict[str, Any]] = []
        while time.monotonic() < until_s and not stop:
            record = feed.receive(timeout_s=0.2)
            if record is None:
                continue
            message = record.decode()
            if record.kind == wire.UPDATE:
                received = {"received_ns": record.received_ns}
                rows += ({name: getattr(trade, name) for name in COLUMNS} | received for trade in message.data)
            elif message.state != wire.LIVE or message.lost is not UNSET:
                print(record.subject, record.payload.decode(), file=sys.stderr)  # what is missing belongs to the data
            if len(rows) >= ROWS:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                count += len(rows)
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    part.rename(path)
    print(f"{path}: {count + len(rows)} trades", flush=True)


def main() -> None:
    """Record until the time is over, or Ctrl-C, or SIGTERM; the last file is written, too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--config", help="the feed's configuration; default: the feed in the default runtime directory")
    parser.add_argument("--runtime", help="or its runtime directory")
    parser.add_argument("--rotate-s", type=float, default=3600, help="seconds in one file")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long; default: until Ctrl-C")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    stop: list[Any] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(True))
    end_s = time.monotonic() + options.seconds
    with feedhandler.Subscriber(options.config, runtime=options.runtime) as feed:
        feed.subscribe("linear.publicTrade.")
        while time.monotonic() < end_s and not stop:
            write(options.folder, feed, min(end_s, time.monotonic() + options.rotate_s), stop)


if __name__ == "__main__":
    main()
