"""The truth of a synthetic basin: elevation, ground cover and rock glaciers on one grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import features
from rasterio.transform import array_bounds
from shapely.geometry import shape as as_shape
from shapely.geometry.base import BaseGeometry

from rockglacier.demo.ground import Ground, wanted_bodies
from rockglacier.demo.landforms import Cover
from rockglacier.demo.noise import Field, coarse_spectral, smooth, smoothstep, stream
from rockglacier.demo.relief import PIXEL_M, Relief, make_relief, slopes

SNOWLINE_M = 5060.0
"""Elevation of perennial snow on flat ground, metres."""
MEADOW_TOP_M = 4010.0
"""Elevation where meadows end, metres."""
ROCK_TAN, TALUS_TAN, MEADOW_TAN = 0.70, 0.45, 0.55
"""Slopes from which ground is bare rock, is talus, and up to which it is meadow; tangents."""
RIVER_KM2 = 9.0
"""Drainage area from which a river is as wide as a pixel, km²."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """The truth of a synthetic basin."""

    transform: Affine
    """Pixel (column, row) to metres of the CRS."""
    epsg: int
    """UTM zone."""
    elevation: Field
    """(y, x) metres, landforms included."""
    cover: NDArray[np.uint8]
    """(y, x) values of :class:`Cover`."""
    labels: NDArray[np.uint16]
    """(y, x) number of the rock glacier, from 1; 0 elsewhere."""
    tint: Field
    """(y, x) lithology of the debris, about -1 to 1; the same for every kind of debris."""
    above_snowline_m: Field
    """(y, x) height above the perennial snowline, metres; snow lies where it is positive."""
    outlines: tuple[BaseGeometry, ...]
    """Outline of rock glacier ``number - 1``, metres of the CRS."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.cover.shape[0]), int(self.cover.shape[1])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres of the CRS."""
        return array_bounds(*self.shape, self.transform)


def make_landscape(shape: tuple[int, int], *, transform: Affine, epsg: int, seed: int) -> Landscape:
    """Make a landscape.

    Parameters
    ----------
    shape
        Rows and columns of 10 m pixels.
    transform
        Pixel (column, row) to metres of the CRS.
    epsg
        UTM zone of the CRS.
    seed
        The same seed and shape make the same landscape, another seed another one.
    """
    relief = make_relief(shape, rng=stream(seed, "relief"))
    cover, above_snowline = _ground_cover(relief, seed)
    ground = Ground(
        relief.elevation,
        cover,
        tint=_tint(shape, seed),
        hummocks=_hummock_strength(cover, seed),
        seed=seed,
    )
    for kind, area_km2 in wanted_bodies(shape, seed):
        ground.add(kind, area_km2)
    outlines = tuple(_outlines(ground.labels, transform))
    return Landscape(
        transform=transform,
        epsg=epsg,
        elevation=ground.surface(),
        cover=ground.cover,
        labels=ground.labels,
        tint=ground.tint,
        above_snowline_m=above_snowline,
        outlines=outlines,
    )


def _ground_cover(relief: Relief, seed: int) -> tuple[NDArray[np.uint8], Field]:
    """Cover (y, x) before any body is laid on it, and height above the snowline."""
    shape = relief.elevation.shape
    rng = stream(seed, "cover")
    patches = coarse_spectral(
        shape, resolution=PIXEL_M, longest=2500, shortest=120, rng=rng, slope=0.8
    )
    down, across = slopes(smooth(relief.elevation, 40, resolution=PIXEL_M), resolution=PIXEL_M)
    steepness = np.hypot(down, across)
    facing_pole = down / np.maximum(steepness, 0.05)  # rows grow southward
    cover = np.where(steepness > TALUS_TAN, Cover.TALUS, Cover.MORAINE).astype(np.uint8)
    cover[steepness > ROCK_TAN + 0.07 * patches] = Cover.BEDROCK
    meadow = (relief.elevation < MEADOW_TOP_M + 130 * patches) & (steepness < MEADOW_TAN)
    cover[meadow] = Cover.VEGETATION
    cover[relief.drainage_km2 > RIVER_KM2] = Cover.WATER
    snowline = SNOWLINE_M + 90 * patches + 70 * facing_pole + 120 * (steepness > 0.8)
    above_snowline = (relief.elevation - snowline).astype(np.float32)
    cover[above_snowline > 0] = Cover.SNOW
    return cover, above_snowline


def _tint(shape: tuple[int, int], seed: int) -> Field:
    """Lithology (y, x) of the debris, which varies with the region and from place to place."""
    regional = coarse_spectral(
        shape, resolution=PIXEL_M, longest=6000, shortest=900, rng=stream(seed, "geology")
    )
    local = coarse_spectral(
        shape, resolution=PIXEL_M, longest=800, shortest=160, rng=stream(seed, "patches")
    )
    return (0.35 * regional + 0.3 * local).astype(np.float32)


def _hummock_strength(cover: NDArray[np.uint8], seed: int) -> Field:
    """Strength (y, x) of the hummocks, 1 on average on debris."""
    patches = coarse_spectral(
        cover.shape, resolution=PIXEL_M, longest=1500, shortest=250, rng=stream(seed, "rough")
    )
    strength = 0.5 + smoothstep(patches, -1.2, 1.2)
    strength[cover == Cover.WATER] = 0.05
    strength[cover == Cover.SNOW] = 0.3
    strength[cover == Cover.VEGETATION] *= 0.6
    return strength.astype(np.float32)


def _outlines(labels: NDArray[np.uint16], transform: Affine) -> Iterator[BaseGeometry]:
    """Outline of each rock glacier in the order of its number."""
    found: dict[int, list[BaseGeometry]] = {}
    for geometry, number in features.shapes(labels, labels > 0, 4, transform):
        found.setdefault(int(number), []).append(as_shape(geometry))
    for number in sorted(found):
        yield max(found[number], key=lambda polygon: polygon.area)
