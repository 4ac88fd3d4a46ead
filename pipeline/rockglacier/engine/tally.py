"""What came of the blocks of a run: while it goes on, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rockglacier.engine.progress import Progress
from rockglacier.engine.receipts import Failure
from rockglacier.errors import BlocksFailedError

MAX_FAILURES = 20
"""Blocks that may fail before a run gives up: the cause is then not theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage did with its blocks."""

    built: int
    kept: int
    """Blocks whose receipt already matched."""
    left: int = 0
    """Blocks that are not built and were not meant."""

    def __add__(self, other: Outcome) -> Outcome:
        """Return what became of the blocks of both."""
        return Outcome(
            built=self.built + other.built,
            kept=self.kept + other.kept,
            left=self.left + other.left,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a stage tells of its blocks; one with blocks left is not done."""
        blocks = self.built + self.kept + self.left
        return {"blocks": blocks, "built": self.built, "kept": self.kept, "left": self.left}


@dataclass(kw_only=True)
class Tally:
    """What has come of the blocks so far."""

    what: str
    kept: int
    total: int
    progress: Progress
    built: int = 0
    failures: list[Failure] | None = None

    def add(self, outcome: str | Failure) -> None:
        """Count a block: its name if it is built, or its failure."""
        if isinstance(outcome, Failure):
            self.failures = [*(self.failures or []), outcome]
            if len(self.failures) >= MAX_FAILURES:
                raise failed_blocks(self)
        else:
            self.built += 1
            self.progress(self.what, self.kept + self.built, self.total)


def failed_blocks(tally: Tally) -> BlocksFailedError:
    """Return the error that names the blocks that failed, each with its cause."""
    failures = tally.failures or []
    waiting = tally.total - tally.kept - tally.built - len(failures)
    return BlocksFailedError(
        tally.what,
        failures=[(failure.name, failure.message) for failure in failures],
        done=tally.kept + tally.built,
        waiting=waiting,
        expected=next((failure.expected for failure in failures if failure.expected), ""),
        todo=next((failure.todo for failure in failures if failure.todo), ""),
    )
