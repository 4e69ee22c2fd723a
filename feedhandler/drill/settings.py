"""The user's configuration, turned to the simulated Bybit and to nobody else. Pure."""

from typing import Any, Final

import msgspec

from feedhandler.bybit.products import PRODUCTS
from feedhandler.config.model import Config, Connection, Endpoint
from feedhandler.config.plan import wanted

PING_INTERVAL_S: Final = 1.0
LONGEST_TIMEOUT_S: Final = 10.0
LONGEST_BASE_S: Final = 1.0
LIVELY_TOPICS: Final = 300
"""Topics whose markets can be as lively as real ones, with every frame written down and read again."""
LEAST_RATE: Final = 0.05


def turned(config: Config, host: str) -> tuple[Config, list[str]]:
    """Return the configuration with every endpoint at the simulated Bybit at ``host``, and what else was changed.

    Topics, workers, lines and limits stay. Addresses, cores and networks do not: a drill must not meet a live feed.
    Patience that would only make the drill long is shortened, and said.
    """
    notes: dict[str, None] = {}
    endpoints = {name: _turned(endpoint, host, notes) for name, endpoint in config.endpoints.items()}
    changes: dict[str, Any] = {
        "network": "sim",
        "site": "",
        "endpoints": endpoints,
        "runtime": msgspec.structs.replace(config.runtime, directory="", group="", log_format="json"),
    }
    if "metrics" in Config.__struct_fields__:
        changes["metrics"] = msgspec.structs.replace(getattr(config, "metrics"), listen="")  # noqa: B009 - see above
    return msgspec.structs.replace(config, **changes), list(notes)


def _turned(endpoint: Endpoint, host: str, notes: dict[str, None]) -> Endpoint:
    unchecked = set(endpoint.unchecked_topics)
    topics = [one.topic for one in wanted(endpoint)]
    if endpoint.product == "private":
        notes["private endpoints have the simulated Bybit's own account in this drill; no secret is read"] = None
    return msgspec.structs.replace(
        endpoint,
        symbols=[],
        streams=[],
        subscriptions=[],
        topics=[topic for topic in topics if topic not in unchecked],
        unchecked_topics=[topic for topic in topics if topic in unchecked],
        publish=None,
        cpu=[],
        network=None,
        site=None,
        api_key=None,
        api_secret=None,
        url=f"ws://{host}{PRODUCTS[endpoint.product].path}",
        connection=_hurried(endpoint.connection, notes),
    )


def _hurried(settings: Connection, notes: dict[str, None]) -> Connection:
    """Shorten what would keep the drill waiting; canary and cap stay."""
    changes: dict[str, float] = {}
    # The pong's own deadline stays above the 8 s in which a mute connection is noticed, or the drill of the one would
    # be a drill of the other.
    for key, limit in (
        ("ping_interval_s", PING_INTERVAL_S),
        ("pong_timeout_s", LONGEST_TIMEOUT_S),
        ("connect_timeout_s", LONGEST_TIMEOUT_S),
        ("reconnect_base_s", LONGEST_BASE_S),
        ("max_attempts", 0),
    ):
        value = getattr(settings, key)
        if value > limit:
            changes[key] = limit
            # Endpoints mostly share their settings: a note is a key, and said once.
            notes[f"connection.{key} is {limit:g} in this drill instead of {value:g}"] = None
    return msgspec.structs.replace(settings, **changes)


def rate(topics: int) -> float:
    """Return how lively the simulated markets are for so many topics; 1 = as real ones."""
    return max(LEAST_RATE, min(1.0, LIVELY_TOPICS / topics))
