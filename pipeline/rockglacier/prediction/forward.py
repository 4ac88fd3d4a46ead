"""A network on the windows under a rectangle: fixed batches, each window once, blended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import batched

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rockglacier.grid import Window
from rockglacier.prediction.blend import blend, blend_weights
from rockglacier.prediction.source import FeatureSource, SourcesAhead
from rockglacier.prediction.views import Viewer

FEATURE_SCALE = 1e-3
SHARED_BYTES = 512 * 2**20
"""Most that is kept of shared windows; beyond it they are computed again."""
Group = Sequence[tuple[FeatureSource, Window]]
"""Windows of a batch, and where their features are."""
AHEAD = 2
"""Batches that are handed to the network before their results are needed: one that it works on, and
one that lies ready when that is done."""


class Inference:
    """Blended probabilities of rectangles of one feature raster, each window computed once.

    Parameters
    ----------
    viewer
        Of a model whose channels are those of the features.
    sources
        The features of the rectangles that will be asked for, in this order: windows that several
        of them need are kept in between, and batches reach into the next.
    executor
        In which the network runs, one batch after the other; what is read, blended and written
        meanwhile is in the caller's thread.
    shared_bytes
        Most that is kept of windows that several rectangles need.

    Notes
    -----
    Batches have one shape, the last padded: kernels are chosen by shape, and only with one shape
    are a window's probabilities the same bits whatever else is in its batch.
    """

    def __init__(
        self,
        *,
        viewer: Viewer,
        sources: SourcesAhead,
        executor: Executor,
        shared_bytes: int = SHARED_BYTES,
    ) -> None:
        self.viewer, self.sources, self.settings = viewer, sources, sources.settings
        self.shared_bytes = shared_bytes
        self.known: dict[Window, NDArray[np.float32]] = {}
        self._executor = executor
        self._flying: deque[tuple[list[Window], Future[NDArray[np.float32]]]] = deque()

    def probability(self, rectangle: Window) -> NDArray[np.float32]:
        """Return the probability of a rock glacier, (height, width) float32, NaN where unknown."""
        source = self.sources.under(rectangle)
        weights = blend_weights(self.settings.window)
        result = blend(rectangle, self._parts(rectangle, source), weights=weights)
        result[~source.valid(rectangle)] = np.nan
        return result

    def _parts(
        self, rectangle: Window, source: FeatureSource
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        missing = [window for window in source.windows if not self._is_given(window)]
        wanted = self._batches(rectangle, source, missing)
        for window in source.windows:
            self._send(wanted)
            while window not in self.known:
                self._land()
                self._send(wanted)
            yield window, self.known[window]
            if self.sources.last[window] == rectangle or self._held_bytes > self.shared_bytes:
                del self.known[window]

    @property
    def _held_bytes(self) -> int:
        return 4 * self.settings.window**2 * len(self.known)

    def _batches(
        self, rectangle: Window, source: FeatureSource, missing: Sequence[Window]
    ) -> Iterator[Group]:
        """Yield what the network has not been given yet, of a rectangle, then of the next.

        Windows of the next that do not fill a batch are left for those of the one after it.
        """
        size, following = self.settings.batch, self.sources.following
        is_more = following.get(rectangle) in following
        groups = batched(self._wanted(rectangle, source, missing), size)
        for number, group in enumerate(groups):
            if number * size < len(missing) or len(group) == size or not is_more:
                yield group

    def _wanted(
        self, rectangle: Window, source: FeatureSource, missing: Sequence[Window]
    ) -> Iterator[tuple[FeatureSource, Window]]:
        """Yield what the network has not been given yet, of a rectangle, then of the next."""
        yield from ((source, window) for window in missing)
        if rectangle in self.sources.following:
            passed = set(source.windows)  # what was let go of them is not computed again here
            ahead = self.sources.after(rectangle)
            for window in ahead.windows:
                if window not in passed and not self._is_given(window):
                    yield ahead, window

    def _is_given(self, window: Window) -> bool:
        return window in self.known or any(window in group for group, _ in self._flying)

    def _send(self, batches: Iterator[Group]) -> None:
        """Give the network batches until enough are under way."""
        while len(self._flying) < AHEAD and (group := next(batches, None)) is not None:
            future = self._executor.submit(self._forward, self._batch(group))
            self._flying.append(([window for _, window in group], future))

    def _batch(self, group: Sequence[tuple[FeatureSource, Window]]) -> Tensor:
        edge, channels = self.settings.window, group[0][0].stored.shape[-1]
        batch = np.zeros((self.settings.batch, edge, edge, channels), np.int16)
        for slot, (source, window) in zip(batch, group, strict=False):
            slot[:] = source.patch(window)
        return torch.from_numpy(batch).permute(0, 3, 1, 2)

    def _forward(self, batch: Tensor) -> NDArray[np.float32]:
        image = standardised(batch.to(self.viewer.model.device))
        found: NDArray[np.float32] = self.viewer.probability(image).cpu().numpy()
        return found

    def _land(self) -> None:
        """Keep what the network says of the batch that it got first."""
        group, future = self._flying.popleft()
        for window, part in zip(group, future.result(), strict=False):
            self.known[window] = part.copy()  # lest one that is kept hold its whole batch in memory


def standardised(stored: Tensor) -> Tensor:
    """Return stored features as a network sees them.

    Parameters
    ----------
    stored
        int16 (B, C, H, W), thousandths of a standard deviation, 0 where there are none.

    Returns
    -------
    Tensor
        float32 (B, C, H, W), of the same order in memory, on the same device.
    """
    return stored.to(torch.float32).mul_(FEATURE_SCALE)
