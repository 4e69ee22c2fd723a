"""The errors a strategy may meet; each derives from `FeedError`. Pure."""


class FeedError(Exception):
    """Base of every error of this package that a strategy may want to catch."""


class NotLiveError(FeedError, TimeoutError):
    """Subjects that were waited for are not live in time; the text names them, with state and reason."""


class SubjectError(FeedError, ValueError):
    """A subject or prefix that cannot be meant; the text says what would be right."""
