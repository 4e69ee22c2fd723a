"""Who may import whom: every import of the package, held against the table below. The table is the law.

The first row whose pattern fits a module is its row. A module without a row fails: whoever adds one decides where it
belongs. Imports inside functions and under ``TYPE_CHECKING`` count like any other.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "feedhandler"


class Layer(NamedTuple):
    """What a module may import."""

    ours: tuple[str, ...] = ()
    """Modules and packages of the project, by prefix; its own package need not be named."""
    theirs: tuple[str, ...] = ("msgspec",)
    """Third-party packages."""
    pure: bool = False
    """No I/O and no clock."""
    seeded: bool = False
    """Pure but for chance, which comes from a `random.Random` with a seed."""


SHARED: Final = (
    "feedhandler.bybit",
    "feedhandler.book",
    "feedhandler.config",
    "feedhandler.control",
    "feedhandler.credentials",
    "feedhandler.errors",
    "feedhandler.image",
    "feedhandler.log",
    "feedhandler.runtime",
    "feedhandler.wire",
)

LAW: Final[dict[str, Layer]] = {
    # The package itself offers what the client offers, and imports it when it is first asked for.
    "feedhandler": Layer(
        (
            "feedhandler.client",
            "feedhandler.config.model",
            "feedhandler.errors",
            "feedhandler.bybit.topics",
            "feedhandler.wire",
        ),
        (),
    ),
    "feedhandler.__main__": Layer(("feedhandler.cli",), ()),
    # Shared and pure.
    "feedhandler.errors": Layer(pure=True),
    "feedhandler.wire": Layer(pure=True),
    "feedhandler.control": Layer(("feedhandler.bybit.maintenance", "feedhandler.wire"), pure=True),
    # Holds signals back, so that none is lost in msgspec.
    "feedhandler.bybit.messages.uninterrupted": Layer((), ()),
    "feedhandler.bybit*": Layer(("feedhandler.errors",), pure=True),
    "feedhandler.book": Layer(("feedhandler.bybit", "feedhandler.errors", "feedhandler.wire"), pure=True),
    "feedhandler.image": Layer(pure=True),
    "feedhandler.config.model": Layer(("feedhandler.bybit",), pure=True),
    # Shared, with the file system or a stream at the other end.
    "feedhandler.runtime": Layer(),
    "feedhandler.log": Layer(),
    "feedhandler.credentials": Layer(("feedhandler.bybit", "feedhandler.config.model"), ()),
    "feedhandler.config*": Layer(("feedhandler.bybit", "feedhandler.control", "feedhandler.runtime")),
    # The data plane. The connection alone knows picows; the publisher alone sends data over ZeroMQ.
    "feedhandler.worker.connection": Layer(
        ("feedhandler.bybit", "feedhandler.config.model", "feedhandler.credentials"), ("msgspec", "picows")
    ),
    # Pure but for the key, which is read when it is asked for.
    "feedhandler.worker.admission": Layer(("feedhandler.credentials",), ()),
    "feedhandler.worker.publisher": Layer(("feedhandler.runtime", "feedhandler.wire"), ("msgspec", "zmq")),
    # The worker's own end of the control plane: loop, signals, its use of the machine, the socket to the supervisor.
    "feedhandler.worker.carrier": Layer(("feedhandler.bybit", "feedhandler.config.model", "feedhandler.wire"), ()),
    "feedhandler.worker.link": Layer(("feedhandler.control",), ("msgspec", "zmq")),
    "feedhandler.worker.worker": Layer(SHARED, ("msgspec", "psutil")),
    "feedhandler.worker.newcomers": Layer((), ()),
    "feedhandler.worker.diary": Layer(("feedhandler.wire",), ()),
    "feedhandler.worker.main": Layer(SHARED, ("msgspec", "uvloop")),
    "feedhandler.worker.__main__": Layer(SHARED, ()),
    "feedhandler.worker*": Layer(
        ("feedhandler.bybit", "feedhandler.book", "feedhandler.config.model", "feedhandler.image", "feedhandler.wire"),
        pure=True,
    ),
    # The control plane.
    "feedhandler.supervisor.assignment": Layer(("feedhandler.config.model", "feedhandler.bybit"), pure=True),
    "feedhandler.supervisor.succession": Layer(("feedhandler.wire",), pure=True),
    "feedhandler.supervisor*": Layer(SHARED, ("msgspec", "psutil", "uvloop", "zmq")),
    # The simulated Bybit: sockets served with picows, recordings read from files; the venue behind them is pure.
    "feedhandler.sim.server*": Layer(("feedhandler.bybit", "feedhandler.log"), ("msgspec", "picows")),
    "feedhandler.sim.connection": Layer((), ("picows",)),
    "feedhandler.sim.replay": Layer(),
    "feedhandler.sim.main": Layer(("feedhandler.bybit", "feedhandler.log"), ("click", "msgspec", "uvloop")),
    "feedhandler.sim.__main__": Layer((), ()),
    "feedhandler.sim*": Layer(("feedhandler.bybit",), pure=True, seeded=True),
    # The strategy's side. The client without a worker runs a worker's connection in its own process.
    "feedhandler.client.direct": Layer(
        (*SHARED, *(f"feedhandler.worker.{module}" for module in ("carrier", "diary", "state"))),
        ("msgspec",),
    ),
    "feedhandler.client*": Layer(SHARED, ("msgspec", "zmq")),
    # The drill: judges that are pure, and a feed, a venue and a strategy of its own that they judge. It knows no more of
    # the feed than a strategy does: nothing of worker, client or simulator.
    "feedhandler.drill.course": Layer(("feedhandler.wire",)),
    "feedhandler.drill.encounter": Layer(("feedhandler.bybit", "feedhandler.wire")),
    "feedhandler.drill.newcomer": Layer(("feedhandler.bybit", "feedhandler.wire")),
    "feedhandler.drill.process": Layer(("feedhandler.config",)),
    "feedhandler.drill.scene": Layer(("feedhandler.bybit", "feedhandler.config.model", "feedhandler.wire")),
    "feedhandler.drill.stage": Layer(("feedhandler.config",)),
    "feedhandler.drill.strategy": Layer(("feedhandler.wire",), ("zmq",)),
    "feedhandler.drill.venue": Layer(("feedhandler.bybit", "feedhandler.errors")),
    "feedhandler.drill.witness": Layer(("feedhandler.bybit", "feedhandler.errors"), ()),
    "feedhandler.drill*": Layer(
        ("feedhandler.bybit", "feedhandler.config.model", "feedhandler.config.plan", "feedhandler.wire"), pure=True
    ),
    # The command line may use everything; nothing uses it.
    "feedhandler.cli*": Layer(("feedhandler",), ("click", "msgspec", "psutil", "uvloop", "zmq")),
    # What a user could write.
    "feedhandler.examples*": Layer(
        ("feedhandler.client", "feedhandler.bybit.topics", "feedhandler.wire"), ("msgspec", "pyarrow", "zmq")
    ),
}

IMPURE: Final = frozenset(
    (
        *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "signal", "subprocess", "threading"),
        *("http.client", "http.server", "select", "selectors", "socket", "socketserver", "ssl", "urllib.request"),
        *("fcntl", "io", "logging", "mmap", "os", "pathlib", "shutil", "tempfile"),
        *("random", "secrets", "time", "uuid"),
    )
)
"""Standard modules that do I/O, read a clock, wait, or draw lots."""
IO_FUNCTIONS: Final = frozenset({"input", "open", "print"})
CLOCK_METHODS: Final = frozenset({"now", "today", "utcnow"})
"""Of `datetime`, whose other half is arithmetic."""
FORBIDDEN_NAMES: Final = frozenset({"base", "common", "helpers", "manager", "utils"})
"""They say nothing about what is inside, so everything ends up there."""


def path_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules() -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def parsed(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text())


def imports(tree: ast.Module, module: str) -> Iterator[str]:
    """Yield each name that ``tree`` imports, in full; of ours as far down as it is a module."""
    package = module if path_of(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield base if within(name, "feedhandler") and not path_of(name).exists() else name


def layer(module: str) -> Layer | None:
    return next((row for pattern, row in LAW.items() if fnmatchcase(module, pattern)), None)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def trespasses(tree: ast.Module, module: str) -> list[str]:
    """Return what ``module`` imports and its row does not allow."""
    row = layer(module) or Layer(theirs=())
    own = module.rpartition(".")[0] if module.count(".") > 1 else module
    found = []
    for name in imports(tree, module):
        top = name.partition(".")[0]
        if top == "feedhandler":
            # The bare package is its version and nothing else.
            allowed = name == "feedhandler" or any(within(name, prefix) for prefix in (own, *row.ours))
        else:
            allowed = top in sys.stdlib_module_names or top in row.theirs
        if not allowed:
            found.append(name)
    return found


def impurities(tree: ast.Module, module: str) -> list[str]:
    """Return what a pure module uses and should not."""
    row = layer(module) or Layer()
    forbidden = IMPURE - {"random"} if row.seeded else IMPURE
    found = [name for name in imports(tree, module) if any(within(name, other) for other in forbidden)]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IO_FUNCTIONS:
                found.append(f"{name}()")
            case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_METHODS:
                found.append(f"{name}()")
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                found.append(f"random.{name}")
    return found


MODULES: Final = modules()
PURE: Final = [module for module in MODULES if (row := layer(module)) and row.pure]


def test_every_module_has_a_layer() -> None:
    """Every module fits a row of the table."""
    assert [module for module in MODULES if layer(module) is None] == []


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_what_its_layer_allows(module: str) -> None:
    """Every import of a module, ours and third-party, is in its row."""
    assert trespasses(parsed(module), module) == []


@pytest.mark.parametrize("module", PURE)
def test_pure_module_does_no_io_and_reads_no_clock(module: str) -> None:
    """A pure module imports nothing that does I/O, tells the time or draws lots, and calls nothing that does."""
    assert impurities(parsed(module), module) == []


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_it_is_for(module: str) -> None:
    """Every module has a docstring."""
    assert ast.get_docstring(parsed(module))


def test_no_module_has_a_name_that_says_nothing() -> None:
    """No module or package is called utils, common, base, helpers or manager."""
    assert [module for module in MODULES if not FORBIDDEN_NAMES.isdisjoint(module.split("."))] == []


def importers(package: str) -> set[str]:
    return {module for module in MODULES if any(within(name, package) for name in imports(parsed(module), module))}


def test_only_connection_and_simulator_know_picows() -> None:
    """The WebSocket library is imported where sockets are, and nowhere else."""
    serving = {module for module in MODULES if fnmatchcase(module, "feedhandler.sim.server*")}
    assert importers("picows") - serving - {"feedhandler.sim.connection"} == {"feedhandler.worker.connection"}


def test_only_the_publisher_sends_data() -> None:
    """In a worker only the publisher imports zmq, but for the socket to the supervisor."""
    in_worker = {module for module in importers("zmq") if within(module, "feedhandler.worker")}
    assert in_worker - {"feedhandler.worker.link"} == {"feedhandler.worker.publisher"}


def test_a_pure_module_brings_no_socket_along() -> None:
    """Who imports a pure module loads neither ZeroMQ nor picows nor uvloop, also not through the package's front door."""
    program = (
        f"import sys, {', '.join(PURE)}; print([name for name in sys.modules if name in {{'zmq', 'picows', 'uvloop'}}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_every_dependency_says_why() -> None:
    """Each requirement in pyproject.toml stands on a line of its own, with its reason behind it."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    required = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    reasons = {}
    for line in text.splitlines():
        requirement, _, reason = line.partition("#")
        reasons[requirement.strip().rstrip(",").strip('"')] = reason.split()
    assert [requirement for requirement in required if len(reasons.get(requirement, [])) < 2] == []


# The checks themselves.


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import zmq", ["zmq"]),
        ("import msgspec, struct", []),
        ("from zmq.backend import Socket", ["zmq.backend.Socket"]),
        ("def f():\n    import picows", ["picows"]),
        ("from feedhandler import runtime, __version__", ["feedhandler.runtime"]),
        ("from feedhandler.worker.publisher import Publisher", ["feedhandler.worker.publisher"]),
        ("import feedhandler.cli", ["feedhandler.cli"]),
        ("from feedhandler.wire import Heartbeat", []),
        ("from . import runtime", ["feedhandler.runtime"]),
        ("from .wire import prefix", []),
    ],
)
def test_trespass_is_seen_in_any_form(source: str, found: list[str]) -> None:
    """The check sees imports at any depth and in any spelling (as if they stood in control, which may use wire)."""
    assert trespasses(ast.parse(source), "feedhandler.control") == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["time"]),
        ("from os import path", ["os.path"]),
        ("import os.path", ["os.path"]),
        ("from urllib import parse, request", ["urllib.request"]),
        ("from http import HTTPStatus", []),
        ("print(1)", ["print()"]),
        ("open('x').read()", ["open()"]),
        ("datetime.datetime.now()", ["now()"]),
        ("import random", ["random"]),
        ("import struct\nvalue = book.time\nconnection.open()", []),
    ],
)
def test_impurity_is_seen_in_any_form(source: str, found: list[str]) -> None:
    """The check sees I/O and clocks at any depth and in any spelling."""
    assert impurities(ast.parse(source), "feedhandler.wire") == found


def test_chance_must_be_seeded() -> None:
    """Where chance is allowed, it is only that of a generator of one's own."""
    source = "import random\nrandom.Random(7).random()\nrandom.choice([1])"
    assert impurities(ast.parse(source), "feedhandler.sim.market") == ["random.choice"]
