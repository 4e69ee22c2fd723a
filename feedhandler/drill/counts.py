"""What happened to a subject, in numbers. Pure."""

import msgspec


class Counts(msgspec.Struct):
    """What happened to a subject so far."""

    records: int = 0
    images: int = 0
    missed: int = 0
    """Messages of the venue that never came, told or not, though they told something new."""
    gone: int = 0
    """Those of them that no snapshot makes good: trades, liquidations."""
    repeated: int = 0
    disordered: int = 0
    passed_snapshots: int = 0
    """Snapshots that came without a word before them: the venue's own idea."""
    new_fields: int = 0
    """Records with a field that the venue never had."""
    books_compared: int = 0
