"""What a subscriber counts. Pure: no I/O, no clock."""

import msgspec


class Counters(msgspec.Struct):
    """What the client did not deliver, or had to mend; each grows by one per record or event."""

    lost: int = 0
    """Records that were published and never arrived."""
    gaps: int = 0
    """Jumps in a subject's sequence."""
    recovered: int = 0
    """Subjects brought back in step by an image after they had fallen out."""
    handovers: int = 0
    """Subjects that went over to another worker, and nothing was missing in between."""
    duplicates: int = 0
    """Records that came again, or late, and were not delivered."""
    old_epoch: int = 0
    """Records of an epoch that is over."""
    images: int = 0
    """Images meant for other newcomers: skipped, being in step."""
    overtaken: int = 0
    """Deltas held for an image that already contained them, or given up."""
    discarded: int = 0
    """Records of a backlog older than ``max_age_s``."""
    refused: int = 0
    """Records of another network than the one asked for."""
    malformed: int = 0
    """Messages that are not of the wire format."""
