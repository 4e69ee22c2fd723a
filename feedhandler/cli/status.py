"""``feedhandler status``: what runs, and in which state every topic is."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from feedhandler import control, wire
from feedhandler.cli import where

_COLOURS: Final = {
    wire.LIVE: "green",
    wire.SUBSCRIBING: "yellow",
    wire.STALE: "yellow",
    wire.RESYNCING: "yellow",
    wire.DOWN: "red",
    wire.REJECTED: "red",
}
NAMED: Final = 10
"""Topics named for each state and reason; of more the number is given."""


@click.command(epilog="Example: feedhandler status --json | jq '.workers[].topics'")
@where.options
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--all", "show_all", is_flag=True, help="Name every topic, also those that are live.")
def command(runtime_: str, config: Path | None, as_json: bool, show_all: bool) -> int:
    """Show what runs and in which state every topic is."""
    answer = where.ask(where.directory(runtime_, config), control.StatusRequest())
    if not isinstance(answer, control.StatusReply):
        where.fail(f"unexpected answer: {answer}", 1)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        for line in _lines(answer, show_all=show_all):
            click.echo(line)
    return 0


def _lines(status: control.StatusReply, *, show_all: bool) -> Iterator[str]:
    yield (
        f"feed {status.config} in {status.runtime}: {status.network}, up {_duration(status.uptime_s)}, process {status.pid}"
    )
    if status.simulated_bybit:
        yield f"simulated Bybit at {status.simulated_bybit}"
    held = f", {status.attempts_waiting} held back" if status.attempts_waiting else ""
    yield f"{status.attempts} attempts to connect in the last 5 minutes{held}"
    for worker in status.workers:
        yield ""
        state = click.style(worker.state, fg="green" if worker.state == "running" else "red", bold=True)
        who = f"process {worker.pid}, epoch {worker.epoch}" if worker.pid else "no process"
        ended = f", last end: {worker.last_exit}" if worker.last_exit else ""
        yield f"{click.style(worker.worker, bold=True)} {state}: {who}, {worker.restarts} restarts{ended}"
        if worker.restart:
            yield f"  restart by command: {worker.restart}"
        yield f"  from {worker.url}"
        yield f"  strategies connect to {', '.join(worker.publish)}"
        if (beat := worker.heartbeat) is not None:
            yield (
                f"  {beat.connections_up} of {beat.connections} connections up, {beat.frames:,} messages, "
                f"{beat.images:,} images, {beat.gaps} gaps, {beat.resyncs} resyncs, {beat.duplicates} duplicates, "
                f"{beat.reconnects} reconnects, {beat.unparsed + beat.binary + beat.unexpected} strange frames"
            )
            for line in beat.lines:
                yield (
                    f"  line {line.line}: {'up' if line.up else 'down'}, first {line.wins:,} times, "
                    f"later {line.second_copies:,} times by {line.lag_us_mean:,.0f} µs on average"
                )
            yield (
                f"  {beat.rss_bytes / 1e6:,.0f} MB, {beat.cpu_s:,.1f} s of CPU in {_duration(beat.uptime_s)}, "
                f"last heard of {worker.beat_age_s or 0:.1f} s ago"
            )
        yield from _topics(worker, show_all=show_all)


def _topics(worker: control.WorkerStatus, *, show_all: bool) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for topic, place in worker.topics.items():
        groups.setdefault(place, []).append(topic)
    counts = Counter(state for state, _ in worker.topics.values())
    yield "  topics: " + (
        ", ".join(f"{count} {click.style(state, fg=_COLOURS.get(state))}" for state, count in counts.items())
        or "none yet"
    )
    for (state, reason), topics in sorted(groups.items()):
        if state == wire.LIVE and not show_all:
            continue
        named = ", ".join(topics if show_all else topics[:NAMED])
        more = "" if show_all or len(topics) <= NAMED else f" and {len(topics) - NAMED} more"
        yield f"    {click.style(state, fg=_COLOURS.get(state))}{f' ({reason})' if reason else ''}: {named}{more}"


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    return f"{hour} h {minute} min" if hour else f"{minute} min {second} s" if minute else f"{seconds:.1f} s"
