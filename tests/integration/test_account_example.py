"""The example that keeps an account whole: what happened while nobody was connected comes from REST, and counts once."""

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl

from support.feed import Feed, wait_until
from support.simulator import ROOT, Simulator

from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET

README: Final = ROOT / "README.md"
CONFIG = """
network = "sim"
[endpoints.private]
product = "private"
url = "{url}"
topics = ["order", "execution", "position", "wallet"]
"""


class Venue:
    """The private REST of a venue whose account is the simulator's: signed, in pages of one row."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.closed: dict[str, dict[str, Any]] = {}
        """Orders that are open no more, as they were told last."""
        self.executions: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Paths and queries, in order."""

    def act(self, do: str, **query: object) -> dict[str, Any]:
        """Have the account do something, and remember what REST will tell of it."""
        acted = self._simulator.account(do, **query)
        for news in acted["news"]:
            if news["topic"] == "order":
                self.closed |= {row["orderId"]: row for row in news["data"]}
            elif news["topic"] == "execution":
                self.executions += news["data"]
        return acted

    def rows(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        state, category = self._simulator.account(), query.get("category")
        if path == "/v5/account/wallet-balance":
            return [state["wallet"]]
        if path == "/v5/execution/list":
            begin_ms, end_ms = int(query["startTime"]), int(query["endTime"])
            found = [row for row in self.executions if begin_ms <= int(row["execTime"]) <= end_ms]
        elif path == "/v5/position/list":
            found = state["positions"]
        elif "orderId" in query:
            found = [self.closed[query["orderId"]]]
        else:
            found = state["orders"]
        return [row for row in found if row["category"] == category]

    def answer(self, path: str, text: str, headers: Any) -> dict[str, Any]:
        signed = f"{headers['X-BAPI-TIMESTAMP']}{TEST_KEY}{headers['X-BAPI-RECV-WINDOW']}{text}"
        right = hmac.new(TEST_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if (headers["X-BAPI-API-KEY"], headers["X-BAPI-SIGN"]) != (TEST_KEY, right):
            return {"retCode": 10004, "retMsg": "error sign!", "result": {}, "time": 0}
        query = dict(parse_qsl(text))
        self.asked.append((path, query))
        rows, page = self.rows(path, query), int(query.get("cursor", 0))
        result = {"list": rows[page : page + 1], "nextPageCursor": str(page + 1) if page + 1 < len(rows) else ""}
        return {"retCode": 0, "retMsg": "OK", "result": result, "time": int(headers["X-BAPI-TIMESTAMP"])}


@contextmanager
def serving(venue: Venue) -> Iterator[str]:
    """Serve a venue's REST; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, text = self.path.partition("?")
            body = json.dumps(venue.answer(path, text, self.headers)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def running(feed: Feed, rest: str) -> Iterator[list[str]]:
    """Run the example; yield its lines as they come."""
    lines: list[str] = []
    command = [sys.executable, "-m", "feedhandler.examples.account", "--runtime", str(feed.runtime), "--rest", rest]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"BYBIT_API_KEY": TEST_KEY, "BYBIT_API_SECRET": TEST_SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(
            target=lambda stream: lines.extend(line.rstrip() for line in stream), args=(process.stdout,)
        )
        reader.start()
        try:
            yield lines
        finally:
            process.kill()
            reader.join()


def test_hole_is_filled_from_rest_and_nothing_counts_twice(tmp_path: Path) -> None:
    """Lose the connection while the account trades → live again → REST is asked for that time alone → all is there."""
    with Simulator("--account-rate", "0", "--rate", "0.01") as simulator:
        venue = Venue(simulator)
        feed = Feed(tmp_path, CONFIG.format(url=simulator.url_of("private")))
        before = venue.act("place", symbol="BTCUSDT")["order"]
        with feed, serving(venue) as rest, running(feed, rest) as lines:
            wait_until(lambda: "reconciled" in lines, f"the state at the start: {lines}")
            assert f"order {before} New" in lines
            venue.act("fill", symbol="ETHUSDT", maker=0)
            live = {row["execId"] for row in venue.executions}
            wait_until(lambda: executed(lines) >= live, "a fill from the stream")
            asked = len(venue.asked)

            simulator.fault("refuse", product="private", status="502", count=0)
            simulator.fault("reset", product="private")
            wait_until(lambda: any(line.startswith("private.order down") for line in lines), "told")
            venue.act("cancel", symbol="BTCUSDT", order=before)
            venue.act("fill", symbol="SOLUSDT", maker=0)
            venue.act("fill", category="spot", symbol="ETHUSDT", maker=0)
            after = venue.act("place", symbol="BTCUSDT")["order"]
            simulator.fault("off")

            wait_until(lambda: lines.count("reconciled") > 1, f"reconciled again: {lines}")
            missed = {row["execId"] for row in venue.executions} - live
            assert len(missed) > 1
            assert executed(lines) >= missed
            assert {f"order {before} Cancelled", f"order {after} New"} <= set(lines)
            assert any(line.startswith("position SOLUSDT 0 ") for line in lines)
            # The hole alone was asked for, in every market, and the order that had gone by its id.
            queries = venue.asked[asked:]
            spans = [
                int(query["endTime"]) - int(query["startTime"])
                for path, query in queries
                if path.endswith("/execution/list")
            ]
            assert spans
            assert max(spans) < 60_000
            assert before in [query.get("orderId") for _, query in queries]

            venue.act("fill", symbol="ETHUSDT", maker=0)
            everything = {row["execId"] for row in venue.executions}
            wait_until(lambda: executed(lines) == everything, "fills from the stream again")
            assert set(Counter(line for line in lines if line.startswith("execution ")).values()) == {1}


def executed(lines: list[str]) -> set[str]:
    """Return the executions that the example has heard of."""
    return {line.split()[1] for line in list(lines) if line.startswith("execution ")}


def test_sketch_in_the_readme_counts_nothing_twice() -> None:
    """Its part of the example, as it stands there: executions count once, of an order the later row wins."""
    (sketch,) = re.findall(r"^```python\n(def reconcile.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(sketch, names)  # noqa: S102 - the README's own
    asked = []

    def rest(path: str, **query: Any) -> list[dict[str, Any]]:
        asked.append((path, query))
        if path == "/v5/execution/list":
            return [{"execId": "known", "from": "rest"}, {"execId": "missed", "from": "rest"}]
        return [{"orderId": one, "updatedTime": "5", "from": "rest"} for one in ("older", "newer", "missed")]

    account = SimpleNamespace(
        executions={"known": {"execId": "known", "from": "stream"}},
        orders={"older": {"updatedTime": "4"}, "newer": {"updatedTime": "6", "from": "stream"}},
    )
    names["reconcile"](account, rest, 10_000_000_000, 20_000_000_000)
    assert {key: row["from"] for key, row in account.executions.items()} == {"known": "stream", "missed": "rest"}
    orders = {key: row["from"] for key, row in account.orders.items()}
    assert orders == {"older": "rest", "newer": "stream", "missed": "rest"}
    assert asked[0] == ("/v5/execution/list", {"category": "linear", "startTime": 5000, "endTime": 25_000})
