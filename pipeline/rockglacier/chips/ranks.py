"""Every batch in equal parts, one for each process that trains the same network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Sampler


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of how many processes this one is."""

    number: int = 0
    count: int = 1

    @property
    def share(self) -> slice:
        """Which part of a batch, or of any stream of whole batches, is its own."""
        return slice(self.number, None, self.count)


ALONE = Rank()


class SharedSampler(Sampler[Any]):
    """What a sampler gives to one of several processes.

    Parameters
    ----------
    sampler
        Gives whole batches of an epoch.
    rank
        Whose part it is. Together the parts of a batch are the batch that one process would have.
    """

    def __init__(self, sampler: Any, rank: Rank) -> None:
        self.sampler, self.rank = sampler, rank

    def __len__(self) -> int:
        """Return the number of chips of this process in an epoch."""
        return len(self.sampler) // self.rank.count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        """Yield this process's part of the next epoch."""
        for place, index in enumerate(self.sampler):
            if place % self.rank.count == self.rank.number:
                yield index
