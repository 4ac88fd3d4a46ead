"""What Sentinel-2 sees of the landscape: reflectance, clouds, scene classes, digital numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from rockglacier.demo.acquisitions import Acquisition, Tile
from rockglacier.demo.landforms import Cover
from rockglacier.demo.light import Sun, cast_shadow, incidence_cosine
from rockglacier.demo.noise import Field, coarse_spectral, enlarge, smooth, smoothstep, stream
from rockglacier.demo.relief import PIXEL_M
from rockglacier.demo.terrain import Landscape

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
FINE_BANDS = ("B02", "B03", "B04", "B08")
"""Bands of 10 m pixels; the others have 20 m."""

# Reflectance of each band under even light: orders of magnitude of high-mountain surfaces.
LIGHT_DEBRIS = (0.200, 0.225, 0.250, 0.290, 0.330, 0.300)
DARK_DEBRIS = (0.085, 0.095, 0.105, 0.130, 0.175, 0.165)
MEADOW = (0.045, 0.075, 0.070, 0.270, 0.190, 0.110)
MELTWATER = (0.130, 0.150, 0.140, 0.080, 0.030, 0.020)
SNOW = (0.860, 0.860, 0.850, 0.780, 0.120, 0.100)
CLOUD = (0.620, 0.610, 0.610, 0.640, 0.480, 0.360)
BEDROCK_FACTOR = 0.93
"""Bedrock is a little darker than the debris that it sheds."""
DIFFUSE_SHARE = (0.22, 0.18, 0.14, 0.10, 0.05, 0.04)
"""Share of the light on level ground that comes from the sky."""
HAZE_FALL = (1.0, 0.7, 0.5, 0.25, 0.05, 0.02)
"""Haze in each band relative to the blue."""
GRAIN = 0.05
"""Standard deviation of the brightness from pixel to pixel, relative."""
BAND_GRAIN = 0.015
"""The part of it that differs from band to band."""
HOLLOW_M = 35.0
"""Deviation of the smoothing that tells hollows from humps, metres."""
HOLLOW_DARKENING = 0.08
"""How much darker the ground is a metre below its surroundings: fines and water gather there."""
LOOK_GRAIN = 0.008
"""Standard deviation of the sensor's noise, relative."""

CLOUD_HEIGHT_M = 1800.0
"""Height of the clouds above the ground, metres."""
DARK_COSINE = 0.06
"""Ground lit more obliquely than this counts as topographic shadow."""

SCL_NODATA, SCL_DARK, SCL_CLOUD_SHADOW, SCL_VEGETATION, SCL_BARE, SCL_WATER = 0, 2, 3, 4, 5, 6
SCL_UNCLASSIFIED, SCL_CLOUD_MEDIUM, SCL_CLOUD_HIGH, SCL_CIRRUS, SCL_SNOW = 7, 8, 9, 10, 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One overpass, on 10 m pixels."""

    reflectance: Field
    """(band, y, x), unitless."""
    cloud: Field
    """(y, x) opacity of cloud, 0 to 1."""
    cloud_shadow: Field
    """(y, x) share of direct light that clouds take, 0 to 1."""
    dark: Field
    """(y, x) 1 in topographic shadow."""
    snow: Field
    """(y, x) 1 on snow."""
    cover: NDArray[np.uint8]
    """(y, x) values of :class:`Cover`, 0 outside the terrain."""
    valid: NDArray[np.bool_]
    """(y, x) seen by the sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePixels:
    """What is written for one item."""

    bands: dict[str, NDArray[np.uint16]]
    """Digital numbers (y, x) at 10 or 20 m, 0 = nodata."""
    scl: NDArray[np.uint8]
    """Scene classes (y, x) at 20 m, 0 = nodata."""


def ground_reflectance(landscape: Landscape, *, seed: int) -> Field:
    """Return reflectance (band, y, x) under even light, without snow.

    Talus, moraine, debris-covered glaciers and rock glaciers share one mixture of two lithologies:
    nothing in the colour of a pixel tells them apart.
    """
    share = np.clip(0.5 + 0.5 * landscape.tint, 0, 1)
    rng = stream(seed, "grain")
    grain = 1 + GRAIN * rng.standard_normal(landscape.shape, dtype=np.float32)
    grain *= 1 + HOLLOW_DARKENING * _humps(landscape.elevation)
    grain *= np.where(landscape.cover == Cover.BEDROCK, BEDROCK_FACTOR, 1).astype(np.float32)
    meadow = landscape.cover == Cover.VEGETATION
    water = landscape.cover == Cover.WATER
    result = np.empty((len(BANDS), *landscape.shape), np.float32)
    for band, (light, dark) in enumerate(zip(LIGHT_DEBRIS, DARK_DEBRIS, strict=True)):
        values = (dark + (light - dark) * share).astype(np.float32)
        values[meadow] = 0.7 * MEADOW[band] + 0.3 * values[meadow]
        values[water] = MELTWATER[band]
        values *= grain
        values *= 1 + BAND_GRAIN * rng.standard_normal(landscape.shape, dtype=np.float32)
        result[band] = values
    return result


def _humps(elevation: Field) -> Field:
    """Height (y, x) above the surroundings, metres, at most 4."""
    return np.clip(elevation - smooth(elevation, HOLLOW_M, resolution=PIXEL_M), -4, 4)


def look_at(landscape: Landscape, ground: Field, acquisition: Acquisition, *, seed: int) -> Look:
    """Light the ground as it was on one day, with that day's snow and clouds.

    Parameters
    ----------
    landscape
        The truth.
    ground
        (band, y, x) reflectance under even light.
    acquisition
        The overpass.
    seed
        Seed of the basin; each overpass has its own noise.
    """
    day = f"{acquisition.time:%Y%m%d}"
    cosine = incidence_cosine(landscape.elevation, acquisition.sun, resolution=PIXEL_M)
    hidden = cast_shadow(landscape.elevation, acquisition.sun, resolution=PIXEL_M)
    direct = np.where(hidden, 0, cosine / math.sin(math.radians(acquisition.sun.elevation)))
    cloud = _clouds(landscape.shape, acquisition.cloud_share, stream(seed, "cloud", day))
    shadow = _cloud_shadow(cloud, acquisition.sun)
    direct = (direct * (1 - 0.85 * shadow)).astype(np.float32)
    snow = landscape.above_snowline_m > acquisition.snowline_shift_m
    rng = stream(seed, "look", day)
    gain = 1 + 0.02 * float(rng.standard_normal())
    reflectance = np.empty_like(ground)
    for band in range(len(BANDS)):
        diffuse = DIFFUSE_SHARE[band]
        values = np.where(snow, np.float32(SNOW[band]), ground[band])
        values *= diffuse + (1 - diffuse) * direct
        values *= gain + LOOK_GRAIN * rng.standard_normal(values.shape, dtype=np.float32)
        values += acquisition.haze * HAZE_FALL[band]
        values += cloud * (CLOUD[band] - values)
        reflectance[band] = values
    return Look(
        reflectance=reflectance,
        cloud=cloud,
        cloud_shadow=shadow,
        dark=(hidden | (cosine < DARK_COSINE)).astype(np.float32),
        snow=snow.astype(np.float32),
        cover=landscape.cover,
        valid=np.ones(landscape.shape, bool),
    )


def _clouds(shape: tuple[int, int], share: float, rng: np.random.Generator) -> Field:
    """Opacity (y, x) of clouds over a given share of the ground, some of it thin."""
    field = coarse_spectral(
        shape, resolution=PIXEL_M, longest=3500, shortest=160, rng=rng, slope=1.4
    )
    edge = float(np.quantile(field, 1 - share))
    return smoothstep(field, edge, edge + 0.22)


def _cloud_shadow(cloud: Field, sun: Sun) -> Field:
    """Clouds moved to where they hide the sun."""
    away = CLOUD_HEIGHT_M / math.tan(math.radians(sun.elevation)) / PIXEL_M
    azimuth = math.radians(sun.azimuth)
    rows, columns = round(math.cos(azimuth) * away), round(-math.sin(azimuth) * away)
    moved: Field = ndimage.shift(cloud, (rows, columns), order=0, mode="constant", cval=0)
    return moved


def cut(look: Look, landscape: Landscape, tile: Tile, *, wedge: bool) -> Look:
    """Return a look on the grid of a tile: pasted in its own zone, resampled in another.

    Parameters
    ----------
    look
        On the grid of the landscape.
    landscape
        Where that grid lies.
    tile
        Where to cut.
    wedge
        Leave out what lies beyond the edge of the swath.
    """
    if tile.epsg == landscape.epsg:
        column, row = ~landscape.transform * (tile.transform.c, tile.transform.f)
        here = np.s_[
            round(row) : round(row) + tile.shape[0], round(column) : round(column) + tile.shape[1]
        ]
        cropped = Look(
            reflectance=look.reflectance[(slice(None), *here)],
            cloud=look.cloud[here],
            cloud_shadow=look.cloud_shadow[here],
            dark=look.dark[here],
            snow=look.snow[here],
            cover=look.cover[here],
            valid=look.valid[here],
        )
    else:
        cropped = _warped(look, landscape, tile)
    if not wedge:
        return cropped
    return replace(cropped, valid=cropped.valid & swath(tile))


def swath(tile: Tile) -> NDArray[np.bool_]:
    """Return where (y, x) the swath covers a tile whose lower right corner it misses."""
    rows, columns = np.ogrid[: tile.shape[0], : tile.shape[1]]
    seen: NDArray[np.bool_] = (columns + 0.45 * rows) / tile.shape[1] < swath_edge(tile)
    return seen


def swath_edge(tile: Tile) -> float:
    """Return the column of the swath's edge in the first row, as a share of the columns."""
    return 0.62 + 0.225 * tile.shape[0] / tile.shape[1]


def _warped(look: Look, landscape: Landscape, tile: Tile) -> Look:
    rows, columns = _positions(landscape, tile)
    inside = (rows >= 0) & (rows <= landscape.shape[0] - 1)
    inside &= (columns >= 0) & (columns <= landscape.shape[1] - 1)

    def at(values: NDArray[Any], order: int) -> NDArray[Any]:
        at_tile: NDArray[Any] = ndimage.map_coordinates(
            values, (rows, columns), order=order, mode="nearest"
        )
        return at_tile

    return Look(
        reflectance=np.stack([at(band, 1) for band in look.reflectance]),
        cloud=at(look.cloud, 1),
        cloud_shadow=at(look.cloud_shadow, 1),
        dark=at(look.dark, 0),
        snow=at(look.snow, 0),
        cover=np.where(inside, at(look.cover, 0), 0).astype(np.uint8),
        valid=inside,
    )


def _positions(landscape: Landscape, tile: Tile) -> tuple[Field, Field]:
    """Rows and columns of the landscape under every pixel centre of a tile of another zone."""
    every = 32  # the two zones differ so smoothly that linear interpolation between these is exact
    shape = tile.shape
    coarse_y, coarse_x = np.mgrid[0 : shape[0] + every : every, 0 : shape[1] + every : every]
    x, y = tile.transform * (coarse_x + 0.5, coarse_y + 0.5)
    transformer = Transformer.from_crs(tile.epsg, landscape.epsg, always_xy=True)
    columns, rows = ~landscape.transform * transformer.transform(x, y)
    return enlarge(rows - 0.5, every, shape), enlarge(columns - 0.5, every, shape)


def tile_pixels(look: Look, *, offset: int, gain: float = 1.0) -> TilePixels:
    """Return the digital numbers and scene classes of a look on a tile's grid.

    Parameters
    ----------
    look
        On the grid of the tile.
    offset
        Added to reflectance * 10000: 1000 since baseline 04.00, 0 where that was taken off again.
    gain
        How much brighter another processing came out.
    """
    coarse_valid = _blocks(look.valid.astype(np.float32)) == 1
    bands = {}
    for name, values in zip(BANDS, look.reflectance, strict=True):
        fine = name in FINE_BANDS
        seen = look.valid if fine else coarse_valid
        numbers = np.rint((values if fine else _blocks(values)) * (gain * 1e4)) + offset
        bands[name] = np.where(seen, np.clip(numbers, 1, 65535), 0).astype(np.uint16)
    return TilePixels(bands=bands, scl=np.where(coarse_valid, _scl(look), 0).astype(np.uint8))


def _scl(look: Look) -> NDArray[np.uint8]:
    """Scene classes (y, x) at 20 m, as a fair classifier would give them."""
    scl = np.full((look.cover.shape[0] // 2, look.cover.shape[1] // 2), SCL_BARE, np.uint8)
    for cover, code in ((Cover.VEGETATION, SCL_VEGETATION), (Cover.WATER, SCL_WATER)):
        scl[_blocks((look.cover == cover).astype(np.float32)) >= 0.5] = code
    scl[_blocks(look.dark) >= 0.5] = SCL_DARK
    scl[_blocks(look.snow) >= 0.5] = SCL_SNOW
    cloud, shadow = _blocks(look.cloud), _blocks(look.cloud_shadow)
    scl[shadow > 0.15] = SCL_CLOUD_SHADOW
    scl[cloud > 0.01] = SCL_UNCLASSIFIED
    scl[cloud > 0.03] = SCL_CIRRUS
    scl[cloud > 0.20] = SCL_CLOUD_MEDIUM
    scl[cloud > 0.65] = SCL_CLOUD_HIGH
    return scl


def _blocks(values: Field) -> Field:
    """Mean of every 2 x 2 pixels."""
    rows, columns = values.shape[0] // 2, values.shape[1] // 2
    mean: Field = (
        values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]
    )[:rows, :columns] * np.float32(0.25)
    return mean
