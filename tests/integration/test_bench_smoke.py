"""The benchmarks run, and what they print can be true. Their figures mean nothing here: nothing asserts on speed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
NAMES: Final = ("throughput", "latency", "memory", "micro", "client")
DEADLINE_S: Final = 90

Found = dict[str, tuple[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """By benchmark: what it printed, and its rows. All run at the same time: mostly they wait for heartbeats."""
    directory = tmp_path_factory.mktemp("bench")
    running = {
        name: subprocess.Popen(
            (sys.executable, "-m", f"bench.{name}", "--quick", "--json", directory / f"{name}.json"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in NAMES
    }
    try:
        said = {name: process.communicate(timeout=DEADLINE_S) for name, process in running.items()}
        for name, process in running.items():
            assert process.returncode == 0, said[name][1]
        yield {
            name: (out, json.loads((directory / f"{name}.json").read_text())["results"])
            for name, (out, _) in said.items()
        }
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def test_throughput_loses_nothing_and_costs_something(found: Found) -> None:
    """Every message of a run is delivered in sequence, at the rate asked for or below, for CPU time of each process."""
    printed, rows = found["throughput"]
    assert "| worker main µs |" in printed
    assert {row["load"] for row in rows} == {"1 k/s", "saturated"}
    for row in rows:
        assert (row["lost"], row["breaks"]) == (0, 0)
        assert 0 < row["worker_main_us"]["median"] <= row["worker_process_us"]["median"]
        assert 0 < row["subscriber_main_us"]["median"] <= row["subscriber_process_us"]["median"]
        assert 0 < row["delivered_per_s"]["median"] <= row["worker_per_s"]["median"]
    (paced,) = (row for row in rows if row["load"] == "1 k/s")
    assert paced["worker_per_s"]["median"] < 1_100


def test_latency_adds_up(found: Found) -> None:
    """Quantiles rise, no time is negative, and the way as a whole takes longer than any leg of it."""
    printed, (row,) = found["latency"]
    assert "worker to subscriber" in printed
    assert row["lost"] == 0
    p50 = {leg: quantiles["p50"]["median"] for leg, quantiles in row["legs"].items()}
    total = p50.pop("total")
    assert 0 < max(p50.values()) < total
    assert min(p50.values()) > 0
    for quantiles in row["legs"].values():
        values = [quantiles[name]["median"] for name in ("p50", "p99", "p99.9", "max")]
        assert values == sorted(values)


def test_memory_grows_with_the_books(found: Found) -> None:
    """A worker that carries books takes more memory than one that carries none; its peak is the most it ever took."""
    _, rows = found["memory"]
    assert {row["depth"] for row in rows} == {50, 1000}
    for row in rows:
        stages = {stage: spread["median"] for stage, spread in row["stages"].items()}
        assert 10 * 2**20 < stages["no topics"] < stages["joined"] <= row["peak"]["median"] < 2**30


def test_micro_times_every_stage(found: Found) -> None:
    """Each stage has a time, and a message's whole way through the feed takes longer than decoding it."""
    _, rows = found["micro"]
    ns = {(row["group"], row["name"]): row["ns"]["median"] for row in rows}
    assert min(ns.values()) > 0
    decoding = {name.split(",")[0]: value for (group, name), value in ns.items() if group == "decode"}
    assert ns["Lane.on_payload", "book snapshot, 50 levels"] > decoding["book snapshot"]


def test_client_times_every_stage(found: Found) -> None:
    """Each way to read, each kind of message and each depth of a book has a time."""
    printed, rows = found["client"]
    assert "msgspec alone" in printed
    ns = {(row["group"], row["name"]): row["ns"]["median"] for row in rows}
    assert min(ns.values()) > 0
    assert {group for group, _ in ns} >= {"receive", "trade", "kline", "ticker delta", "book of depth 1000"}
    assert {name for group, name in ns if group == "receive"} >= {"recv alone", "Subscriber: async for, asyncio"}
