"""A venue that breaks the WebSocket protocol on one of two lines: nobody sees it, and no process ends."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from support.feed import Ear, Feed, breaks, wait_until
from support.simulator import Simulator

BOOK, TRADES = "linear.orderbook.50.BTCUSDT", "linear.publicTrade.BTCUSDT"
CONFIG = """
network = "sim"
[connection]
reconnect_base_s = 0.1
[endpoints.linear]
product = "linear"
url = "{url}"
lines = 2
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade"]
"""


class Meddler:
    """Passes on everything, both ways, and can put bytes of its own between two frames of the venue's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listening]
        self._words: list[bytes] = []
        self.url = f"ws://127.0.0.1:{self._listening.getsockname()[1]}/v5/public/linear"
        threading.Thread(target=self._accept, daemon=True).start()

    def say(self, words: bytes) -> None:
        """Put this in front of the venue's next frame, on whichever connection that comes."""
        self._words.append(words)

    @property
    def is_said(self) -> bool:
        return not self._words

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                venue = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, venue]
                threading.Thread(target=self._pass_requests_on, args=(client, venue), daemon=True).start()
                threading.Thread(target=self._pass_frames_on, args=(venue, client), daemon=True).start()

    def _pass_requests_on(self, client: socket.socket, venue: socket.socket) -> None:
        with suppress(OSError):
            while read := client.recv(1 << 16):
                venue.sendall(read)
            venue.shutdown(socket.SHUT_RDWR)

    def _pass_frames_on(self, venue: socket.socket, client: socket.socket) -> None:
        with suppress(OSError, EOFError), venue.makefile("rb") as stream:
            while (line := stream.readline()) != b"\r\n":
                client.sendall(line)
            client.sendall(line)
            while True:
                frame = _frame(stream.read)
                if self._words:
                    client.sendall(self._words.pop())
                client.sendall(frame)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _frame(read: object) -> bytes:
    """Read one frame, as a server sends them."""

    def take(count: int) -> bytes:
        found: bytes = read(count)  # type: ignore[operator]  # of a stream
        if len(found) < count:
            raise EOFError
        return found

    head = take(2)
    long = {126: 2, 127: 8}.get(head[1], 0)
    size = take(long)
    return head + size + take(int.from_bytes(size, "big") if long else head[1])


@pytest.mark.parametrize(
    "words",
    [b"\x88\x01\x03", b"\x88\x04\x03\xe8\xff\xfe", b"\x89\x7e\x00\x7e" + b"x" * 126, b"\x83\x01x"],
    ids=["close of 1 byte", "close with a reason that is no text", "ping that is too long", "unknown opcode"],
)
def test_a_line_that_breaks_the_protocol_is_not_seen(tmp_path: Path, words: bytes) -> None:
    """Inject a malformed frame on one line → no status, no gap, the same worker; the line is opened anew, and counted."""
    with Simulator("--rate", "15") as venue:
        meddler = Meddler(venue.port)
        feed = Feed(tmp_path, CONFIG.format(url=meddler.url))
        with Ear([feed.address("linear")]) as ear, feed:
            pid = feed.wait_live("linear")["pid"]
            wait_until(lambda: feed.worker("linear")["heartbeat"]["connections_up"] == 2, "both lines")
            wait_until(lambda: ear.data(BOOK) and ear.data(TRADES), "data")
            told = [len(ear.states(subject)) for subject in (BOOK, TRADES)]
            meddler.say(words)
            wait_until(lambda: meddler.is_said, "the malformed frame")
            wait_until(lambda: feed.worker("linear")["heartbeat"]["unparsed"] == 1, "counted")
            wait_until(lambda: feed.worker("linear")["heartbeat"]["connections_up"] == 2, "both lines again")
            count = len(ear.records)
            ear.wait_for(lambda: len(ear.records) > count + 50, "more records")
            assert [len(ear.states(subject)) for subject in (BOOK, TRADES)] == told
            assert not breaks(ear.records)
            assert (feed.worker("linear")["pid"], feed.worker("linear")["restarts"]) == (pid, 0)
            assert any("broke the WebSocket protocol" in line["message"] for line in feed.log_lines())
        meddler.close()
