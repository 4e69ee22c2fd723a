"""A user that file permissions bind: a test that runs as root gives up its right to pass over them for a while."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_VERSION_3: Final = 0x20080522
_DAC_OVERRIDE: Final = 1 << 1
_DAC_READ_SEARCH: Final = 1 << 2


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Take the capabilities that override permissions from this thread, and those that it starts (capabilities(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits
    assert libc.capget(header, sets) == 0, ctypes.get_errno()
    effective = sets[0]
    sets[0] = effective & ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0, ctypes.get_errno()
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0, ctypes.get_errno()
