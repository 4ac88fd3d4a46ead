"""Memory that a network has freed is kept for its next step, until it is given back."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Numbers of glibc's ``malloc.h``."""
LARGEST: Final = 2**30
"""Bytes of the largest piece that is kept."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; say whether it does.

    Notes
    -----
    glibc returns large pieces to the system at once, and every layer of a network on processors
    asks for some: pages that are handed out and filled with zeros again and again take time from
    every step. The peak is the same.
    Elsewhere, and where ``MALLOC_TRIM_THRESHOLD_`` is set (by a person, or by Dask, which watches
    what its workers hold), nothing is changed.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_MMAP_THRESHOLD, LARGEST))


def give_back_memory() -> None:
    """Return to the system what was freed, so that what is held next can be measured."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    """Return a function of glibc; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)  # musl has none
