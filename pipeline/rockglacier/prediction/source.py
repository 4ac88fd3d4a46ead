"""Stored features under the windows of a prediction, continued beyond the borders, read ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.prediction.windows import Lattice, reflected, windows_over

FEATURE_NODATA = -32768
STRIP = 512
"""Rows that are decoded at a time: a whole number of the store's chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """The stored features under some windows, read once, continued by reflection at the borders."""

    stored: NDArray[np.int16]
    """(H, W, C) as a processor's kernels like it, 0 (the mean) where there are none."""
    is_valid: NDArray[np.bool_]
    """(H, W): where there are features."""
    extent: Window
    """Where both lie in the raster."""
    shape: tuple[int, int]
    """Of the raster."""
    windows: tuple[Window, ...]
    """Those in which any pixel has features, in order; the others add nothing."""

    @classmethod
    def read(cls, features: zarr.Array[Any], windows: Sequence[Window]) -> FeatureSource:
        """Read what all the windows need, in one rectangle."""
        height, width = features.shape[-2:]
        first, last = windows[0], windows[-1]
        rows = reflected(first.y, last.y + last.height - first.y, length=height)
        cols = reflected(first.x, last.x + last.width - first.x, length=width)
        y, x = int(rows.min()), int(cols.min())
        extent = Window(y=y, x=x, height=int(rows.max()) + 1 - y, width=int(cols.max()) + 1 - x)
        stored = np.empty((extent.height, extent.width, features.shape[0]), np.int16)
        is_valid = np.empty(stored.shape[:2], bool)
        bottom = y + extent.height
        for top in (y, *range((y // STRIP + 1) * STRIP, bottom, STRIP)):
            below = min((top // STRIP + 1) * STRIP, bottom)
            strip = np.asarray(features[:, top:below, extent.slices[1]])
            here = slice(top - y, below - y)
            np.not_equal(strip[0], FEATURE_NODATA, out=is_valid[here])
            stored[here] = strip.transpose(1, 2, 0)
            stored[here][~is_valid[here]] = 0
        known = (
            window
            for window in windows
            if is_valid[window.clipped((height, width)).within(extent)].any()
        )
        return cls(
            stored=stored,
            is_valid=is_valid,
            extent=extent,
            shape=(height, width),
            windows=tuple(known),
        )

    def patch(self, window: Window) -> NDArray[np.int16]:
        """Return the stored features of a window, (H, W, C), mirrored beyond the raster."""
        if window == window.clipped(self.shape):
            return self.stored[window.within(self.extent)]
        y = reflected(window.y, window.height, length=self.shape[0]) - self.extent.y
        x = reflected(window.x, window.width, length=self.shape[1]) - self.extent.x
        return self.stored[y[:, None], x]

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Say which pixels of a window inside the extent have features, (H, W)."""
        return self.is_valid[window.within(self.extent)]


class SourcesAhead:
    """The features under rectangles: the next one's are read while those of one are in use.

    Parameters
    ----------
    features
        (channel, y, x) int16, -32768 nodata in all channels.
    settings
        Window, overlap and batch of the prediction.
    rectangles
        Inside the raster, in the order in which they will be asked for.
    """

    def __init__(
        self, features: zarr.Array[Any], *, settings: PredictConfig, rectangles: Sequence[Window]
    ) -> None:
        self.features, self.settings = features, settings
        height, width = features.shape[-2:]
        self.lattice = Lattice(
            shape=(height, width), window=settings.window, stride=settings.stride
        )
        self.following = dict(pairwise(rectangles))
        self.last = {
            window: rectangle
            for rectangle in rectangles
            for window in windows_over(rectangle, lattice=self.lattice)
        }
        """The last rectangle that needs a window."""
        self._read: dict[Window, Future[FeatureSource]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="features")

    def under(self, rectangle: Window) -> FeatureSource:
        """Return the features under a rectangle, and begin with those of the next."""
        near = (rectangle, self.following.get(rectangle))
        self._read = {one: self._begun(one) for one in near if one is not None}
        return self._read[rectangle].result()

    def after(self, rectangle: Window) -> FeatureSource:
        """Return the features under the next rectangle; ``under`` began to read them."""
        return self._read[self.following[rectangle]].result()

    def _begun(self, rectangle: Window) -> Future[FeatureSource]:
        if rectangle in self._read:
            return self._read[rectangle]
        windows = windows_over(rectangle, lattice=self.lattice)
        return self._reader.submit(FeatureSource.read, self.features, windows)
