"""Signals wait while a decoder is built.

msgspec asks Python's typing about each type, and drops whatever is raised there: also the KeyboardInterrupt of a Ctrl-C
that comes in these milliseconds, which then nobody hears of. Signals that are held come as soon as the decoder is there.
"""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let this thread's signals wait until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows has nothing to hold them with
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
