"""Feature sets as data: which layers a set is made of, and how a layer comes from the cube.

The 2025 study shows its networks three composites of three layers and does not say what of them;
`paper-pc1`, `paper-rgb` and `triplets` are three readings of that, `stack` is everything we have,
and `bands` is that without the terrain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.curvature import curvature
from rockglacier.cube.roughness import roughness
from rockglacier.cube.terrain import SLOPE_HALO
from rockglacier.errors import InputError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

ROUGHNESS_RADIUS = 5
"""Pixels; a square of 110 m at 10 m, as a DEM of 30 m has nothing finer."""

Layers = Mapping[str, NDArray[np.float32]]
"""Layer name to (y, x) values, NaN where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeBlock:
    """A window of the cube, decoded: what layers are computed from."""

    reflectance: Mapping[str, NDArray[np.float32]]
    """Band to (y, x) reflectance, 0..1 and a little more, NaN where there is none."""
    slope: NDArray[np.float32]
    """(y, x) degrees."""
    aspect: NDArray[np.float32]
    """(y, x) degrees clockwise from true north, NaN also where it is flat."""
    elevation: NDArray[np.float32]
    """(y, x) metres, grown by ``halo`` on every side."""
    halo: int
    resolution: float
    """Edge of a pixel, metres."""

    def inner(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut the halo off an array that has the size of the elevation."""
        height, width = self.slope.shape
        return values[self.halo : self.halo + height, self.halo : self.halo + width]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How one layer comes from the cube."""

    compute: Callable[[CubeBlock], NDArray[np.float32]]
    """Returns (y, x) float32 without the halo, NaN where it is unknown."""
    band: str | None = None
    """Band that it needs."""
    halo: int = 0
    """Pixels of elevation that it needs around a window."""


def _band(name: str) -> Layer:
    return Layer(compute=lambda block: block.reflectance[name], band=name)


def _slope(block: CubeBlock) -> NDArray[np.float32]:
    return block.slope


def _aspect_sin(block: CubeBlock) -> NDArray[np.float32]:
    return _of_aspect(block, np.sin)


def _aspect_cos(block: CubeBlock) -> NDArray[np.float32]:
    return _of_aspect(block, np.cos)


def _of_aspect(
    block: CubeBlock, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Flat ground faces nowhere: 0 on both axes. Ground without a slope stays unknown."""
    values = function(np.radians(block.aspect.astype(np.float64))).astype(np.float32)
    is_flat = np.isnan(block.aspect) & ~np.isnan(block.slope)
    return np.where(is_flat, np.float32(0), values)


def _curvature(block: CubeBlock) -> NDArray[np.float32]:
    return block.inner(curvature(block.elevation, block.resolution))


def _roughness(block: CubeBlock) -> NDArray[np.float32]:
    return block.inner(roughness(block.elevation, ROUGHNESS_RADIUS))


LAYERS: dict[str, Layer] = {
    **{name: _band(name) for name in BANDS},
    "slope": Layer(compute=_slope),
    "aspect_sin": Layer(compute=_aspect_sin),
    "aspect_cos": Layer(compute=_aspect_cos),
    "curvature": Layer(compute=_curvature, halo=SLOPE_HALO),
    "roughness": Layer(compute=_roughness, halo=ROUGHNESS_RADIUS),
}
"""Every layer by name. Illumination is none of them: a flipped chip would be lit from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """A named reading of what a network should see."""

    kind: Literal["standard", "component", "stretch"]
    """A channel a layer, standardised; the first principal component of each composite of
    standardised layers; or each composite as a false-colour image, stretched to 0..1."""
    layers: tuple[str, ...]
    """Distinct layers, in order; those of a ``stack`` follow the bands of the cube."""
    composites: Mapping[str, tuple[str, ...]]
    """Layers fused or shown together."""
    every_band: bool = False
    """All bands of the cube come before ``layers``."""

    def inputs(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the layers of the set for a cube of ``bands``."""
        return (*bands, *self.layers) if self.every_band else self.layers

    def needed_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands that the set uses of a cube of ``bands``, in ascending order.

        Raises
        ------
        InputError
            The cube lacks one.
        """
        needed = {LAYERS[name].band for name in self.inputs(bands)} - {None}
        missing = [band for band in BANDS if band in needed and band not in bands]
        if missing:
            raise InputError(
                f"the feature set needs {', '.join(missing)}, which the cube does not have",
                expected=f"a cube with {', '.join(band for band in BANDS if band in needed)}; "
                f"it has {', '.join(bands)}",
                todo="add them to cube.bands, or choose another features.set",
            )
        return tuple(band for band in BANDS if band in needed)


# SCIENCE: the three composites of the 2025 paper (doi 10.3390/rs17243942, section 5.1)
COMPOSITES = {
    "swir": ("B11", "B12", "B02"),
    "visible": ("B02", "B03", "B04"),
    "terrain": ("B04", "B08", "slope"),
}
DISTINCT = ("B11", "B12", "B02", "B03", "B04", "B08", "slope")

FEATURE_SETS: dict[str, FeatureSet] = {
    "paper-pc1": FeatureSet(kind="component", layers=DISTINCT, composites=COMPOSITES),
    "paper-rgb": FeatureSet(kind="stretch", layers=DISTINCT, composites=COMPOSITES),
    "triplets": FeatureSet(kind="standard", layers=DISTINCT, composites={}),
    "stack": FeatureSet(
        kind="standard",
        layers=("slope", "aspect_sin", "aspect_cos", "curvature", "roughness"),
        composites={},
        every_band=True,
    ),
    "bands": FeatureSet(kind="standard", layers=(), composites={}, every_band=True),
}
"""Every feature set by the name it has in ``features.set``."""


def halo_of(layers: Sequence[str]) -> int:
    """Return the pixels of elevation that layers need around a window."""
    return max(LAYERS[name].halo for name in layers)
