"""The configuration as Structs: every key, its type, unit and default. ``deploy/config.toml`` says the reasons.

`Config` is the file. `WorkerPlan` is what one worker process is told: everything resolved, nothing left to look up.
Ranges stand with their keys (``Meta``), so that one place says them and every reader of a plan enforces them.
Pure: no I/O, no clock.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from feedhandler.bybit.products import MAX_ACTIVE_TIME_MAX_S, PING_INTERVAL_MAX_S, Site

Network = Literal["sim", "mainnet", "testnet", "demo"]
ProductName = Literal["spot", "linear", "inverse", "option", "spread", "status", "private"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]


class SymbolFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Symbols kept in a file of their own, one a line, ``#`` begins a comment; relative to the configuration.

    `feedhandler.config.load` puts the symbols in its place: a loaded configuration holds none.
    """

    file: str


class SecretSource(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where a secret is read, again at each connect: exactly one of the three. The secret itself is nowhere here.

    Also for `feedhandler.connect`: ``api_key=SecretSource(env="BYBIT_API_KEY")``.
    """

    env: str = ""
    """An environment variable."""
    file: str = ""
    """A file, relative to the configuration (`feedhandler.config.load` makes it absolute), in `feedhandler.connect` to the
    working directory."""
    credential: str = ""
    """A systemd credential: a file in ``$CREDENTIALS_DIRECTORY``."""

    def __str__(self) -> str:
        """Name the place as a person would."""
        if self.env:
            return f"environment variable {self.env}"
        return f"systemd credential {self.credential}" if self.credential else f"file {self.file}"


class Runtime(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where sockets live and how we log."""

    directory: str = ""
    """``""`` = ``$RUNTIME_DIRECTORY``, ``$XDG_RUNTIME_DIR/feedhandler`` or ``/tmp/feedhandler-<uid>``."""
    group: str = ""
    """A Unix group that may connect too; ``""`` = owner only."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    """``auto`` = text on a terminal, JSON lines otherwise."""


class Connection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How a WebSocket is opened, kept and opened again."""

    ping_interval_s: Annotated[
        float, Meta(gt=0, le=PING_INTERVAL_MAX_S, extra={"why": "the venue wants a ping every 20 s"})
    ] = 20.0
    pong_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """TCP, TLS and upgrade together."""
    reconnect_base_s: Annotated[float, Meta(gt=0, le=60)] = 0.5
    """The first retry is immediate; then base * 2^n with jitter, up to the cap."""
    reconnect_cap_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    canary: str = "auto"
    """A lively topic on each connection, not published, that proves it mute or alive: ``auto`` = a level-1 book where
    the product serves one, ``""`` = none."""
    max_age_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    """A connection of this age is opened anew while another line carries its topics; 0 = never. Needs ``lines = 2``."""
    max_attempts: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Failed attempts in a row before giving up; 0 = never."""
    max_active_time_s: Annotated[float, Meta(ge=0, le=MAX_ACTIVE_TIME_MAX_S)] = 0.0
    """After how long without a message of ours the venue cuts a private connection: 30 to 600; 0 = the venue's own
    default, 10 minutes (dossier 1.3)."""


class Publish(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How records leave us."""

    send_high_water_mark: Annotated[
        int, Meta(ge=1, le=2**31 - 1, extra={"why": "to ZeroMQ 0 means without limit, until memory is gone"})
    ] = 100_000
    """Records kept for one slow strategy before its own are dropped."""
    quiet_status_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """A subject quiet this long repeats its status (the first time after 1 s)."""


class Subscriptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A further group: each of ``symbols`` with each of ``streams``."""

    symbols: list[str] | SymbolFile
    streams: list[str]


class Endpoint(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One named block of the configuration: one product of the venue, one URL, one or more workers."""

    product: ProductName
    symbols: list[str] | SymbolFile = []
    streams: list[str] = []
    topics: list[str] = []
    """Topics verbatim, besides symbols x streams."""
    unchecked_topics: list[str] = []
    """Topics passed to the venue without our check (new or retired ones)."""
    subscriptions: list[Subscriptions] = []
    publish: list[str] | None = None
    """ZeroMQ addresses to bind. Placeholders: ``{runtime}``, ``{endpoint}``, ``{worker}``, ``{index}``, sums too:
    ``{5600+index}``. None = ``ipc://{runtime}/{worker}.pub``, for private streams ``ipc://{runtime}/private/{worker}.pub``."""
    lines: Annotated[int, Meta(ge=1, le=2)] = 1
    """Connections that carry every topic: with 2 the first copy wins, and the loss of one is not seen."""
    workers: Annotated[
        int, Meta(ge=1, le=1000, extra={"why": "the venue takes 1,000 connections of a product from one address"})
    ] = 1
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    """Higher reconnects first when the venue's connection budget is short."""
    cpu: list[Annotated[int, Meta(ge=0, le=1023)]] = []
    """Cores for the worker and for ZeroMQ's thread; ``[]`` = leave to the system."""
    network: Network | None = None
    """Overrides the top level's."""
    site: Site | None = None
    """Overrides the top level's."""
    url: str = ""
    """Overrides what network, site and product imply."""
    api_key: SecretSource | None = None
    """Where the key of the account is read; private only, as are the three that follow."""
    api_secret: SecretSource | None = None
    retain: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    """Last records of each topic, repeated to a newcomer."""
    allow_dcp: bool = False
    """Whether ``dcp.*`` may be subscribed: our connection keeps the venue from cancelling orders while a strategy is
    dead."""
    connection: Connection = Connection()


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The whole file, with the defaults of ``[connection]`` already merged into each endpoint's own."""

    network: Network
    site: Site = ""
    """Which of the venue's sites on mainnet: ``""`` = bybit.com, else a regional or alternative host (dossier 1.1)."""
    runtime: Runtime = Runtime()
    connection: Connection = Connection()
    publish: Publish = Publish()
    endpoints: dict[str, Endpoint]


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one worker process is told when it starts; JSON on its standard input. Holds no secrets."""

    worker: str
    """``linear``, ``linear-1`` …; the first of an endpoint keeps the bare name."""
    endpoint: str
    product: ProductName
    network: Network
    url: str
    """The venue's, with ``?max_active_time=…`` where that is configured. For the built-in simulated Bybit it holds
    ``{simulator}``: the supervisor puts host:port there."""
    simulated: bool
    """True where the data come from the built-in simulated Bybit: flagged on every record."""
    topics: list[str]
    """This worker's share."""
    publish: list[str]
    """Addresses to bind, placeholders filled in."""
    takes_over: bool = False
    """Whether another process of this worker has the addresses: they are bound when the supervisor says so."""
    runtime_directory: str
    cpu: list[int]
    priority: int = 0
    lines: int = 1
    api_key: SecretSource | None = None
    """Where the worker reads the key at each connect. None = public, or the simulator's test key."""
    api_secret: SecretSource | None = None
    retain: int = 0
    """Last records of each private topic, repeated to a newcomer; 0 for public streams."""
    connection: Connection
    send_high_water_mark: int
    quiet_status_s: float
    log_level: LogLevel
    log_format: Literal["text", "json"]
