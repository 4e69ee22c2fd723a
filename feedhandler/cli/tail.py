"""``feedhandler tail``: live records, one line each."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from feedhandler import wire
from feedhandler.client.record import UNASSIGNED, UNKNOWN, Record
from feedhandler.client.subscriber import Subscriber
from feedhandler.errors import FeedError

NO_FEED: Final = 3
"""Exit status with ``--no-wait`` where there is no feed."""

_COLOURS: Final = {
    wire.LIVE: "green",
    wire.SUBSCRIBING: "yellow",
    wire.STALE: "yellow",
    wire.RESYNCING: "yellow",
    wire.DOWN: "red",
    wire.REJECTED: "red",
    UNASSIGNED: "red",
    UNKNOWN: "red",
}


@click.command(epilog="Example: feedhandler tail linear.orderbook.50.BTCUSDT linear.publicTrade. --count 20")
@click.argument("subjects", nargs=-1, required=True, metavar="SUBJECT...")
@click.option("--count", type=click.IntRange(min=1), help="End after so many data records (statuses do not count).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: the header's fields, and the payload.")
@click.option("--decoded", is_flag=True, help="Show every field by its name instead of a summary.")
@click.option("--no-wait", is_flag=True, help="End with status 3 where there is no feed, instead of waiting for it.")
@click.option("--runtime", type=click.Path(path_type=Path), metavar="DIR", help="The feed's runtime directory.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The feed's configuration; only its runtime directory is read.",
)
def command(
    subjects: tuple[str, ...],
    count: int | None,
    as_json: bool,
    decoded: bool,
    no_wait: bool,
    runtime: Path | None,
    config: Path | None,
) -> None:
    """Print live records of each SUBJECT, as they come.

    A SUBJECT is ENDPOINT.TOPIC; one that ends with "." or "*" stands for every subject that begins so. Prints also what
    happens to the subjects (status), and works before the feed is started and across its restarts.
    """
    if runtime is not None and config is not None:
        raise click.UsageError("--runtime and --config exclude each other")
    line = _json_line if as_json else _text_line
    try:
        with Subscriber(config, runtime=runtime) as feed:
            feed.subscribe(*subjects)
            _print(feed, line, count=count, decoded=decoded, no_wait=no_wait, quiet=as_json)
    except FeedError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        return  # the way to end it


def _print(
    feed: Subscriber,
    line: Callable[[Record, bool], str],
    *,
    count: int | None,
    decoded: bool,
    no_wait: bool,
    quiet: bool,
) -> None:
    printed = 0
    missing = ""
    for record in feed:
        absent = _no_feed(record)
        if absent and absent != missing:
            click.echo(absent if no_wait else f"{absent}; waiting for it", err=True)
            if no_wait:
                sys.exit(NO_FEED)
        missing = absent or (missing if record.local else "")
        if absent and not quiet:
            continue
        click.echo(line(record, decoded))
        printed += record.kind <= wire.UPDATE
        if count is not None and printed >= count:
            return


def _no_feed(record: Record) -> str:
    """Return what a record says of a missing feed, ``""`` where it says nothing of the kind."""
    if not record.local:
        return ""
    status: wire.Status = record.decode()
    return status.reason if status.state == UNKNOWN and status.reason.startswith("no feed at") else ""


def _json_line(record: Record, decoded: bool) -> str:
    shown: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__ if name != "payload"}
    shown["kind"] = wire.KIND_NAMES[record.kind]
    try:
        shown["payload"] = msgspec.to_builtins(record.decode()) if decoded else msgspec.Raw(record.payload)
    except ValueError as error:
        shown["undecodable"] = str(error)
        shown["payload"] = record.payload.decode(errors="replace")
    return msgspec.json.encode(shown).decode()


def _text_line(record: Record, decoded: bool) -> str:
    # Whole seconds by integer arithmetic: a double has no room for today's nanoseconds.
    seconds, nanoseconds = divmod(record.received_ns, 1_000_000_000)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{nanoseconds // 1000:06d}"
    kind = wire.KIND_NAMES[record.kind]
    marks = "".join(
        mark
        for flag, mark in ((wire.IMAGE, " image"), (wire.REPEATED, " repeated"), (wire.COMPOSED, " composed"))
        if record.flags & flag and not (record.kind == wire.STATUS and flag == wire.REPEATED)
    )
    try:
        message = record.decode()
        text = (
            _status(message) if record.kind == wire.STATUS else str(message) if decoded else _summary(record, message)
        )
    except ValueError as error:
        text = f"undecodable ({error}): {record.payload.decode(errors='replace')}"
    return f"{clock} {record.subject} {kind}{marks} #{record.sequence} {text}"


def _status(status: wire.Status) -> str:
    text = click.style(status.state, fg=_COLOURS.get(status.state), bold=True)
    if status.reason:
        text += f": {status.reason}"
    return text if status.lines_up == status.lines else f"{text} ({status.lines_up} of {status.lines} lines up)"


def _summary(record: Record, message: Any) -> str:
    """Say in a few words what a message holds."""
    if record.kind > wire.UPDATE:
        return record.payload.decode()
    family = record.topic.partition(".")[0]
    data = message.data
    if family == "orderbook":
        if message.type != "snapshot":
            return f"u {data.update_id}, changed {len(data.bids)} bids, {len(data.asks)} asks"
        bid, ask = (" × ".join(map(_number, side[0])) if side else "none" for side in (data.bids, data.asks))
        return f"u {data.update_id}, bid {bid}, ask {ask}, {len(data.bids)} + {len(data.asks)} levels"
    if family == "publicTrade":
        shown = ", ".join(f"{trade.side} {_number(trade.price)} × {_number(trade.size)}" for trade in data[:3])
        return shown + (f" and {len(data) - 3} more" if len(data) > 3 else "")
    if family == "tickers":
        known = ((word, getattr(data, name, msgspec.UNSET)) for word, name in _TICKER)
        return ", ".join(f"{word} {_number(value)}" for word, value in known if value not in (msgspec.UNSET, ""))
    if family == "kline":
        candle = data[-1]
        words = ("open", "high", "low", "close", "volume")
        shown = ", ".join(f"{word} {_number(getattr(candle, word))}" for word in words)
        return f"{shown}{', final' if candle.is_final else ''}"
    if family == "allLiquidation":
        return ", ".join(f"{row.position_side} {_number(row.bankruptcy_price)} × {_number(row.size)}" for row in data)
    return record.payload.decode(errors="replace")


_TICKER: Final = (("last", "last_price"), ("mark", "mark_price"), ("bid", "bid_price"), ("ask", "ask_price"))


def _number(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
