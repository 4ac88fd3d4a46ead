"""Memory that goes back to the system when it is freed."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_MMAP_THRESHOLD = -3
LARGE = 2**20
"""Bytes of what gets pages of its own."""


@cache
def return_large_blocks() -> None:
    """Have large blocks of memory returned to the system as soon as they are freed.

    The C library of Linux raises the size of what it gives pages of its own with every block that
    is freed, up to 32 MB. What is smaller stays with the thread that used it, so that a process of
    many threads holds a fifth more than it uses. Elsewhere nothing is done.

    References
    ----------
    mallopt(3), M_MMAP_THRESHOLD
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE)
