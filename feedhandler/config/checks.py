"""Whether a configuration of the right shape makes sense: its topics, addresses, URLs, workers and cores.

What depends on the machine comes in as `Machine`. Pure: no I/O, no clock.
"""

import os.path
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from feedhandler.bybit import topics
from feedhandler.bybit.products import MAX_ACTIVE_TIME_MIN_S, PRODUCTS, SITES, args_characters
from feedhandler.bybit.topics import TopicError
from feedhandler.config import addresses, private, urls
from feedhandler.config.addresses import AddressError
from feedhandler.config.model import Config, Connection, Endpoint, Network, Subscriptions
from feedhandler.config.plan import Wanted, is_private, publish, symbols, wanted, worker_name
from feedhandler.config.problems import Problems, join, quote
from feedhandler.control import SOCKET_NAME
from feedhandler.runtime import EPOCH_FILE, FEED_FILE, MAX_IPC_PATH_BYTES, PRIVATE_DIRECTORY

ENDPOINT_NAME: Final = re.compile("[a-z][a-z0-9_]*")

_OURS: Final = re.compile(
    rf"{re.escape(SOCKET_NAME)}|{re.escape(EPOCH_FILE)}|{re.escape(FEED_FILE)}|{PRIVATE_DIRECTORY}|.*\.(lock|error)"
)
"""Names in the runtime directory that are taken (`feedhandler.runtime`), in ``private/`` beside it as well."""


class Machine(NamedTuple):
    """What the machine has to say to a configuration."""

    runtime_directory: Path
    cores: frozenset[int]
    """Those this process may run on."""
    is_directory: Callable[[str], bool]
    is_group: Callable[[str], bool]


def check(config: Config, written: dict[str, Any], machine: Machine, problems: Problems) -> None:
    """Note everything that is wrong with the meaning of ``config``.

    ``config`` has the right shape: symbol files read, ``[connection]`` merged into the endpoints, blanks where
    ``problems`` says unsound (what depends on those is not judged). ``written`` is the same as tables before the
    merge: what was said where.
    """
    if config.runtime.group and problems.sound("runtime.group") and not machine.is_group(config.runtime.group):
        problems.add("runtime.group", f"there is no group {quote(config.runtime.group)} on this machine")
    _check_backoff(config.connection, written.get("connection", {}), "connection", problems)
    _check_active_time(config.connection, written.get("connection", {}), "connection", problems)
    private.check_active_time_for_all(config, problems)
    if not config.endpoints and problems.sound("endpoints"):
        problems.add("endpoints", "there is no endpoint; write at least one table [endpoints.NAME]")
    for name, endpoint in config.endpoints.items():
        key = join("endpoints", name)
        if not ENDPOINT_NAME.fullmatch(name):
            small = re.sub("[^a-z0-9_]", "_", name.lower()).lstrip("_0123456789")
            hint = f'; did you mean "{small}"?' if small else ""
            problems.add_about_key(key, f"names are small letters, digits and _, a letter first{hint}")
        _check_url(config, endpoint, key, problems)
        said = written["endpoints"][name]
        private.check(endpoint, said, _network(config, endpoint, key, problems), key, problems)
        _check_topics(endpoint, key, problems)
        _check_canary(endpoint, key, problems)
        own = said.get("connection", {})
        age = f"{key}.connection.max_age_s"
        if endpoint.connection.max_age_s and endpoint.lines == 1 and "max_age_s" in own and problems.sound(age):
            problems.add(age, "needs lines = 2: another line carries the topics meanwhile")
        _check_backoff(endpoint.connection, own, f"{key}.connection", problems)
        _check_active_time(endpoint.connection, own, f"{key}.connection", problems)
        for at, core in enumerate(endpoint.cpu):
            if problems.sound(f"{key}.cpu[{at}]") and core not in machine.cores:
                cores = ", ".join(map(str, sorted(machine.cores)))
                problems.add(f"{key}.cpu[{at}]", f"there is no core {core} for us on this machine, only {cores}")
    _check_site(config, problems)
    _check_addresses(config, machine, problems)


def _check_backoff(connection: Connection, said: dict[str, Any], key: str, problems: Problems) -> None:
    """Judge the pair where it was said: an endpoint repeats nothing that is wrong in ``[connection]``."""
    pair = ("reconnect_base_s", "reconnect_cap_s")
    if any(name in said for name in pair) and connection.reconnect_base_s > connection.reconnect_cap_s:
        problems.add(
            f"{key}.{next(name for name in pair if name in said)}",
            f"reconnect_base_s ({connection.reconnect_base_s:g}) is above reconnect_cap_s"
            f" ({connection.reconnect_cap_s:g}): delays grow from base to cap",
        )


def _check_active_time(connection: Connection, said: dict[str, Any], key: str, problems: Problems) -> None:
    seconds = connection.max_active_time_s
    if "max_active_time_s" in said and seconds and not (seconds >= MAX_ACTIVE_TIME_MIN_S and seconds.is_integer()):
        problems.add(
            f"{key}.max_active_time_s",
            f"must be 0, or a whole number from {MAX_ACTIVE_TIME_MIN_S} on, not {seconds:g}: the venue takes no other",
        )


def _network(config: Config, endpoint: Endpoint, key: str, problems: Problems) -> Network | None:
    """Return the network in effect, or None where that is not known."""
    if not problems.sound(f"{key}.network") or not (endpoint.network or problems.sound("network")):
        return None
    return endpoint.network or config.network


def _check_site(config: Config, problems: Problems) -> None:
    """Judge the site of the top level: some endpoint must be there."""
    if not config.site or not config.endpoints:
        return
    networks = {
        name: _network(config, one, join("endpoints", name), problems) for name, one in config.endpoints.items()
    }
    on_mainnet = {name: config.endpoints[name] for name, network in networks.items() if network in ("mainnet", None)}
    if not on_mainnet:
        problems.add("site", f'is for network = "mainnet", and nothing here is on that; leave {quote(config.site)} out')
        return
    for name, endpoint in on_mainnet.items():
        key = join("endpoints", name)
        is_known = problems.sound(f"{key}.site") and problems.sound(f"{key}.url")
        is_there = endpoint.url.startswith(f"{SITES[config.site]}/") if endpoint.url else True
        if not is_known or (is_there and endpoint.site in (None, config.site)):
            return
    problems.add("site", f"each endpoint on mainnet has a site or url of its own; leave {quote(config.site)} out")


def _check_canary(endpoint: Endpoint, key: str, problems: Problems) -> None:
    canary = endpoint.connection.canary
    own = f"{key}.connection.canary"
    if canary in ("", "auto") or not problems.sound(f"{key}.product") or not problems.sound(own):
        return
    try:
        topics.parse(endpoint.product, canary)
    except topics.TopicError as error:
        problems.add(own, str(error))


def _check_url(config: Config, endpoint: Endpoint, key: str, problems: Problems) -> None:
    network = _network(config, endpoint, key, problems)
    product = endpoint.product if problems.sound(f"{key}.product") else ""
    if endpoint.site and network not in (None, "mainnet"):
        problems.add(f"{key}.site", f'is for network = "mainnet", not for "{network}"')
    if network == "demo" and product and not is_private(endpoint):
        # Also with a URL: whatever is there, it would be published as what does not exist.
        problems.add(
            f"{key}.network",
            f'"demo" serves private streams only, not {product}: take public data from the real market,'
            f' network = "mainnet" in [{key}]',
        )
    if not endpoint.url:
        return
    text = urls.wrong(endpoint.url)
    if not text and network == "sim" and urls.is_venue(endpoint.url):
        text = 'is the venue itself, but network = "sim" marks all data as simulated; say "mainnet" or "testnet"'
    if not text and product:
        text = urls.misplaced(endpoint.url, product)
    if not text and endpoint.site and not endpoint.url.startswith(f"{SITES[endpoint.site]}/"):
        text = f'is not at site = "{endpoint.site}"; one of the two is enough'
    if text:
        problems.add(f"{key}.url", text)


def _check_topics(endpoint: Endpoint, key: str, problems: Problems) -> None:
    product = endpoint.product if problems.sound(f"{key}.product") else ""
    groups: list[tuple[Endpoint | Subscriptions, str]] = [(endpoint, key)]
    groups += [(group, f"{key}.subscriptions[{at}]") for at, group in enumerate(endpoint.subscriptions)]
    for group, own in groups if not is_private(endpoint) else ():
        _check_group(group, product, own, problems)
    for at, topic in enumerate(endpoint.topics if product else ()):
        own = f"{key}.topics[{at}]"
        if problems.sound(own):
            try:
                topics.parse(product, topic)
            except TopicError as error:
                problems.add(own, str(error))
    limit = PRODUCTS[endpoint.product].max_args_characters
    for at, topic in enumerate(endpoint.unchecked_topics):
        own = f"{key}.unchecked_topics[{at}]"
        if problems.sound(own) and not topic:
            problems.add(own, "is empty")
        elif args_characters([topic]) > limit:
            problems.add(own, f"is longer than the {limit:,} characters that the venue takes on a connection")
    _check_duplicates(endpoint, key, problems)
    if is_private(endpoint):
        private.check_together(endpoint, key, problems)

    # How many there are is known only where every list is one; its members may be as wrong as they like.
    lists = [f"{key}.topics", f"{key}.unchecked_topics", f"{key}.subscriptions"]
    lists += [own + name for _, own in groups for name in (".symbols", ".streams")]
    lists += [own for _, own in groups[1:]]
    if not all(map(problems.sound, lists)):
        return
    count = len({one.topic for one in wanted(endpoint)})
    if not count:
        what = "topics" if is_private(endpoint) else "symbols and streams, or topics"
        problems.add_about_key(key, f"asks for no topic; give it {what}")
    elif endpoint.workers > count and problems.sound(f"{key}.workers"):
        problems.add(
            f"{key}.workers",
            f"{endpoint.workers:,} workers for {count:,} topic{'s' if count > 1 else ''}: some would have none",
        )


def _check_group(group: Endpoint | Subscriptions, product: str, key: str, problems: Problems) -> None:
    """Judge symbols and streams each by itself, so that a bad one is told once and not with all it is crossed with."""
    symbols_key, streams_key = f"{key}.symbols", f"{key}.streams"
    names = symbols(group)
    if problems.sound(symbols_key) and problems.sound(streams_key):
        if names and not group.streams:
            problems.add(symbols_key, "symbols without streams ask for nothing; add streams")
        if group.streams and not names:
            problems.add(streams_key, "streams without symbols ask for nothing; add symbols")
        if isinstance(group, Subscriptions) and not names and not group.streams and problems.sound(key):
            problems.add(key, "asks for no topic; give it symbols and streams")
    _check_repeats(names, symbols_key, problems)
    _check_repeats(group.streams, streams_key, problems)
    if not product:
        return
    # What follows a stream's name differs (symbol, base coin, pool): one stream of each sort judges the symbols.
    judges: dict[str, str] = {}
    for at, name in enumerate(group.streams):
        own = f"{streams_key}[{at}]"
        if problems.sound(own):
            try:
                judges.setdefault(topics.check_stream(product, name).by, name)
            except TopicError as error:
                problems.add(own, str(error))
    for at, symbol in enumerate(names):
        own = f"{symbols_key}[{at}]"
        for stream in judges.values() or ("tickers",):
            if problems.sound(own):
                try:
                    topics.parse(product, f"{stream}.{symbol}")
                except TopicError as error:
                    problems.add(own, str(error))


def _check_repeats(names: list[str], key: str, problems: Problems) -> None:
    first: dict[str, str] = {}
    for at, name in enumerate(names):
        own = f"{key}[{at}]"
        if problems.sound(own) and first.setdefault(name, own) != own:
            problems.add(own, f"{quote(name)} stands here twice, first at {problems.place(first[name])}")


def _check_duplicates(endpoint: Endpoint, key: str, problems: Problems) -> None:
    """Find topics asked for in two places of an endpoint. Two endpoints may carry the same topic."""

    def keys(one: Wanted) -> list[str]:
        return [f"{key}.{part}" for part in (one.key, one.stream) if part]

    first: dict[str, list[str]] = {}
    for one in [one for one in wanted(endpoint) if all(map(problems.sound, keys(one)))]:
        here = keys(one)
        there = first.setdefault(one.topic, here)
        if there != here:
            places = " x ".join(map(problems.place, there))
            problems.add(here[0], f"{quote(one.topic)} is asked for twice, first by {places}")


def _check_addresses(config: Config, machine: Machine, problems: Problems) -> None:
    runtime = str(machine.runtime_directory)
    if len(f"{runtime}/{SOCKET_NAME}".encode()) > MAX_IPC_PATH_BYTES:
        problems.add(
            "runtime.directory",
            f"{quote(runtime)} is too long: the sockets in it would pass the {MAX_IPC_PATH_BYTES} bytes that Linux takes",
        )
    bound: list[_Bound] = []
    index = 0
    for name, endpoint in config.endpoints.items():
        key = join("endpoints", name)
        if not publish(endpoint) and problems.sound(f"{key}.publish"):
            problems.add(f"{key}.publish", 'is empty: nobody could subscribe; leave it out for "ipc://{runtime}/..."')
        for number in range(endpoint.workers if problems.sound(f"{key}.workers") else 1):
            worker = worker_name(name, number)
            for at, template in enumerate(publish(endpoint)):
                own = f"{key}.publish[{at}]"
                judged = "{runtime}" not in template or problems.sound("runtime.directory")
                if not (judged and problems.sound(own) and problems.sound(key)):
                    continue
                try:
                    address = addresses.fill(template, runtime=runtime, endpoint=name, worker=worker, index=index)
                    addresses.check(address)
                    if problems.sound(f"{key}.product"):
                        _check_reach(address, endpoint, machine)
                    _check_free(address, worker, bound, machine)
                except AddressError as error:
                    problems.add(own, f"{quote(template)}: {error}")
                else:
                    bound.append(_Bound(address, worker, own))
            index += 1


class _Bound(NamedTuple):
    address: str
    worker: str
    key: str


def _check_reach(address: str, endpoint: Endpoint, machine: Machine) -> None:
    """Private streams are for the owner of the feed alone, so they go where nobody else may enter, and only they do."""
    is_inside = addresses.ipc_directory(address) == _private_directory(machine)
    if is_private(endpoint) and not is_inside:
        raise AddressError(
            "would show an account's streams to others; private endpoints publish in"
            f' "ipc://{{runtime}}/{PRIVATE_DIRECTORY}/"'
        )
    if is_inside and not is_private(endpoint):
        raise AddressError(f"only private endpoints publish in {PRIVATE_DIRECTORY}/")


def _private_directory(machine: Machine) -> str:
    return os.path.normpath(machine.runtime_directory / PRIVATE_DIRECTORY)


def _check_free(address: str, worker: str, bound: list[_Bound], machine: Machine) -> None:
    directory = addresses.ipc_directory(address)
    if directory is not None:
        runtime = os.path.normpath(machine.runtime_directory)
        # The directory of private streams is made when the feed starts, as is the runtime directory.
        if directory in (runtime, _private_directory(machine)):
            if _OURS.fullmatch(os.path.basename(os.path.normpath(address))):  # noqa: PTH119 - an address, not a path
                raise AddressError("the feed keeps a file of that name there")
        elif not machine.is_directory(directory):
            raise AddressError(f"there is no directory {quote(directory)}")
    for other in bound:
        if addresses.clash(address, other.address):
            hint = "; use {worker} or {index}" if other.worker != worker else ""
            raise AddressError(f"{other.worker} binds that already ({other.key}){hint}")
