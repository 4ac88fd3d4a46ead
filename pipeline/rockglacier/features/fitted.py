"""A fitted feature set: the numbers that turn layers into features, frozen once they are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rockglacier.config import fingerprint
from rockglacier.errors import InputError
from rockglacier.features.sets import FEATURE_SETS, FeatureSet, Layers

SCALE = 1000
"""Stored value of a feature of 1."""
LIMIT = 32_000
NODATA = -32_768
STRETCH = (2.0, 98.0)
"""Percentiles of the training pixels that become 0 and 1 in a false-colour image."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """The numbers of a fitted feature set."""

    set: str
    """Name of the feature set."""
    bands: tuple[str, ...]
    """Bands that a cube must have."""
    layers: tuple[str, ...]
    """What goes in, in order."""
    channels: tuple[str, ...]
    """What comes out, in order."""
    mean: tuple[float, ...]
    """Of each layer over the training pixels."""
    std: tuple[float, ...]
    """Of each layer over the training pixels; 1 for a layer that never changes."""
    loadings: Mapping[str, Mapping[str, float]]
    """Channel to layer to weight, unit length; empty unless channels are principal components."""
    explained_variance: Mapping[str, float]
    """Channel to the share of its layers' variance that it keeps."""
    stretch: Mapping[str, tuple[float, float]]
    """Layer to the values that become 0 and 1; empty unless channels are stretched images."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fusion as JSON-able values, its hash among them."""
        return {**self._content, "hash": self.hash}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fusion:
        """Rebuild a fusion from :meth:`to_dict`; its hash is computed anew, never believed.

        Raises
        ------
        InputError
            A key is missing or holds something else.
        """
        try:
            return cls(
                set=str(values["set"]),
                bands=tuple(map(str, values["bands"])),
                layers=tuple(map(str, values.get("layers", values["channels"]))),
                channels=tuple(map(str, values["channels"])),
                mean=tuple(map(float, values["mean"])),
                std=tuple(map(float, values["std"])),
                loadings={
                    channel: {layer: float(weight) for layer, weight in weights.items()}
                    for channel, weights in (values.get("loadings") or {}).items()
                },
                explained_variance={
                    channel: float(share)
                    for channel, share in (values.get("explained_variance") or {}).items()
                },
                stretch={
                    layer: (float(low), float(high))
                    for layer, (low, high) in (values.get("stretch") or {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"a fusion that cannot be read: {type(error).__name__} {error}",
                expected="set, bands, layers, channels, mean and std, as the stage fuse writes",
                todo="rockglacier fuse STUDY.yaml, or get the model's file again",
            ) from error

    @cached_property
    def hash(self) -> str:
        """Fingerprint of the content."""
        return fingerprint(self._content)

    @property
    def _content(self) -> dict[str, Any]:
        return asdict(self)

    def apply(self, layers: Layers) -> NDArray[np.int16]:
        """Turn layers into stored features.

        Parameters
        ----------
        layers
            Every layer of the fusion, (y, x) float32, NaN where it is unknown.

        Returns
        -------
        ndarray
            (channel, y, x) int16: a thousand times the feature, within ±32000; -32768 in all
            channels where any layer is unknown.
        """
        given = [layers[name] for name in self.layers]
        valid = np.ones(given[0].shape, np.bool_)
        for values in given:
            valid &= np.isfinite(values)
        stored = np.full((len(self.channels), *valid.shape), NODATA, np.int16)
        for index, feature in enumerate(self._features(layers)):
            scaled = np.clip(np.rint(SCALE * feature), -LIMIT, LIMIT)
            stored[index] = np.where(valid, scaled, NODATA).astype(np.int16)
        return stored

    def _features(self, layers: Layers) -> Iterator[NDArray[np.float64]]:
        """Yield the channels one by one, so that only one is in memory as float64."""
        form = FEATURE_SETS[self.set]
        if form.kind == "standard":
            for name in self.layers:
                yield self._standardised(layers, name)
        elif form.kind == "stretch":
            for name in (name for names in form.composites.values() for name in names):
                low, high = self.stretch[name]
                yield np.clip((layers[name].astype(np.float64) - low) / (high - low), 0, 1)
        else:
            for channel in self.channels:
                yield self._component(layers, channel)

    def _component(self, layers: Layers, channel: str) -> NDArray[np.float64]:
        """Return a principal component, brought to a standard deviation of 1."""
        weights = self.loadings[channel]
        variance = len(weights) * self.explained_variance[channel]
        total = sum(weight * self._standardised(layers, layer) for layer, weight in weights.items())
        return np.asarray(total / (np.sqrt(variance) if variance > 0 else 1.0))

    def _standardised(self, layers: Layers, name: str) -> NDArray[np.float64]:
        index = self.layers.index(name)
        return (layers[name].astype(np.float64) - self.mean[index]) / self.std[index]


def fit(samples: Mapping[str, NDArray[np.float64]], *, name: str, bands: Sequence[str]) -> Fusion:
    """Fit a feature set to training pixels.

    Parameters
    ----------
    samples
        Layer to its values at the training pixels, 1-D float64, finite, in the same order.
    name
        Name of the feature set.
    bands
        Bands of the cube.

    Raises
    ------
    InputError
        There is no pixel, or the cube lacks a band.
    """
    form = FEATURE_SETS[name]
    layers = form.inputs(bands)
    if samples[layers[0]].size == 0:
        raise InputError(
            "no pixel to fit the features to: no training pixel is both known and free of snow",
            expected="training ground with clear looks and elevation",
            todo="widen search.season or the period, or hold out less ground (labels.test_share, "
            "labels.guard)",
        )
    mean = {layer: float(samples[layer].mean()) for layer in layers}
    std = {layer: _spread(samples[layer], mean[layer]) for layer in layers}
    loadings, explained, stretch = {}, {}, {}
    if form.kind == "component":
        for title, members in form.composites.items():
            standard = [(samples[layer] - mean[layer]) / std[layer] for layer in members]
            vector, share = first_component(standard)
            loadings[f"{title}-pc1"] = dict(zip(members, vector, strict=True))
            explained[f"{title}-pc1"] = share
    elif form.kind == "stretch":
        stretch = {layer: _ends(samples[layer]) for layer in layers}
    return Fusion(
        set=name,
        bands=form.needed_bands(bands),
        layers=layers,
        channels=_channels(form, layers),
        mean=tuple(mean.values()),
        std=tuple(std.values()),
        loadings=loadings,
        explained_variance=explained,
        stretch=stretch,
    )


def _channels(form: FeatureSet, layers: tuple[str, ...]) -> tuple[str, ...]:
    if form.kind == "standard":
        return layers
    if form.kind == "component":
        return tuple(f"{title}-pc1" for title in form.composites)
    return tuple(f"{title}-{layer}" for title, names in form.composites.items() for layer in names)


def first_component(
    standard: Sequence[NDArray[np.float64]],
) -> tuple[tuple[float, ...], float]:
    """Return the first principal component of standardised layers.

    Returns
    -------
    tuple of float
        Loadings of unit length; the largest by size is positive, as a component has no sign of its
        own.
    float
        Share of the variance that it keeps.
    """
    matrix = np.array([[float(np.mean(one * two)) for two in standard] for one in standard])
    values, vectors = np.linalg.eigh(matrix)
    vector = vectors[:, -1]
    # rounded, so that of two equal loadings the first decides on every machine
    if vector[np.argmax(np.round(np.abs(vector), 9))] < 0:
        vector = -vector
    total = float(values.sum())
    share = float(values[-1]) / len(standard) if total > 0 else 0.0
    return tuple(map(float, vector)), share


def _spread(values: NDArray[np.float64], mean: float) -> float:
    spread = float(values.std())
    return spread if spread > 1e-9 * max(1.0, abs(mean)) else 1.0


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, STRETCH))
    return (low, high) if high > low else (low, low + 1.0)
