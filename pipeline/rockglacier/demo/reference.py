"""The reference inventory of the demo: digitised by hand, so to say, mistakes included."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.demo.noise import stream

VERTEX_M = 7.0
"""Tolerance with which an outline is digitised, metres."""
BOW_TIES, DUPLICATES = 3, 2
"""Outlines that cross themselves, outlines that occur twice."""


def make_reference(
    outlines: Sequence[BaseGeometry], *, epsg: int, within: BaseGeometry, seed: int
) -> gpd.GeoDataFrame:
    """Return the inventory of the rock glaciers in a basin, EPSG:4326, a row an outline.

    Parameters
    ----------
    outlines
        True outlines, metres.
    epsg
        CRS of the outlines.
    within
        The basin, metres; rock glaciers that do not touch it are left out.
    seed
        Seed of the basin.

    Returns
    -------
    GeoDataFrame
        Columns of the RGIK template; three outlines (fewer in a tiny basin) are bow-ties, two rows
        are exact repetitions.
    """
    rng = stream(seed, "reference")
    inside = [outline for outline in outlines if outline.intersects(within)]
    drawn = [outline.simplify(VERTEX_M) for outline in inside]
    order = rng.permutation(len(drawn))
    for index in order[: min(BOW_TIES, len(drawn) // 3)]:
        drawn[index] = bow_tie(drawn[index])
    points = gpd.GeoSeries([outline.representative_point() for outline in inside], crs=epsg)
    rows = [_row(number, point, rng) for number, point in enumerate(points.to_crs(4326), start=1)]
    twice = order[BOW_TIES : BOW_TIES + min(DUPLICATES, len(drawn) // 3)]
    rows += [
        {**rows[index], "WorkingID": number}
        for number, index in enumerate(twice, start=len(drawn) + 1)
    ]
    geometry = gpd.GeoSeries([*drawn, *(drawn[index] for index in twice)], crs=epsg)
    return gpd.GeoDataFrame(rows, geometry=geometry.to_crs(4326).array, crs=4326)


def bow_tie(polygon: BaseGeometry) -> BaseGeometry:
    """Return a polygon with two neighbouring vertices swapped where that makes it cross itself."""
    ring = shapely.get_coordinates(polygon.exterior)[:-1]
    for first in range(len(ring)):
        swapped = ring.copy()
        swapped[[first, (first + 1) % len(ring)]] = ring[[(first + 1) % len(ring), first]]
        crossed = shapely.Polygon(swapped)
        if not crossed.is_valid:
            return crossed
    return polygon


def _row(number: int, point: BaseGeometry, rng: np.random.Generator) -> dict[str, object]:
    lat, lon = round(point.y * 1e4), round(point.x * 1e4)
    reliability = rng.integers(1, 3, 4)
    return {
        "PrimaryID": f"RGU{abs(lat):06d}{'N' if lat >= 0 else 'S'}"
        f"{abs(lon):07d}{'E' if lon >= 0 else 'W'}",
        "WorkingID": number,
        "OutType": "Extended",
        "RelFr": int(reliability[0]),
        "RelLeftLM": int(reliability[1]),
        "RelRightLM": int(reliability[2]),
        "RelUpsCon": int(reliability[3]),
        "RelIndex": int(reliability.sum()),
        "ActiCl": str(rng.choice(["active", "transitional", "uncertain"], p=[0.55, 0.25, 0.2])),
        "UpslCon": "talus",
        "Comment": "",
    }
