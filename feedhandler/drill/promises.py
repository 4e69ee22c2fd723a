"""What a strategy is promised, in the words of the scorecard. Pure."""

from typing import Final, NamedTuple

# What every record is held to, all the time.
LOST: Final = "nothing is lost untold"
REPEATED: Final = "nothing is repeated"
ORDER: Final = "nothing comes out of order"
INVENTED: Final = "nothing is invented"
SEQUENCE: Final = "sequences are contiguous"
TOLD_FIRST: Final = "the state is told before its records"
SNAPSHOT_FIRST: Final = "a snapshot comes first"
BOOK: Final = "a live book is the venue's"
IMAGE: Final = "an image is exact"
BLIND: Final = "it is told from when to when one was blind"
FLAGGED: Final = "simulated data are flagged"
BEATS: Final = "a heartbeat every second"

# What a fault may do, and how soon it is over.
NOTHING: Final = "nothing is seen of it"
TOLD: Final = "it is told"
IN_TIME: Final = "it is told in time"
WHOLE: Final = "all is whole again"
WHOLE_IN_TIME: Final = "all is whole again in time"
UNTOUCHED: Final = "the others are untouched"
COUNTED: Final = "it is counted"
PASSED: Final = "it is passed on as sent"
JOINED: Final = "a newcomer gets status and image, and what continues it"


class Finding(NamedTuple):
    """A promise that was not kept, and what shows it."""

    promise: str
    evidence: str
