"""The command line: results on stdout, talk on stderr, exit 2 for what the user got wrong, never a traceback on Ctrl-C.

Each command is a module of this folder with a click command named ``command``; it is imported when it is used, so that
``--help`` and shell completion stay quick.
"""

import errno
import importlib
import sys
from typing import Final

import click

from feedhandler import __version__

COMMANDS: Final = {
    "init": "Write the reference configuration to start from.",
    "check": "Say what a configuration means, and everything that is wrong with it.",
    "run": 'Run the feed: supervisor, workers and, with network = "sim", the simulated Bybit.',
    "status": "Show what runs and in which state every topic is.",
    "tail": "Print live records.",
    "topics": "Show what can be subscribed.",
    "restart": "Restart a worker; strategies lose nothing.",
    "stop": "Stop a running feed.",
    "sim": "Run the simulated Bybit alone.",
    "drill": "Inject every fault into a feed on the simulated Bybit, and keep the score.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"feedhandler.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: feedhandler run deploy/config.toml, then in another terminal: feedhandler tail linear.",
)
@click.version_option(__version__, prog_name="feedhandler")
def group() -> None:
    """Keep strategies fed with Bybit V5 streams."""


def main() -> None:
    """Run the command line; the console script."""
    stdout = sys.stdout
    try:
        status = group.main(prog_name="feedhandler", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except SystemExit as ended:
        # Where the reader of our output went away (``tail … | head``), click ends so, with a stdout of its own in place
        # of ours: nobody is left to tell.
        status = ended.code if sys.stdout is stdout else 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"feedhandler: {error.strerror}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)  # noqa: T201 - click itself may be what cannot write
        # What is left in the buffer cannot be written either; the interpreter would say so again.
        sys.stdout = None
        status = 1
    sys.exit(status if isinstance(status, int) else 0)
