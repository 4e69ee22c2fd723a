"""Recorded frames served by the simulated Bybit, and what it writes down itself."""

import json
import time
from pathlib import Path

import pytest
from support.simulator import RawClient, Simulator, is_acknowledgement


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def line(topic: str, ts: int, number: int) -> str:
    # Odd spacing and key order: nothing may be rewritten.
    return f'{{ "ts":{ts}, "topic":"{topic}","n":{number},"type":"snapshot"}}'


def take(client: RawClient, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        text = client.text().decode()
        if not is_acknowledgement(json.loads(text)):
            found.append(text)
    return found


def test_frames_are_served_byte_for_byte_in_file_order(tmp_path: Path) -> None:
    """A topic that the venue has removed is accepted, and served from the file only."""
    topics = ["orderbook.500.XRPUSDT", "orderbook.50.BTCUSDT"]
    lines = [line(topics[number % 2], 1000 + number, number) for number in range(50)]
    path = write(tmp_path / "frames.jsonl", [lines[0], '{"success":true}', *lines[1:]])
    with (
        Simulator("--replay", str(path), "--pace", "fast", "--settle-s", "0.1") as simulator,
        simulator.client() as client,
    ):
        client.request("subscribe", topics[0])
        client.request("subscribe", topics[1])
        assert take(client, 50) == lines
        assert client.collect(0.3) == [], "nothing comes from the market"
        stats = simulator.stats()
        assert stats["replay"] == {"frames": 50, "topics": 2, "skipped_lines": 1}
        assert stats["connections"][0]["replays"] == [{"topics": 2, "frames": 50, "sent": 50, "done": True}]
        assert not client.subscribe("orderbook.500.ADAUSDT")[-1]["success"]


def test_playing_waits_until_the_client_has_subscribed_everything(tmp_path: Path) -> None:
    """A further subscribe request within the settling time joins the same cursor; a later one plays anew."""
    lines = [line(f"t.{number % 3}", 1000, number) for number in range(9)]
    path = write(tmp_path / "frames.jsonl", lines)
    with (
        Simulator("--replay", str(path), "--pace", "fast", "--settle-s", "0.4") as simulator,
        simulator.client("spot") as client,
    ):
        begin_s = time.monotonic()
        client.request("subscribe", "t.0")
        time.sleep(0.25)
        client.request("subscribe", "t.1")
        assert take(client, 6) == [text for text in lines if '"t.2"' not in text]
        assert time.monotonic() - begin_s > 0.6
        client.request("subscribe", "t.2")
        assert take(client, 3) == [text for text in lines if '"t.2"' in text]
        client.request("unsubscribe", "t.2")
        client.request("subscribe", "t.2")
        assert take(client, 3) == [text for text in lines if '"t.2"' in text]


def test_own_pace_of_the_frames(tmp_path: Path) -> None:
    """``real`` follows ``ts``; ``10x`` is ten times as fast."""
    path = write(tmp_path / "frames.jsonl", [line("t.0", 1000 + 100 * number, number) for number in range(11)])
    for pace, expected_s in (("real", 1.0), ("10x", 0.1)):
        with (
            Simulator("--replay", str(path), "--pace", pace, "--settle-s", "0") as simulator,
            simulator.client() as client,
        ):
            client.request("subscribe", "t.0")
            take(client, 1)
            begin_s = time.monotonic()
            take(client, 10)
            assert time.monotonic() - begin_s == pytest.approx(expected_s, abs=0.25 * expected_s + 0.03)


def test_large_file_is_served_as_fast_as_it_is_read(tmp_path: Path) -> None:
    """Hundreds of thousands of frames a second; a slow reader loses nothing."""
    count = 60_000
    path = tmp_path / "frames.jsonl"
    with path.open("w") as file:
        for number in range(count):
            file.write(line(f"orderbook.50.T{number % 50}USDT", 1000, number) + "\n")
    with (
        Simulator("--replay", str(path), "--pace", "fast", "--settle-s", "0.2") as simulator,
        simulator.client() as client,
    ):
        client.request("subscribe", *(f"orderbook.50.T{number}USDT" for number in range(50)))
        client.until(is_acknowledgement)
        time.sleep(0.7)
        stalled = simulator.stats()["connections"][0]
        assert stalled["is_paused"]
        assert not stalled["replays"][0]["done"]
        simulator.fault("nopong")
        begin_s = time.monotonic()
        for number in range(count):
            assert json.loads(client.text())["n"] == number
        assert time.monotonic() - begin_s < 10
        (replay,) = simulator.stats()["connections"][0]["replays"]
        assert replay == {"topics": 50, "frames": count, "sent": count, "done": True}


def test_faults_hit_recorded_frames_too(tmp_path: Path) -> None:
    """A gap in a replay."""
    lines = [line("t.0", 1000, number).replace("snapshot", "delta") for number in range(20)]
    path = write(tmp_path / "frames.jsonl", lines)
    with (
        Simulator("--replay", str(path), "--pace", "fast", "--settle-s", "0.1") as simulator,
        simulator.client() as client,
    ):
        simulator.fault("skip", topic="t.0", count=3)
        client.request("subscribe", "t.0")
        assert take(client, 17) == lines[3:]


def test_transcript_is_what_the_client_received(tmp_path: Path) -> None:
    """Dossier 9.6: per connection the exact bytes sent, acknowledgements, faults and replays included."""
    path = write(tmp_path / "frames.jsonl", [line("t.0", 1000, number) for number in range(5)])
    with (
        Simulator("--record", str(tmp_path / "out"), "--replay", str(path), "--settle-s", "0.1") as simulator,
        simulator.client() as client,
    ):
        client.request("ping")
        client.request("subscribe", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "t.0")
        simulator.fault("duplicate", topic="orderbook.50.BTCUSDT")
        received = []
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            received.append(client.text().decode())
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "1-linear.jsonl"
    rows = [json.loads(row) for row in written.read_text().splitlines()]
    assert [row["payload"] for row in rows][: len(received)] == received
    assert {row["conn"] for row in rows} == {1}
    assert [row["time_ns"] for row in rows] == sorted(row["time_ns"] for row in rows)


def test_book_page_tells_the_truth_at_each_update_id() -> None:
    """Dossier 9.6: the exact book at ``u``, equal to what a client makes of snapshot and deltas."""
    topic = "orderbook.50.BTCUSDT"
    with Simulator("--truth") as simulator, simulator.client() as client:
        client.request("subscribe", topic)
        sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        books = {}
        for message in client.collect(1.0):
            if message.get("topic") != topic:
                continue
            for name, side in sides.items():
                if message["type"] == "snapshot":
                    side.clear()
                for price, size in message["data"][name]:
                    side[price] = size
                    if size == "0":
                        del side[price]
            books[message["data"]["u"]] = {name: dict(side) for name, side in sides.items()}
        assert len(books) > 15
        for update_id, book in books.items():
            truth = simulator.get("/sim/book", product="linear", topic=topic, u=update_id)
            assert truth["u"] == update_id
            assert {name: dict(truth[name]) for name in "ba"} == book
            assert [float(price) for price, _ in truth["b"]] == sorted(map(float, book["b"]), reverse=True)
        with pytest.raises(AssertionError, match="known are"):
            simulator.get("/sim/book", product="linear", topic=topic, u=1)
        latest = simulator.get("/sim/book", product="linear", topic=topic)
        assert latest["u"] >= max(books)


def test_truth_must_be_asked_for_at_start() -> None:
    """Without ``--truth`` the page says so."""
    with Simulator() as simulator, simulator.client() as client:
        client.subscribe("orderbook.50.BTCUSDT")
        client.message()
        with pytest.raises(AssertionError, match="--truth"):
            simulator.get("/sim/book", product="linear", topic="orderbook.50.BTCUSDT")
