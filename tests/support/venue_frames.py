"""The venue's frames for tests: recordings where they are at hand, and how a decoded message is held against its JSON."""

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

RECORDINGS: Final = Path(
    os.environ.get("FEEDHANDLER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data" / "bybit"
)
"""Frames of the venue, where they are at hand; nothing of them is part of the project."""
SOURCES: Final = ("real_*.jsonl", "docs_*.jsonl")
"""Recorded ones and the documentation's own; other files there are of another API or made up."""

OTHER_KEYS: Final = {"conn_id", "req_id", "op", "success", "ret_msg"}
"""Keys of answers: no message's Struct has them."""


class Frame(NamedTuple):
    """One frame, and where it stands."""

    place: str
    payload: bytes
    keys: frozenset[str]
    topic: str
    """``""`` = it is no data."""


def recorded() -> list[Frame]:
    """Return every frame that is at hand."""
    frames = []
    for path in sorted(path for source in SOURCES for path in RECORDINGS.glob(source)):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            message = json.loads(line)
            frames.append(Frame(f"{path.name}:{number}", line, frozenset(message), message.get("topic", "")))
    return frames


def assert_same(read: Any, raw: Any, number: Any) -> None:
    """Hold what was decoded, under the venue's names, against the JSON itself: nothing is missing, nothing else."""
    if isinstance(raw, dict):
        assert set(raw) - set(read) <= OTHER_KEYS
        assert set(read) <= set(raw)
        for key, value in read.items():
            assert_same(value, raw[key], number)
    elif isinstance(raw, list):
        assert len(read) == len(raw)
        for one, other in zip(read, raw, strict=True):
            assert_same(one, other, number)
    elif isinstance(raw, str) and not isinstance(read, str):
        assert read == (int(raw) if isinstance(read, int) else number(raw))
    elif read != raw or isinstance(raw, bool):
        assert read is raw
