"""A network on the windows under a rectangle: fixed batches, each window once, blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.blend import blend, blend_weights
from rockglacier.prediction.source import FeatureSource
from rockglacier.prediction.windows import Lattice, windows_over

SHARED_BYTES = 512 * 2**20
"""Most that is kept of windows which later blocks need too; beyond it they are computed again."""

Known = dict[Window, NDArray[np.float32]]


@dataclass(kw_only=True)
class Inference:
    """Probabilities of rectangles of one feature raster, from one lattice of windows.

    Windows that reach into a rectangle asked for later can be kept, so that each is computed once.
    """

    model: TrainedModel
    features: zarr.Array[Any]
    """(channel, y, x) int16, thousandths of a standard deviation, -32768 nodata in all channels."""
    settings: PredictConfig
    """Window, overlap and batch."""
    known: Known = field(default_factory=dict)

    @property
    def lattice(self) -> Lattice:
        """The windows of the whole raster."""
        height, width = self.features.shape[-2:]
        return Lattice(
            shape=(height, width), window=self.settings.window, stride=self.settings.stride
        )

    def probability(
        self, rectangle: Window, *, keep: Callable[[Window], bool] = lambda _: False
    ) -> NDArray[np.float32]:
        """Return the probability of a rock glacier, (height, width) float32, NaN where unknown.

        Parameters
        ----------
        rectangle
            Pixels inside the raster.
        keep
            Says of a window whether a later rectangle needs it too.
        """
        self._forget_above(rectangle.y)
        windows = windows_over(rectangle, lattice=self.lattice)
        if not windows:
            return np.full((rectangle.height, rectangle.width), np.nan, np.float32)
        source = FeatureSource.read(self.features, windows)
        windows = [window for window in windows if source.is_known(window)]
        weights = blend_weights(self.settings.window)
        result = blend(rectangle, self._parts(source, windows, keep), weights=weights)
        result[~source.valid(rectangle)] = np.nan
        return result

    def _parts(
        self, source: FeatureSource, windows: Sequence[Window], keep: Callable[[Window], bool]
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        missing = [window for window in windows if window not in self.known]
        for window in windows:
            if window not in self.known:
                group, missing = missing[: self.settings.batch], missing[self.settings.batch :]
                self.known.update(zip(group, self._forward(source, group), strict=True))
            yield window, self.known[window]
            if not (keep(window) and len(self.known) * 4 * self.settings.window**2 < SHARED_BYTES):
                del self.known[window]

    def _forget_above(self, row: int) -> None:
        """Drop windows kept for rectangles that were never asked for, those of finished blocks."""
        for window in [window for window in self.known if window.y + window.height <= row]:
            del self.known[window]

    def _forward(self, source: FeatureSource, group: Sequence[Window]) -> NDArray[np.float32]:
        """Return (window, y, x) probabilities; the batch always has its full shape.

        Kernels are chosen by shape: only with one shape are a window's probabilities the same bits
        whatever else is in its batch.
        """
        edge = self.settings.window
        batch = np.zeros((self.settings.batch, self.features.shape[0], edge, edge), np.float32)
        for slot, window in zip(batch, group, strict=False):
            source.standardised(window, out=slot)
        return self.model.probability(torch.from_numpy(batch))[: len(group)].cpu().numpy()
