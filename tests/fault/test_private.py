"""What a strategy sees of its account when the connection or the key fails; and who never sees the key.

Each test reads: inject, the strategy sees, healed or not, nothing repeated, nothing lost unreported.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from support.feed import Ear, Feed, breaks, is_data, is_status, kill, status, wait_until
from support.simulator import ROOT, Simulator
from support.wiretap import Wiretap

from feedhandler import wire
from feedhandler.bybit.authentication import EXPIRES_AFTER_MS, TEST_KEY, TEST_SECRET, signature
from feedhandler.worker.backoff import KEY_LOOK_S

TOPICS: Final = ("order", "execution", "wallet")
ORDER: Final = "private.order"
SUBJECTS: Final = tuple(f"private.{topic}" for topic in TOPICS)
CONFIG: Final = """
network = "sim"
[runtime]
log_level = "debug"
[endpoints.linear]
product = "linear"
url = "{public}"
topics = ["publicTrade.BTCUSDT"]
[endpoints.private]
product = "private"
url = "{private}"
topics = ["order", "execution", "wallet"]
{more}
"""
NOT_TRIED_AGAIN_S: Final = 5.0
"""How long a test looks whether a refused key is tried again; the first time it is after 60 s."""


@pytest.fixture
def venue() -> Iterator[Simulator]:
    """Its account acts when told, and not of itself; its markets stand nearly still, so that nobody hits its orders."""
    with Simulator("--account-rate", "0", "--rate", "0.001") as running:
        yield running


def feed_at(directory: Path, venue: Simulator, *, port: int = 0, key: str = "", secret: str = "") -> Feed:
    """A feed whose key and secret are read from ``key`` and ``secret``, in TOML; none = the test key."""
    more = f"api_key = {key}\napi_secret = {secret}\n" if key else ""
    private = f"ws://127.0.0.1:{port or venue.port}/v5/private"
    return Feed(directory, CONFIG.format(public=venue.url_of("linear"), private=private, more=more))


def ear_of(feed: Feed) -> Ear:
    return Ear([feed.address("private/private")])


def told(ear: Ear, subject: str = ORDER) -> dict[str, Any]:
    """What the last status says, repeated or not: an ear may join when the worker has said it already."""
    records = [record for record in ear.of(subject) if record.kind == wire.STATUS]
    return status(records[-1]) if records else {}


def wait_state(ear: Ear, state: str) -> None:
    wait_until(lambda: all(told(ear, subject).get("state") == state for subject in SUBJECTS), state)


def in_file(path: Path, text: str) -> str:
    """Write a secret into a file of its own; return where it is, in TOML."""
    path.touch(0o600)
    path.write_text(f"{text}\n")
    return f'{{ file = "{path}" }}'


def signed(wiretap: Wiretap) -> list[Any]:
    """The arguments of each ``auth`` so far: key, expiry, signature."""
    return [request["args"] for found in wiretap.requests("auth") for request in found]


def order_ids(records: list[wire.Record]) -> list[str]:
    return [row["orderId"] for record in records if is_data(record) for row in json.loads(record.payload)["data"]]


# The connection.


def test_cut_connection_is_signed_in_anew_and_says_since_when_it_was_blind(tmp_path: Path, venue: Simulator) -> None:
    """Inject a cut, twice → `down`, then live within 2 s with a signature of its own; what happened meanwhile is lost.

    Lost means told: every topic says from when to when it was blind, and that the venue does not repeat it.
    """
    with Wiretap(venue.port) as wiretap:
        feed = feed_at(tmp_path, venue, port=wiretap.port)
        with ear_of(feed) as ear, feed:
            wait_state(ear, "live")
            known = [venue.account("fill", maker=0)["order"]]
            wait_until(lambda: known[0] in order_ids(ear.of(ORDER)), "the first order")
            for _ in range(2):
                start = len(ear.records)
                cut_ns = time.time_ns()
                wiretap.cut()
                wait_until(
                    lambda start=start: all(  # type: ignore[misc]  # mypy infers no lambda with a default
                        [
                            status(one)["state"]
                            for one in ear.records[start:]
                            if one.subject == subject and is_status(one)
                        ]
                        == ["down", "subscribing", "live"]
                        for subject in SUBJECTS
                    ),
                    "down and live again",
                    2,
                )
                for subject in SUBJECTS:
                    said = told(ear, subject)
                    assert said["blind_from_ns"] <= cut_ns + 200_000_000
                    assert cut_ns < said["blind_to_ns"] == said["since_ns"]
                    assert (said["lost"], said["recoverable"]) == (None, False)
                known.append(venue.account("fill", maker=0)["order"])
                wait_until(lambda: known[-1] in order_ids(ear.of(ORDER)), "the next order")
            assert order_ids(ear.of(ORDER)) == known
            assert not breaks(ear.records)
        assert len({args[2] for args in signed(wiretap)}) == len(signed(wiretap)) == 3
        for key, expires_ms, proof in signed(wiretap):
            assert (key, proof) == (TEST_KEY, signature(TEST_SECRET, expires_ms))
            assert 0 < expires_ms - time.time() * 1000 + 60_000 <= EXPIRES_AFTER_MS + 60_000
        assert [len(found) for found in wiretap.requests("subscribe")] == [1, 1, 1]
        assert venue.stats()["refused_requests"] == {}


def test_what_happened_while_blind_does_not_come_later(tmp_path: Path, venue: Simulator) -> None:
    """Inject a refusal of connections, then fills → not told afterwards, by nobody: that hole is for REST to mend."""
    feed = feed_at(tmp_path, venue)
    with ear_of(feed) as ear, feed:
        wait_state(ear, "live")
        venue.fault("refuse", product="private", status=502, count=0)
        venue.fault("reset", product="private")
        wait_state(ear, "down")
        missed = venue.account("fill", maker=0)["order"]
        venue.fault("off")
        wait_state(ear, "live")
        known = venue.account("fill", maker=0)["order"]
        wait_until(lambda: known in order_ids(ear.of(ORDER)), "the next order")
        assert missed not in order_ids(ear.of(ORDER))
        said = told(ear)
        assert said["blind_from_ns"] < said["blind_to_ns"]
        assert not breaks(ear.records)


def test_auth_without_an_answer_ends_the_connection(tmp_path: Path, venue: Simulator) -> None:
    """Inject silence on ``auth`` → nothing is subscribed; `down` after 10 s with the reason, live on the next connection."""
    venue.fault("noauth", count=1)
    feed = feed_at(tmp_path, venue)
    with ear_of(feed) as ear, feed:
        told_so = "no answer to auth within 10 s"
        wait_until(lambda: told_so in [said["reason"] for said in ear.statuses(ORDER)], "the deadline", 15)
        wait_state(ear, "live")
        assert venue.stats()["refused_requests"] == {}


# The key.


@pytest.mark.parametrize(
    ("key", "secret", "text"),
    [("WRONGKEY", TEST_SECRET, "error:USVC1111"), (TEST_KEY, "wrong", "Params Error")],
    ids=["unknown key", "wrong secret"],
)
def test_wrong_key_is_rejected_in_the_venues_words_and_not_tried_again(
    tmp_path: Path, venue: Simulator, key: str, secret: str, text: str
) -> None:
    """Inject a wrong key → `rejected` on every topic, though the venue hangs up; one attempt, and the log says the next."""
    venue.settings(auth_close_s=0)
    feed = feed_at(tmp_path, venue, key=in_file(tmp_path / "key", key), secret=in_file(tmp_path / "secret", secret))
    with ear_of(feed) as ear, feed:
        wait_state(ear, "rejected")
        assert {told(ear, subject)["reason"] for subject in SUBJECTS} == {text}
        assert venue.stats()["refused_requests"] == {f"auth: {text}": 1}
        attempts = venue.wait_for(lambda stats: stats["connection_attempts"] == 2)  # the other is linear's
        time.sleep(NOT_TRIED_AGAIN_S)
        assert venue.stats()["connection_attempts"] == attempts["connection_attempts"]
        assert told(ear)["state"] == "rejected"
        assert "down" not in ear.states(ORDER)
        assert (feed.counters("private")["auth_failures"], feed.counters("private")["rejected"]) == (1, 3)
        lines = [line["message"] for line in feed.log_lines()]
        assert any("authenticates again in 6" in line for line in lines)
        assert any("this machine's clock says" in line for line in lines) is (text == "Params Error")


def test_key_is_read_again_at_each_connect(tmp_path: Path, venue: Simulator) -> None:
    """Inject: the right key replaced by a wrong one, and a cut → `rejected`; none at all, and a restart → says so; right → live."""
    key = in_file(tmp_path / "key", TEST_KEY)
    feed = feed_at(tmp_path, venue, key=key, secret=in_file(tmp_path / "secret", TEST_SECRET))
    with ear_of(feed) as ear, feed:
        wait_state(ear, "live")
        feed.counters("private")  # so that the supervisor has heard that all was well
        refused_ns = time.time_ns()
        in_file(tmp_path / "key", "WRONGKEY")
        venue.fault("reset", product="private")
        wait_until(lambda: told(ear).get("reason") == "error:USVC1111", "refused")
        (tmp_path / "key").unlink()
        kill(feed.worker("private")["pid"])
        text = f"no API key: file {tmp_path}/key cannot be read: No such file or directory"
        wait_until(lambda: told(ear).get("reason") == text, "missing")
        assert told(ear)["state"] == "rejected"
        in_file(tmp_path / "key", TEST_KEY)
        kill(feed.worker("private")["pid"])
        wait_state(ear, "live")
        assert told(ear)["blind_from_ns"] < refused_ns < told(ear)["blind_to_ns"]


def test_missing_key_costs_no_dial_and_is_used_within_5_s_of_its_coming(tmp_path: Path, venue: Simulator) -> None:
    """Inject no key → `rejected` and why, nothing dialled however often it is looked for; when it comes → live by itself."""
    secret = in_file(tmp_path / "secret", TEST_SECRET)
    feed = feed_at(tmp_path, venue, key=f'{{ file = "{tmp_path}/key" }}', secret=secret)
    with ear_of(feed) as ear, feed:
        text = f"no API key: file {tmp_path}/key cannot be read: No such file or directory"
        wait_until(lambda: [told(ear, one).get("reason") for one in SUBJECTS] == [text] * len(SUBJECTS), "missing")
        assert told(ear)["state"] == "rejected"
        time.sleep(2 * KEY_LOOK_S)
        assert venue.stats()["connection_attempts"] == 1  # linear's
        assert feed.counters("private")["auth_failures"] == 1
        assert len([line for line in feed.log_lines() if "is not dialled" in line["message"]]) == 1
        in_file(tmp_path / "key", TEST_KEY)
        wait_until(lambda: {told(ear, one)["state"] for one in SUBJECTS} == {"live"}, "live", 5)
        assert venue.stats()["connection_attempts"] == 2
        assert not breaks(ear.records)


# Who never sees it.


class Hunt:
    """Looks for what must be nowhere."""

    def __init__(self, forbidden: list[str]) -> None:
        self.forbidden = [text.encode() for text in forbidden]
        self.looked: dict[str, int] = {}
        """Bytes looked through, by place."""

    def look(self, where: str, content: bytes) -> None:
        self.looked[where] = self.looked.get(where, 0) + len(content)
        assert [text for text in self.forbidden if text in content] == [], where

    def through(self, feed: Feed, *, may_know: frozenset[int]) -> None:
        """Look through everything that a running feed shows of itself; ``may_know``: whose environment holds it."""
        for words in (["status", "--json"], ["status"]):
            said = feed.command(*words)
            self.look(" ".join(words), (said.stdout + said.stderr).encode())
        done = subprocess.run(
            [sys.executable, "-m", "feedhandler", "check", str(feed.file), "--explain"],
            capture_output=True,
            cwd=ROOT,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.look("check --explain", done.stdout + done.stderr)
        for path in feed.runtime.rglob("*"):
            self.look("runtime directory", str(path).encode())
            if path.is_file():
                self.look("runtime directory", path.read_bytes())
        for process in feed.family():
            base = Path("/proc", str(process.pid))
            self.look("cmdline", (base / "cmdline").read_bytes())
            if process.pid not in may_know:
                self.look("environ", (base / "environ").read_bytes())
        self.look("log", feed.log.read_bytes())


@pytest.fixture
def account() -> tuple[str, str]:
    """Key and secret of this test alone: whoever knows them got them from it."""
    return f"KEY{secrets.token_hex(8)}", f"SECRET{secrets.token_hex(16)}"


BUG: Final = """
import sys
if "feedhandler.worker" in sys.orig_argv:
    from feedhandler.bybit import authentication
    real = authentication.request
    def request(api_key, api_secret, expires_ms, req_id):
        payload = real(api_key, api_secret, expires_ms, req_id)
        raise ZeroDivisionError(f"a bug after {expires_ms}")
    authentication.request = request
"""
"""Makes a worker die with the secret, the signature and the request in its frames."""


@pytest.mark.parametrize("source", ["env", "file"])
def test_nobody_sees_the_key(
    tmp_path: Path, account: tuple[str, str], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither key, secret nor signature: in logs at debug level, in what commands say, in files, in processes' arguments
    and environments, in records; nor when the worker is stopped for a stack dump, or dies of a bug with them in hand.
    """
    key, secret = account
    files = {"key": in_file(tmp_path / "key", key), "secret": in_file(tmp_path / "secret", secret)}
    places = (
        {"key": '{ env = "BYBIT_API_KEY" }', "secret": '{ env = "BYBIT_API_SECRET" }'} if source == "env" else files
    )
    if source == "env":
        monkeypatch.setenv("BYBIT_API_KEY", key)
        monkeypatch.setenv("BYBIT_API_SECRET", secret)
    with Simulator("--account-rate", "5", "--api-key", f"{key}:{secret}") as venue, Wiretap(venue.port) as wiretap:
        feed = feed_at(tmp_path, venue, port=wiretap.port, key=places["key"], secret=places["secret"])
        with ear_of(feed) as ear, feed:
            monkeypatch.delenv("BYBIT_API_KEY", raising=False)
            monkeypatch.delenv("BYBIT_API_SECRET", raising=False)
            wait_state(ear, "live")
            wiretap.cut()
            wait_until(lambda: len(signed(wiretap)) == 2, "a second connection")
            wait_state(ear, "live")
            assert [args[0] for args in signed(wiretap)] == [key, key]
            hunt = Hunt([key, secret, *(args[2] for args in signed(wiretap))])
            worker = feed.worker("private")["pid"]
            limits = Path("/proc", str(worker), "limits").read_text()
            assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
            hunt.through(feed, may_know=frozenset({feed.pid, worker}) if source == "env" else frozenset())

            kill(worker, signal.SIGABRT)
            wait_until(lambda: b"Fatal Python error: Aborted" in feed.log.read_bytes(), "the stack dump")
            wait_until(lambda: len(signed(wiretap)) == 3, "the next worker")
            wait_state(ear, "live")
            hunt.forbidden.append(signed(wiretap)[2][2].encode())
            again = feed.worker("private")["pid"]
            hunt.through(feed, may_know=frozenset({feed.pid, again}) if source == "env" else frozenset())
            for record in list(ear.records):
                hunt.look("records", record.payload)
        assert set(hunt.looked) >= {"status --json", "check --explain", "log", "records", "cmdline", "environ"}
        assert all(hunt.looked.values())


def test_worker_that_dies_of_a_bug_with_the_secret_in_hand_does_not_tell_it(
    tmp_path: Path, account: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inject a bug behind the signing → a traceback in the log and the word that the worker leaves: without a value."""
    key, secret = account
    (tmp_path / "sitecustomize.py").write_text(BUG)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    places = {"key": in_file(tmp_path / "key", key), "secret": in_file(tmp_path / "secret", secret)}
    with Simulator("--account-rate", "0") as venue:
        feed = feed_at(tmp_path, venue, key=places["key"], secret=places["secret"])
        with feed:
            monkeypatch.delenv("PYTHONPATH")
            wait_until(lambda: "ZeroDivisionError" in feed.worker("private").get("last_exit", ""), "the end")
            crashes = [line for line in feed.log_lines() if "ZeroDivisionError" in line.get("traceback", "")]
            assert crashes
            expires_ms = int(crashes[0]["traceback"].strip().rpartition(" ")[2])
            Hunt([key, secret, signature(secret, expires_ms)]).through(feed, may_know=frozenset())
            assert psutil.pid_exists(feed.pid)
