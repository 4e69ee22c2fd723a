"""From the configuration to what each worker is told: topics shared out, addresses and URL filled in.

Pure: no I/O, no clock.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from feedhandler.bybit import topics as grammar
from feedhandler.bybit.products import HOSTS, PRODUCTS, SITES, STATUS_TOPIC, Site
from feedhandler.config import addresses
from feedhandler.config.model import Config, Endpoint, Network, Subscriptions, SymbolFile, WorkerPlan
from feedhandler.runtime import PRIVATE_DIRECTORY

SIMULATOR: Final = "{simulator}"
"""Stands in a URL for host:port of the built-in simulated Bybit, known once it runs."""
MAX_ACTIVE_TIME: Final = "max_active_time"
"""The key in the query of a private URL (dossier 1.3)."""
PUBLISH: Final = ("ipc://{runtime}/{worker}.pub",)
PUBLISH_PRIVATE: Final = (f"ipc://{{runtime}}/{PRIVATE_DIRECTORY}/{{worker}}.pub",)
"""Where an endpoint publishes unless it says so itself: private streams where the owner alone can connect."""


class Wanted(NamedTuple):
    """One topic of an endpoint, and what in the configuration asks for it."""

    topic: str
    key: str
    """Below the endpoint: ``symbols[0]``, ``topics[2]``, ``subscriptions[0].symbols[1]``."""
    stream: str = ""
    """Where a symbol is crossed with a stream: the stream's index, ``streams[1]``."""


def wanted(endpoint: Endpoint) -> Iterator[Wanted]:
    """Yield every topic in order: symbols x streams, topics, unchecked topics, then the further groups."""
    yield from _crossed(endpoint, "")
    yield from (Wanted(topic, f"topics[{at}]") for at, topic in enumerate(endpoint.topics))
    yield from (Wanted(topic, f"unchecked_topics[{at}]") for at, topic in enumerate(endpoint.unchecked_topics))
    for at, group in enumerate(endpoint.subscriptions):
        yield from _crossed(group, f"subscriptions[{at}].")


def _crossed(group: Endpoint | Subscriptions, prefix: str) -> Iterator[Wanted]:
    for at, symbol in enumerate(symbols(group)):
        for position, stream in enumerate(group.streams):
            yield Wanted(f"{stream}.{symbol}", f"{prefix}symbols[{at}]", f"{prefix}streams[{position}]")


def symbols(group: Endpoint | Subscriptions) -> list[str]:
    """Return the symbols of a group of a loaded configuration."""
    if isinstance(group.symbols, SymbolFile):
        raise TypeError(f"the symbols of {group.symbols.file} are not loaded; read configurations with config.load")
    return group.symbols


def worker_name(endpoint: str, number: int) -> str:
    """Return the name of an endpoint's worker: the first keeps the bare name."""
    return f"{endpoint}-{number}" if number else endpoint


def share(topics: list[str], workers: int) -> list[list[str]]:
    """Share topics out over workers: a symbol's topics stay together, counts are balanced, order is kept.

    Where there are more workers than symbols, the largest symbols are split, so that no worker is idle as long as
    there are topics enough. Symbols go round robin, each to the worker with the fewest topics so far.
    """
    by_symbol: dict[str, list[str]] = {}
    for topic in topics:
        by_symbol.setdefault(grammar.split(topic)[1], []).append(topic)
    pieces = list(by_symbol.values())
    while len(pieces) < min(workers, len(topics)):
        at = max(range(len(pieces)), key=lambda index: len(pieces[index]))
        middle = len(pieces[at]) // 2
        pieces[at : at + 1] = [pieces[at][:middle], pieces[at][middle:]]
    shares: list[set[str]] = [set() for _ in range(workers)]
    for piece in pieces:
        min(shares, key=len).update(piece)
    return [[topic for topic in topics if topic in share] for share in shares]


def is_private(endpoint: Endpoint) -> bool:
    """Say whether an endpoint carries an account's own streams."""
    return endpoint.product == "private"


def publish(endpoint: Endpoint) -> list[str]:
    """Return the addresses an endpoint binds, placeholders still in them."""
    if endpoint.publish is not None:
        return endpoint.publish
    return list(PUBLISH_PRIVATE if is_private(endpoint) else PUBLISH)


def site(config: Config, endpoint: Endpoint) -> Site:
    """Return the venue's site that an endpoint on mainnet uses."""
    return config.site if endpoint.site is None else endpoint.site


def url(config: Config, endpoint: Endpoint) -> str:
    """Return the URL an endpoint connects to; ``{simulator}`` stands for the address of the built-in simulated Bybit."""
    whole = endpoint.url or _host(config, endpoint) + PRODUCTS[endpoint.product].path
    seconds = endpoint.connection.max_active_time_s
    if not seconds or not is_private(endpoint) or f"{MAX_ACTIVE_TIME}=" in whole:
        return whole
    return f"{whole}{'&' if '?' in whole else '?'}{MAX_ACTIVE_TIME}={seconds:g}s"


def _host(config: Config, endpoint: Endpoint) -> str:
    match endpoint.network or config.network:
        case "sim":
            return f"ws://{SIMULATOR}"
        case "mainnet":
            return SITES[site(config, endpoint)]
        case network:
            return HOSTS[network]


def canary(endpoint: Endpoint, topics: list[str]) -> str:
    """Return the topic that proves this endpoint's connections alive, ``""`` for none."""
    configured = endpoint.connection.canary
    return PRODUCTS[endpoint.product].canary(topics) if configured == "auto" else configured


def account(worker: WorkerPlan) -> str:
    """Say with what a private worker signs in, without any secret."""
    if worker.api_key is None:
        return "the simulator's test key"
    return f"API key from {worker.api_key}, secret from {worker.api_secret}"


def _watching_status(config: Config) -> Config:
    """Add an endpoint for the venue's announcements, one for each real network that public endpoints use.

    They tell strategies of maintenance in advance. It is at the site of the network's first public endpoint. A
    configuration that names such an endpoint itself keeps its own.
    """
    sites: dict[Network, Site] = {}
    for endpoint in config.endpoints.values():
        network = endpoint.network or config.network
        used = _real_site(network, url(config, endpoint))
        if used is not None and not is_private(endpoint):
            sites.setdefault(network, used)
    watched = {
        endpoint.network or config.network for endpoint in config.endpoints.values() if endpoint.product == "status"
    }
    endpoints = dict(config.endpoints)
    for network in sorted(sites.keys() - watched):
        name = "status" if "status" not in endpoints else f"status_{network}"
        endpoints[name] = Endpoint(
            product="status",
            topics=[STATUS_TOPIC],
            network=network,
            site=sites[network],
            connection=config.connection,
        )
    return msgspec.structs.replace(config, endpoints=endpoints)


def _real_site(network: Network, whole: str) -> Site | None:
    """Return at which site of a real network a URL is, None where it is none of the venue's."""
    hosts: dict[Site, str] = {"": HOSTS[network]} if network in HOSTS else {}
    if network == "mainnet":
        hosts = SITES
    return next((name for name, host in hosts.items() if whole.startswith(f"{host}/")), None)


def plan(config: Config, runtime_directory: Path, *, terminal: bool = False) -> list[WorkerPlan]:
    """Return what each worker is told, in the order of the file.

    ``config`` is as `feedhandler.config.load` returns it, ``runtime_directory`` as `feedhandler.runtime.directory`
    does. ``terminal`` says whether logs go to one, and decides what ``log_format = "auto"`` means.
    """
    config = _watching_status(config)
    automatic: Literal["text", "json"] = "text" if terminal else "json"
    log_format = automatic if config.runtime.log_format == "auto" else config.runtime.log_format
    plans: list[WorkerPlan] = []
    for name, endpoint in config.endpoints.items():
        network = endpoint.network or config.network
        topics = [one.topic for one in wanted(endpoint)]
        for number, part in enumerate(share(topics, endpoint.workers)):
            worker = worker_name(name, number)
            fillings = {"runtime": str(runtime_directory), "endpoint": name, "worker": worker}
            plans.append(
                WorkerPlan(
                    worker=worker,
                    endpoint=name,
                    product=endpoint.product,
                    network=network,
                    url=url(config, endpoint),
                    # Whatever "sim" is connected to: data under that name are never taken for a market's.
                    simulated=network == "sim",
                    topics=part,
                    publish=[addresses.fill(one, **fillings, index=len(plans)) for one in publish(endpoint)],
                    runtime_directory=str(runtime_directory),
                    cpu=endpoint.cpu,
                    priority=endpoint.priority,
                    lines=endpoint.lines,
                    api_key=endpoint.api_key,
                    api_secret=endpoint.api_secret,
                    retain=endpoint.retain if is_private(endpoint) else 0,
                    connection=msgspec.structs.replace(endpoint.connection, canary=canary(endpoint, topics)),
                    send_high_water_mark=config.publish.send_high_water_mark,
                    quiet_status_s=config.publish.quiet_status_s,
                    log_level=config.runtime.log_level,
                    log_format=log_format,
                )
            )
    return plans
