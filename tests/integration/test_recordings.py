"""Recorded venue frames, served by the simulator, arrive at a plain SUB byte for byte.

The recordings are no part of this project. They are read where they lie: in ``$FEEDHANDLER_RECORDINGS``, or in
``shared/data/bybit`` beside the checkout.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest
from support.feed import Ear, Feed
from support.simulator import Simulator

from feedhandler import wire

RECORDINGS = Path(os.environ.get("FEEDHANDLER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data" / "bybit")

# Contiguous runs only: a lone delta of a book continues nothing, and is rightly not published.
LINEAR = (
    "real_linear_orderbook500_XRPUSDT_2024-12-01_first20",
    "real_testnet_linear_ticker_2025-05_rsbybit",
    "real_linear_orderbook50_2026-03",
    "real_linear_2026-10_1000",
    "real_linear_2026-09_observed",
    "real_linear_2025-02_misc",
    "real_allLiquidation_2025-2026",
)
SPOT = ("real_spot_orderbook50_2024-11_gct", "real_spot_2023-04_tardis")


def frames(names: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Return the data frames of these recordings by topic."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for name in names:
        for line in (RECORDINGS / f"{name}.jsonl").read_bytes().splitlines():
            topic = json.loads(line).get("topic")
            if topic:
                found[topic].append(line)
    return found


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not on this machine")
@pytest.mark.parametrize(("product", "names"), [("linear", LINEAR), ("spot", SPOT)])
def test_recorded_frames_arrive_byte_for_byte_in_order(tmp_path: Path, product: str, names: tuple[str, ...]) -> None:
    """Every recorded frame arrives once, unchanged, in order; with contiguous sequences, flagged as simulated."""
    recorded = frames(names)
    file = tmp_path / "recorded.jsonl"
    file.write_bytes(b"".join(line + b"\n" for lines in recorded.values() for line in lines))
    # Pauses between the recorded frames would only make the test longer: their order is what counts.
    with Simulator("--replay", str(file), "--pace", "fast") as venue:
        config = f"""
            network = "sim"
            [endpoints.{product}]
            product = "{product}"
            url = "{venue.url_of(product)}"
            unchecked_topics = {json.dumps(list(recorded))}
        """
        feed = Feed(tmp_path, config)
        with Ear([feed.address(product)]) as ear, feed:
            total = sum(map(len, recorded.values()))
            ear.wait_for(lambda: sum(len(ear.data(f"{product}.{topic}")) for topic in recorded) >= total, "all frames")
            for topic, lines in recorded.items():
                records = ear.data(f"{product}.{topic}")
                assert [record.payload for record in records] == lines
                # The one number before the first record was the status ``live``, the one before that ``subscribing``.
                assert [record.sequence for record in records] == list(range(3, 3 + len(lines)))
                assert all(record.flags == wire.SIMULATED for record in records)
            assert feed.worker(product)["heartbeat"]["gaps"] == 0
