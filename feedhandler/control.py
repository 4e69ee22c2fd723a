"""What supervisor, workers and commands say to each other, over ZeroMQ on ``ipc://<runtime>/control``.

The supervisor binds a ROUTER; workers and commands connect a DEALER. Each message is one part of JSON, tagged by
its ``type``. Pure: no I/O, no clock.
"""

from typing import Final

import msgspec

from feedhandler.bybit.maintenance import Announcement
from feedhandler.wire import Heartbeat

SOCKET_NAME: Final = "control"


class _Message(msgspec.Struct, tag_field="type", tag=str.lower, kw_only=True):
    pass


# Worker to supervisor.
class Hello(_Message):
    """A worker is up, and its sockets are bound, unless it is to take over."""

    worker: str
    pid: int


class Bound(_Message):
    """A worker that takes over has bound what it could by now."""

    worker: str
    pid: int
    unbound: list[str]
    """Addresses that the one before still has: no two processes can be bound to them at the same time."""


class Beat(_Message):
    """Once a second, from the loop that moves the data: the counters, and what each topic's state is."""

    worker: str
    pid: int
    heartbeat: Heartbeat
    states: dict[str, tuple[str, str]]
    """Topics whose state changed since the last beat: state and reason."""
    lines: list[str]
    """What the session has to tell a person (subscribed, refused), since the last beat."""
    known_ns: int
    """Unix ns up to when nothing is missing of the topics not in `blind_from_ns`."""
    blind_from_ns: dict[str, int]
    """Topics that are not live now, and since when they may miss something. One at least as old as the truth."""


class Dial(_Message):
    """A connection wants to dial the venue; wait for `Permit`."""

    worker: str
    pid: int
    connection: str


class Announced(_Message):
    """The venue announced maintenance. From the worker that heard it to the supervisor, and on to those concerned."""

    network: str
    announcements: list[Announcement]


# Supervisor to worker.
class Permit(_Message):
    """A connection may dial now."""

    connection: str


class Wait(_Message):
    """The venue's budget is spent; the connection's `Permit` comes later."""

    connection: str


class Assign(_Message):
    """Carry these topics, all under this epoch; topics not named are carried no more."""

    epoch: int
    topics: list[str]
    blind_from_ns: dict[str, int] = msgspec.field(default_factory=dict)
    """Since when each topic may miss something, by what the one who carried it before said; empty where nobody did."""


class Yield(_Message):
    """A successor takes over: let it have the addresses, tell strategies, and go on with those who are connected."""


class Bind(_Message):
    """Take the addresses over as they come free, and say so (`Bound`)."""

    alone: bool = False
    """The one before has ended: what cannot be bound now is an error."""
    blind_from_ns: dict[str, int] = msgspec.field(default_factory=dict)
    """Since when each topic may be missing something for those who followed the one before; empty where it ended in
    order, or has not ended."""


class Retire(_Message):
    """End in order: a successor carries the topics."""


class Stop(_Message):
    """To a worker: end in order. From a command to the supervisor: end everything."""


# Command to supervisor, and its answers.
class StatusRequest(_Message):
    """Ask for `StatusReply`."""


class Restart(_Message):
    """Restart a worker: its successor is live before it ends. Answered by `Progress`, at the end `Restarted`."""

    worker: str


class WorkerStatus(msgspec.Struct, kw_only=True):
    """One worker, as the supervisor knows it."""

    worker: str
    endpoint: str
    product: str
    network: str
    url: str
    publish: list[str]
    state: str
    """``starting``, ``running``, ``hung``, ``parked`` (waits before it is started again), ``stopping`` or ``stopped``."""
    pid: int | None
    epoch: int
    restarts: int
    last_exit: str
    """How it ended the last time, in words; ``""`` if it never did."""
    beat_age_s: float | None
    heartbeat: Heartbeat | None
    topics: dict[str, tuple[str, str]]
    """State and reason of each topic."""
    restart: str = ""
    """How far a restart by command is, in words; ``""`` while there is none."""


class StatusReply(_Message):
    """The whole feed."""

    pid: int
    version: str
    uptime_s: float
    network: str
    config: str
    runtime: str
    simulated_bybit: str
    """Its URL, or ``""``."""
    attempts: int
    """Attempts to connect to the venue in the last 5 minutes, all workers together."""
    attempts_waiting: int
    """Attempts held back so that the venue's limit is kept."""
    workers: list[WorkerStatus]


class Done(_Message):
    """The command is carried out, or under way."""

    text: str = ""


class Progress(_Message):
    """How far a command is: at each change, and at least once a second."""

    text: str


class Restarted(_Message):
    """A worker has been restarted."""

    worker: str
    old_pid: int | None
    """None where there was no process."""
    pid: int
    topics: int
    live: int
    """How many of them."""
    took_s: float
    remark: str = ""
    """What went otherwise than it should."""


class Refused(_Message):
    """The command cannot be carried out; the text says why."""

    text: str
    exit_code: int = 1
    """2 where what was asked for makes no sense here."""


ToSupervisor = Hello | Bound | Beat | Dial | Announced | StatusRequest | Restart | Stop
ToWorker = Assign | Permit | Wait | Announced | Yield | Bind | Retire | Stop
ToCommand = StatusReply | Progress | Restarted | Done | Refused

encode: Final = msgspec.json.encode
decode_to_supervisor: Final = msgspec.json.Decoder(ToSupervisor).decode
decode_to_worker: Final = msgspec.json.Decoder(ToWorker).decode
decode_to_command: Final = msgspec.json.Decoder(ToCommand).decode
