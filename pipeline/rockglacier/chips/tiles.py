"""Chips that cover ground like tiles, so that each pixel is scored once."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from rockglacier.chips.batches import batch_of
from rockglacier.chips.dataset import IGNORE, CubeDataset, Sample
from rockglacier.chips.ground import tile
from rockglacier.grid import Window


class GroundChips(Dataset[Sample]):
    """Chips that cover rectangles of ground so that each pixel counts in exactly one of them.

    A chip at the end of a rectangle is moved back inside it, and what another chip has covered is
    255 in its mask, as is what lies outside the rectangle where that is smaller than a chip. Chips
    that would count no pixel are left out.

    Parameters
    ----------
    dataset
        The basin, with labels.
    windows
        Rectangles of the ground.
    chip
        Edge, pixels.
    """

    def __init__(self, dataset: CubeDataset, windows: Sequence[Window], *, chip: int) -> None:
        self.dataset = dataset
        self.chips = [
            (window, counted)
            for ground in windows
            for window, counted in tile(ground, chip=chip, shape=dataset.shape)
            if (dataset.labels(counted) != IGNORE).any()
        ]

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.chips)

    def __getitem__(self, index: int) -> Sample:
        """Return a chip; its mask is 255 wherever it does not count."""
        window, counted = self.chips[index]
        sample = self.dataset.sample(window)
        part = counted.within(window)
        mask = sample["mask"].new_full(sample["mask"].shape, IGNORE)
        mask[part] = sample["mask"][part]
        return {**sample, "mask": mask}


class PooledChips(Dataset[Sample]):
    """The chips of several :class:`GroundChips`, one after the other.

    Parameters
    ----------
    parts
        Of basins with the same channels, cut at the same size.
    """

    def __init__(self, parts: Sequence[GroundChips]) -> None:
        self.chips = [(part, number) for part in parts for number in range(len(part))]

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.chips)

    def __getitem__(self, index: int) -> Sample:
        """Return a chip."""
        part, number = self.chips[index]
        return part[number]

    def batch(self, indices: Sequence[int]) -> Sample:
        """Return a whole batch; masks are 255 where they do not count.

        See :func:`~rockglacier.chips.batches.batch_of`.
        """
        chosen = [self.chips[index] for index in indices]
        batch = batch_of([(part.dataset, part.chips[number][0]) for part, number in chosen])
        for (part, number), mask in zip(chosen, batch["mask"], strict=True):
            window, counted = part.chips[number]
            inside = counted.within(window)
            labels = mask[inside].clone()
            mask.fill_(IGNORE)
            mask[inside] = labels
        return batch
