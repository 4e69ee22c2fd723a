"""The simulated Bybit of a drill: its process, its pages, and the truth about what it sent."""

import http.client
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode

import msgspec

from feedhandler.bybit import topics as grammar
from feedhandler.bybit.products import PRODUCTS, share_out
from feedhandler.drill.messages import topic_of
from feedhandler.drill.plainbook import BookData
from feedhandler.drill.targets import Link
from feedhandler.drill.truth import Truth
from feedhandler.drill.witness import Witness
from feedhandler.errors import FeedError

START_S: Final = 30.0
PING_S: Final = 0.2
"""The witness's pings: each answer in the transcript proves that everything before it stands there, too."""


class DrillError(FeedError):
    """The drill itself cannot go on; the text says why."""


class _Line(msgspec.Struct, gc=False):
    """One frame of a transcript."""

    time_ns: int
    opcode: int
    final: bool
    payload: str = ""


_decode_line: Final = msgspec.json.Decoder(_Line).decode


class _Transcript:
    """The frames of one connection, read as they are written."""

    def __init__(self, path: Path) -> None:
        self.number, _, self.product = path.stem.partition("-")
        self._file: BinaryIO = path.open("rb")
        self._rest = b""
        self._parts = ""

    def read(self) -> Iterable[tuple[int, bytes]]:
        """Yield new messages: when they were sent (Unix ns), and their text."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for raw in lines:
            line = _decode_line(raw)
            self._parts += line.payload
            if line.final:
                yield line.time_ns, self._parts.encode()
                self._parts = ""

    def close(self) -> None:
        self._file.close()


class Venue:
    """A simulated Bybit, and a witness of ours on it that no fault touches."""

    def __init__(
        self, directory: Path, wanted: Mapping[str, Iterable[str]], *, symbols: Iterable[str], seed: int, rate: float
    ) -> None:
        """Start it. ``wanted`` are the topics to bear witness of, by product."""
        self._records = directory / "sent"
        self._log = directory / "sim.log"
        self._transcripts: dict[str, _Transcript] = {}
        self.truths: dict[tuple[str, str], Truth] = {}
        listed = directory / "symbols.txt"
        listed.write_text("\n".join(symbols))
        self._process = self._start(listed, seed, rate)
        self._witnesses: list[Witness] = []
        self._witnessed: dict[str, int] = {}
        """Until when the transcript of each witness was read, Unix ns; by its number."""
        self._ping_s = 0.0
        try:
            self.port = self._read_port()
            self._bear_witness({product: list(dict.fromkeys(topics)) for product, topics in wanted.items()})
        except BaseException:
            self.close()
            raise

    @property
    def host(self) -> str:
        """Where it listens: ``127.0.0.1:9001``."""
        return f"127.0.0.1:{self.port}"

    def _start(self, listed: Path, seed: int, rate: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "feedhandler.sim", "--port", "0", "--truth"]
        command += ["--record", str(self._records), "--symbols", str(listed)]
        command += ["--seed", str(seed), "--rate", str(rate), "--parent-pid", str(os.getpid())]
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own module, by the running interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )

    def _read_port(self) -> int:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - asked for above
        ready, _, _ = select.select([stdout], [], [], START_S)
        said = stdout.readline().decode() if ready else ""
        port = said.partition("ws://127.0.0.1:")[2].partition("/")[0]
        if not port.isdecimal():
            raise DrillError(f"the simulated Bybit did not start: {said or self._log.read_text() or 'it said nothing'}")
        return int(port)

    def _bear_witness(self, wanted: dict[str, list[str]]) -> None:
        for product, topics in wanted.items():
            for topic in topics:
                self.truths[product, topic] = Truth(topic, grammar.nature(product, topic))
            for share in share_out(PRODUCTS[product], topics):
                witness = Witness(self.port, PRODUCTS[product].path, share, is_private=product == "private")
                self._witnesses.append(witness)
        requests = sum(witness.requests for witness in self._witnesses)
        deadline_s = time.monotonic() + START_S
        while True:
            for witness in self._witnesses:
                witness.drain()
            connections = self.ask("stats")["connections"]
            if sum(connection["requests"] for connection in connections) >= requests:
                break
            if time.monotonic() > deadline_s:
                raise DrillError("the simulated Bybit does not answer the drill's own subscriptions")
            time.sleep(0.02)
        self._witnessed = {str(connection["id"]): 0 for connection in connections}

    # Its pages.

    def ask(self, page: str, **query: object) -> dict[str, Any]:
        """Ask for one of its pages; raise `DrillError` where it says no."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/sim/{page}?{urlencode(query)}")
            response = connection.getresponse()
            body: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DrillError(f"the simulated Bybit does not answer: {error}") from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise DrillError(f"the simulated Bybit refuses {page} {query}: {body.get('error', body)}")
        return body

    def strike(self, kind: str, **query: object) -> dict[str, Any]:
        """Let a fault happen, or switch it on; ``kind="off"`` switches all off."""
        return self.ask("fault", kind=kind, **query)

    def is_quiet(self) -> bool:
        """Say whether no fault is switched on."""
        return not self.ask("faults")["active"]

    def links(self) -> list[Link]:
        """Return the feed's connections."""
        return [
            Link(connection["id"], connection["product"], frozenset(connection["topics"]))
            for connection in self.ask("stats")["connections"]
            if str(connection["id"]) not in self._witnessed
        ]

    def book(self, product: str, topic: str, update_id: int) -> BookData | None:
        """Return the venue's book at an update id, None where it has forgotten it."""
        try:
            found = self.ask("book", product=product, topic=topic, u=update_id)
        except DrillError:
            return None
        return msgspec.convert(found, BookData)

    # The truth.

    def listen(self) -> None:
        """Read on: what went out to the feed, and what the witness has."""
        if self._process.poll() is not None:
            raise DrillError(f"the simulated Bybit ended with exit code {self._process.returncode}")
        now_s = time.monotonic()
        pings = now_s >= self._ping_s
        for witness in self._witnesses:
            witness.drain()
            if pings:
                witness.ping()
        if pings:
            self._ping_s = now_s + PING_S
            self._read()

    def _read(self) -> None:
        for path in self._records.iterdir():
            if path.name not in self._transcripts:
                self._transcripts[path.name] = _Transcript(path)
        # The witnesses last: what went out to the feed by now they have, too.
        for transcript in sorted(self._transcripts.values(), key=lambda one: one.number in self._witnessed):
            is_witness = transcript.number in self._witnessed
            for time_ns, payload in transcript.read():
                if is_witness:
                    self._witnessed[transcript.number] = time_ns
                truth = self.truths.get((transcript.product, topic_of(payload)))
                if truth is None:
                    continue
                if is_witness:
                    truth.publish(payload, time_ns)
                else:
                    truth.deliver(payload, int(transcript.number))

    @property
    def known_until_ns(self) -> int:
        """Until when everything sent is known, Unix ns."""
        return min(self._witnessed.values(), default=0)

    def close(self) -> None:
        """End it."""
        for witness in getattr(self, "_witnesses", []):
            witness.close()
        for transcript in self._transcripts.values():
            transcript.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
