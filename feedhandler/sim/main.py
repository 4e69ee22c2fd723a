"""The simulated Bybit as a process: ``python -m feedhandler.sim`` and ``feedhandler sim``."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Never

import click

from feedhandler.sim import control
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.listing import Listing
from feedhandler.sim.replay import Recording, ReplayError, Transcript, parse_pace
from feedhandler.sim.script import Step
from feedhandler.sim.script import parse as parse_script
from feedhandler.sim.server import Server
from feedhandler.sim.session import Settings
from feedhandler.sim.venue import PATHS, SIGNED, SPREAD, STATUS

EXIT_USAGE: Final = 2
EXIT_CANNOT_START: Final = 3
_PR_SET_PDEATHSIG: Final = 1


@click.command(
    epilog="Example: feedhandler sim --port 9001, then connect any Bybit client to ws://127.0.0.1:9001/v5/public/linear"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9001, show_default=True, help="Port to listen on; 0 = any free one.")
@click.option("--listen-fd", type=int, help="Take over this listening TCP socket instead.")
@click.option("--seed", default=1, show_default=True, help="Equal seeds make equal markets.")
@click.option("--rate", default=1.0, show_default=True, help="Multiplies the markets' activity; 1.0 is lifelike.")
@click.option(
    "--replay",
    "replays",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Serve recorded frames, one JSON text a line; repeatable.",
)
@click.option("--pace", default="real", show_default=True, help="Of the replay: real, fast, or a multiplier as 10x.")
@click.option(
    "--settle-s",
    default=1.0,
    show_default=True,
    help="A replay begins when its client has not subscribed further for this long.",
)
@click.option(
    "--symbols",
    "symbols_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Further listed symbols, one a line.",
)
@click.option("--time-factor", default=1.0, show_default=True, help="Multiplies the venue's idle time-outs.")
@click.option(
    "--account-rate",
    default=1.0,
    show_default=True,
    help="Multiplies how often the account behind the private streams acts; 0 = only when told at /sim/account.",
)
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    metavar="KEY:SECRET",
    help="A further API key that /v5/private accepts, beside the simulator's own; repeatable.",
)
@click.option("--pad-level-1", is_flag=True, help="Pad the futures' level 1 with zeros, as the venue did until 2025.")
@click.option("--truth", is_flag=True, help="Remember the last books for /sim/book.")
@click.option(
    "--record",
    "record_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write down every frame sent, one file a connection.",
)
@click.option(
    "--script",
    "script_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Faults that happen by themselves: SECONDS KIND NAME=VALUE ... on each line, as of /sim/fault.",
)
@click.option("--parent-pid", type=int, help="End when this process, our parent, ends.")
def command(
    host: str,
    port: int,
    listen_fd: int | None,
    seed: int,
    rate: float,
    replays: tuple[Path, ...],
    pace: str,
    settle_s: float,
    symbols_file: Path | None,
    time_factor: float,
    account_rate: float,
    api_keys: tuple[str, ...],
    pad_level_1: bool,
    truth: bool,
    record_directory: Path | None,
    script_file: Path | None,
    parent_pid: int | None,
) -> None:
    """Run the simulated Bybit: V5 streams on loopback, with lifelike markets and an account, or recorded frames."""
    if parent_pid is not None:
        end_with_parent(parent_pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    if parent_pid is not None:
        # A Ctrl-C reaches every process of the terminal; when to end is then the parent's decision.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if rate <= 0:
        raise click.BadParameter("must be greater than 0", param_hint="--rate")
    if account_rate < 0:
        raise click.BadParameter("must not be below 0", param_hint="--account-rate")
    keys = dict(map(_key, api_keys))
    recording = Recording()
    steps = _script(script_file)
    try:
        speed = parse_pace(pace)
        for path in replays:
            recording.read(path)
        symbols = symbols_file.read_text().split() if symbols_file is not None else []
        transcript = Transcript(record_directory) if record_directory is not None else None
    except ReplayError as error:
        _fail(str(error), EXIT_USAGE)
    except OSError as error:
        _fail(f"cannot read {symbols_file}: {error.strerror}", EXIT_USAGE)
    listening = _listening(host, port, listen_fd)
    exchange = Exchange(
        Listing(symbols),
        seed=seed,
        rate=rate,
        history=2000 if truth else 0,
        pads_level_1=pad_level_1,
        account_rate=account_rate,
    )

    def build() -> Server:
        return Server(
            exchange,
            seed=seed,
            settings=Settings(time_factor=time_factor),
            recording=recording,
            pace=speed,
            settle_s=settle_s,
            transcript=transcript,
            keys=keys,
        )

    # What was built so far lives until the end: collections need not look at it again.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(
            # A parent that bound the socket says itself where we are.
            _serve(
                build, listening, steps, has_parent=parent_pid is not None, is_known=None not in (parent_pid, listen_fd)
            )
        )


async def _serve(
    build: Callable[[], Server], listening: socket.socket, steps: list[Step], *, has_parent: bool, is_known: bool
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM,) if has_parent else (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = build()
    await server.listen(listening)
    for step in steps:
        loop.call_later(step.at_s, _take, server, step)
    if not is_known:
        _announce(listening, server.recording)
    await stopped.wait()
    server.stop()


def _take(server: Server, step: Step) -> None:
    """Take a step of the script, and say so."""
    try:
        control.fault(server, step.query)
        came = ""
    except control.ControlError as error:
        came = f": {error}"  # of what is there at that time: a topic, a connection
    click.echo(f"{step}{came}")
    sys.stdout.flush()


def _script(file: Path | None) -> list[Step]:
    try:
        return parse_script(file.read_text()) if file is not None else []
    except OSError as error:
        _fail(f"cannot read {file}: {error.strerror}", EXIT_USAGE)
    except ValueError as error:
        _fail(f"{file}: {error}", EXIT_USAGE)


def _announce(listening: socket.socket, recording: Recording) -> None:
    host, port = listening.getsockname()[:2]
    where = f"{host}:{port}"
    paths = ",".join(product for product in PATHS.values() if product not in (STATUS, SPREAD, *SIGNED))
    replayed = (
        f", replaying {len(recording.frames)} frames of {len(recording.known)} topics" if recording.frames else ""
    )
    click.echo(
        f"simulated Bybit at ws://{where}/v5/public/{{{paths}}}, /v5/public/spread and /v5/private{replayed}; "
        f"what clients do: http://{where}/sim/stats, faults to switch on: http://{where}/sim/faults"
    )
    sys.stdout.flush()


def _key(text: str) -> tuple[str, str]:
    key, _, secret = text.partition(":")
    if not key or not secret:
        # Not echoed: it may be a real one.
        raise click.BadParameter("must be KEY:SECRET", param_hint="--api-key")
    return key, secret


def _listening(host: str, port: int, listen_fd: int | None) -> socket.socket:
    """Bind, or take over a socket that was bound for us."""
    try:
        if listen_fd is not None:
            listening = socket.socket(fileno=listen_fd)
        else:
            listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(1024)
        listening.setblocking(False)
    except OSError as error:
        what = f"descriptor {listen_fd}" if listen_fd is not None else f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            _fail(f"{what} is in use; choose another with --port", EXIT_CANNOT_START)
        _fail(f"cannot listen on {what}: {error.strerror or error}", EXIT_CANNOT_START)
    return listening


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # It ended before we asked.
        os._exit(0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - optional: where it cannot exist asyncio's own loop serves
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _end_at_once(_number: int, _frame: object) -> None:
    os._exit(0)


def _fail(text: str, code: int) -> Never:
    click.echo(f"feedhandler sim: {text}", err=True)
    sys.exit(code)
