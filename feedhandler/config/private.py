"""What is right for private endpoints alone: where secrets are read, which topics go together, what cannot be had.

No secret is ever in a configuration, and no text here repeats what stands under ``api_key`` or ``api_secret``: it may
be one by mistake. Pure: no I/O, no clock.
"""

import ipaddress
import re
from typing import Any, Final
from urllib.parse import urlsplit

from feedhandler.bybit import topics
from feedhandler.config.model import Config, Endpoint, Network, SecretSource
from feedhandler.config.plan import is_private, symbols, wanted
from feedhandler.config.problems import Problems, join, listed

KEYS: Final = ("api_key", "api_secret", "retain", "allow_dcp")
"""Keys of an endpoint that have a meaning on private ones only."""
SECRETS: Final = KEYS[:2]

# Capitals only, as is the custom: so a key pasted in place of the variable's name is noticed before it is shown.
_ENV: Final = (re.compile(r"[A-Z_][A-Z0-9_]*"), "an environment variable: capital letters, digits and _")
_CREDENTIAL: Final = (re.compile(r"[\w@-][\w.@-]*", re.ASCII), "a systemd credential: letters, digits and . _ - @")


def check(endpoint: Endpoint, said: dict[str, Any], network: Network | None, key: str, problems: Problems) -> None:
    """Note what is wrong with a private endpoint, or private about a public one; its topics apart.

    ``said`` is the endpoint's own table, ``network`` the one in effect where that is known.
    """
    if not problems.sound(f"{key}.product"):
        return
    if not is_private(endpoint):
        _check_public(endpoint, said, key, problems)
        return
    _check_secrets(endpoint, network, key, problems)
    crossed = {
        "symbols": problems.sound(f"{key}.symbols") and symbols(endpoint),
        "streams": endpoint.streams,
        "subscriptions": endpoint.subscriptions,
    }
    if asked := next((name for name, given in crossed.items() if given), ""):
        problems.add(
            f"{key}.{asked}",
            "private streams are an account's, not a symbol's; name them in topics:"
            ' topics = ["order", "execution", "position", "wallet"]',
        )
    if endpoint.lines > 1:
        problems.add(
            f"{key}.lines",
            "must be 1 on a private endpoint: nothing tells a second copy of its events, so each would come twice",
        )
    if endpoint.workers > 1:
        problems.add(
            f"{key}.workers",
            "must be 1 on a private endpoint: one connection carries an account, and the venue limits its sessions",
        )
    if endpoint.connection.canary not in ("", "auto"):
        problems.add(
            f"{key}.connection.canary",
            'must be "auto" or "" on a private endpoint: nothing there is lively, so nothing proves the connection mute',
        )
    if "max_age_s" in said.get("connection", {}) and endpoint.connection.max_age_s:
        problems.add(f"{key}.connection.max_age_s", "must be 0 on a private endpoint: no other line carries its topics")


def check_active_time_for_all(config: Config, problems: Problems) -> None:
    """Note an idle time in ``[connection]`` where there is no private endpoint."""
    key = "connection.max_active_time_s"
    if not config.connection.max_active_time_s or not problems.sound(key) or not config.endpoints:
        return
    products = {join("endpoints", name): is_private(endpoint) for name, endpoint in config.endpoints.items()}
    if not any(private or not problems.sound(f"{own}.product") for own, private in products.items()):
        problems.add(key, "is for private endpoints, and there is none here; leave it out")


def check_together(endpoint: Endpoint, key: str, problems: Problems) -> None:
    """Note which topics of a private endpoint cannot be had together. Each has been judged by itself."""
    # Symbols x streams are told of by themselves.
    named = [one for one in wanted(endpoint) if not one.stream and problems.sound(f"{key}.{one.key}")]
    keys = {one.topic: f"{key}.{one.key}" for one in named}
    for topic, text in topics.refusals(keys, allow_dcp=endpoint.allow_dcp).items():
        problems.add(keys[topic], text)


def _check_public(endpoint: Endpoint, said: dict[str, Any], key: str, problems: Problems) -> None:
    for name in KEYS:
        if name in said:
            problems.add_about_key(f"{key}.{name}", f"belongs to private endpoints, and {endpoint.product} is public")
    if "max_active_time_s" in said.get("connection", {}):
        problems.add(
            f"{key}.connection.max_active_time_s", f"belongs to private endpoints, and {endpoint.product} is public"
        )


def _check_secrets(endpoint: Endpoint, network: Network | None, key: str, problems: Problems) -> None:
    sources = {"api_key": endpoint.api_key, "api_secret": endpoint.api_secret}
    missing = [name for name in SECRETS if sources[name] is None and problems.sound(f"{key}.{name}")]
    if len(missing) == len(SECRETS):
        if network not in (None, "sim"):
            ask = " and ".join(map(_example, SECRETS))
            problems.add_about_key(f"{key}.api_key", f"is missing: private streams are an account's; write {ask}")
        return
    for name in missing:
        [other] = (one for one in SECRETS if one != name)
        problems.add_about_key(f"{key}.{name}", f"is missing, and {other} alone is no use; write {_example(name)}")
    for name, source in sources.items():
        if source is not None and problems.sound_below(f"{key}.{name}"):
            _check_source(source, f"{key}.{name}", problems)
    if endpoint.api_key is not None and endpoint.api_key == endpoint.api_secret != SecretSource():
        problems.add_about_key(f"{key}.api_secret", "is read from the same place as api_key; they are not the same")
    if problems.sound(f"{key}.url") and is_open_to_listeners(endpoint.url):
        problems.add(f"{key}.url", "is not encrypted, and the API key would pass through it; use wss://")


def _check_source(source: SecretSource, key: str, problems: Problems) -> None:
    named = [name for name in SecretSource.__struct_fields__ if getattr(source, name)]
    if not named:
        problems.add_about_key(key, f"does not say where it is read; write {_sources(key)}")
    elif len(named) > 1:
        problems.add_about_key(key, f"names {listed(named, 'and')}: leave the one where it is read")
    elif source.env and not _ENV[0].fullmatch(source.env):
        problems.add_about_key(f"{key}.env", f"is no name of {_ENV[1]} (the name is wanted, not the secret)")
    elif source.credential and not _CREDENTIAL[0].fullmatch(source.credential):
        problems.add_about_key(f"{key}.credential", f"is no name of {_CREDENTIAL[1]}")


def _sources(key: str) -> str:
    name = key.rpartition(".")[2]
    return f'{{ env = "BYBIT_{name.upper()}" }}, {{ file = "PATH" }} or {{ credential = "NAME" }}'


def _example(name: str) -> str:
    return f'{name} = {{ env = "BYBIT_{name.upper()}" }}'


def bare(key: str) -> str:
    """Return what is said where a value stands in place of its source."""
    return f"a secret does not belong in this file; write where it is read: {_sources(key)}"


def is_here(host: str) -> bool:
    """Say whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_open_to_listeners(url: str) -> bool:
    """Say whether a URL (that is one) leads in plain text to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "ws" and not is_here(parts.hostname or "")
