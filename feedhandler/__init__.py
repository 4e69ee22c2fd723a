"""feedhandler keeps strategies fed with Bybit V5 streams: checked, sequenced, and never blind without being told."""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from feedhandler.book import Book
    from feedhandler.bybit import topics
    from feedhandler.bybit.topics import TopicError
    from feedhandler.client.direct import connect
    from feedhandler.client.record import Record
    from feedhandler.client.subscriber import Subscriber
    from feedhandler.config.model import SecretSource
    from feedhandler.errors import (
        ArgumentError,
        BookNotLive,
        ClosedError,
        ConnectError,
        FeedError,
        NotLiveError,
        SubjectError,
    )

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Book",
    "BookNotLive",
    "ClosedError",
    "ConnectError",
    "FeedError",
    "NotLiveError",
    "Record",
    "SecretSource",
    "SubjectError",
    "Subscriber",
    "TopicError",
    "__version__",
    "connect",
    "topics",
]

_WHERE: Final = {
    "ArgumentError": "feedhandler.errors",
    "Book": "feedhandler.book",
    "BookNotLive": "feedhandler.errors",
    "ClosedError": "feedhandler.errors",
    "ConnectError": "feedhandler.errors",
    "FeedError": "feedhandler.errors",
    "NotLiveError": "feedhandler.errors",
    "Record": "feedhandler.client.record",
    "SecretSource": "feedhandler.config.model",
    "SubjectError": "feedhandler.errors",
    "Subscriber": "feedhandler.client.subscriber",
    "TopicError": "feedhandler.bybit.topics",
    "connect": "feedhandler.client.direct",
    "topics": "feedhandler.bybit.topics",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the worker processes import this package, but never the client."""
    if name not in _WHERE:
        raise AttributeError(f"module 'feedhandler' has no attribute '{name}'")
    module = importlib.import_module(_WHERE[name])
    return module if name == "topics" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
