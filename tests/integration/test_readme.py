"""The README says what is true: its commands, its example and its tables."""

import ast
import itertools
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import zmq

from feedhandler import cli, wire

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()

RUN: Final = "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/feedhandler run deploy/config.toml"
TEST: Final = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest"

DEADLINE_MS: Final = 20_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table whose first heading is this one."""
    lines = README.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


def example(word: str = "zmq.SUB") -> str:
    (found,) = (block for block in blocks("python") if word in block)
    return found


def test_the_two_commands_come_first() -> None:
    """A new user finds the command that runs it and the one that tests it before anything else."""
    assert [block.strip() for block in blocks("sh")[:2]] == [RUN, TEST]


def test_ci_ends_with_the_readmes_test_command() -> None:
    """What is checked is what a user runs, word for word, and its summary is the last line."""
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == TEST


def test_example_is_plain_and_short() -> None:
    """The example has at most 15 lines and imports nothing of ours."""
    text = example()
    imported = [
        alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names
    ]
    assert len(text.splitlines()) <= 15
    assert "feedhandler" not in text
    assert sorted(imported) == ["json", "struct", "sys", "zmq"]


def test_example_reads_the_wire_format(tmp_path: Path) -> None:
    """Run against a real publisher, the example prints the records of its one subject, each field in its place."""
    script = tmp_path / "strategy.py"
    script.write_text(example())
    subject = "linear.orderbook.50.BTCUSDT"
    payload = {"topic": "orderbook.50.BTCUSDT", "type": "delta", "data": {"s": "BTCUSDT", "u": 7}}

    def message(subject: str, sequence: int) -> bytes:
        # Written out here, so that the example is held against the contract and not against our own code.
        header = struct.pack("<BBBBIQqq", 1, 2, 8, 0, 1_700_000_000, sequence, 1, 2)
        return subject.encode() + b"\0" + header + json.dumps(payload).encode()

    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        command = [sys.executable, str(script), f"tcp://127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as strategy:
            try:
                assert publisher.poll(DEADLINE_MS), "the example did not subscribe"
                assert publisher.recv() == b"\x01" + subject.encode() + b"\0"
                publisher.send(message(subject, 41))
                publisher.send(message(f"{subject}-26SEP25", 1))
                publisher.send(message(subject, 42))
                assert strategy.stdout is not None
                printed = [strategy.stdout.readline() for _ in range(2)]
            finally:
                strategy.kill()
    assert printed == [f"{subject} 2 8 1700000000 {sequence} {payload}\n" for sequence in (41, 42)]


def test_python_example_reads_the_feed_of_the_first_command(tmp_path: Path) -> None:
    """With the first command running, the Subscriber example prints a book's snapshot and then its deltas."""
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path / "run"), "PYTHONPATH": str(ROOT)}
    script = tmp_path / "strategy.py"
    script.write_text(example("feedhandler.Subscriber"))
    run = [sys.executable, "-m", "feedhandler", *RUN.rpartition("feedhandler ")[2].split()]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(run, cwd=ROOT, env=environment, stdout=log, stderr=log) as feed,
    ):
        try:
            with subprocess.Popen(
                [sys.executable, str(script)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            ) as strategy:
                try:
                    assert strategy.stdout is not None
                    printed = (line.split(" ", 2) for line in strategy.stdout)
                    book = (int(kind) for subject, kind, _ in printed if subject == "linear.orderbook.50.BTCUSDT")
                    kinds = list(itertools.islice((kind for kind in book if kind != wire.STATUS), 3))
                finally:
                    strategy.kill()
        finally:
            feed.terminate()
    assert kinds == [wire.SNAPSHOT, wire.DELTA, wire.DELTA], (tmp_path / "log").read_text()
    assert feed.returncode == 0


def test_header_table_is_the_headers_layout() -> None:
    """The table's types, in order, are the header's format."""
    codes = {"u8": "B", "u32": "I", "u64": "Q", "i64": "q"}
    assert "<" + "".join(codes[row[1]] for row in rows("field")) == wire.HEADER.format


@pytest.mark.parametrize(("kind", "name"), list(enumerate(wire.KIND_NAMES))[1:])
def test_header_table_names_every_kind(kind: int, name: str) -> None:
    """Each kind stands in the table with its number."""
    (meaning,) = (row[2] for row in rows("field") if row[0] == "kind")
    assert f"{kind} {name}" in meaning.split(", ")


def test_state_table_is_complete() -> None:
    """The table names the states that exist, and no other."""
    assert [row[0] for row in rows("state")] == list(wire.STATES)


def test_command_table_is_complete() -> None:
    """The table names the commands that exist, and no other."""
    assert [row[0] for row in rows("command")] == list(cli.COMMANDS)
