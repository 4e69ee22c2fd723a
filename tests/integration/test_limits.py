"""Many topics: within the venue's limits (dossier 2.4), as the simulated venue itself counts them."""

import functools
import json
from pathlib import Path

from support.feed import Ear, Feed, wait_until
from support.simulator import Simulator

SYMBOLS = [f"VERYLONGNAMEDCOINNUMBER{number:04}USDT" for number in range(100)]
STREAMS = ["orderbook.50", "publicTrade", "tickers", "allLiquidation", "kline.1"]
SPOT_SYMBOLS = [f"COIN{number}USDT" for number in range(20)]


def rejections(ear: Ear, subject: str) -> list[str]:
    """Return the reasons for which a subject was rejected so far."""
    return [status["reason"] for status in ear.statuses(subject) if status["state"] == "rejected"]


def test_500_topics_on_linear_and_60_on_spot_are_subscribed_within_the_limits(tmp_path: Path) -> None:
    """All are subscribed, over as many connections as it takes; one misspelt symbol is rejected and costs nobody else."""
    with Simulator("--rate", "0.2") as venue:
        config = f"""
            network = "sim"
            [endpoints.linear]
            product = "linear"
            url = "{venue.url_of("linear")}"
            symbols = {json.dumps(SYMBOLS)}
            streams = {json.dumps(STREAMS)}
            topics = ["tickers.NOPEUSDT"]
            [endpoints.spot]
            product = "spot"
            url = "{venue.url_of("spot")}"
            symbols = {json.dumps(SPOT_SYMBOLS)}
            streams = ["orderbook.50", "publicTrade", "tickers"]
            topics = ["publicTrade.NOPEUSDT"]
        """
        feed = Feed(tmp_path, config)
        with (
            Ear(
                [feed.address("linear"), feed.address("spot")], ["linear.tickers.NOPEUSDT", "spot.publicTrade.NOPEUSDT"]
            ) as ear,
            feed,
        ):
            linear, spot = feed.wait_live("linear", 30), feed.wait_live("spot", 30)
            stats = venue.stats()
            refusals = [
                wait_until(functools.partial(rejections, ear, subject), f"{subject} rejected")
                for subject in ("linear.tickers.NOPEUSDT", "spot.publicTrade.NOPEUSDT")
            ]
    assert refusals == [["error:handler not found,topic:tickers.NOPEUSDT"], ["Invalid symbol :[publicTrade.NOPEUSDT]"]]
    for worker, count in ((linear, 500), (spot, 60)):
        states = [state for state, _ in worker["topics"].values()]
        assert (states.count("live"), states.count("rejected")) == (count, 1)
    by_product = {
        product: [connection for connection in stats["connections"] if connection["product"] == product]
        for product in ("linear", "spot")
    }
    assert len(by_product["linear"]) == 2  # more than 21,000 characters
    assert len(by_product["spot"]) == 1
    assert all(
        connection["args_characters"] <= 21_000 for connections in by_product.values() for connection in connections
    )
    assert all(connection["largest_request_args"] <= 10 for connection in by_product["spot"])
    # One topic more on each connection: the canary that tells a mute connection from a quiet market.
    assert sum(len(connection["topics"]) for connection in by_product["linear"]) == 500 + 2
    assert sum(len(connection["topics"]) for connection in by_product["spot"]) == 60 + 1
    assert stats["violations"] == {}
    assert sum(stats["refused_requests"].values()) == 2  # each misspelt symbol once: nothing loops


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
