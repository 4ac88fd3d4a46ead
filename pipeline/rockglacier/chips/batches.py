"""Chips read straight into one batch of stored pixels, which become features on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset, get_worker_info

from rockglacier.chips.dataset import CubeDataset, Sample
from rockglacier.grid import Window


class Source(Protocol):
    """A dataset that can fill a whole batch at once."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: Any) -> Sample:
        """Return a sample of its own."""

    def batch(self, indices: Sequence[Any]) -> Sample:
        """Return a whole batch of stored pixels."""


def batch_of(chips: Sequence[tuple[CubeDataset, Window]]) -> Sample:
    """Read chips straight into one batch of stored pixels.

    Parameters
    ----------
    chips
        Dataset and window of each; windows of one size, datasets of the same channels.

    Returns
    -------
    dict
        ``image`` int16 (B, C, H, W) and, with labels, ``mask`` uint8 (B, H, W) as stored, for
        :func:`~rockglacier.chips.dataset.as_features` on the device: a third of the bytes of
        floats, and none of them copied to be stacked. ``bounds`` float64 (B, 6) in CRS metres.
    """
    dataset, window = chips[0]
    size = (window.height, window.width)
    image = empty_batch((len(chips), len(dataset.channels), *size), torch.int16)
    bounds = [source.bounds_of(window) for source, window in chips]
    batch: Sample = {"image": image, "bounds": torch.tensor(bounds, dtype=torch.float64)}
    labels: Sequence[Any] = [None] * len(chips)
    if dataset.labels_path is not None:
        batch["mask"] = empty_batch((len(chips), *size), torch.uint8)
        labels = batch["mask"].numpy()
    for (source, window), pixels, mask in zip(chips, image.numpy(), labels, strict=True):
        source.read_into(window, pixels, mask)
    return batch


def empty_batch(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor to fill: in a worker where the training process reads it, not in a copy."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)


class InBatches(Dataset[Sample]):
    """A dataset whose samples are read straight into batches; for a loader with :func:`whole`.

    Parameters
    ----------
    source
        :class:`~rockglacier.chips.basins.MultiBasinDataset`,
        :class:`~rockglacier.chips.tiles.PooledChips` or another.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, index: Any) -> Sample:
        """Return a sample of its own, as floats."""
        return self.source[index]

    def __getitems__(self, indices: Sequence[Any]) -> Sample:
        """Return a whole batch; torch's loaders call this for all the indices of one."""
        return self.source.batch(indices)


def whole(batch: Any) -> Sample:
    """Collate what is a batch already."""
    found: Sample = batch
    return found
