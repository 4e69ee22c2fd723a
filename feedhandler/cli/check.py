"""``feedhandler check``: what a configuration means, and everything that is wrong with it."""

import json
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import asdict

from feedhandler.bybit.products import PRODUCTS, args_characters, requests, share_out
from feedhandler.cli import where
from feedhandler.config.explain import explain
from feedhandler.config.load import Loaded, read
from feedhandler.config.model import SecretSource, WorkerPlan
from feedhandler.config.plan import SIMULATOR, account, plan
from feedhandler.config.problems import ConfigError, Problem

_NETWORKS: Final = {
    "sim": "the built-in simulated Bybit; every record is flagged as simulated",
    "mainnet": "the real market",
    "testnet": "Bybit's testnet",
    "demo": "Bybit's demo trading",
}


@click.command(epilog="Example: feedhandler check deploy/config.toml --explain.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--explain", "explained", is_flag=True, help="Print every effective value and its origin, as TOML.")
@click.option("--json", "as_json", is_flag=True, help="Print for a program: problems, or workers and connections.")
@click.option("--runtime", metavar="DIR", default="", help="Use this runtime directory instead of the configured one.")
def command(file: Path, *, explained: bool, as_json: bool, runtime: str) -> None:
    """Say what the configuration FILE means, and everything that is wrong with it, without starting anything.

    Shows for each worker where it connects, where it publishes, and how its topics fill connections under the venue's
    limits. Exit code 2 if there is a problem.
    """
    if explained and as_json:
        raise click.UsageError("--explain prints TOML, --json prints JSON: choose one.")
    try:
        loaded = read(file, runtime_directory=runtime)
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"problems": [_fields(problem) for problem in error.problems]}, indent=2))
        where.config_problems(error)
    plans = plan(loaded.config, loaded.runtime_directory)
    if explained:
        overridden_by = "--runtime" if runtime else ""
        text = explain(loaded.config, loaded.written, loaded.runtime_directory, overridden_by=overridden_by)
        click.echo(text, nl=False)
    elif as_json:
        click.echo(json.dumps(_for_programs(loaded, plans), indent=2))
    else:
        click.echo("\n".join(_for_people(file, loaded, plans)))


def _fields(problem: Problem) -> dict[str, str]:
    return {"file": problem.file, "key": problem.key, "text": problem.text}


def _for_programs(loaded: Loaded, plans: list[WorkerPlan]) -> dict[str, Any]:
    return {
        "problems": [],
        "network": loaded.config.network,
        "runtime_directory": str(loaded.runtime_directory),
        "workers": [
            {
                "worker": one.worker,
                "endpoint": one.endpoint,
                "product": one.product,
                "network": one.network,
                "simulated": one.simulated,
                "url": one.url,
                "publish": one.publish,
                "cpu": one.cpu,
                "topics": one.topics,
                "lines": one.lines,
                "api_key": _source(one.api_key),
                "api_secret": _source(one.api_secret),
                "retain": one.retain,
                "connections": [
                    {
                        "topics": len(topics),
                        "args_characters": args_characters(topics),
                        "requests": requests(PRODUCTS[one.product], topics),
                    }
                    for topics in _connections(one)
                ],
            }
            for one in plans
        ],
    }


def _source(source: SecretSource | None) -> dict[str, str] | None:
    return None if source is None else {name: where for name, where in asdict(source).items() if where}


def _connections(one: WorkerPlan) -> list[list[str]]:
    """Return what is subscribed on each connection of a worker, its canary included."""
    canary = [one.connection.canary] if one.connection.canary else []
    shares = share_out(PRODUCTS[one.product], one.topics, canary)
    return [[*topics, *(topic for topic in canary if topic not in topics)] for topics in shares]


def _for_people(file: Path, loaded: Loaded, plans: list[WorkerPlan]) -> list[str]:
    config = loaded.config
    lines = [
        f"network   {config.network}: {_NETWORKS[config.network]}",
        f"runtime   {loaded.runtime_directory}",
    ]
    connections = 0
    for one in plans:
        product = PRODUCTS[one.product]
        shares = _connections(one)
        connections += len(shares) * one.lines
        lines += ["", one.worker, f"  product      {one.product}"]
        if one.network != config.network:
            lines.append(f"  network      {one.network}: {_NETWORKS[one.network]}")
        lines.append(f"  url          {one.url.replace(SIMULATOR, '127.0.0.1:PORT')}")
        lines += [f"  {'publish' if at == 0 else '':<11}  {address}" for at, address in enumerate(one.publish)]
        if one.product == "private":
            lines.append(f"  signs in     with {account(one)}")
            lines.append(f"  retain       {_counted(f'{one.retain:,}', 'record')} of each topic")
        if one.cpu:
            lines.append(f"  cores        {', '.join(map(str, one.cpu))}")
        lines.append(f"  topics       {len(one.topics):,}")
        if one.lines > 1:
            lines.append(f"  lines        {one.lines}: every connection below that many times, first copy wins")
        rows = [
            (
                f"{len(topics):,}",
                f"{args_characters(topics):,}",
                f"{product.max_args_characters:,}",
                f"{requests(product, topics):,}",
            )
            for topics in shares
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for at, row in enumerate(rows):
            count, used, limit, asked = (text.rjust(width) for text, width in zip(row, widths, strict=True))
            title = "connections" if len(rows) > 1 else "connection"
            lines.append(
                f"  {title if at == 0 else '':<11}  {_counted(count, 'topic')}, {used} of {limit} args characters,"
                f" {_counted(asked, 'request')}"
            )
    topics = sum(len(one.topics) for one in plans)
    totals = ((len(plans), "worker"), (connections, "connection"), (topics, "topic"))
    summary = ", ".join(_counted(f"{number:,}", word) for number, word in totals)
    return [*lines, "", f"{file}: no problems; {summary}"]


def _counted(number: str, word: str) -> str:
    return f"{number} {word}{'' if number.strip() == '1' else 's'}"
