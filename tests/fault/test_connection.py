"""What a strategy sees when the connection to the venue fails, and how soon it is whole again.

Each test reads: inject, the strategy sees, recovered within, nothing lost unreported and nothing repeated.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Ear, Feed, status, wait_until
from support.simulator import Simulator
from support.stage import SUBJECTS, TICKER, TRADES, Act, Stage, acting
from support.tls_front import TlsFront

from feedhandler import wire
from feedhandler.wire import DOWN, LIVE, STALE, SUBSCRIBING

CONFIG = """
network = "sim"
[connection]
reconnect_base_s = 0.1
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
"""
BOOK = "linear.orderbook.50.BTCUSDT"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Pings each second, and no long patience."""
    impatience = "ping_interval_s = 1\npong_timeout_s = 3\nconnect_timeout_s = 2"
    with Stage(tmp_path_factory.mktemp("hasty"), connection=impatience) as running:
        yield running


@pytest.fixture
def hasty_act(hasty: Stage) -> Iterator[Act]:
    """A fault to be tried on it."""
    yield from acting(hasty)


def assert_told_and_healed(act: Act, *, within_s: float, reason: str = "", lost_within_s: float = 1.0) -> None:
    """Each subject was `down` for a reason, then `live` with a snapshot, and said from when to when it was blind."""
    act.await_each_told(DOWN, within_s=lost_within_s, reason=reason)
    act.await_each_told(DOWN, SUBSCRIBING, LIVE, within_s=within_s)
    act.await_flow()
    act.assert_kept()
    for subject in SUBJECTS:
        told = [one.status for one in act.told(subject)]
        lost = next(one for one in told if one.state == DOWN)
        live = next(one for one in told[told.index(lost) :] if one.state == LIVE)
        assert lost.lines_up == 0
        assert isinstance(live.blind_from_ns, int)
        assert isinstance(live.blind_to_ns, int)
        assert live.blind_from_ns == lost.blind_from_ns
        assert live.blind_from_ns < live.blind_to_ns == live.since_ns
        assert live.lost is None
        assert live.recoverable is (subject != TRADES)
        if subject != TRADES:
            after = [one.record for one in act.stage.strategy.of(subject, act.start) if one.record.kind <= wire.STATUS]
            gone = next(i for i, one in enumerate(after) if one.kind == wire.STATUS and b'"down"' in one.payload)
            assert next(one for one in after[gone:] if one.kind < wire.STATUS).kind == wire.SNAPSHOT


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "reset"}, "connection lost"),
        ({"kind": "eof"}, "connection lost"),
        ({"kind": "abort_mid_frame"}, "connection lost"),
        ({"kind": "close", "code": 1001, "reason": "going away"}, "closed by the venue: 1001 going away"),
    ],
    ids=["reset", "end of file", "end inside a frame", "close frame"],
)
def test_a_lost_connection_is_told_and_healed_at_once(act: Act, fault: dict[str, Any], reason: str) -> None:
    """Inject a loss → `down` with the reason → within 2 s a snapshot and `live` → no break, no repeat, holes bounded."""
    act.inject(**fault)
    assert_told_and_healed(act, within_s=2, reason=reason)
    assert {tuple(act.states(subject)) for subject in SUBJECTS} == {(DOWN, SUBSCRIBING, LIVE)}
    assert act.counted("reconnects") == 1


def test_every_reset_is_noticed_at_once(stage: Stage) -> None:
    """Inject 20 resets, some with data in front of them → each is told, and healed within 2 s: none waits for silence."""
    stage.wait_whole()
    mutes = stage.beat().mutes
    for _ in range(20):
        act = Act(stage)
        act.inject("reset")
        act.await_each_told(DOWN, SUBSCRIBING, LIVE, within_s=2)
        act.await_flow(2)
    act.assert_kept()
    assert stage.beat(time.time_ns()).mutes == mutes


@pytest.mark.parametrize(
    ("status_", "reason"),
    [("502", "refused: HTTP 502"), ("504", "refused: HTTP 504"), ("reset", "connection lost")],
)
def test_refused_handshakes_are_told_and_retried_until_they_succeed(act: Act, status_: str, reason: str) -> None:
    """Inject a reset and three refusals → `down` with the reason → retried with growing pauses → live again."""
    act.inject("refuse", status=status_, count=3)
    act.inject("reset")
    assert_told_and_healed(act, within_s=3, reason=reason)
    assert next(one.status.reason for one in act.told(act.book) if one.status.state == DOWN) == "connection lost"
    assert act.counted("reconnects") == 4


def test_a_handshake_that_never_ends_is_given_up(hasty_act: Act) -> None:
    """Inject a reset and a handshake that is never answered → given up after its deadline → the next one succeeds."""
    hasty_act.inject("refuse", status="hang", count=1)
    hasty_act.inject("reset")
    assert_told_and_healed(hasty_act, within_s=5, reason="no connection within 2 s", lost_within_s=3.5)
    assert len(hasty_act.stage.links()) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_slow_tls_is_given_up_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inject TLS handshakes that take for ever → `down` after the deadline, retried → live with the first that works."""
    with TlsFront(tmp_path) as front:
        monkeypatch.setenv("SSL_CERT_FILE", str(front.certificate))
        with Stage(tmp_path, connection="connect_timeout_s = 1", url=front.url) as stage:
            stage.wait_whole()
            act = Act(stage)
            front.slow.set()
            act.inject("reset")
            act.await_each_told(DOWN, DOWN, within_s=3, reason="no connection within 1 s")
            wait_until(lambda: front.waited >= 2, "another attempt")
            front.slow.clear()
            assert_told_and_healed(act, within_s=10)


@pytest.mark.parametrize("how", ["too many requests", "too many connections"])
def test_too_many_connections_are_left_alone_for_longer(act: Act, how: str) -> None:
    """Inject HTTP 429, or the venue's limiter with its 403 → `down` → no attempt for 5 s, then live: no hammering."""
    if how == "too many requests":
        reason = "refused: HTTP 429"
        act.inject("refuse", status=429, count=1)
    else:
        reason = "refused: HTTP 403"
        act.inject("limit", attempts=1, window_s=4)

    def refused() -> bool:
        return any(one.status.reason == reason for one in act.told(act.book))

    while not refused():  # at most twice: the limiter may let the first handshake in
        act.inject("reset")
        wait_until(lambda: refused() or act.states(act.book)[-1:] == [LIVE], "refused, or let in")
    told = act.await_told(act.book, DOWN, within_s=5, reason=reason)
    attempts = act.stage.venue.stats()["connection_attempts"]
    wait_until(lambda: act.states(act.book)[-1] == LIVE, "live again")
    live = act.told(act.book)[-1]
    assert (live.at_ns - told.at_ns) / 1e9 > 4.5
    assert act.stage.venue.stats()["connection_attempts"] == attempts + 1
    act.stage.wait_whole()
    act.assert_kept()


def test_no_venue_at_all_is_told(tmp_path: Path) -> None:
    """Nobody listens at the URL → `down` with the reason, and attempts go on."""
    config = CONFIG.format(url="ws://127.0.0.1:9/v5/public/linear")
    feed = Feed(tmp_path, config)
    with Ear([feed.address("linear")]) as ear, feed:
        # Repeated statuses count: the subscriber may come when the worker has said it already.
        down = wait_until(lambda: [r for r in ear.of(BOOK) if status(r)["state"] == DOWN], "down")
        assert status(down[0])["reason"] == "cannot connect: Connection refused"
        wait_until(lambda: feed.counters("linear")["reconnects"] > 2, "further attempts")


def test_giving_up_is_said(tmp_path: Path) -> None:
    """With ``max_attempts`` the topics end as `down`, reason "gave up", and no attempt follows."""
    config = CONFIG.format(url="ws://127.0.0.1:9/v5/public/linear").replace(
        "[endpoints", "max_attempts = 2\n[endpoints", 1
    )
    feed = Feed(tmp_path, config)
    with Ear([feed.address("linear")]) as ear, feed:
        wait_until(lambda: any(b"gave up after 2 attempts" in record.payload for record in ear.of(BOOK)), "gave up")
        assert ear.states(BOOK)[-1] == DOWN
        assert feed.worker("linear")["state"] == "running"


@pytest.mark.parametrize("kind", ["mute", "stall"])
def test_a_connection_that_brings_nothing_is_noticed_within_8_s(act: Act, kind: str) -> None:
    """Inject silence, with pongs or without → `stale`, then reconnected within 8 s → live again, no break."""
    act.inject(kind)
    act.await_each_told(STALE, within_s=8.2)  # 8 s as promised, and what this test takes to look
    assert_told_and_healed(act, within_s=10, reason="mute: ", lost_within_s=8.2)
    assert {tuple(act.states(subject)) for subject in SUBJECTS} == {(STALE, DOWN, SUBSCRIBING, LIVE)}
    assert act.counted("mutes") == 1


@pytest.mark.parametrize("kind", ["nopong", "stall"])
def test_a_missing_pong_ends_the_connection(hasty_act: Act, kind: str) -> None:
    """Inject pings without answer, data flowing or not → `down` by the pong's deadline → opened anew: live."""
    hasty_act.inject(kind)
    assert_told_and_healed(hasty_act, within_s=6, reason="no pong within 3 s", lost_within_s=4.5)
    assert hasty_act.counted("mutes") == 0


def test_a_venue_that_was_never_there_and_comes(tmp_path: Path) -> None:
    """Inject a start against a venue that refuses → `down` → it lets us in: `subscribing`, `live`, with a snapshot."""
    with Simulator() as venue:
        venue.fault("refuse", status=503, count=0)
        feed = Feed(tmp_path, CONFIG.format(url=venue.url_of("linear")))
        with Ear([feed.address("linear")]) as ear, feed:
            # Repeated statuses count: the subscriber may come when the worker has said it already.
            wait_until(lambda: any(b"refused: HTTP 503" in one.payload for one in ear.of(BOOK)), "down")
            venue.fault("off")
            wait_until(lambda: ear.states(BOOK)[-2:] == [SUBSCRIBING, LIVE], "live")
            wait_until(lambda: ear.data(BOOK), "data")
            assert ear.data(BOOK)[0].kind == wire.SNAPSHOT
            assert ear.data(TICKER)[:1] == [] or ear.data(TICKER)[0].kind == wire.SNAPSHOT
