"""A simulated Bybit as a process of its own, on a free port: what integration and fault tests run against."""

import http.client
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

START_S = 20.0
ROOT = Path(__file__).resolve().parents[2]


class Simulator:
    """Runs ``python -m feedhandler.sim``; use as a context manager, or `stop` it."""

    def __init__(self, *options: str) -> None:
        """Start it with further ``options`` and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler.sim", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.announcement = self._first_line()
        self.port = int(self.announcement.partition("ws://127.0.0.1:")[2].partition("/")[0])
        self.url = f"ws://127.0.0.1:{self.port}"
        """Without path; `url_of` has one."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def url_of(self, product: str) -> str:
        """The socket of ``product``."""
        return f"{self.url}/v5/public/{product}"

    def get(self, path: str, **query: object) -> Any:
        """Ask one of its pages; `AssertionError` with its words where it says no."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
            response = connection.getresponse()
            body = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == 200, body
        return body

    def stats(self) -> dict[str, Any]:
        """What clients did so far."""
        found: dict[str, Any] = self.get("/sim/stats")
        return found

    def fault(self, kind: str, **where: object) -> dict[str, Any]:
        """Switch a fault on (``kind="off"``: all off)."""
        found: dict[str, Any] = self.get("/sim/fault", kind=kind, **where)
        return found

    def settings(self, **changed: object) -> dict[str, Any]:
        """Change how the venue behaves."""
        found: dict[str, Any] = self.get("/sim/settings", **changed)
        return found

    def wait_for(self, condition: Any, deadline_s: float = 10.0) -> dict[str, Any]:
        """Wait until ``condition(stats)`` is true; return those statistics."""
        end_s = time.monotonic() + deadline_s
        while True:
            stats = self.stats()
            if condition(stats):
                return stats
            assert time.monotonic() < end_s, f"the simulator never got there: {stats}"
            time.sleep(0.02)

    def stop(self, signal_number: int = 15) -> tuple[int, str]:
        """End it; return its exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            _, errors = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        code, errors = self.stop()
        if kind is None:
            assert not errors, errors
            assert code == 0, code

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            _, errors = self.process.communicate()
            raise AssertionError(f"the simulator did not start: {errors}")
        return line
