"""Where the rock glaciers of a basin sit: by elevation, aspect, slope and light.

Terrain alone prefers some elevations and aspects; so every share stands beside that of *eligible*
terrain: the ground of the area that is not glacier, and, for aspect, slope and light, that lies at
the elevations of the landforms. A ratio above 1 is a preference that terrain does not explain; a
low one on shaded ground may also mean that landforms are overlooked there, which the recall beside
it tells where there is a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

SECTORS: Final = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
FLAT: Final = "flat or unknown"

BAND_M: Final = 100
LOWEST_M: Final = -500
BANDS: Final = 100
"""Up to 9500 m."""

SLOPE_DEG: Final = 5
SLOPES: Final = 18
"""Classes up to 90 degrees, and one more for unknown slope."""

LIGHT_STEP: Final = 0.2
LIT: Final = 5
LIGHTS: Final = (
    "cast shadow",
    "turned away",
    *(f"{number * LIGHT_STEP:.1f}-{(number + 1) * LIGHT_STEP:.1f}" for number in range(LIT)),
    "unknown",
)
"""Ground in the shadow of other terrain, ground that faces away from the sun, and the rest by the
cosine of the sun's mean angle of incidence."""

SHAPE: Final = (BANDS, len(SECTORS) + 1, SLOPES + 1, len(LIGHTS))
"""Elevation bands, sectors and flat ground, slope classes and unknown slope, light."""

CENTRAL: Final = (0.02, 0.98)
"""Shares of the landforms' area, by elevation, between which other terrain is eligible."""

KINDS: Final = ("eligible", "found", "unseen", "reference", "reference_found")

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A rectangle of ground, all arrays (y, x)."""

    elevation: NDArray[np.floating[Any]]
    """Metres, NaN = unknown."""
    slope: NDArray[np.floating[Any]]
    """Degrees, NaN = unknown."""
    aspect: NDArray[np.floating[Any]]
    """Degrees clockwise from north, NaN = flat or unknown."""
    is_area: NDArray[np.bool_]
    is_glacier: NDArray[np.bool_]
    is_found: NDArray[np.bool_]
    is_unseen: NDArray[np.bool_]
    """Found, and nothing was trained or chosen on that ground."""
    is_reference: NDArray[np.bool_]
    illumination: NDArray[np.floating[Any]] | None = None
    """Cosine of the sun's mean angle of incidence, NaN = unknown; None: unknown."""
    is_cast_shadow: NDArray[np.bool_] | None = None


def counts_of(ground: Ground) -> dict[str, Counts]:
    """Return the pixels of each kind by elevation band, sector, slope class and light.

    Parameters
    ----------
    ground
        Pixels without elevation are not counted.

    Returns
    -------
    dict
        :data:`KINDS` to int64 of :data:`SHAPE`; counts of several rectangles add up.
    """
    known = np.isfinite(ground.elevation)
    place = _class(ground.elevation, lowest=LOWEST_M, step=BAND_M, classes=BANDS)
    np.clip(place, 0, BANDS - 1, out=place)
    aspect = _class(ground.aspect, lowest=-22.5, step=45, classes=len(SECTORS) + 1)
    turned = np.where(np.isfinite(ground.aspect), aspect % len(SECTORS), len(SECTORS))
    place = place * (len(SECTORS) + 1) + turned
    slope = _class(ground.slope, lowest=0, step=SLOPE_DEG, classes=SLOPES)
    slope = np.where(np.isfinite(ground.slope), np.minimum(slope, SLOPES - 1), SLOPES)
    place = (place * (SLOPES + 1) + slope) * len(LIGHTS) + light_of(ground)
    masks = {
        "eligible": ground.is_area & ~ground.is_glacier,
        "found": ground.is_found,
        "unseen": ground.is_unseen,
        "reference": ground.is_reference,
        "reference_found": ground.is_reference & ground.is_found,
    }
    size = int(np.prod(SHAPE))
    return {
        kind: np.bincount(place[mask & known], minlength=size).reshape(SHAPE)
        for kind, mask in masks.items()
    }


def light_of(ground: Ground) -> NDArray[np.int32]:
    """Return the number of the light of each pixel in :data:`LIGHTS`."""
    if ground.illumination is None:
        return np.full(ground.elevation.shape, len(LIGHTS) - 1, dtype=np.int32)
    lit = _class(ground.illumination, lowest=0, step=LIGHT_STEP, classes=LIT - 1) + 2
    lit = np.where(ground.illumination < 0, 1, lit)
    lit = np.where(np.isfinite(ground.illumination), lit, len(LIGHTS) - 1)
    return lit if ground.is_cast_shadow is None else np.where(ground.is_cast_shadow, 0, lit)


def between(counts: Mapping[str, Counts], limits: tuple[float, float]) -> dict[str, Counts]:
    """Return the counts of the elevation bands that lie within two elevations in part, metres."""
    low, high = ((limit - LOWEST_M) / BAND_M for limit in limits)
    bands = np.arange(BANDS)
    is_out = (bands + 1 <= low) | (bands >= high)
    return {
        kind: np.where(is_out[:, None, None, None], 0, counted) for kind, counted in counts.items()
    }


def _class(
    values: NDArray[np.floating[Any]], *, lowest: float, step: float, classes: int
) -> NDArray[np.int32]:
    """Return the number of the class of each value; of unknown ones any number."""
    scaled = np.nan_to_num((values - lowest) / step, nan=0.0)
    return np.clip(scaled, 0, classes).astype(np.int32)


def tables_of(
    counts: Mapping[str, Counts],
    inventory: pd.DataFrame,
    *,
    lights: NDArray[np.int64],
    pixel_km2: float,
    has_reference: bool = False,
) -> dict[str, pd.DataFrame]:
    """Return tables: ``elevation, aspect_area, aspect_landforms, slope, illumination``.

    Parameters
    ----------
    counts
        Pixels of :func:`counts_of`, summed over the basin.
    inventory
        With ``elevation_median_m, slope_mean_deg, aspect_sector`` and ``area_km2``.
    lights
        Pixels of each landform of the inventory by :data:`LIGHTS`.
    pixel_km2
        True area of a pixel, km².
    has_reference
        Whether to give the reference's area and the share of it that was found.

    Returns
    -------
    dict
        All but ``aspect_landforms``: class, ``n`` (landforms by median elevation, mean aspect or
        slope, or the light of most of their pixels), ``found_km2, found_percent, unseen_km2,
        eligible_km2, eligible_percent, found_of_eligible_percent, ratio`` (of the two percentages),
        and with a reference ``reference_km2, reference_found_km2, recall``. ``aspect_landforms``:
        ``sector, n, n_percent, area_km2, area_percent``, by the mean aspect. NaN where undefined.
    """
    shown = _shown_bands(counts)
    edges = LOWEST_M + BAND_M * np.arange(BANDS)
    elevation = _classes({"from_m": edges, "to_m": edges + BAND_M})
    elevation["n"] = _counted(inventory["elevation_median_m"], LOWEST_M, BAND_M, BANDS)
    elevation = _measured(
        elevation, counts, (1, 2, 3), counts, pixel_km2, has_reference=has_reference
    )
    light = _classes({"light": np.array(LIGHTS)})
    light["n"] = np.bincount(lights.argmax(axis=1), minlength=len(LIGHTS))
    near = _at_their_elevations(counts)
    sectors = _classes({"sector": np.array([*SECTORS, FLAT])})
    numbers = inventory["aspect_sector"].astype("Int64").fillna(9).to_numpy(np.int64)
    sectors["n"] = np.bincount(numbers - 1, minlength=9)
    slopes = _classes(
        {
            "from_deg": np.append(SLOPE_DEG * np.arange(SLOPES), np.nan),
            "to_deg": np.append(SLOPE_DEG * np.arange(1, SLOPES + 1), np.nan),
        }
    )
    slopes["n"] = np.append(_counted(inventory["slope_mean_deg"], 0, SLOPE_DEG, SLOPES), 0)
    return {
        "elevation": elevation.iloc[shown].reset_index(drop=True),
        "aspect_area": _measured(
            sectors, counts, (0, 2, 3), near, pixel_km2, has_reference=has_reference
        ),
        "aspect_landforms": _by_mean_aspect(numbers, inventory["area_km2"].to_numpy(float)),
        "slope": _measured(slopes, counts, (0, 1, 3), near, pixel_km2, has_reference=has_reference),
        "illumination": _measured(
            light, counts, (0, 1, 2), near, pixel_km2, has_reference=has_reference
        ),
    }


def _classes(columns: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    return pd.DataFrame(dict(columns))


def _counted(values: pd.Series, lowest: float, step: float, classes: int) -> NDArray[np.int64]:
    known = values.dropna().to_numpy(float)
    places = np.clip((known - lowest) // step, 0, classes - 1).astype(np.int64)
    return np.bincount(places, minlength=classes)


def _shown_bands(counts: Mapping[str, Counts]) -> slice:
    """Return the bands between the lowest and the highest ground of any kind."""
    held = np.flatnonzero(sum(counts[kind].sum(axis=(1, 2, 3)) for kind in KINDS))
    return slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, 0)


def _at_their_elevations(counts: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the counts with eligible terrain cut to the bands of the found landforms."""
    by_band = counts["found"].sum(axis=(1, 2, 3))
    eligible = np.zeros_like(counts["eligible"])
    if by_band.sum():
        share = by_band.cumsum() / by_band.sum()
        low, high = (int(np.searchsorted(share, part)) for part in CENTRAL)
        eligible[low : high + 1] = counts["eligible"][low : high + 1]
    return {**counts, "eligible": eligible}


def _measured(
    table: pd.DataFrame,
    counts: Mapping[str, Counts],
    axes: tuple[int, int, int],
    near: Mapping[str, Counts],
    pixel_km2: float,
    *,
    has_reference: bool,
) -> pd.DataFrame:
    """Return a table with the areas of its classes: what is left when ``axes`` are summed."""
    area = {kind: counts[kind].sum(axis=axes) * pixel_km2 for kind in KINDS}
    area["eligible"] = near["eligible"].sum(axis=axes) * pixel_km2
    table["found_km2"] = area["found"]
    table["found_percent"] = _percent(area["found"], area["found"].sum())
    table["unseen_km2"] = area["unseen"]
    table["eligible_km2"] = area["eligible"]
    table["eligible_percent"] = _percent(area["eligible"], area["eligible"].sum())
    table["found_of_eligible_percent"] = _percent(area["found"], area["eligible"])
    table["ratio"] = _percent(table["found_percent"], table["eligible_percent"]) / 100
    if has_reference:
        table["reference_km2"] = area["reference"]
        table["reference_found_km2"] = area["reference_found"]
        table["recall"] = _percent(area["reference_found"], area["reference"]) / 100
    return table


def _percent(part: Any, whole: Any) -> NDArray[np.float64]:
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(100 * part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _by_mean_aspect(sectors: NDArray[np.int64], area_km2: NDArray[np.float64]) -> pd.DataFrame:
    counts = np.bincount(sectors - 1, minlength=9)
    areas = np.bincount(sectors - 1, weights=area_km2, minlength=9)
    return pd.DataFrame(
        {
            "sector": [*SECTORS, FLAT],
            "n": counts,
            "n_percent": _percent(counts, counts.sum()),
            "area_km2": areas,
            "area_percent": _percent(areas, areas.sum()),
        }
    )


def summed(parts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Return the counts of several rectangles together."""
    total = {kind: np.zeros(SHAPE, dtype=np.int64) for kind in KINDS}
    for part in parts:
        for kind in KINDS:
            total[kind] += part[kind]
    return total


def true_pixel_km2(area: gpd.GeoSeries, *, resolution: float, area_km2: float) -> float:
    """Return the area of a pixel on the ground, km²: that of the grid by how it maps the basin.

    Parameters
    ----------
    area
        The basin in the grid's CRS.
    resolution
        Edge of a pixel, metres.
    area_km2
        Geodesic area of the basin, km².
    """
    return resolution**2 / 1e6 * area_km2 / (float(area.area.sum()) / 1e6)
