"""Where chips are cut: only from their own ground, landforms often enough, each pixel scored once.

Training draws random chips, validation covers its ground like tiles, and several basins, each on a
grid of its own, form one stream.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, get_worker_info
from torchgeo.samplers import GeoSampler

from rockglacier.chips.dataset import IGNORE, CubeDataset, Query, Sample
from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Window

logger = logging.getLogger(__name__)

LANDFORM = 1
TRIES = 8
"""Draws of a chip before one without any counted pixel is taken."""
FILTER_TRIES = 1000
"""Draws of a chip before the filters are said to leave none."""


class PositiveSampler(GeoSampler):
    """Random chips, each inside one rectangle of ground, a share of them on landforms.

    Parameters
    ----------
    dataset
        The basin, with labels.
    windows
        Rectangles of the ground; a chip never reaches beyond its own. They may overlap; those
        smaller than a chip are skipped.
    chip
        Edge, pixels.
    length
        Chips in an epoch.
    positive_share
        Share of the chips (0..1) that are drawn around a random landform pixel, anywhere within a
        quarter of a chip from their centre; the others are uniform over the ground.
    seed
        An epoch's chips depend on it and on the epoch's number alone.
    min_valid_share
        Least share of a chip (0..1) that has features and a label.
    elevation
        Lower and upper limit of a chip's mean elevation, metres, with ``heights``.
    heights
        Elevation (y, x) on the grid of the dataset, metres; NaN is left out of the mean.

    Raises
    ------
    InputError
        No rectangle holds a chip, or the filters leave none.
    """

    def __init__(
        self,
        dataset: CubeDataset,
        windows: Sequence[Window],
        *,
        chip: int,
        length: int,
        positive_share: float,
        seed: int,
        min_valid_share: float = 0.0,
        elevation: tuple[float, float] | None = None,
        heights: Any = None,
    ) -> None:
        self.windows = _large_enough(windows, chip)
        self.dataset, self.chip, self.seed = dataset, chip, seed
        self._length = length
        self._epoch = 0
        self._min_valid_share = min_valid_share
        self._elevation = elevation
        self._heights: Any = heights
        areas = np.array([window.height * window.width for window in self.windows], float)
        self._shares = areas / areas.sum()
        found = [np.flatnonzero(dataset.labels(window) == LANDFORM) for window in self.windows]
        self._pixels = np.concatenate(found)
        self._ends = np.cumsum([len(pixels) for pixels in found])
        self._positives = round(positive_share * length) if len(self._pixels) else 0
        if positive_share and not self._positives:
            logger.warning("no chip is drawn on a landform: the training ground holds none")

    @property
    def landform_pixels(self) -> int:
        """Pixels of landforms in the ground; those in several rectangles count in each."""
        return len(self._pixels)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws; otherwise they follow each other."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Query]:
        """Yield the queries of the next epoch."""
        for window in self.draw(self._advance()):
            yield self.dataset.query_of(window)

    def _advance(self) -> int:
        epoch = self._epoch
        self._epoch += 1
        return epoch

    def draw(self, epoch: int) -> Iterator[Window]:
        """Yield the chips of an epoch as windows."""
        rng = np.random.default_rng((self.seed, epoch))
        is_positive = rng.permutation(len(self)) < self._positives
        for wants_landform in is_positive:
            yield self._accepted(rng) if wants_landform else self._anywhere(rng)

    def natural_share(self, draws: int = 256) -> float:
        """Return which share of uniform chips touches a landform, estimated from some of them."""
        rng = np.random.default_rng((self.seed, draws))
        touched = [
            (self.dataset.labels(self._anywhere(rng)) == LANDFORM).any() for _ in range(draws)
        ]
        return float(np.mean(touched))

    @property
    def _is_filtered(self) -> bool:
        return self._min_valid_share > 0 or self._elevation is not None

    def _accepted(self, rng: np.random.Generator) -> Window:
        if not self._is_filtered:
            return self._around_landform(rng)
        for _ in range(FILTER_TRIES):
            window = self._around_landform(rng)
            if self._passes(window):
                return window
        return self._anywhere(rng)

    def _passes(self, window: Window) -> bool:
        if self._min_valid_share and self.dataset.valid_share(window) < self._min_valid_share:
            return False
        if self._elevation is None:
            return True
        heights = np.asarray(self._heights[window.slices], dtype=np.float64)
        is_known = np.isfinite(heights)
        lowest, highest = self._elevation
        return bool(is_known.any() and lowest <= heights[is_known].mean() <= highest)

    def _around_landform(self, rng: np.random.Generator) -> Window:
        drawn = int(rng.integers(len(self._pixels)))
        ground = self.windows[int(np.searchsorted(self._ends, drawn, side="right"))]
        row, col = divmod(int(self._pixels[drawn]), ground.width)
        near = self.chip // 4
        down, right = rng.integers(-near, near + 1, 2) - self.chip // 2
        return self._inside(ground, ground.y + row + int(down), ground.x + col + int(right))

    def _anywhere(self, rng: np.random.Generator) -> Window:
        if not self._is_filtered:
            return self._counted(rng)
        for _ in range(FILTER_TRIES):
            window = self._counted(rng)
            if self._passes(window):
                return window
        raise InputError(
            f"none of {FILTER_TRIES} training chips passes train.min_valid_share "
            f"{self._min_valid_share:g} and train.elevation {self._elevation}",
            expected="filters that leave ground to train on",
            todo="lower train.min_valid_share or widen train.elevation",
        )

    def _counted(self, rng: np.random.Generator) -> Window:
        for _ in range(TRIES):
            ground = self.windows[int(rng.choice(len(self.windows), p=self._shares))]
            y = ground.y + int(rng.integers(ground.height - self.chip + 1))
            x = ground.x + int(rng.integers(ground.width - self.chip + 1))
            window = self._inside(ground, y, x)
            if (self.dataset.labels(window) != IGNORE).any():
                break
        return window

    def _inside(self, ground: Window, y: int, x: int) -> Window:
        """Return the chip nearest to a corner that lies wholly inside its rectangle."""
        y = min(max(y, ground.y), ground.y + ground.height - self.chip)
        x = min(max(x, ground.x), ground.x + ground.width - self.chip)
        return Window(y=y, x=x, height=self.chip, width=self.chip)


def _large_enough(windows: Sequence[Window], chip: int) -> list[Window]:
    kept = [window for window in windows if min(window.height, window.width) >= chip]
    if not kept:
        sizes = sorted({(window.height, window.width) for window in windows}, reverse=True)
        shown = ", ".join(f"{height} x {width}" for height, width in sizes[:3]) or "none at all"
        raise InputError(
            f"no rectangle of the training ground holds a chip of {chip} px; the largest: {shown}",
            expected=f"at least one of {chip} x {chip} px",
            todo="set a smaller train.chip, or a larger labels.split_block or area",
        )
    return kept


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


def tile(ground: Window, *, chip: int, shape: tuple[int, int]) -> Iterator[tuple[Window, Window]]:
    """Yield the chips that cover a rectangle, each with the part of the rectangle it counts.

    Parameters
    ----------
    ground
        Rectangle inside the grid.
    chip
        Edge, pixels.
    shape
        Rows and columns of the grid; a chip leaves it only where the grid is smaller than a chip.
    """
    for y in range(ground.y, ground.y + ground.height, chip):
        for x in range(ground.x, ground.x + ground.width, chip):
            height = min(chip, ground.y + ground.height - y)
            width = min(chip, ground.x + ground.width - x)
            top = max(min(y, ground.y + ground.height - chip), 0)
            left = max(min(x, ground.x + ground.width - chip), 0)
            window = Window(
                y=max(min(top, shape[0] - chip), 0),
                x=max(min(left, shape[1] - chip), 0),
                height=chip,
                width=chip,
            )
            yield window, Window(y=y, x=x, height=height, width=width)


class MultiBasinDataset(Dataset[Sample]):
    """Several basins, each on a grid of its own; an index is (number of the basin, query).

    TorchGeo's ``UnionDataset`` would rewrite the CRS of all but the first basin.

    Parameters
    ----------
    datasets
        Basins with the same channels and size of pixels.

    Raises
    ------
    ContractError
        They differ in channels or resolution.
    """

    def __init__(self, datasets: Sequence[CubeDataset]) -> None:
        self.datasets = list(datasets)
        first = self.datasets[0]
        for other in self.datasets[1:]:
            if (other.channels, other.res) != (first.channels, first.res):
                raise ContractError(
                    f"the basin {str(other.features_path)!r} has channels "
                    f"{', '.join(other.channels)} at {other.res[0]:g} m",
                    expected=f"{', '.join(first.channels)} at {first.res[0]:g} m, as "
                    f"{str(first.features_path)!r} has",
                    todo="build and fuse the basins with the same settings",
                )

    def __len__(self) -> int:
        """Return the number of basins."""
        return len(self.datasets)

    def __getitem__(self, index: tuple[int, Query]) -> Sample:
        """Return the sample of a query to one of the basins."""
        basin, query = index
        return self.datasets[basin][query]

    def batch(self, indices: Sequence[tuple[int, Query]]) -> Sample:
        """Return a whole batch of stored pixels; see :func:`batch_of`."""
        pairs = [(self.datasets[basin], query) for basin, query in indices]
        return batch_of([(dataset, dataset.window_of(query)) for dataset, query in pairs])


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
        :class:`MultiBasinDataset` or :class:`PooledChips`.
    """

    def __init__(self, source: MultiBasinDataset | PooledChips) -> None:
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
        """Return a whole batch; see :func:`batch_of`. Masks are 255 where they do not count."""
        chosen = [self.chips[index] for index in indices]
        batch = batch_of([(part.dataset, part.chips[number][0]) for part, number in chosen])
        for (part, number), mask in zip(chosen, batch["mask"], strict=True):
            window, counted = part.chips[number]
            inside = counted.within(window)
            labels = mask[inside].clone()
            mask.fill_(IGNORE)
            mask[inside] = labels
        return batch


class MultiBasinSampler(Sampler[tuple[int, Query]]):
    """The queries of several basins in turn, as indices of :class:`MultiBasinDataset`.

    Parameters
    ----------
    samplers
        By number of the basin in the dataset; basins without one give no chips.
    """

    def __init__(self, samplers: Mapping[int, PositiveSampler]) -> None:
        self.samplers = dict(samplers)

    def __len__(self) -> int:
        """Return the number of chips in an epoch."""
        return sum(len(sampler) for sampler in self.samplers.values())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        for sampler in self.samplers.values():
            sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, Query]]:
        """Yield the next epoch, basins in turn until each has given all its chips."""
        for turn in zip_longest(*self.samplers.values()):
            for basin, query in zip(self.samplers, turn, strict=True):
                if query is not None:
                    yield basin, query
