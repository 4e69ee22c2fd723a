"""The errors a strategy may meet; each derives from `FeedError`. Pure."""


class FeedError(Exception):
    """Base of every error of this package that a strategy may want to catch."""


class NotLiveError(FeedError, TimeoutError):
    """Subjects that were waited for are not live in time; the text names them, with state and reason."""


class SubjectError(FeedError, ValueError):
    """A subject or prefix that cannot be meant; the text says what would be right."""


class BookNotLive(FeedError):  # noqa: N818 - a condition of the feed, not a fault of the program
    """A strict book or ticker was read while it was not live; the text says its state and the reason."""


class ArgumentError(FeedError, ValueError):
    """An argument that cannot be meant: a URL, a product, a number out of its range; the text says which and why."""


class ConnectError(FeedError, ConnectionError):
    """The venue cannot be reached, and nobody tries any more; the text says why."""


class ClosedError(FeedError):
    """Something was asked of a client that is closed."""
