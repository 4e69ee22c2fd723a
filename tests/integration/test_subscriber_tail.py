"""``feedhandler tail`` as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.publisher import Publisher, ticker
from support.records import BOOK, TRADES

from feedhandler import wire

TICKER = "linear.tickers.BTCUSDT"
KLINE = "linear.kline.1.BTCUSDT"
LIQUIDATIONS = "linear.allLiquidation.BTCUSDT"
DEADLINE_S = 20.0


@contextmanager
def tail(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "feedhandler", "tail", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_lines_say_what_happens(tmp_path: Path) -> None:
    """Time, subject, kind, number and a summary: of the book its best prices, of a trade side, price and size."""
    topics = [subject.partition(".")[2] for subject in (BOOK, TRADES, TICKER, KLINE, LIQUIDATIONS)]
    with (
        Publisher(tmp_path, topics) as publisher,
        tail(BOOK, TRADES, TICKER, KLINE, LIQUIDATIONS, "--runtime", str(tmp_path), "--count", "7") as process,
    ):
        head = [line(process) for _ in range(6)]
        assert sum(" status " in one and one.endswith(" live\n") for one in head) == 4
        (snapshot,) = (one for one in head if f" {BOOK} snapshot image #3 " in one)
        assert snapshot.endswith(" u 1, bid 99 × 1, ask 101 × 1, 2 + 2 levels\n")
        (shown,) = (one for one in head if f" {TICKER} snapshot " in one)
        assert shown.endswith(" last 100\n")
        publisher.book(BOOK, b=[["100", "2.5"]])
        publisher.trade(TRADES, "one")
        candle = {
            "start": 0, "end": 59999, "interval": "1", "open": "1", "close": "2", "high": "3", "low": "0.5",
            "volume": "7", "turnover": "8", "confirm": True, "timestamp": 5,
        }  # fmt: skip
        candles = json.dumps({"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": 1, "data": [candle]})
        publisher.do("latest", subject=KLINE, kind=wire.SNAPSHOT, payload=candles)
        row = {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "2", "p": "0.05"}
        liquidations = json.dumps({"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": 1, "data": [row]})
        publisher.do("event", subject=LIQUIDATIONS, payload=liquidations)
        publisher.do("event", subject=LIQUIDATIONS, payload="{")
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    told = [text.split(" ", 1)[1] for text in out.splitlines()]
    assert told == [
        f"{BOOK} delta #4 u 2, bid 100 × 2.5, ask 101 × 1, 3 + 2 levels, changed 1 + 0",
        f"{TRADES} update #3 Buy 100.5 × 0.1",
        f"{KLINE} status #2 live",
        f"{KLINE} snapshot #3 open 1, high 3, low 0.5, close 2, volume 7, final",
        f"{LIQUIDATIONS} update #3 Buy 0.05 × 2",
        told[5],
    ]
    assert told[5].startswith(f"{LIQUIDATIONS} update #4 undecodable")


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    """The header's fields by name, and the payload as JSON."""
    with (
        Publisher(tmp_path, ["orderbook.50.BTCUSDT"]),
        tail(BOOK, "--runtime", str(tmp_path), "--json", "--count", "1") as process,
    ):
        out, _ = process.communicate(timeout=DEADLINE_S)
    told, image = map(json.loads, out.splitlines())
    assert (told["kind"], told["payload"]["state"], told["local"]) == ("status", "live", False)
    assert (image["kind"], image["sequence"], image["flags"], image["product"]) == ("snapshot", 3, 9, "linear")
    assert image["payload"]["data"]["b"] == [["99", "1"], ["98", "2"]]
    assert set(image) == {
        *("subject", "kind", "flags", "line", "epoch", "sequence", "received_ns", "published_ns"),
        *("payload", "product", "local"),
    }


def test_decoded_shows_fields_by_their_names(tmp_path: Path) -> None:
    """In text and in JSON; numbers are numbers."""
    with Publisher(tmp_path, ["tickers.BTCUSDT"]) as publisher:
        with tail(TICKER, "--runtime", str(tmp_path), "--json", "--decoded", "--count", "1") as process:
            out, _ = process.communicate(timeout=DEADLINE_S)
        payload = json.loads(out.splitlines()[-1])["payload"]
        assert payload["data"] == {"symbol": "BTCUSDT", "last_price": 100.0}
        publisher.do(
            "latest", subject=TICKER, kind=wire.SNAPSHOT, payload=ticker("tickers.BTCUSDT", "snapshot", markPrice="5")
        )
        with tail(TICKER, "--runtime", str(tmp_path), "--decoded", "--count", "1") as process:
            out, _ = process.communicate(timeout=DEADLINE_S)
        assert "data={symbol=BTCUSDT, mark_price=5.0}" in out.splitlines()[-1]


def test_no_feed_is_said_and_waited_for(tmp_path: Path) -> None:
    """On stderr, within 3 s, once; the lines begin when the feed does."""
    started_s = time.monotonic()
    with tail(BOOK, TRADES, "--runtime", str(tmp_path), "--count", "1") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"no feed at {tmp_path}/feed.json; waiting for it\n"
        assert time.monotonic() - started_s < 3.0
        with Publisher(tmp_path, ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]):
            out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert err == ""
    assert out.splitlines()[-1].split()[1:4] == [BOOK, "snapshot", "image"]


def test_no_feed_without_waiting(tmp_path: Path) -> None:
    """A status of its own, for scripts."""
    file = tmp_path / "feed.toml"
    file.write_text(f'runtime.directory = "{tmp_path}"')
    with tail(BOOK, "--config", str(file), "--no-wait") as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (out, err, process.returncode) == ("", f"no feed at {tmp_path}/feed.json\n", 3)


def test_no_feed_in_json_is_a_status_like_any_other(tmp_path: Path) -> None:
    """A program reads it from stdout."""
    with tail(BOOK, "--runtime", str(tmp_path), "--json") as process:
        told = json.loads(line(process))
    assert (told["payload"]["state"], told["local"]) == ("unknown", True)


def test_misspelt_subject_is_told_with_the_nearest(tmp_path: Path) -> None:
    """Unassigned, and what was probably meant."""
    with (
        Publisher(tmp_path, ["orderbook.50.BTCUSDT"]),
        tail("linear.orderbook.50.BTCUSTD", "--runtime", str(tmp_path)) as process,
    ):
        told = line(process)
    assert told.endswith(
        " status #0 unassigned: nobody carries linear.orderbook.50.BTCUSTD; the nearest that is carried: "
        "linear.orderbook.50.BTCUSDT\n"
    )


def test_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    """Ctrl-C is the way to end it: status 0, and silence."""
    with Publisher(tmp_path, ["orderbook.50.BTCUSDT"]), tail(BOOK, "--runtime", str(tmp_path)) as process:
        line(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in out


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """``tail … | head -1`` ends quietly."""
    with Publisher(tmp_path, ["orderbook.50.BTCUSDT"]) as publisher, tail(BOOK, "--runtime", str(tmp_path)) as process:
        line(process)
        line(process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        publisher.book(BOOK, b=[["98.5", "7"]])
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["linear"], 'write ENDPOINT.TOPIC, or "linear."'),
        (["linear.", "--runtime", ".", "--config", "pyproject.toml"], "exclude each other"),
        (["linear.", "--count", "0"], "--count"),
    ],
)
def test_wrong_usage_is_one_readable_error(arguments: list[str], words: str) -> None:
    """Exit status 2."""
    with tail(*arguments) as process:
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert words in err


def test_states_are_coloured_on_a_terminal_only(tmp_path: Path) -> None:
    """A pipe gets plain text; a terminal (here a pseudo one) gets colours."""
    with Publisher(tmp_path, ["publicTrade.BTCUSDT"]):
        with tail(TRADES, "--runtime", str(tmp_path)) as process:
            assert line(process).endswith(" status #2 live\n")
        master, slave = os.openpty()
        command = [sys.executable, "-m", "feedhandler", "tail", TRADES, "--runtime", str(tmp_path)]
        process_: subprocess.Popen[Any]
        with subprocess.Popen(command, stdout=slave, stdin=slave, env=os.environ) as process_:
            shown = os.read(master, 4096)
            process_.kill()
        os.close(slave)
        os.close(master)
    assert b"\x1b[32m" in shown
