"""Recorded frames: read, selected, paced."""

import json
from pathlib import Path

import pytest

from feedhandler.sim.frames import frame
from feedhandler.sim.replay import FAST, Cursor, Recording, ReplayError, Transcript, parse_pace

LINES = [
    b'{"success":true}',
    b'{"topic":"a","ts":1000,"data":1}',
    b'{"topic":"b","ts":1100,"data":2}',
    b"no json",
    b'{"topic":"a","data":3}',
    b'{"topic":"a","ts":900,"data":4}',
    b'{"topic":"b","ts":9000,"data":5}',
]


def recording(lines: list[bytes] = LINES) -> Recording:
    made = Recording()
    for line in lines:
        made.add(line)
    return made


def test_file_is_read_byte_for_byte_in_order(tmp_path: Path) -> None:
    """Every line with a topic, as it stands; the others are counted."""
    path = tmp_path / "frames.jsonl"
    path.write_bytes(b"\r\n".join(LINES) + b"\n\n")
    made = Recording()
    made.read(path)
    assert made.frames == [frame(LINES[index]) for index in (1, 2, 4, 5, 6)]
    assert made.known == {"a", "b"}
    assert made.skipped_lines == 2


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One readable line."""
    with pytest.raises(ReplayError, match=r"cannot read .*nothing\.jsonl: No such file"):
        Recording().read(tmp_path / "nothing.jsonl")


def test_cursor_plays_its_topics_in_file_order() -> None:
    """The whole file, filtered."""
    cursor = Cursor(recording(), {"a"}, FAST)
    assert len(cursor) == 3
    blob, count = cursor.blob()
    assert (blob, count) == (b"".join(frame(LINES[index]) for index in (1, 4, 5)), 3)
    assert cursor.is_done
    assert cursor.next_offset_ns == 0


def test_cursor_of_all_topics_plays_everything() -> None:
    """No copy of the file is made for it."""
    source = recording()
    cursor = Cursor(source, {"a", "b"}, FAST)
    assert cursor._frames is source.frames
    assert len(cursor.blob()[0]) == sum(map(len, source.frames))


def test_empty_selection_is_done_at_once() -> None:
    """A recording without these topics plays nothing."""
    cursor = Cursor(Recording(), {"a"}, 1.0)
    assert cursor.is_done
    assert cursor.take(10**12) == []
    assert cursor.blob() == (b"", 0)


def test_blobs_are_about_64_kib() -> None:
    """Many frames go out in one write, but not all of a large file."""
    source = recording([b'{"topic":"a","x":"' + b"x" * 1000 + b'"}'] * 200)
    cursor = Cursor(source, {"a"}, FAST)
    blob, count = cursor.blob()
    assert 60_000 < len(blob) < 66_000
    assert cursor.sent == count
    assert not cursor.is_done


def test_pace_follows_the_frames_own_time() -> None:
    """Gaps of ``ts``; a step back counts 0, a long silence is shortened to 1 s, a missing ``ts`` follows at once."""
    cursor = Cursor(recording(), {"a", "b"}, 1.0)
    assert cursor._offsets_ns == [0, 100_000_000, 100_000_000, 100_000_000, 1_100_000_000]
    assert [topic for topic, _ in cursor.take(0)] == ["a"]
    assert cursor.next_offset_ns == 100_000_000
    assert cursor.take(99_999_999) == []
    assert [topic for topic, _ in cursor.take(100_000_000)] == ["b", "a", "a"]
    assert Cursor(recording(), {"a", "b"}, 10.0)._offsets_ns[-1] == 110_000_000


def test_dropped_topic_is_left_out_from_there_on() -> None:
    """Unsubscribing one topic of a running replay leaves the others."""
    cursor = Cursor(recording(), {"a", "b"}, FAST)
    cursor.drop("a")
    cursor.drop("unknown")
    assert cursor.blob() == (frame(LINES[2]) + frame(LINES[6]), 2)


@pytest.mark.parametrize(("text", "pace"), [("real", 1.0), ("fast", FAST), ("10x", 10.0), ("0.5", 0.5)])
def test_pace_is_a_word_or_a_multiplier(text: str, pace: float) -> None:
    """``--pace``."""
    assert parse_pace(text) == pace


@pytest.mark.parametrize("text", ["slow", "0", "-1x", "inf", "nan", ""])
def test_other_paces_are_refused(text: str) -> None:
    """With the words that would be right."""
    with pytest.raises(ReplayError, match="is neither"):
        parse_pace(text)


def test_transcript_holds_every_frame(tmp_path: Path) -> None:
    """Dossier 9.6: per connection the exact payloads; binary and cut frames are marked."""
    made = Transcript(tmp_path / "deep" / "er")
    made.write(3, "spot", frame(b'{"a":1}') + frame(b"\xff", 2), 5)
    made.write(3, "spot", frame(b"cut off")[:4], 6)
    made.flush()
    lines = [json.loads(line) for line in (tmp_path / "deep" / "er" / "3-spot.jsonl").read_text().splitlines()]
    assert lines == [
        {"time_ns": 5, "conn": 3, "opcode": 1, "final": True, "payload": '{"a":1}'},
        {"time_ns": 5, "conn": 3, "opcode": 2, "final": True, "payload_hex": "ff"},
        {"time_ns": 6, "conn": 3, "opcode": 1, "final": True, "payload": "cu", "whole": False},
    ]
    made.end(3)
    made.end(3)


def test_transcript_needs_a_directory(tmp_path: Path) -> None:
    """One readable line."""
    (tmp_path / "file").touch()
    with pytest.raises(ReplayError, match="cannot use"):
        Transcript(tmp_path / "file")
