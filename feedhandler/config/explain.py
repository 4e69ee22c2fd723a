"""The configuration with everything said that a file may leave unsaid: every key, its value, where that came from.

The result is TOML again and means the same. Pure: no I/O, no clock.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from feedhandler.config import private
from feedhandler.config.model import Config, Endpoint, SecretSource
from feedhandler.config.plan import is_private, publish, site, url
from feedhandler.config.problems import join

FILE: Final = "file"
DEFAULT: Final = "default"

_WIDTH: Final = 100
_COMMENT_COLUMN_MAX: Final = 60


def explain(config: Config, written: dict[str, Any], runtime_directory: Path, *, overridden_by: str = "") -> str:
    """Return TOML that says every effective value, each with its origin as a comment.

    ``written`` is what the file itself said: what is not in it is a default. ``runtime_directory`` is the effective
    one; ``overridden_by`` says what named it in place of the file.
    """
    said = written.get("runtime", {})
    directory = overridden_by or (FILE if said.get("directory") else f"{DEFAULT}, by the environment")
    sections = [
        _section("", [_line("network", config.network, FILE), _line("site", config.site, _origin(written, "site"))]),
        _section(
            "[runtime]",
            [
                _line("directory", str(runtime_directory), directory),
                *_lines(config.runtime, said, leave_out=("directory",)),
            ],
        ),
        _section("[connection]", _lines(config.connection, written.get("connection", {}))),
        _section("[publish]", _lines(config.publish, written.get("publish", {}))),
    ]
    for name, endpoint in config.endpoints.items():
        sections += _endpoint(config, endpoint, join("endpoints", name), written, written["endpoints"][name])
    return "\n\n".join(sections) + "\n"


def _endpoint(config: Config, endpoint: Endpoint, key: str, written: dict[str, Any], said: dict[str, Any]) -> list[str]:
    network = endpoint.network or config.network
    implied = "by network and product"
    if network == "sim":
        implied = "the simulated Bybit's"  # whose port is known only once it runs
    inherited = "as at the top level"
    has_site = network == "mainnet" and not endpoint.url
    origins = {
        "network": FILE if endpoint.network else inherited,
        "site": FILE if endpoint.site is not None else inherited if has_site else "of no use here",
        "url": FILE if endpoint.url else f"{DEFAULT}, {implied}",
    }
    for name in private.SECRETS:
        origins[name] = f"{FILE}: from {getattr(endpoint, name)}"
    effective = msgspec.structs.replace(
        endpoint,
        publish=publish(endpoint),
        network=network,
        site=site(config, endpoint) if has_site else "",
        url=endpoint.url or ("" if network == "sim" else url(config, endpoint)),
    )
    hidden = () if is_private(endpoint) else private.KEYS
    lines = [
        _line(name, value, origins.get(name) or _origin(said, name))
        for name, value in _values(effective)
        if name not in hidden
    ]
    if is_private(endpoint) and endpoint.api_key is None:
        lines.append(("# api_key, api_secret", f"# {DEFAULT}, the simulator's test key"))
    shared = written.get("connection", {})
    own = said.get("connection", {})
    connection = [
        _line(name, value, "[connection]" if name in shared and name not in own else _origin(own, name))
        for name, value in _values(endpoint.connection)
        if is_private(endpoint) or name != "max_active_time_s"
    ]
    groups = [
        _section(f"[[{key}.subscriptions]]", _lines(group, its))
        for group, its in zip(endpoint.subscriptions, said.get("subscriptions", []), strict=True)
    ]
    return [_section(f"[{key}]", lines), _section(f"[{key}.connection]", connection), *groups]


def _values(struct: msgspec.Struct) -> list[tuple[str, Any]]:
    """Return the keys and values that stand in the table itself, not in tables below it."""
    pairs = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    return [(name, value) for name, value in pairs if value is not None and not _is_table(value)]


def _is_table(value: Any) -> bool:
    if isinstance(value, SecretSource):
        return False
    return isinstance(value, msgspec.Struct) or (isinstance(value, list) and any(map(_is_table, value)))


def _lines(struct: msgspec.Struct, said: dict[str, Any], leave_out: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [_line(name, value, _origin(said, name)) for name, value in _values(struct) if name not in leave_out]


def _origin(said: dict[str, Any], name: str) -> str:
    if name not in said:
        return DEFAULT
    if isinstance(said[name], dict):
        return f"{FILE}: {_toml(said[name]['file'])}"
    return FILE


def _line(name: str, value: Any, origin: str) -> tuple[str, str]:
    """Return an assignment and its comment; a long list is broken into lines, its comment behind the bracket."""
    text = f"{name} = {_toml(value)}"
    if len(text) <= _WIDTH or not isinstance(value, list):
        return text, f"# {origin}"
    rows = [" " * 4]
    for item in map(_toml, value):
        if len(rows[-1]) + len(item) > _WIDTH and rows[-1].strip():
            rows.append(" " * 4)
        rows[-1] += f"{item}, "
    body = "\n".join(row.rstrip() for row in rows)
    return f"{name} = [  # {origin}\n{body}\n]", ""


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, SecretSource):
        pairs = ", ".join(f"{name} = {_toml(text)}" for name, text in msgspec.structs.asdict(value).items() if text)
        return f"{{ {pairs} }}"
    # A JSON string is a TOML string, but for the one control character that JSON lets pass.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _section(title: str, lines: list[tuple[str, str]]) -> str:
    column = max((len(text) for text, _ in lines if len(text) <= _COMMENT_COLUMN_MAX), default=0)
    body = [f"{text:<{column}}  {comment}".rstrip() if comment else text for text, comment in lines]
    return "\n".join([title, *body] if title else body)
