"""feedhandler keeps strategies fed with Bybit V5 streams: checked, sequenced, and never blind without being told."""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from feedhandler.client.record import Record
    from feedhandler.client.subscriber import Subscriber
    from feedhandler.errors import FeedError, NotLiveError, SubjectError

__version__ = "0.1.0"

__all__ = ["FeedError", "NotLiveError", "Record", "SubjectError", "Subscriber", "__version__"]

_WHERE: Final = {
    "FeedError": "feedhandler.errors",
    "NotLiveError": "feedhandler.errors",
    "Record": "feedhandler.client.record",
    "SubjectError": "feedhandler.errors",
    "Subscriber": "feedhandler.client.subscriber",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the worker processes import this package, but never the client."""
    if name not in _WHERE:
        raise AttributeError(f"module 'feedhandler' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
