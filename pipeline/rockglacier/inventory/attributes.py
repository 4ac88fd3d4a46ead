"""What is known of a landform from its pixels and its outline.

Raster statistics are over the pixels of the *exact* outline, every pixel whole; lengths and areas
are those of the published (simplified) outline on the WGS 84 ellipsoid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import WGS84
from rockglacier.inventory.flow import flow_length_m
from rockglacier.prediction.blend import PERCENT_NODATA

FRONT_PERCENTILE = 5
"""Height of the front: low enough for a front, high enough not to be one wrong pixel (2 to 5)."""

MIN_RESULTANT = 0.05
"""Below this mean resultant length the aspects cancel out and have no mean."""

BAND_M = 50
"""Height of a hypsometry band, as in the Randolph Glacier Inventory 7."""

SHARES: Final = (10, 50, 90)
"""Percentiles of the probability."""

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Rasters in the window of one landform, all (y, x)."""

    probability: NDArray[np.uint8]
    """Percent, 255 = nodata."""
    elevation: FloatArray
    """Metres, NaN = nodata."""
    slope: FloatArray
    """Degrees, NaN = nodata."""
    aspect: FloatArray
    """Degrees clockwise from north, NaN where flat or nodata."""
    n_snow: NDArray[np.integer[Any]]
    """Looks used that show snow; more than none only where no other look is clear."""
    n_shadow: NDArray[np.integer[Any]]
    """Looks used in shadow, for want of others."""


def area_and_perimeter(outline: BaseGeometry) -> tuple[float, float]:
    """Return area (km²) and perimeter (km, holes included) of an EPSG:4326 outline, geodesic."""
    area, _ = WGS84.geometry_area_perimeter(shapely.orient_polygons(outline))
    return abs(area) / 1e6, WGS84.geometry_length(outline.boundary) / 1e3


def area_uncertainty_km2(perimeter_km: float, *, resolution: float) -> float:
    """Return the area of a band of half a pixel along the outline, km².

    The outline lies anywhere within half a pixel of where it is drawn: ± this area. It says nothing
    of a landform that is none, and must not be summed over an inventory as if it were an interval.
    """
    return perimeter_km * resolution / 2 / 1e3


def circular_mean(aspect_deg: FloatArray) -> tuple[float | None, float | None]:
    """Return the mean direction (degrees, 0 to 360) and the mean resultant length (0 to 1).

    Parameters
    ----------
    aspect_deg
        Any shape, NaN left out.

    Returns
    -------
    mean, resultant
        The mean is None where directions cancel out (resultant below 0.05); both are None where
        there is no direction at all.

    Examples
    --------
    >>> mean, resultant = circular_mean(np.array([350.0, 10.0]))
    >>> round(mean, 6) % 360, round(resultant, 3)
    (0.0, 0.985)
    """
    angles = np.radians(aspect_deg[np.isfinite(aspect_deg)].astype(np.float64))
    if angles.size == 0:
        return None, None
    east, north = float(np.sin(angles).mean()), float(np.cos(angles).mean())
    resultant = min(math.hypot(east, north), 1.0)
    if resultant < MIN_RESULTANT:
        return None, resultant
    return math.degrees(math.atan2(east, north)) % 360, resultant


def sector_of(aspect_deg: float | None) -> int:
    """Return the sector of an aspect: 1 = N, 2 = NE ... 8 = NW, each ±22.5°; 9 = none."""
    if aspect_deg is None:
        return 9
    return int((aspect_deg + 22.5) % 360 // 45) + 1


def hypsometry(elevation_m: FloatArray) -> dict[int, int]:
    """Return the thousandths of the area in each 50 m band, by the band's lower edge in metres.

    The thousandths sum to 1000: they are rounded down, and what is left goes to the bands with the
    largest remainders, lower bands first. Empty where no elevation is known.
    """
    heights = elevation_m[np.isfinite(elevation_m)]
    if heights.size == 0:
        return {}
    bands, counts = np.unique(np.floor(heights / BAND_M).astype(np.int64), return_counts=True)
    exact = counts * 1000 / counts.sum()
    thousandths = np.floor(exact).astype(np.int64)
    order = np.argsort(thousandths - exact, kind="stable")
    thousandths[order[: 1000 - int(thousandths.sum())]] += 1
    return {int(band) * BAND_M: int(n) for band, n in zip(bands, thousandths, strict=True) if n > 0}


def length_and_width(
    is_landform: NDArray[np.bool_], elevation: FloatArray, *, resolution: float
) -> tuple[float, float]:
    """Return length along the flow and mean width in metres.

    The length is that of :func:`rockglacier.inventory.flow.flow_length_m`, a path over the DEM; the
    mean width is area over length.
    """
    length = flow_length_m(is_landform, elevation, resolution=resolution)
    return length, int(is_landform.sum()) * resolution**2 / length


def touches_nodata(is_landform: NDArray[np.bool_], probability: NDArray[np.uint8]) -> bool:
    """Say whether a landform ends where the prediction does, in a window one pixel larger."""
    rim = ndimage.binary_dilation(is_landform) & ~is_landform
    return bool((probability[rim] == PERCENT_NODATA).any())


def measure(
    is_landform: NDArray[np.bool_], layers: Layers, *, resolution: float
) -> dict[str, float | int | None]:
    """Return the raster statistics of one landform; None where nothing is known.

    Parameters
    ----------
    is_landform
        (y, x) of the window.
    layers
        The rasters of the window.
    resolution
        Edge of a pixel, metres.
    """
    elevation = layers.elevation[is_landform].astype(np.float64)
    aspect, resultant = circular_mean(layers.aspect[is_landform])
    length, width = length_and_width(is_landform, layers.elevation, resolution=resolution)
    filled = ndimage.binary_fill_holes(is_landform)
    percent = layers.probability[is_landform]
    percent = percent[percent != PERCENT_NODATA]  # a filled hole may have none
    return {
        "pixels": int(is_landform.sum()),
        **_elevations(elevation[np.isfinite(elevation)]),
        "slope_mean_deg": _mean(layers.slope[is_landform]),
        "slope_p90_deg": _percentile(layers.slope[is_landform], 90),
        "aspect_mean_deg": aspect,
        "aspect_resultant": resultant,
        "aspect_sector": sector_of(aspect),
        "length_m": length,
        "width_m": width,
        "probability_mean": float(percent.mean()) / 100,
        **{
            f"probability_p{share}": float(value) / 100
            for share, value in zip(SHARES, np.percentile(percent, SHARES), strict=True)
        },
        "valid_share": float((layers.probability[filled] != PERCENT_NODATA).mean()),
        "snow_share": float((layers.n_snow[is_landform] > 0).mean()),
        "shadow_share": float((layers.n_shadow[is_landform] > 0).mean()),
    }


DOUBTS: Final = {"spread": "spread_mean", "agreement": "agreement"}
"""Layers of an ensemble's prediction, and the columns that hold their mean."""


def measure_doubts(
    is_landform: NDArray[np.bool_], layers: Mapping[str, NDArray[np.uint8]]
) -> dict[str, float | None]:
    """Return how much the networks and views of an ensemble differ over one landform.

    Parameters
    ----------
    is_landform
        (y, x) of the window.
    layers
        Of :data:`DOUBTS` those that the prediction has, (y, x) percent, 255 = nodata.

    Returns
    -------
    dict
        ``spread_mean`` and ``agreement``, 0 to 1; None without the layer or any known pixel.
    """
    found: dict[str, float | None] = dict.fromkeys(DOUBTS.values())
    for name, percent in layers.items():
        known = percent[is_landform & (percent != PERCENT_NODATA)]
        found[DOUBTS[name]] = float(known.mean()) / 100 if known.size else None
    return found


def _elevations(heights: NDArray[np.float64]) -> dict[str, float | None]:
    names = ("min", "front", "median", "mean", "max")
    if heights.size == 0:
        return dict.fromkeys([*(f"elevation_{name}_m" for name in names), "relief_m"])
    front, median = np.percentile(heights, [FRONT_PERCENTILE, 50])
    values = (heights.min(), front, median, heights.mean(), heights.max())
    found: dict[str, float | None] = {
        f"elevation_{name}_m": float(value) for name, value in zip(names, values, strict=True)
    }
    return found | {"relief_m": float(np.ptp(heights))}


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)].astype(np.float64)
    return float(known.mean()) if known.size else None


def _percentile(values: FloatArray, share: float) -> float | None:
    known = values[np.isfinite(values)].astype(np.float64)
    return float(np.percentile(known, share)) if known.size else None
