"""Right and wrong pixels of a blended map of held-out ground, each pixel once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.model.metrics import IGNORE, as_json, confusion_matrix, scores

Counts = NDArray[np.int64]


class Infer(Protocol):
    """Gives the blended probability of a rock glacier over a rectangle."""

    def __call__(
        self,
        model: Any,
        features: zarr.Array[Any],
        window: Window,
        *,
        settings: PredictConfig | None = None,
    ) -> NDArray[np.float32]:
        """Return (height, width) float32, 0..1, NaN where features are missing."""


class Scored(Protocol):
    """What calls a pixel a rock glacier: a trained network, or several together."""

    @property
    def threshold(self) -> float:
        """Probability from which it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """What a network says of a rectangle of test ground, and a little around it."""

    window: Window
    """The test ground."""
    reach: Window
    """What is mapped: the window and more on every side, where the raster has it."""
    probability: NDArray[np.float32]
    """(y, x) of ``reach``, 0..1, NaN without features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is scored: features, labels, windows."""

    features: zarr.Array[Any]
    labels: zarr.Array[Any]
    windows: tuple[Window, ...]
    settings: PredictConfig


@dataclass(slots=True, kw_only=True)
class Score:
    """Pixels of one model on one ground, counted."""

    counts: Counts = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    pixels_without_data: int = 0
    pixels: int = 0
    mapped: int = 0
    """Pixels that were mapped in ``seconds``, those around the test ground included."""
    seconds: float = 0.0
    maps: list[Map] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores, JSON-able."""
        return {
            **as_json(scores(self.counts)),
            "confusion": self.counts.tolist(),
            "pixels_without_data": self.pixels_without_data,
        }


def score_ground(model: Scored, ground: Ground, *, infer: Infer, reach: int | None = None) -> Score:
    """Count right and wrong pixels of a blended map, window by window.

    Parameters
    ----------
    model, ground, infer
        The network, where it is scored, and how it maps.
    reach
        Keep the maps, with so many pixels around each window; None: keep none.
    """
    score, shape = Score(), (ground.features.shape[-2], ground.features.shape[-1])
    for window in ground.windows:
        mapped = window.grown(reach or 0).clipped(shape)
        start = time.perf_counter()
        around = infer(model, ground.features, mapped, settings=ground.settings)
        score.seconds += time.perf_counter() - start
        score.mapped += around.size
        if reach is not None:
            score.maps.append(Map(window=window, reach=mapped, probability=around))
        probability = around[window.within(mapped)]
        truth = np.asarray(ground.labels[window.slices])
        predicted = to_classes(probability, model.threshold)
        score.counts += confusion_matrix(truth, predicted)
        score.pixels += truth.size
        score.pixels_without_data += int((predicted == IGNORE).sum())
    return score


def to_classes(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Return 1 from the threshold on, 0 below, 255 where the probability is NaN."""
    classes = (probability >= threshold).astype(np.uint8)
    classes[np.isnan(probability)] = IGNORE
    return classes
