"""``feedhandler tail``: live records, one line each."""

import logging
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from feedhandler import wire
from feedhandler.bybit.topics import split
from feedhandler.client.record import UNASSIGNED, UNKNOWN, Record
from feedhandler.client.subscriber import Subscriber
from feedhandler.client.views import BookView, book_view
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
    # What the client logs is shown as records here.
    logging.getLogger("feedhandler").addHandler(logging.NullHandler())
    lines = _Lines(as_json=as_json, decoded=decoded)
    try:
        with Subscriber(config, runtime=runtime) as feed:
            feed.subscribe(*subjects)
            _print(feed, lines, count=count, no_wait=no_wait)
    except FeedError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        return  # the way to end it
    except BrokenPipeError:
        # Whoever read us is gone (``tail … | head``). What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(feed: Subscriber, lines: "_Lines", *, count: int | None, no_wait: bool) -> None:
    printed = 0
    missing = ""
    for record in feed:
        absent = _no_feed(record)
        if absent and absent != missing:
            click.echo(absent if no_wait else f"{absent}; waiting for it", err=True)
            if no_wait:
                sys.exit(NO_FEED)
        missing = absent or (missing if record.local else "")
        if absent and not lines.as_json:
            continue
        click.echo(lines.of(record))
        printed += record.kind <= wire.UPDATE
        if count is not None and printed >= count:
            return


def _no_feed(record: Record) -> str:
    """Return what a record says of a missing feed, ``""`` where it says nothing of the kind."""
    if not record.local:
        return ""
    status: wire.Status = record.decode()
    return status.reason if status.state == UNKNOWN and status.reason.startswith("no feed at") else ""


class _Lines:
    """Records as lines. Of the books it keeps the present state, so that a delta's line says what it led to."""

    def __init__(self, *, as_json: bool, decoded: bool) -> None:
        self.as_json = as_json
        self._decoded = decoded
        self._books: dict[str, BookView] = {}

    def of(self, record: Record) -> str:
        """Return the line of a record."""
        return self._json(record) if self.as_json else self._text(record)

    def _json(self, record: Record) -> str:
        shown: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__ if name != "payload"}
        shown["kind"] = wire.KIND_NAMES[record.kind]
        try:
            msgspec.json.decode(record.payload)
            shown["payload"] = _named(record.decode()) if self._decoded else msgspec.Raw(record.payload)
        except ValueError as error:
            shown["undecodable"] = str(error)
            shown["payload"] = record.payload.decode(errors="replace")
        return msgspec.json.encode(shown).decode()

    def _text(self, record: Record) -> str:
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
            text = self._said(record)
        except ValueError as error:
            text = f"undecodable ({error}): {record.payload.decode(errors='replace')}"
        return f"{clock} {record.subject} {kind}{marks} #{record.sequence} {text}"

    def _said(self, record: Record) -> str:
        message = record.decode()
        if record.kind == wire.STATUS:
            return _status(message)
        if self._decoded:
            return _shown(_named(message))
        if record.kind > wire.UPDATE:
            return record.payload.decode()
        if record.topic.startswith("orderbook."):
            return self._book(record, message)
        return _summary(record, message)

    def _book(self, record: Record, message: Any) -> str:
        data = message.data
        text = f"u {data.update_id}"
        changed = f"changed {len(data.bids)} + {len(data.asks)}"
        if record.topic.startswith("orderbook.full."):
            return f"{text}, {changed}"
        book = self._books.get(record.subject)
        if book is None:
            book = self._books[record.subject] = book_view(record.subject, record.product, float, strict=False)
        book.apply(message)
        bid, ask = (" × ".join(map(_number, best)) if best else "none" for best in (book.best_bid, book.best_ask))
        text += f", bid {bid}, ask {ask}, {book.depth[0]} + {book.depth[1]} levels"
        return text if message.type == "snapshot" else f"{text}, {changed}"


def _named(value: Any) -> Any:
    """Return a message as plain data under our names; what it does not have is left out."""
    if isinstance(value, msgspec.Struct):
        pairs = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: _named(found) for name, found in pairs if found is not msgspec.UNSET}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


def _status(status: wire.Status) -> str:
    text = click.style(status.state, fg=_COLOURS.get(status.state), bold=True)
    if status.reason:
        text += f": {status.reason}"
    return text if status.lines_up == status.lines else f"{text} ({status.lines_up} of {status.lines} lines up)"


def _summary(record: Record, message: Any) -> str:
    """Say in a few words what a message holds."""
    name = split(record.topic)[0]
    family = name.partition(".")[0]
    data = message.data
    if family == "publicTrade":
        shown = ", ".join(f"{trade.side} {_number(trade.price)} × {_number(trade.size)}" for trade in data[:3])
        return shown + (f" and {len(data) - 3} more" if len(data) > 3 else "")
    if family == "tickers":
        shown = _fields(data, _TICKER)
        fields = len(_named(data)) - 1
        return shown or f"{fields} other field{'s' if fields != 1 else ''}"
    if family == "kline":
        candle = data[-1]
        words = ("open", "high", "low", "close", "volume")
        shown = ", ".join(f"{word} {_number(getattr(candle, word))}" for word in words)
        return f"{shown}{', final' if candle.is_final else ''}"
    if family == "allLiquidation":
        return ", ".join(f"{row.position_side} {_number(row.bankruptcy_price)} × {_number(row.size)}" for row in data)
    if fields_of_row := _ROWS.get(name):
        return "; ".join(_fields(row, fields_of_row) for row in (data if isinstance(data, list) else [data]))
    return record.payload.decode(errors="replace")


_Fields = tuple[tuple[str, str], ...]
"""Word and field; a field that speaks for itself has no word."""


def _fields(row: Any, fields: _Fields) -> str:
    """Show those fields that a row has."""
    known = ((word, getattr(row, name, msgspec.UNSET)) for word, name in fields)
    return ", ".join(f"{word} {_number(value)}".strip() for word, value in known if value not in (msgspec.UNSET, ""))


_TICKER: Final[_Fields] = (("last", "last_price"), ("mark", "mark_price"), ("bid", "bid_price"), ("ask", "ask_price"))
_FILL: Final[_Fields] = (("", "symbol"), ("", "side"), ("", "size"), ("at", "price"))
_ROWS: Final[dict[str, _Fields]] = {
    "priceLimit": (("buy up to", "highest_buy"), ("sell down to", "lowest_sell")),
    "insurance": (("", "coin"), ("", "symbols"), ("balance", "balance")),
    "adlAlert": (("", "symbol"), ("fund", "fund_balance"), ("drawdown", "drawdown_ratio")),
    "system": (("", "state"), ("", "title")),
    "order": (*_FILL, ("", "status"), ("filled", "filled_size")),
    "execution": (*_FILL, ("", "type"), ("fee", "fee")),
    "execution.fast": _FILL,
    "position": (("", "symbol"), ("", "side"), ("", "size"), ("entry", "entry_price"), ("pnl", "unrealised_pnl")),
    "wallet": (("equity", "total_equity"), ("available", "total_available_balance")),
    "greeks": (
        ("", "base_coin"),
        ("delta", "total_delta"),
        ("gamma", "total_gamma"),
        ("vega", "total_vega"),
        ("theta", "total_theta"),
    ),
    "spread.order": (*_FILL, ("", "status"), ("filled", "filled_size")),
    "spread.execution": (*_FILL, ("", "type"), ("fee", "fee")),
}
"""What is shown of each row, by stream."""


def _number(value: object) -> str:
    # Without an exponent, which nobody reads at a glance.
    return f"{Decimal(repr(value)):f}".removesuffix(".0") if isinstance(value, float) else str(value)
