"""Publish addresses: placeholders, what libzmq can bind, and which two are one."""

import contextlib
import re
import socket

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.config import addresses
from feedhandler.config.addresses import AddressError


def fill(template: str) -> str:
    return addresses.fill(template, runtime="/run/feed", endpoint="linear", worker="linear-1", index=3)


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("ipc://{runtime}/{worker}.pub", "ipc:///run/feed/linear-1.pub"),
        ("ipc:///x/{endpoint}-{index}", "ipc:///x/linear-3"),
        ("tcp://*:{5600+index}", "tcp://*:5603"),
        ("tcp://*:{ index + 5600 + 10 }", "tcp://*:5613"),
        ("tcp://*:{1+2}", "tcp://*:3"),
        ("tcp://*:{index+index}", "tcp://*:6"),
        ("tcp://*:5600", "tcp://*:5600"),
    ],
)
def test_filled_in(template: str, address: str) -> None:
    """Placeholders and sums are filled in."""
    assert fill(template) == address


@given(st.integers(0, 65535), st.integers(0, 1000))
def test_sums(base: int, index: int) -> None:
    """A sum is the sum."""
    filled = addresses.fill(f"{{{base}+index}}", runtime="", endpoint="", worker="", index=index)
    assert filled == str(base + index)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("ipc://{runtim}/x", '{runtim} is unknown; did you mean "runtime"?'),
        ("ipc://{home}/x", "{home} is unknown; use {runtime}, {endpoint}, {worker} or {index}"),
        ("tcp://*:{5600*index}", '{5600*index} cannot be worked out: only sums like "{5600+index}" can'),
        ("tcp://*:{5600+}", '{5600+} cannot be worked out: only sums like "{5600+index}" can'),
        ("tcp://*:{5600}", '{5600} cannot be worked out: only sums like "{5600+index}" can'),
        ("tcp://*:{}", '{} cannot be worked out: only sums like "{5600+index}" can'),
        ("tcp://*:{999999+index}", '{999999+index} cannot be worked out: only sums like "{5600+index}" can'),
        ("ipc://{worker", "a brace is never closed or never opened"),
        ("ipc://worker}", "a brace is never closed or never opened"),
        ("ipc://{{worker}}", "a brace is never closed or never opened"),
    ],
)
def test_not_filled_in(template: str, text: str) -> None:
    """What cannot be filled in says why."""
    with pytest.raises(AddressError, match=f"^{re.escape(text)}$"):
        fill(template)


@given(st.text(alphabet="{}+index0 runtime*é", max_size=30))
def test_any_template(template: str) -> None:
    """A template is filled in without a brace left, or refused."""
    with contextlib.suppress(AddressError):
        assert not set("{}") & set(fill(template))


GOOD = [
    "ipc:///run/feed/linear.pub",
    "ipc://@abstract",
    "ipc:///" + "x" * 106,
    "tcp://*:5600",
    "tcp://127.0.0.1:1",
    "tcp://0.0.0.0:65535",
    "tcp://localhost:5600",
    "tcp://feed.example.org:5600",
    "tcp://eth0:5600",
    "tcp://br-lan_2:5600",
]


@pytest.mark.parametrize("address", GOOD)
def test_good(address: str) -> None:
    """These can be bound."""
    addresses.check(address)


HOST = 'is no host: give an IPv4 address, an interface, a name or "*"'
IPV6 = "IPv6 is not available in this version; give an IPv4 address or an interface"
PATH = '"ipc://" wants the whole path of a file, from "/" on; begin it with "ipc://{runtime}/"'
PORT = 'has no port: write it behind a colon, as in "tcp://127.0.0.1:{5600+index}"'


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("", 'must begin with "ipc://" or "tcp://"'),
        ("/run/feed/x", 'must begin with "ipc://" or "tcp://"'),
        ("udp://127.0.0.1:5600", 'must begin with "ipc://" or "tcp://"'),
        ("tcp:/127.0.0.1:5600", 'must begin with "ipc://" or "tcp://"'),
        ("ipc://", PATH),
        ("ipc://x/y", PATH),
        ("ipc:///run/feed/", PATH),
        ("ipc:///" + "x" * 107, "its path has 108 bytes, and Linux takes 107: choose a shorter one"),
        ("ipc:///" + "é" * 54, "its path has 109 bytes, and Linux takes 107: choose a shorter one"),
        ("tcp://*", PORT),
        ("tcp://*:", PORT),
        ("tcp://*:0", '"0" is no port: they go from 1 to 65535'),
        ("tcp://*:65536", '"65536" is no port: they go from 1 to 65535'),
        ("tcp://*:005600", '"005600" is no port: they go from 1 to 65535'),
        ("tcp://*:*", '"*" is no port: they go from 1 to 65535'),
        ("tcp://*:٣", '"٣" is no port: they go from 1 to 65535'),
        ("tcp://*:-1", '"-1" is no port: they go from 1 to 65535'),
        ("tcp://:5600", 'has no host: write "*" for every interface of this machine'),
        ("tcp://a b:5600", f'"a b" {HOST}'),
        ("tcp://-:5600", f'"-" {HOST}'),
        ("tcp://256.0.0.1:5600", '"256.0.0.1" is no IPv4 address'),
        ("tcp://[::1]:5600", f'"[::1]": {IPV6}'),
        ("tcp://::1:5600", f'"::1": {IPV6}'),
    ],
)
def test_bad(address: str, text: str) -> None:
    """What cannot be bound says why."""
    with pytest.raises(AddressError, match=f"^{re.escape(text)}$"):
        addresses.check(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "lo"])
def test_libzmq_binds_it(host: str) -> None:
    """The sorts of hosts that pass are sorts that libzmq binds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    addresses.check(f"tcp://{host}:{port}")
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.bind(f"tcp://{host}:{port}")


@pytest.mark.parametrize(
    ("address", "directory"),
    [
        ("ipc:///run/feed/x.pub", "/run/feed"),
        ("ipc:///run/feed/a/../x.pub", "/run/feed"),
        ("ipc:///x", "/"),
        ("ipc://@x", None),
        ("tcp://*:5600", None),
    ],
)
def test_directory(address: str, directory: str | None) -> None:
    """Only a socket file has a directory."""
    assert addresses.ipc_directory(address) == directory


@pytest.mark.parametrize(
    ("one", "other", "clashes"),
    [
        ("ipc:///run/x", "ipc:///run/x", True),
        ("ipc:///run/x", "ipc:///run/../run//x", True),
        ("ipc:///run/x", "ipc:///run/y", False),
        ("ipc://@x", "ipc://@x", True),
        ("ipc://@x", "ipc:///x", False),
        ("ipc:///5600", "tcp://*:5600", False),
        ("tcp://127.0.0.1:5600", "tcp://127.0.0.1:5600", True),
        ("tcp://127.0.0.1:5600", "tcp://127.0.0.1:05600", True),
        ("tcp://127.0.0.1:5600", "tcp://127.0.0.1:5601", False),
        ("tcp://127.0.0.1:5600", "tcp://127.0.0.2:5600", False),
        ("tcp://127.0.0.1:5600", "tcp://*:5600", True),
        ("tcp://0.0.0.0:5600", "tcp://127.0.0.1:5600", True),
        ("tcp://localhost:5600", "tcp://127.0.0.1:5600", True),
        ("tcp://eth0:5600", "tcp://127.0.0.1:5600", False),
    ],
)
def test_clash(one: str, other: str, clashes: bool) -> None:
    """Two addresses clash where the second bind would fail or steal, whichever comes first."""
    assert addresses.clash(one, other) is clashes
    assert addresses.clash(other, one) is clashes
