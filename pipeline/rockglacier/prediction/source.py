"""Stored features under the windows of a prediction, continued beyond the borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.grid import Window
from rockglacier.prediction.windows import reflected

FEATURE_NODATA = -32768


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """The stored features under some windows, read once, continued by reflection at the borders."""

    stored: NDArray[np.int16]
    extent: Window
    """Where ``stored`` lies in the raster."""
    shape: tuple[int, int]
    """Of the raster."""

    @classmethod
    def read(cls, features: zarr.Array[Any], windows: Sequence[Window]) -> FeatureSource:
        """Read what all the windows need, in one rectangle."""
        height, width = features.shape[-2:]
        first, last = windows[0], windows[-1]
        rows = reflected(first.y, last.y + last.height - first.y, length=height)
        cols = reflected(first.x, last.x + last.width - first.x, length=width)
        y, x = int(rows.min()), int(cols.min())
        extent = Window(y=y, x=x, height=int(rows.max()) + 1 - y, width=int(cols.max()) + 1 - x)
        stored = np.asarray(features[(slice(None), *extent.slices)])
        return cls(stored=stored, extent=extent, shape=(height, width))

    def patch(self, window: Window) -> NDArray[np.int16]:
        """Return the stored features of a window, (C, H, W), mirrored beyond the raster."""
        if window == window.clipped(self.shape):
            rows, cols = window.within(self.extent)
            return self.stored[:, rows, cols]
        y = reflected(window.y, window.height, length=self.shape[0]) - self.extent.y
        x = reflected(window.x, window.width, length=self.shape[1]) - self.extent.x
        return self.stored[:, y[:, None], x[None, :]]

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Say which pixels of a window inside the extent have features, (H, W)."""
        rows, cols = window.within(self.extent)
        return self.stored[0, rows, cols] != FEATURE_NODATA

    def is_known(self, window: Window) -> bool:
        """Say whether any pixel of a window has features; a window without any adds nothing."""
        return bool(self.valid(window.clipped(self.shape)).any())
