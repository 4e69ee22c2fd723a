"""The simulated Bybit's frames beside recorded ones, where recordings are at hand: same keys in the same order."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from feedhandler.bybit.products import PRODUCTS
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.listing import Listing

NOW_NS = 1_760_000_000_000_000_000
S = 1_000_000_000
RECORDINGS = Path(
    os.environ.get("FEEDHANDLER_RECORDINGS", Path(__file__).resolve().parents[3] / "shared" / "data" / "bybit")
)
FILES = {
    "real_linear_2026-09_observed.jsonl": "linear",
    "real_linear_2026-10_1000.jsonl": "linear",
    "real_linear_2025-09_hftbacktest.jsonl": "linear",
    "real_linear_orderbook50_2026-03.jsonl": "linear",
    "real_allLiquidation_2025-2026.jsonl": "linear",
    "real_spot_orderbook50_2024-11_gct.jsonl": "spot",
}
"""Recordings young enough to have today's fields."""


def recorded() -> list[Any]:
    found = []
    for name, product in FILES.items():
        path = RECORDINGS / name
        lines = path.read_text().splitlines() if path.exists() else []
        for number, line in enumerate(lines):
            if '"topic"' in line:
                found.append(pytest.param(product, json.loads(line), id=f"{name}:{number + 1}"))
    return found


def shape(message: dict[str, Any]) -> list[list[str]]:
    data = message["data"]
    return [list(message), list(data[0] if isinstance(data, list) else data)]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="no recordings at hand (FEEDHANDLER_RECORDINGS)")
@pytest.mark.parametrize(("product", "frame"), recorded())
def test_frames_have_the_recorded_keys_in_order(product: str, frame: dict[str, Any]) -> None:
    """Dossier 4: envelope and data, snapshot and delta alike."""
    exchange = Exchange(Listing())
    assert product in PRODUCTS
    publication = exchange.activate(product, frame["topic"], NOW_NS)
    messages = [json.loads(payload)] if (payload := publication.first(NOW_NS)) is not None else []
    while (due_ns := exchange.next_due_ns) is not None and due_ns < NOW_NS + 10 * S:
        messages += [json.loads(payload) for _, payload in exchange.advance(due_ns)]
    alike = [message for message in messages if message["type"] == frame["type"]]
    assert alike
    assert all(shape(message) == shape(frame) for message in alike)
