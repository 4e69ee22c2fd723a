"""Many topics: within the venue's limits (dossier 2.4), as the simulated venue itself counts them."""

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.feed import Ear, Feed, wait_until
from support.simulator import Simulator

LINEAR_STREAMS = ["orderbook.50", "publicTrade", "tickers", "allLiquidation", "kline.1"]
SPOT_STREAMS = ["orderbook.50", "publicTrade", "tickers", "kline.1"]
# Names as long as the longest that are listed: 1,500 topics of them are more than one connection may have.
LINEAR_SYMBOLS = [f"LONGNAMED{number:04}USDT" for number in range(300)]
SPOT_SYMBOLS = [f"COIN{number}USDT" for number in range(100)]


def rejections(ear: Ear, subject: str) -> list[str]:
    """Return the reasons for which a subject was rejected so far."""
    return [status["reason"] for status in ear.statuses(subject) if status["state"] == "rejected"]


def of_product(stats: dict[str, Any], product: str) -> list[dict[str, Any]]:
    """Return the connections of one product."""
    return [connection for connection in stats["connections"] if connection["product"] == product]


def states(worker: dict[str, Any]) -> Counter[str]:
    """Count a worker's topics by their state."""
    return Counter(state for state, _ in worker["topics"].values())


@pytest.mark.parametrize("lines", [1, 2])
def test_300_symbols_on_linear_and_100_on_spot_within_every_limit(tmp_path: Path, lines: int) -> None:
    """1,500 topics and 400 are live in one feed; one misspelt symbol on each is rejected and costs nobody else."""
    with Simulator("--rate", "0.02") as venue:
        config = f"""
            network = "sim"
            [endpoints.linear]
            product = "linear"
            lines = {lines}
            url = "{venue.url_of("linear")}"
            symbols = {json.dumps(LINEAR_SYMBOLS)}
            streams = {json.dumps(LINEAR_STREAMS)}
            topics = ["tickers.NOPEUSDT"]
            [endpoints.spot]
            product = "spot"
            lines = {lines}
            url = "{venue.url_of("spot")}"
            symbols = {json.dumps(SPOT_SYMBOLS)}
            streams = {json.dumps(SPOT_STREAMS)}
            topics = ["publicTrade.NOPEUSDT"]
        """
        feed = Feed(tmp_path, config)
        misspelt = ["linear.tickers.NOPEUSDT", "spot.publicTrade.NOPEUSDT"]
        with Ear([feed.address("linear"), feed.address("spot")], misspelt) as ear, feed:
            linear, spot = feed.wait_live("linear", 40), feed.wait_live("spot", 40)
            told = [
                wait_until(functools.partial(rejections, ear, subject), f"{subject} rejected") for subject in misspelt
            ]
            stats = venue.stats()
    assert told == [["error:handler not found,topic:tickers.NOPEUSDT"], ["Invalid symbol :[publicTrade.NOPEUSDT]"]]
    assert states(linear) == {"live": 1500, "rejected": 1}
    assert states(spot) == {"live": 400, "rejected": 1}
    connections = {product: of_product(stats, product) for product in ("linear", "spot")}
    # Each carries one topic more: the canary that tells a mute connection from a quiet market.
    carried = {name: sum(len(one["topics"]) for one in found) for name, found in connections.items()}
    wanted = {"linear": 1500 * lines, "spot": 400 * lines}
    assert carried == {name: count + len(connections[name]) for name, count in wanted.items()}
    # As many connections as the characters take, and not one more; each within the 21,000, and none dialled again.
    characters = {
        name: [len(json.dumps(one["topics"], separators=(",", ":"))) for one in found]
        for name, found in connections.items()
    }
    assert max(characters["linear"] + characters["spot"]) <= 21_000
    assert [len(found) for found in connections.values()] == [
        lines * -(-sum(found) // lines // 21_000) for found in characters.values()
    ]
    assert len(connections["linear"]) > lines
    assert stats["connection_attempts"] == sum(map(len, connections.values()))
    assert stats["most_attempts_in_5_min"] <= 500
    refused = sum(stats["refused_requests"].values())
    assert refused == 2 * lines  # each misspelt symbol once on each line: nothing loops
    for product, at_most in (("linear", 50), ("spot", 10)):
        for one in connections[product]:
            assert one["largest_request_args"] == at_most
            # Full requests, but for the last one and what a refusal made go again.
            assert one["requests_by_op"]["subscribe"] <= -(-len(one["topics"]) // at_most) + 2
    assert stats["violations"] == {}


def test_a_refused_topic_is_not_asked_for_in_a_loop(tmp_path: Path) -> None:
    """Seconds after its refusal a misspelt symbol has been asked for just once."""
    with Simulator() as venue:
        config = f"""
            network = "sim"
            [endpoints.spot]
            product = "spot"
            url = "{venue.url_of("spot")}"
            topics = ["tickers.BTCUSDT", "tickers.NOPEUSDT"]
        """
        with Feed(tmp_path, config) as feed:
            feed.wait_live("spot")
            frames = feed.worker("spot")["heartbeat"]["frames"]
            wait_until(lambda: feed.worker("spot")["heartbeat"]["frames"] > frames + 10, "more tickers")
            assert sum(venue.stats()["refused_requests"].values()) == 1
