"""Several networks, or one in several views, as one: mean, spread and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig, fingerprint
from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.forward import SHARED_BYTES, Inference
from rockglacier.prediction.source import SourcesAhead
from rockglacier.prediction.store import AGREEMENT, PROBABILITY, SPREAD
from rockglacier.prediction.views import VIEWS, View, Viewer

Layers = dict[str, NDArray[np.float32]]
"""(y, x) of a rectangle by name, 0..1, NaN where unknown."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Trained networks that predict together.

    Notes
    -----
    A *pass* is one network in one view. The probability is the mean of all passes; the spread is
    their standard deviation (that of a population); the agreement is the share of the *networks*,
    each the mean of its trials and views, that reach their own threshold.
    """

    models: tuple[TrainedModel, ...]
    """At least one; trials of a network have its name."""
    views: tuple[View, ...] = VIEWS[:1]

    @classmethod
    def of(cls, models: Sequence[TrainedModel], settings: PredictConfig) -> Ensemble:
        """Return models in the views and at the temperature of the settings.

        Raises
        ------
        InputError
            The models read different features.
        """
        first, *others = models
        for other in others:
            if (other.channels, other.fusion_hash) != (first.channels, first.fusion_hash):
                raise InputError(
                    f"an ensemble of {first.name} and {other.name}, which read other features",
                    expected="networks that were trained on the same features",
                    todo="rockglacier train STUDY.yaml",
                )
        return cls(
            models=tuple(model.at_temperature(settings.temperature) for model in models),
            views=VIEWS[: settings.views],
        )

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks, each once."""
        return tuple(dict.fromkeys(model.name for model in self.models))

    @property
    def passes(self) -> int:
        """How often every window passes a network."""
        return len(self.models) * len(self.views)

    @property
    def layers(self) -> tuple[str, ...]:
        """What it says of a pixel: spread from two passes on, agreement from two networks on."""
        several = [SPREAD] if self.passes > 1 else []
        return (PROBABILITY, *several, *([AGREEMENT] if len(self.networks) > 1 else []))

    @property
    def title(self) -> str:
        """What predicts, for people."""
        if len(self.models) == 1:
            return f"{self.models[0].name} {self.models[0].fingerprint}"
        return f"{len(self.models)} models ({', '.join(self.networks)}) {self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """Short hash of what it says of given features."""
        return fingerprint([[model.fingerprint for model in self.models], len(self.views)])


class EnsembleInference:
    """An ensemble on rectangles of one feature raster, its passes one after the other.

    Parameters
    ----------
    ensemble
        Its channels are those of the features.
    features
        (channel, y, x) int16, thousandths of a standard deviation, -32768 nodata in all channels.
    settings
        Window, overlap and batch.
    rectangles
        What will be asked for, inside the raster and in this order.
    executor
        In which the networks run, one call after the other.
    """

    def __init__(
        self,
        *,
        ensemble: Ensemble,
        features: zarr.Array[Any],
        settings: PredictConfig,
        rectangles: Sequence[Window],
        executor: Executor,
    ) -> None:
        self.ensemble = ensemble
        sources = SourcesAhead(features, settings=settings, rectangles=rectangles)
        self._passes = [
            (
                model,
                Inference(
                    viewer=Viewer(model, view),
                    sources=sources,
                    executor=executor,
                    shared_bytes=SHARED_BYTES // ensemble.passes,
                ),
            )
            for model in ensemble.models
            for view in ensemble.views
        ]

    def layers(self, rectangle: Window) -> Layers:
        """Return what the ensemble says of a rectangle, as named by its ``layers``.

        Notes
        -----
        Every pass is blended by itself and in the same order, so that each pixel is the same bits
        whatever the rectangle.
        """
        if self.ensemble.passes == 1:
            return {PROBABILITY: self._passes[0][1].probability(rectangle)}
        tally = _Tally(self.ensemble, (rectangle.height, rectangle.width))
        for model, inference in self._passes:
            tally.add(model.name, inference.probability(rectangle))
        return tally.layers()


class _Tally:
    """Mean and spread of passes as they come, by Welford's sums: memory for one at a time."""

    def __init__(self, ensemble: Ensemble, shape: tuple[int, int]) -> None:
        self._ensemble = ensemble
        self._count = 0
        self._mean, self._squares = np.zeros(shape), np.zeros(shape)
        self._networks = {name: np.zeros(shape) for name in ensemble.networks}

    def add(self, network: str, probability: NDArray[np.float32]) -> None:
        self._count += 1
        change = probability - self._mean
        self._mean += change / self._count
        self._squares += change * (probability - self._mean)
        self._networks[network] += probability

    def layers(self) -> Layers:
        found = {PROBABILITY: self._mean, SPREAD: np.sqrt(self._squares / self._count)}
        if len(self._networks) > 1:
            found[AGREEMENT] = self._agreement()
        return {name: values.astype(np.float32) for name, values in found.items()}

    def _agreement(self) -> NDArray[np.float64]:
        votes = np.zeros_like(self._mean)
        for name, total in self._networks.items():
            own = [model.threshold for model in self._ensemble.models if model.name == name]
            mean = total / (len(own) * len(self._ensemble.views))
            votes += mean.astype(np.float32) >= np.float32(np.mean(own))
        votes[np.isnan(self._mean)] = np.nan
        return votes / len(self._networks)
