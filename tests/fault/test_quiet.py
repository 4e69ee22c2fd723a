"""Symbols on which hardly anything happens, for a while of real time; half an hour of made-up time is in tests/property."""

import time
from pathlib import Path

import pytest
from support.feed import Ear, Feed, breaks, is_data, is_status, wait_until
from support.simulator import Simulator

from feedhandler import wire

QUIET_S = 90.0
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", *(f"COIN{number}USDT" for number in range(7))]
CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
symbols = {symbols}
streams = ["orderbook.50", "publicTrade", "tickers", "kline.1"]
[endpoints.twice]
product = "linear"
url = "{linear}"
lines = 2
symbols = {symbols}
streams = ["orderbook.50", "publicTrade", "tickers", "kline.1"]
"""


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_quiet_symbols_raise_no_alarm(tmp_path: Path) -> None:
    """Inject nothing: a push a minute or so for 90 s, on one line and on two → no new status, no connection replaced."""
    with Simulator("--rate", "0.0005") as venue:
        feed = Feed(tmp_path, CONFIG.format(linear=venue.url_of("linear"), symbols=SYMBOLS))
        with Ear([feed.address("linear"), feed.address("twice")]) as ear, feed:
            feed.wait_live("linear", 90)
            feed.wait_live("twice", 90)
            start, begun_s = len(ear.records), time.monotonic()
            attempts = venue.stats()["connection_attempts"]
            wait_until(lambda: time.monotonic() - begun_s > QUIET_S, "the time to pass", QUIET_S + 10)
            seen = ear.records[start:]
            assert [record.payload for record in seen if is_status(record)] == []
            assert venue.stats()["connection_attempts"] == attempts
            books = [record for record in seen if ".orderbook.50." in record.subject and is_data(record)]
            assert 0 < len(books) < 60 * len(SYMBOLS)  # quiet, and not dead
            for worker in ("linear", "twice"):
                counted = feed.counters(worker)
                assert {
                    word: counted[word] for word in ("stale", "mutes", "gaps", "resyncs", "reconnects")
                } == dict.fromkeys(("stale", "mutes", "gaps", "resyncs", "reconnects"), 0)
            repeated = {record.subject for record in seen if record.kind == wire.STATUS}
            assert len(repeated) == 2 * 4 * len(SYMBOLS)  # every subject says that it is live all the same
            assert not breaks(ear.records)
