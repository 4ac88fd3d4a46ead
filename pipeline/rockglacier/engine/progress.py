"""How far a piece of work is, told to whoever wants to know."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is being done, how much of it is done, and how much there is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report ``done`` of ``total``."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the progress of a caller who does not want any."""
