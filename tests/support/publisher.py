"""A stand-in for a worker: a real process that binds a real XPUB, numbers its records and answers late joiners.

As a script it is told what to do by JSON lines on standard input, one answer each on standard output. `Publisher` starts
it and speaks to it. It knows nothing of Bybit: books follow from the deltas it is told to send.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq

from feedhandler import runtime, wire

HEARTBEAT_S = 1.0
PACE_S = 0.02
"""Newcomers are answered this often, once per subject."""


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


class Topic:
    def __init__(self, subject: str, epoch: int, worker: str, network: str, flags: int) -> None:
        self.subject = subject
        self.prefix = wire.prefix(subject)
        self.epoch = epoch
        self.flags = flags
        self.sequence = 0
        self.update_id = 0
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.image: bytes | None = None
        self.status = wire.Status(state="subscribing", since_ns=0, worker=worker, network=network, lines_up=1, lines=1)
        name = subject.partition(".")[2]
        self.topic = name
        self.is_book = name.startswith("orderbook.")

    def compose(self) -> bytes | None:
        if self.is_book and self.update_id:
            return self.book("snapshot", self.sides)
        return self.image

    def book(self, kind: str, sides: dict[str, dict[str, str]]) -> bytes:
        return msgspec.json.encode(
            {
                "topic": self.topic,
                "type": kind,
                "ts": time.time_ns() // 1_000_000,
                "data": {
                    "s": self.topic.rpartition(".")[2],
                    "b": sorted(sides["b"].items(), key=lambda level: -float(level[0])),
                    "a": sorted(sides["a"].items(), key=lambda level: float(level[0])),
                    "u": self.update_id,
                    "seq": self.update_id * 7,
                },
                "cts": time.time_ns() // 1_000_000,
            }
        )


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.socket = zmq.Context().socket(zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.socket.setsockopt(zmq.SNDHWM, options.high_water_mark)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(options.address)
        self.epoch = options.epoch
        flags = wire.SIMULATED if options.network == "sim" else 0
        self.topics = {
            f"{options.endpoint}.{name}": Topic(
                f"{options.endpoint}.{name}", options.epoch, options.worker, options.network, flags
            )
            for name in options.topics
        }
        self.asked: set[str] = set()
        self.answered_s = 0.0
        self.heartbeat_s = 0.0
        self.sent = 0
        self.silent = False

    def send(self, topic: Topic, kind: int, payload: bytes, flags: int = 0, *, lose: bool = False) -> None:
        if not flags & (wire.IMAGE | wire.REPEATED):
            topic.sequence += 1
        now_ns = time.time_ns()
        line = 0 if kind <= wire.UPDATE and not flags else wire.NO_LINE
        if not lose:
            self.sent += 1
            self.socket.send(
                wire.pack(
                    topic.prefix, kind, topic.flags | flags, line, topic.epoch, topic.sequence, now_ns, now_ns, payload
                )
            )

    def status(self, topic: Topic, state: str, reason: str = "", *, lose: bool = False, **hole: Any) -> None:
        topic.status = msgspec.structs.replace(
            topic.status,
            state=state,
            reason=reason,
            since_ns=time.time_ns(),
            **{"blind_from_ns": msgspec.UNSET, "blind_to_ns": msgspec.UNSET, "lost": msgspec.UNSET, **hole},
        )
        self.send(topic, wire.STATUS, msgspec.json.encode(topic.status), lose=lose)

    def answer(self, topic: Topic) -> None:
        if topic.status.state == wire.ENDED:
            return
        self.send(topic, wire.STATUS, msgspec.json.encode(topic.status), wire.REPEATED)
        image = topic.compose()
        if topic.status.state in (wire.LIVE, wire.STALE) and image is not None:
            self.send(topic, wire.SNAPSHOT, image, wire.IMAGE)

    def heartbeat(self) -> None:
        subject = wire.prefix(f"{self.options.endpoint}.heartbeat.{self.options.worker}")
        zeros = {field.name: 0 for field in msgspec.structs.fields(wire.Heartbeat)}
        facts = {
            **zeros,
            "worker": self.options.worker,
            "pid": os.getpid(),
            "time_ns": time.time_ns(),
            "network": self.options.network,
            "state": "live",
            "topics": {},
            "lines": [],
        }
        now_ns = time.time_ns()
        payload = msgspec.json.encode(facts)
        self.socket.send(wire.pack(subject, wire.HEARTBEAT, 0, wire.NO_LINE, self.epoch, 0, now_ns, now_ns, payload))

    def do(self, command: dict[str, Any]) -> Any:
        """Carry a command out: see `Publisher`."""
        verb = command["do"]
        if verb == "silent":
            self.silent = command["silent"]
            return None
        if verb == "burst":
            for _ in range(command["count"]):
                for topic in self.topics.values():
                    if topic.is_book:
                        self.book(topic, {"b": [["100", str(topic.update_id % 50 + 1)]]}, "delta", lose=False)
            return None
        if verb == "live":
            for topic in self.topics.values():
                self.status(topic, wire.LIVE)
                if topic.is_book:
                    self.book(topic, {"b": [["99", "1"]], "a": [["101", "1"]]}, "snapshot", lose=False)
            return None
        if verb == "raw":
            self.socket.send(bytes.fromhex(command["hex"]))
            return None
        if verb == "carry":
            subject, flags = command["subject"], wire.SIMULATED if self.options.network == "sim" else 0
            self.topics[subject] = Topic(subject, command["epoch"], self.options.worker, self.options.network, flags)
            return None
        topic = self.topics[command["subject"]]
        lose = command.get("lose", False)
        if verb == "book":
            self.book(topic, command["levels"], command["type"], lose=lose)
        elif verb == "event":
            self.send(topic, wire.UPDATE, command["payload"].encode(), lose=lose)
        elif verb == "latest":
            topic.image = command["payload"].encode()
            self.send(topic, command["kind"], topic.image, lose=lose)
        elif verb == "status":
            self.status(topic, command["state"], command.get("reason", ""), lose=lose, **command.get("hole", {}))
        elif verb == "repeat_status":
            self.send(topic, wire.STATUS, msgspec.json.encode(topic.status), wire.REPEATED)
        elif verb == "epoch":
            topic.epoch = command["epoch"]
            topic.sequence = 0
        return {"sequence": topic.sequence, "bids": topic.sides["b"], "asks": topic.sides["a"], "u": topic.update_id}

    def book(self, topic: Topic, levels: dict[str, list[list[str]]], kind: str, *, lose: bool) -> None:
        if kind == "snapshot":
            topic.sides = {"b": {}, "a": {}}
        changed: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        for side, rows in levels.items():
            for price, size in rows:
                changed[side][price] = size
                if size == "0":
                    topic.sides[side].pop(price, None)
                else:
                    topic.sides[side][price] = size
        topic.update_id += 1
        self.send(topic, wire.SNAPSHOT if kind == "snapshot" else wire.DELTA, topic.book(kind, changed), lose=lose)

    def run(self) -> None:
        poller = select.poll()
        poller.register(sys.stdin.fileno(), select.POLLIN)
        say(self.socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        pending = b""
        while True:
            now_s = time.monotonic()
            self.subscriptions()
            if not self.silent:
                if now_s - self.heartbeat_s >= HEARTBEAT_S:
                    self.heartbeat_s = now_s
                    self.heartbeat()
                if self.asked and now_s - self.answered_s >= PACE_S:
                    self.answered_s = now_s
                    for subject in self.asked:
                        self.answer(self.topics[subject])
                    self.asked.clear()
            if not poller.poll(5):
                continue
            read = os.read(sys.stdin.fileno(), 65536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                say(self.do(json.loads(line)))

    def subscriptions(self) -> None:
        try:
            while True:
                event = self.socket.recv(zmq.NOBLOCK)
                if event[:1] != b"\1":
                    continue
                exact = self.topics.get(event[1:-1].decode()) if event.endswith(b"\0") else None
                matching = [exact] if exact else self.topics.values()
                self.asked |= {topic.subject for topic in matching if topic.prefix.startswith(event[1:])}
        except zmq.Again:
            pass


class Publisher:
    """A running stand-in. Commands return when they are carried out; `kill`, `pause` and `go_on` are signals."""

    def __init__(
        self,
        directory: Path,
        topics: list[str],
        *,
        endpoint: str = "linear",
        worker: str | None = None,
        epoch: int = 1_780_000_000,
        network: str = "sim",
        live: bool = True,
        announce: bool = True,
        high_water_mark: int = 100_000,
        address: str = "",
    ) -> None:
        self.worker = worker or endpoint
        self.endpoint = endpoint
        self.topics = topics
        self.network = network
        self.directory = directory
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "support.publisher",
                "--address", address or f"ipc://{directory}/{self.worker}.pub", "--endpoint", endpoint,
                "--worker", self.worker, "--epoch", str(epoch), "--network", network,
                "--high-water-mark", str(high_water_mark), *topics,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        self.address = self._read()
        if announce:
            announce_feed(directory, [self])
        if live:
            for topic in topics:
                self.begin(f"{endpoint}.{topic}")

    def begin(self, subject: str) -> None:
        """Bring a subject to live as a worker does: subscribing, live, and its snapshot where it is a state."""
        self.do("status", subject=subject, state="subscribing")
        self.do("status", subject=subject, state="live")
        topic = subject.partition(".")[2]
        if topic.startswith("orderbook."):
            self.book(subject, "snapshot", b=[["99", "1"], ["98", "2"]], a=[["101", "1"], ["102", "2"]])
        elif topic.startswith("tickers."):
            self.do("latest", subject=subject, kind=wire.SNAPSHOT, payload=ticker(topic, "snapshot", lastPrice="100"))

    def do(self, verb: str, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": verb, **command}).encode() + b"\n")
        self.process.stdin.flush()
        return self._read()

    def book(self, subject: str, kind: str = "delta", *, lose: bool = False, **levels: Any) -> Any:
        """Send a book record; ``lose`` takes its number and does not send it."""
        return self.do("book", subject=subject, type=kind, levels=levels, lose=lose)

    def trade(self, subject: str, trade_id: str, *, lose: bool = False) -> Any:
        return self.do("event", subject=subject, payload=trade(subject.partition(".")[2], trade_id), lose=lose)

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the publisher ended"
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        if self.process.poll() is None:
            self.go_on()
        try:
            self.process.wait(10)
        finally:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def announce_feed(directory: Path, publishers: list[Publisher], *, pid: int | None = None, product: str = "") -> None:
    """Write ``feed.json`` as a supervisor does; it counts as alive while the process ``pid`` (ours) is."""
    runtime.write_whole(
        directory / runtime.FEED_FILE,
        msgspec.json.encode(
            runtime.FeedDirectory(
                pid=pid or os.getpid(),
                network=publishers[0].network if publishers else "sim",
                quiet_status_s=10.0,
                workers={
                    publisher.worker: runtime.CarriedWorker(
                        endpoint=publisher.endpoint,
                        product=product or publisher.endpoint,
                        addresses=[publisher.address],
                        topics=publisher.topics,
                    )
                    for publisher in publishers
                },
            )
        ),
    )


def trade(topic: str, trade_id: str, price: str = "100.5", size: str = "0.1") -> str:
    now_ms = time.time_ns() // 1_000_000
    symbol = topic.rpartition(".")[2]
    item = {"T": now_ms, "s": symbol, "S": "Buy", "v": size, "p": price, "L": "PlusTick", "i": trade_id, "BT": False}
    return json.dumps({"topic": topic, "type": "snapshot", "ts": now_ms, "data": [item]})


def ticker(topic: str, kind: str, **fields: str) -> str:
    data = {"symbol": topic.rpartition(".")[2], **fields}
    return json.dumps({"topic": topic, "type": kind, "data": data, "cs": 1, "ts": time.time_ns() // 1_000_000})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--high-water-mark", type=int, required=True)
    parser.add_argument("topics", nargs="*")
    Server(parser.parse_args()).run()


if __name__ == "__main__":
    main()
