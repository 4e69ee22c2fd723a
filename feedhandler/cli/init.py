"""``feedhandler init``: the reference configuration, to start from."""

from importlib import resources
from pathlib import Path
from typing import Final

import click

REFERENCE: Final = resources.files("feedhandler.config") / "reference.toml"


@click.command(epilog="Example: feedhandler init my-feed.toml, then feedhandler check my-feed.toml.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("config.toml"))
@click.option("--force", is_flag=True, help="Replace PATH if it exists.")
def command(path: Path, *, force: bool) -> None:
    """Write the reference configuration to PATH (config.toml if not said): every key, its default, unit and reason.

    It runs as it is, on the built-in simulated Bybit.
    """
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(REFERENCE.read_bytes())
    except FileExistsError:
        raise click.UsageError(f"{path} exists; choose another name, or --force to replace it.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.UsageError(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}.") from None
    click.echo(f"wrote {path}")
    click.echo(
        f"next: feedhandler check {path}   what it means, and what is wrong with it\n"
        f"      feedhandler run {path}     start the feed",
        err=True,
    )
