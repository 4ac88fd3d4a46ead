"""A network on the windows under a rectangle: fixed batches, each window once, blended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.prediction.blend import blend, blend_weights
from rockglacier.prediction.source import FEATURE_NODATA, FeatureSource
from rockglacier.prediction.views import Viewer
from rockglacier.prediction.windows import Lattice, windows_over

FEATURE_SCALE = 1e-3
SHARED_BYTES = 512 * 2**20
"""Most that is kept of shared windows; beyond it they are computed again."""


class Inference:
    """Blended probabilities of rectangles of one feature raster, each window computed once.

    Parameters
    ----------
    viewer
        Of a model whose channels are those of the features.
    features
        (channel, y, x) int16, thousandths of a standard deviation, -32768 nodata in all channels.
    settings
        Window, overlap and batch.
    rectangles
        What will be asked for, inside the raster and in this order: windows that several of them
        need are kept in between, and a batch is filled up with windows of the next.
    shared_bytes
        Most that is kept of such windows.

    Notes
    -----
    Batches have one shape, the last padded: kernels are chosen by shape, and only with one shape
    are a window's probabilities the same bits whatever else is in its batch.
    """

    def __init__(
        self,
        *,
        viewer: Viewer,
        features: zarr.Array[Any],
        settings: PredictConfig,
        rectangles: Sequence[Window],
        shared_bytes: int | None = None,
    ) -> None:
        self.viewer, self.features, self.settings = viewer, features, settings
        self.shared_bytes = SHARED_BYTES if shared_bytes is None else shared_bytes
        height, width = features.shape[-2:]
        self.lattice = Lattice(
            shape=(height, width), window=settings.window, stride=settings.stride
        )
        self.known: dict[Window, NDArray[np.float32]] = {}
        self._next = dict(pairwise(rectangles))
        self._uses = Counter(
            window for part in rectangles for window in windows_over(part, lattice=self.lattice)
        )

    def probability(self, rectangle: Window) -> NDArray[np.float32]:
        """Return the probability of a rock glacier, (height, width) float32, NaN where unknown."""
        windows = windows_over(rectangle, lattice=self.lattice)
        if not windows:
            return np.full((rectangle.height, rectangle.width), np.nan, np.float32)
        source = FeatureSource.read(self.features, windows)
        windows = [window for window in windows if source.is_known(window)]
        weights = blend_weights(self.settings.window)
        result = blend(rectangle, self._parts(rectangle, source, windows), weights=weights)
        result[~source.valid(rectangle)] = np.nan
        return result

    def _parts(
        self, rectangle: Window, source: FeatureSource, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        missing = [window for window in windows if window not in self.known]
        for window in windows:
            if window not in self.known:
                group, missing = missing[: self.settings.batch], missing[self.settings.batch :]
                patches = {window: source.patch(window) for window in group}
                patches |= self._patches_ahead(rectangle, self.settings.batch - len(group))
                self.known.update(self._forward(patches))
            yield window, self.known[window]
            self._uses[window] -= 1
            if self._uses[window] <= 0 or self._held_bytes > self.shared_bytes:
                del self.known[window]

    @property
    def _held_bytes(self) -> int:
        return 4 * self.settings.window**2 * len(self.known)

    def _patches_ahead(self, rectangle: Window, room: int) -> dict[Window, NDArray[np.int16]]:
        """Return what the next rectangle needs first, to use the rest of a batch."""
        following = self._next.get(rectangle)
        if following is None or not room:
            return {}
        own = set(windows_over(rectangle, lattice=self.lattice))
        candidates = [
            window
            for window in windows_over(following, lattice=self.lattice)
            if window not in own and window not in self.known
        ]
        sources = {
            window: FeatureSource.read(self.features, [window]) for window in candidates[:room]
        }
        return {
            window: source.patch(window)
            for window, source in sources.items()
            if source.is_known(window)
        }

    def _forward(
        self, patches: Mapping[Window, NDArray[np.int16]]
    ) -> dict[Window, NDArray[np.float32]]:
        shape = (
            self.settings.batch,
            self.features.shape[0],
            *next(iter(patches.values())).shape[1:],
        )
        batch = np.full(shape, FEATURE_NODATA, np.int16)
        for slot, patch in zip(batch, patches.values(), strict=False):
            slot[:] = patch
        image = standardised(torch.from_numpy(batch).to(self.viewer.model.device))
        probability = self.viewer.probability(image).cpu().numpy()
        # copies, lest one kept window hold its whole batch in memory
        return {window: part.copy() for window, part in zip(patches, probability, strict=False)}


def standardised(stored: Tensor) -> Tensor:
    """Return stored features as a network sees them, 0 (the mean) where there are none.

    Parameters
    ----------
    stored
        int16 (B, C, H, W), thousandths of a standard deviation, -32768 nodata.

    Returns
    -------
    Tensor
        float32 (B, C, H, W), channels last, on the same device.
    """
    image = stored.to(torch.float32, memory_format=torch.channels_last).mul_(FEATURE_SCALE)
    return image.masked_fill_(stored[:, :1] == FEATURE_NODATA, 0)
