"""Which feed a command talks to: ``--runtime DIR``, else ``--config FILE``, else the runtime directory by default."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import msgspec
import zmq

from feedhandler import control, runtime
from feedhandler.config.load import load
from feedhandler.config.problems import ConfigError

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

ANSWER_PATIENCE_S = 3.0
"""How long a supervisor may take to answer a command."""


class CommandFailed(click.ClickException):
    """One line on stderr, and an exit code of its own."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, and reads it of the instance


def options(command: _Decorated) -> _Decorated:
    """Give a command the two options that say which feed is meant."""
    config = click.option(
        "--config", "config", type=click.Path(path_type=Path), help="The feed of this configuration file."
    )
    directory = click.option(
        "--runtime", "runtime_", metavar="DIR", default="", help="The feed in this runtime directory."
    )
    return directory(config(command))


def fail(text: str, exit_code: int) -> NoReturn:
    """End the command with one line on stderr."""
    raise CommandFailed(text, exit_code)


def config_problems(error: ConfigError) -> NoReturn:
    """End the command with every problem of a configuration, a line each."""
    for problem in error.problems:
        click.echo(str(problem), err=True)
    count = len(error.problems)
    fail(f"{count} problem{'s' if count > 1 else ''} in the configuration; nothing was started", 2)


def directory(runtime_: str, config: Path | None) -> Path:
    """Return the runtime directory that is meant."""
    if runtime_ or config is None:
        return runtime.directory(runtime_)
    try:
        return runtime.directory(load(config).runtime.directory)
    except ConfigError as error:
        config_problems(error)


def ask(where: Path, message: msgspec.Struct) -> control.ToCommand:
    """Send a command to the supervisor and return its answer; end with one line where there is none."""
    with closing(talk(where, message)) as answers:
        return next(answers)


def talk(where: Path, message: msgspec.Struct) -> Generator[control.ToCommand, None, None]:
    """Send a command to the supervisor and yield its answers, for as long as they are asked for.

    The command ends with one line where the supervisor refuses it, and where it falls silent.
    """
    path = where / control.SOCKET_NAME
    if not path.exists():
        fail(f"no feed runs in {where}", 1)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        socket.send(control.encode(message))
        while True:
            if not socket.poll(int(ANSWER_PATIENCE_S * 1000)):
                fail(f"no feed answers in {where}: it is gone, or paused", 1)
            answer: control.ToCommand = control.decode_to_command(socket.recv())
            if isinstance(answer, control.Refused):
                fail(answer.text, answer.exit_code)
            yield answer
    finally:
        socket.close()
        context.term()


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on uvloop, or on asyncio's loop where that cannot exist."""
    try:
        import uvloop  # noqa: PLC0415 - see above
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
