"""Bytes in and out: what a piece of work reads from Zarr stores and writes to them."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

BYTES: Final = ("read_bytes", "written_bytes")
"""What receipts call them; metadata counts too."""


class Traffic:
    """Counts the bytes of some work, which may take several threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def read(self, size: int) -> None:
        """Count what was read."""
        with self._lock:
            self._counts["read_bytes"] += size

    def written(self, size: int) -> None:
        """Count what was written."""
        with self._lock:
            self._counts["written_bytes"] += size

    def taken(self) -> dict[str, int]:
        """Return ``read_bytes`` and ``written_bytes``, and count from nothing again.

        Examples
        --------
        >>> traffic = Traffic()
        >>> traffic.read(3)
        >>> traffic.taken(), traffic.taken()["read_bytes"]
        ({'read_bytes': 3, 'written_bytes': 0}, 0)
        """
        with self._lock:
            found = {name: self._counts[name] for name in BYTES}
            self._counts.clear()
        return found
