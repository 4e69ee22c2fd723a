"""Recorded frames: read from files and played to connections that subscribe their topics; written for the truth."""

from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from feedhandler.sim.frames import frame, parse

LONGEST_GAP_MS: Final = 1000
"""Longer silences of a recording are shortened to this."""
BLOB_BYTES: Final = 64 * 1024
"""Frames are written together, about this much at a time."""
FAST: Final = 0.0
"""Pace ``fast``: as quickly as the client reads."""


class ReplayError(ValueError):
    """A replay file or pace that cannot be used; the text says why, in one line."""


class _Envelope(msgspec.Struct, gc=False):
    topic: str = ""
    ts: int | float | None = None


_decode: Final = msgspec.json.Decoder(_Envelope).decode


class Recording:
    """Every frame of the replay files, in file order."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        """WebSocket header and the line's bytes."""
        self.topics: list[str] = []
        self.stamps_ms: list[int] = []
        self.skipped_lines = 0
        """Lines without a topic: acknowledgements, pongs, text that is no JSON."""
        self.known: set[str] = set()
        """All topics."""

    def read(self, path: Path) -> None:
        """Append a file of one JSON text a line; raise `ReplayError` where it cannot be read."""
        try:
            with path.open("rb") as file:
                for line in file:
                    if text := line.rstrip(b"\r\n"):
                        self.add(text)
        except OSError as error:
            raise ReplayError(f"cannot read {path}: {error.strerror}") from None

    def add(self, payload: bytes) -> None:
        """Append one frame, byte for byte, if it has a topic."""
        try:
            envelope = _decode(payload)
        except ValueError:
            envelope = _Envelope()
        if not envelope.topic:
            self.skipped_lines += 1
            return
        self.frames.append(frame(payload))
        self.topics.append(envelope.topic)
        # A frame without time stamp follows the one before it at once.
        self.stamps_ms.append(int(envelope.ts) if envelope.ts else (self.stamps_ms[-1] if self.stamps_ms else 0))
        self.known.add(envelope.topic)


class Cursor:
    """One playing of a recording to one connection: the whole file, filtered to its topics. Pure."""

    def __init__(self, recording: Recording, wanted: set[str], pace: float) -> None:
        """Select the frames.

        ``pace`` is the speed: 1 = as recorded, 10 = ten times that, `FAST` = no waiting at all.
        """
        self.topics = set(wanted)
        if wanted >= recording.known:
            self._frames, self._topics, stamps_ms = recording.frames, recording.topics, recording.stamps_ms
        else:
            selected = [index for index, topic in enumerate(recording.topics) if topic in wanted]
            self._frames = [recording.frames[index] for index in selected]
            self._topics = [recording.topics[index] for index in selected]
            stamps_ms = [recording.stamps_ms[index] for index in selected]
        self.is_paced = pace > 0
        self._offsets_ns = _offsets_ns(stamps_ms, pace) if self.is_paced else []
        self.sent = 0
        """Frames played, those of topics unsubscribed meanwhile included."""
        self._dropped: set[str] = set()
        mean_bytes = sum(map(len, self._frames)) / len(self._frames) if self._frames else 1
        self._frames_per_blob = max(1, int(BLOB_BYTES / mean_bytes))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def is_done(self) -> bool:
        """True when the whole selection was played."""
        return self.sent >= len(self._frames)

    @property
    def next_offset_ns(self) -> int:
        """When the next frame is due, from the beginning."""
        return self._offsets_ns[self.sent] if self.is_paced and not self.is_done else 0

    def drop(self, topic: str) -> None:
        """Leave out the frames of a topic from here on: it was unsubscribed."""
        if topic in self.topics:
            self._dropped.add(topic)

    def take(self, elapsed_ns: int) -> list[tuple[str, bytes]]:
        """Return the next frames with their topics: a blob's worth, of those due ``elapsed_ns`` after the beginning."""
        begin = self.sent
        end = min(begin + self._frames_per_blob, len(self._frames))
        if self.is_paced:
            offsets_ns = self._offsets_ns
            while end > begin and offsets_ns[end - 1] > elapsed_ns:
                end -= 1
        self.sent = end
        chosen = list(zip(self._topics[begin:end], self._frames[begin:end], strict=True))
        if self._dropped:
            chosen = [(topic, text) for topic, text in chosen if topic not in self._dropped]
        return chosen

    def blob(self) -> tuple[bytes, int]:
        """Return the next frames in one piece and how many they are; for unpaced playing without exceptions."""
        if self._dropped or self.is_paced:
            chosen = self.take(1 << 62)
            return b"".join([text for _, text in chosen]), len(chosen)
        begin, self.sent = self.sent, min(self.sent + self._frames_per_blob, len(self._frames))
        return b"".join(self._frames[begin : self.sent]), self.sent - begin


class Transcript:
    """Writes down every frame of every connection: ``<number>-<product>.jsonl``, one JSON object a frame.

    ``{"time_ns", "conn", "opcode", "final", "payload"}``; in place of ``payload`` there is ``payload_hex`` where it is
    no text, and ``"whole": false`` where the socket was cut inside the frame.
    """

    def __init__(self, directory: Path) -> None:
        """Write into ``directory``; raise `ReplayError` where that cannot be done."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReplayError(f"cannot use {directory}: {error.strerror}") from None
        self._directory = directory
        self._files: dict[int, BinaryIO] = {}

    def write(self, number: int, product: str, framed: bytes, time_ns: int) -> None:
        """Note frames that were handed to the socket."""
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = (self._directory / f"{number}-{product}.jsonl").open("wb")
        for opcode, is_final, payload, is_whole in parse(framed):
            fields: dict[str, object] = {"time_ns": time_ns, "conn": number, "opcode": opcode, "final": is_final}
            try:
                fields["payload"] = payload.decode()
            except UnicodeDecodeError:
                fields["payload_hex"] = payload.hex()
            if not is_whole:
                fields["whole"] = False
            file.write(msgspec.json.encode(fields) + b"\n")

    def flush(self) -> None:
        """Make what was written visible to readers."""
        for file in self._files.values():
            file.flush()

    def end(self, number: int) -> None:
        """Close the file of a connection that is gone."""
        file = self._files.pop(number, None)
        if file is not None:
            file.close()


def parse_pace(text: str) -> float:
    """Read ``real``, ``fast`` or a multiplier such as ``10x``; raise `ReplayError`."""
    if text == "real":
        return 1.0
    if text == "fast":
        return FAST
    try:
        pace = float(text.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise ReplayError(f'pace "{text}" is neither "real" nor "fast" nor a multiplier such as "10x"')
    return pace


def _offsets_ns(stamps_ms: list[int], pace: float) -> list[int]:
    offsets: list[int] = []
    offset_ns = 0.0
    last_ms = stamps_ms[0] if stamps_ms else 0
    for stamp_ms in stamps_ms:
        offset_ns += min(max(stamp_ms - last_ms, 0), LONGEST_GAP_MS) * 1e6 / pace
        last_ms = stamp_ms
        offsets.append(int(offset_ns))
    return offsets
