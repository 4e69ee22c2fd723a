"""The ZeroMQ addresses that workers bind: their placeholders, what libzmq can bind, and which two are one.

``ipc:///path`` and ``ipc://@name`` (abstract), ``tcp://HOST:PORT`` with ``*``, an IPv4 address, or the name of an
interface or of this machine as host. Whether a name is this machine's is seen when it is bound. Pure: no I/O, no clock.
"""

import ipaddress
import posixpath
import re
from typing import Final

from feedhandler.config.problems import listed, near, quote
from feedhandler.runtime import MAX_IPC_PATH_BYTES

PLACEHOLDERS: Final = ("runtime", "endpoint", "worker", "index")

_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_SUM: Final = re.compile(r"(?:index|\d{1,5})(?:\s*\+\s*(?:index|\d{1,5}))+")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_ANYWHERE: Final = ("*", "0.0.0.0")


class AddressError(ValueError):
    """An address that no worker can bind; the text says why."""


def fill(template: str, *, runtime: str, endpoint: str, worker: str, index: int) -> str:
    """Return the address with its placeholders filled in, sums (``{5600+index}``) worked out."""
    values = {"runtime": runtime, "endpoint": endpoint, "worker": worker, "index": str(index)}

    def replaced(match: re.Match[str]) -> str:
        inside = match[1].strip()
        if inside in values:
            return values[inside]
        if _SUM.fullmatch(inside):
            return str(sum(index if term.strip() == "index" else int(term) for term in inside.split("+")))
        if "index" in inside or not inside.isalpha():
            raise AddressError(f'{{{inside}}} cannot be worked out: only sums like "{{5600+index}}" can')
        known = listed(f"{{{name}}}" for name in PLACEHOLDERS)
        raise AddressError(f"{{{inside}}} is unknown{near(inside, PLACEHOLDERS) or f'; use {known}'}")

    literal = _BRACES.sub("", template)
    if "{" in literal or "}" in literal:
        raise AddressError("a brace is never closed or never opened")
    return _BRACES.sub(replaced, template)


def check(address: str) -> None:
    """Raise `AddressError` where libzmq could not bind a filled in address, or nobody could find it again."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("ipc", "tcp"):
        raise AddressError('must begin with "ipc://" or "tcp://"')
    if scheme == "tcp":
        _check_tcp(rest)
        return
    if not rest.startswith("@") and not (rest.startswith("/") and posixpath.basename(rest)):
        raise AddressError('"ipc://" wants the whole path of a file, from "/" on; begin it with "ipc://{runtime}/"')
    if (size := len(rest.encode())) > MAX_IPC_PATH_BYTES:
        raise AddressError(f"its path has {size} bytes, and Linux takes {MAX_IPC_PATH_BYTES}: choose a shorter one")


def _check_tcp(rest: str) -> None:
    host, colon, port = rest.rpartition(":")
    if not colon or not port:
        raise AddressError('has no port: write it behind a colon, as in "tcp://127.0.0.1:{5600+index}"')
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise AddressError(f"{quote(port)} is no port: they go from 1 to 65535")
    if not host:
        raise AddressError('has no host: write "*" for every interface of this machine')
    if ":" in host:
        raise AddressError(
            f"{quote(host)}: IPv6 is not available in this version; give an IPv4 address or an interface"
        )
    if host == "*":
        return
    if host.replace(".", "").isdigit():
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise AddressError(f"{quote(host)} is no IPv4 address") from None
    elif not _NAME.fullmatch(host):
        raise AddressError(f'{quote(host)} is no host: give an IPv4 address, an interface, a name or "*"')


def ipc_directory(address: str) -> str | None:
    """Return the directory of an ``ipc://`` address's socket file, or None where it has none."""
    path = address.removeprefix("ipc://")
    return None if path == address or path.startswith("@") else posixpath.dirname(posixpath.normpath(path))


def clash(one: str, other: str) -> bool:
    """Say whether two sockets of this machine cannot both bind, or would steal from each other."""
    if one.startswith("tcp://") and other.startswith("tcp://"):
        host, _, port = one.removeprefix("tcp://").replace("localhost", "127.0.0.1").rpartition(":")
        other_host, _, other_port = other.removeprefix("tcp://").replace("localhost", "127.0.0.1").rpartition(":")
        anywhere = host in _ANYWHERE or other_host in _ANYWHERE
        return int(port) == int(other_port) and (host == other_host or anywhere)
    return _normal(one) == _normal(other)


def _normal(address: str) -> str:
    path = address.removeprefix("ipc://")
    return posixpath.normpath(path) if path.startswith("/") else address
