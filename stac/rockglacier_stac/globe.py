"""Longitudes that do not stop at 180 degrees: geometries that cross the antimeridian.

GeoJSON (RFC 7946, 3.1.9) wants such a geometry cut in two at 180, and its bounding box written with
a west that is larger than its east. Providers also write uncut rings that jump from 179 to -179, or
go on to 181. Here every geometry is brought to the first form, and to one without the cut wherever
something is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import antimeridian
import numpy as np
import shapely
from shapely.geometry import Polygon, box, shape
from shapely.geometry.base import BaseGeometry

HALF = 180.0
"""No basin and no scene is wider, degrees: what seems to be crosses the antimeridian."""

Bbox = tuple[float, float, float, float]
"""West, south, east, north, degrees; west is larger than east across the antimeridian."""


def crosses(geometry: BaseGeometry) -> bool:
    """Say whether an EPSG:4326 geometry has parts on both sides of the antimeridian."""
    west, _, east, _ = geometry.bounds
    return bool(east - west > HALF or east > HALF or west < -HALF)


def cut(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry cut in two at the antimeridian, if it crosses it; EPSG:4326, valid."""
    polygons = _polygons(geometry)
    if polygons and crosses(geometry):
        geometry = shapely.union_all([_cut_polygon(part) for part in polygons])
    return geometry if geometry.is_valid else shapely.make_valid(geometry)


def _cut_polygon(polygon: Polygon) -> BaseGeometry:
    if not crosses(polygon):
        return polygon
    return antimeridian.fix_polygon(polygon, fix_winding=True, great_circle=False)


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    parts = shapely.get_parts(geometry)
    return [part for part in parts if isinstance(part, Polygon)]


def joined(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry in one piece, its western longitudes going on beyond 180.

    Only the parts of a geometry that crosses the antimeridian move; what is measured on it in
    degrees, or projected, knows nothing of the cut.
    """
    geometry = cut(geometry)
    if not crosses(geometry):
        return geometry
    moved = shapely.transform(geometry, _eastward)
    polygons = _polygons(moved)
    return shapely.union_all(polygons) if polygons else moved


def _eastward(places: np.ndarray) -> np.ndarray:
    x, y = places[:, 0], places[:, 1]
    return np.column_stack([np.where(x < 0, x + 360, x), y])


def longitudes(x: np.ndarray) -> np.ndarray:
    """Return longitudes within -180 (included) and 180."""
    return (x + 180) % 360 - 180


def sides(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Return the parts of a geometry on each side of the antimeridian: one, or two."""
    geometry = cut(geometry)
    if not crosses(geometry):
        return [geometry]
    halves = (box(0, -90, 180, 90), box(-180, -90, 0, 90))
    return [part for half in halves if not (part := geometry.intersection(half)).is_empty]


def bbox_of(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """Return west, south, east, north; west is larger than east across the antimeridian."""
    west, south, east, north = joined(geometry).bounds
    return west, south, east - 360 if east > HALF else east, north


def box_of(bbox: Sequence[float]) -> BaseGeometry:
    """Return west, south, east, north as a polygon, in two parts across the antimeridian.

    A box as wide as the globe, which some items have that cross it, stays one.
    """
    middle = len(bbox) // 2  # with or without heights
    (west, south), (east, north) = bbox[:2], bbox[middle : middle + 2]
    east += 360 * (east < west)
    whole = box(west, south, east, north)
    return whole if east - west > HALF else cut(whole)


def footprint_of(item: dict[str, Any]) -> BaseGeometry | None:
    """Return the footprint of an item, cut at the antimeridian, valid; or None.

    An item without geometry has its bounding box as footprint.
    """
    if item.get("geometry"):
        found = cut(shape(item["geometry"]))
        if not found.is_empty:
            return found
    bbox = item.get("bbox")
    if not bbox or any(edge is None for edge in bbox):
        return None
    return box_of(list(bbox))
