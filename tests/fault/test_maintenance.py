"""Maintenance that the venue announces: strategies are told, and losses have their reason."""

import json
from pathlib import Path

from support.feed import Book, Ear, Feed, breaks, wait_until
from support.simulator import Simulator

from feedhandler import wire


def test_an_announced_maintenance_is_told_before_the_loss_and_is_its_reason(tmp_path: Path) -> None:
    """Inject an announcement and a mass disconnect → a notice first → `down` with reason maintenance → live again."""
    book = "linear.orderbook.50.BTCUSDT"
    with Simulator("--rate", "3", "--truth") as venue:
        config = f"""
            network = "sim"
            [endpoints.linear]
            product = "linear"
            url = "{venue.url_of("linear")}"
            topics = ["orderbook.50.BTCUSDT"]
            [endpoints.status]
            product = "status"
            url = "{venue.url}/v5/public/misc/status"
            topics = ["system.status"]
        """
        feed = Feed(tmp_path, config)
        with Ear([feed.address("linear"), feed.address("status")]) as ear, feed:
            feed.wait_live("linear")
            feed.wait_live("status")  # live although the venue has had nothing to announce yet
            venue.fault("maintenance", after_s=3)
            notice = wait_until(lambda: ear.of("linear.notice"), "a notice")[0]
            wait_until(lambda: "down" in ear.states(book), "the loss")
            wait_until(lambda: ear.states(book)[-1] == "live", "live again")
            told = ear.records.index(notice)
            lost = next(
                i for i, record in enumerate(ear.records) if record.subject == book and b'"down"' in record.payload
            )
            assert told < lost
            assert notice.kind == wire.NOTICE
            said = json.loads(notice.payload)
            assert said["notice"] == "maintenance"
            assert said["begin_ms"] < said["end_ms"]
            down = next(state for state in ear.statuses(book) if state["state"] == "down")
            assert down["reason"].startswith("maintenance: Simulated maintenance (")
            assert len(ear.data("status.system.status")) == 1
            assert not breaks(ear.records)
            wait_until(lambda: ear.of(book)[-1].kind == wire.DELTA, "deltas again")
            ours = Book()
            for record in [one for one in ear.of(book) if one.kind <= wire.DELTA]:
                ours.apply(record.payload)
            truth = venue.get("/sim/book", product="linear", topic="orderbook.50.BTCUSDT", u=ours.update_id)
            levels = [{float(price): float(size) for price, size in truth[side]} for side in "ba"]
            assert [ours.bids, ours.asks] == levels
