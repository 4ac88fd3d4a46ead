"""Memory that a network has freed is kept for its next step."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

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
    asks for some: pages that are handed out and filled with zeros again and again take a tenth of
    the time of training, and more of a large network's predictions. The peak is the same.
    Elsewhere, and where ``MALLOC_TRIM_THRESHOLD_`` is set (by a person, or by Dask, which watches
    what its workers hold), nothing is changed.
    """
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_MMAP_THRESHOLD, LARGEST))
