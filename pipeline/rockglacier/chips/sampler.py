"""Where training chips are cut: only from their own ground, landforms often enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from torchgeo.samplers import GeoSampler

from rockglacier.chips.dataset import IGNORE, CubeDataset, Query
from rockglacier.errors import InputError
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
        Share of the chips (0..1) that are drawn around a random landform pixel that has features,
        anywhere within a quarter of a chip from their centre; the others are uniform over the
        ground.
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
        found, self._is_whole = [], []
        for window in self.windows:
            labels = dataset.labels(window)
            found.append(np.flatnonzero(labels == LANDFORM))
            self._is_whole.append(bool((labels != IGNORE).all()))
        self._pixels = np.concatenate(found)
        self._ends = np.cumsum([len(pixels) for pixels in found])
        self.positives = round(positive_share * length) if len(self._pixels) else 0
        """Chips of an epoch that are drawn around a landform pixel."""
        if positive_share and not self.positives:
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
        is_positive = rng.permutation(len(self)) < self.positives
        for wants_landform in is_positive:
            yield self._accepted(rng) if wants_landform else self._anywhere(rng)

    def natural_share(self, draws: int = 1024) -> float:
        """Return which share of the chips that are drawn anywhere touches a landform.

        Notes
        -----
        Every chip that could be drawn is looked at; with filters, ``draws`` of them.
        """
        if self._is_filtered:
            rng = np.random.default_rng((self.seed, draws))
            return float(np.mean([self._touches(self._anywhere(rng)) for _ in range(draws)]))
        touched = counted = 0.0
        for window, share in zip(self.windows, self._shares, strict=True):
            labels = self.dataset.labels(window)
            touched += share * _any_in_chip(labels == LANDFORM, self.chip).mean()
            counted += share * _any_in_chip(labels != IGNORE, self.chip).mean()
        return touched / counted if counted else 0.0

    def _touches(self, window: Window) -> bool:
        return bool((self.dataset.labels(window) == LANDFORM).any())

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
        least = self._min_valid_share
        if least and (self.dataset.labels(window) != IGNORE).mean() < least:
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
            number = int(rng.choice(len(self.windows), p=self._shares))
            ground = self.windows[number]
            y = ground.y + int(rng.integers(ground.height - self.chip + 1))
            x = ground.x + int(rng.integers(ground.width - self.chip + 1))
            window = self._inside(ground, y, x)
            if self._is_whole[number] or (self.dataset.labels(window) != IGNORE).any():
                break
        return window

    def _inside(self, ground: Window, y: int, x: int) -> Window:
        """Return the chip nearest to a corner that lies wholly inside its rectangle."""
        y = min(max(y, ground.y), ground.y + ground.height - self.chip)
        x = min(max(x, ground.x), ground.x + ground.width - self.chip)
        return Window(y=y, x=x, height=self.chip, width=self.chip)


def _any_in_chip(is_there: NDArray[np.bool_], chip: int) -> NDArray[np.uint8]:
    """Return, by upper left corner, whether a chip inside the raster holds a True."""
    found, first = is_there.view(np.uint8), chip // 2
    for axis, length in enumerate(is_there.shape):
        found = maximum_filter1d(found, chip, axis=axis, mode="constant")
        found = found.take(range(first, first + length - chip + 1), axis=axis)
    return found


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
