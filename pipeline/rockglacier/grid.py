"""The pixel grid of a basin and its blocks, shared by every stage.

A grid is an odc-geo ``GeoBox`` (y descending, square pixels, metres) cut into square blocks. A
block is the unit of work, of memory and of storage: one Zarr shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Proj, Transformer
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import ContractError, InputError
from rockglacier_stac.globe import crosses, cut, joined, longitudes, sides

WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels; may reach beyond the raster it is used on."""

    y: int
    """First row."""
    x: int
    """First column."""
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns as slices, for a window that lies inside the raster."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def grown(self, by: int) -> Window:
        """Return the window with a halo of ``by`` pixels on every side."""
        return Window(
            y=self.y - by, x=self.x - by, height=self.height + 2 * by, width=self.width + 2 * by
        )

    def clipped(self, shape: tuple[int, int]) -> Window:
        """Return the part of the window inside a raster of ``shape`` (rows, columns).

        A window wholly outside becomes an empty one (height or width 0) at the nearest edge.
        """
        y0, x0 = min(max(self.y, 0), shape[0]), min(max(self.x, 0), shape[1])
        y1 = min(max(self.y + self.height, y0), shape[0])
        x1 = min(max(self.x + self.width, x0), shape[1])
        return Window(y=y0, x=x0, height=y1 - y0, width=x1 - x0)

    def shared(self, other: Window) -> Window | None:
        """Return the pixels that also lie in another window, None where there are none."""
        y0, x0 = max(self.y, other.y), max(self.x, other.x)
        y1 = min(self.y + self.height, other.y + other.height)
        x1 = min(self.x + self.width, other.x + other.width)
        if y1 <= y0 or x1 <= x0:
            return None
        return Window(y=y0, x=x0, height=y1 - y0, width=x1 - x0)

    def within(self, other: Window) -> tuple[slice, slice]:
        """Slices of this window inside an array that holds ``other``."""
        return (
            slice(self.y - other.y, self.y - other.y + self.height),
            slice(self.x - other.x, self.x - other.x + self.width),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a grid."""

    row: int
    col: int
    window: Window
    """Its pixels; blocks at the lower and right edge are smaller."""

    @property
    def name(self) -> str:
        """Name of the block in receipts and messages, e.g. ``r0003c0012``."""
        return f"r{self.row:04d}c{self.col:04d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The pixel grid of one basin."""

    geobox: GeoBox
    block: int
    """Edge of a block in pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.geobox.shape[0]), int(self.geobox.shape[1])

    @property
    def crs(self) -> CRS:
        """Projected CRS, metres."""
        return CRS.from_user_input(str(self.geobox.crs))

    @property
    def epsg(self) -> int:
        """EPSG code of the CRS."""
        code = self.crs.to_epsg()
        if code is None:
            raise ContractError(f"the grid's CRS {self.crs.name!r} has no EPSG code")
        return int(code)

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) to CRS metres; the corner of pixel (0, 0) is the origin."""
        return self.geobox.affine

    @property
    def resolution(self) -> float:
        """Edge of a pixel in metres."""
        return float(self.geobox.affine.a)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in CRS metres."""
        box = self.geobox.boundingbox
        return box.left, box.bottom, box.right, box.top

    @property
    def whole(self) -> Window:
        """The window of the whole grid."""
        return Window(y=0, x=0, height=self.shape[0], width=self.shape[1])

    def blocks(self) -> Iterator[Block]:
        """Yield every block, row by row."""
        height, width = self.shape
        for row in range(math.ceil(height / self.block)):
            for col in range(math.ceil(width / self.block)):
                square = Window(
                    y=row * self.block, x=col * self.block, height=self.block, width=self.block
                )
                yield Block(row=row, col=col, window=square.clipped(self.shape))

    def groups(self, rows: int, cols: int) -> Iterator[list[Block]]:
        """Yield the read groups: the blocks of every ``rows`` x ``cols`` blocks, row by row."""
        groups: dict[tuple[int, int], list[Block]] = {}
        for block in self.blocks():
            groups.setdefault((block.row // rows, block.col // cols), []).append(block)
        yield from groups.values()

    def window_geobox(self, window: Window) -> GeoBox:
        """Return the geobox of a window; the window may reach beyond the grid."""
        affine = self.transform @ Affine.translation(window.x, window.y)
        return GeoBox((window.height, window.width), affine, self.geobox.crs)

    def window_of(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the smallest window that holds ``bounds`` (CRS metres), unclipped."""
        west, south, east, north = bounds
        left, top = ~self.transform @ (west, north)
        right, bottom = ~self.transform @ (east, south)
        # 1e-6 px absorbs the float noise of bounds that lie exactly on the grid
        x0, y0 = math.floor(left + 1e-6), math.floor(top + 1e-6)
        x1, y1 = math.ceil(right - 1e-6), math.ceil(bottom - 1e-6)
        return Window(y=y0, x=x0, height=y1 - y0, width=x1 - x0)

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as JSON-able values."""
        return {
            "crs": f"EPSG:{self.epsg}",
            "transform": list(self.transform)[:6],
            "shape": list(self.shape),
            "block": self.block,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Grid:
        """Rebuild a grid from :meth:`to_dict`."""
        height, width = values["shape"]
        geobox = GeoBox((height, width), Affine(*values["transform"]), values["crs"])
        return cls(geobox=geobox, block=values["block"])

    @classmethod
    def from_area(
        cls,
        area: BaseGeometry,
        *,
        epsg: int,
        resolution: float,
        block: int,
        origin: tuple[float, float] = (0.0, 0.0),
        margin_m: float = 0.0,
    ) -> Grid:
        """Cover an area with the smallest grid whose pixels line up with ``origin``.

        Parameters
        ----------
        area
            Polygon in EPSG:4326, longitude first.
        epsg
            Projected CRS of the grid, metres.
        resolution
            Edge of a pixel, metres.
        block
            Edge of a block, pixels.
        origin
            x and y (CRS metres) of any pixel corner of the scenes, so that same-zone scenes need no
            warp.
        margin_m
            Ground around the area's rectangle, metres.
        """
        west, south, east, north = projected(area, epsg=epsg).bounds
        west, south = west - margin_m, south - margin_m
        east, north = east + margin_m, north + margin_m
        ox, oy = origin
        left = ox + math.floor((west - ox) / resolution) * resolution
        top = oy + math.ceil((north - oy) / resolution) * resolution
        width = math.ceil((east - left) / resolution)
        height = math.ceil((top - south) / resolution)
        affine = Affine(resolution, 0, left, 0, -resolution, top)
        return cls(geobox=GeoBox((height, width), affine, f"EPSG:{epsg}"), block=block)


def projected(geometry: BaseGeometry, *, epsg: int, source_epsg: int = 4326) -> BaseGeometry:
    """Return a geometry in another CRS, its long edges cut first so that they bend.

    A polygon that crosses the antimeridian is one piece in metres, and cut at 180 in degrees.
    """
    if epsg == source_epsg:
        return geometry
    step = 0.01 if source_epsg == 4326 else 1000.0
    whole = joined(geometry) if source_epsg == 4326 and crosses(geometry) else geometry
    dense = shapely.segmentize(whole, step)
    moved = shapely.transform(dense, _between(source_epsg, epsg).transform, interleaved=False)
    return cut(moved) if epsg == 4326 and not moved.is_empty and crosses(moved) else moved


@cache
def _between(source_epsg: int, epsg: int) -> Transformer:
    """Return the way from one CRS to another: it takes longer to find than to go."""
    return Transformer.from_crs(source_epsg, epsg, always_xy=True)


def utm_epsg(area: BaseGeometry) -> int:
    """Return the EPSG code of the UTM zone (WGS 84) that holds most of an area.

    Parameters
    ----------
    area
        Polygon in EPSG:4326.
    """
    shares = utm_shares(area)
    return max(shares, key=lambda epsg: (shares[epsg], -epsg))


def utm_shares(area: BaseGeometry) -> dict[int, float]:
    """Return the UTM zones (WGS 84, as EPSG codes) under an area, with the share that each holds.

    Parameters
    ----------
    area
        Polygon in EPSG:4326.

    Returns
    -------
    dict
        Shares add up to 1.
    """
    _, south, _, north = area.bounds
    if south < -80 or north > 84:
        raise InputError(
            f"the area reaches latitude {north if north > 84 else south:.1f}, outside the UTM "
            "zones",
            expected="an area between 80 S and 84 N",
            todo="choose another basin",
        )
    found: dict[int, float] = {}
    for side in sides(area):
        west, _, east, _ = side.bounds
        for zone in range(_utm_zone(west), _utm_zone(east) + 1):
            for epsg, low, high in ((32700 + zone, -80, 0), (32600 + zone, 0, 84)):
                strip = shapely.box(6 * zone - 186, low, 6 * zone - 180, high)
                part = side.intersection(strip)
                if part.area:
                    found[epsg] = found.get(epsg, 0.0) + geodesic_area_km2(part)
    total = sum(found.values())
    return {epsg: part / total for epsg, part in sorted(found.items())}


def _utm_zone(longitude: float) -> int:
    return min(int((longitude + 180) // 6) + 1, 60)


def scale_error_ppm(area: BaseGeometry, *, epsg: int) -> tuple[float, float]:
    """Return by how much lengths are too short and too long on a grid, parts per million.

    Parameters
    ----------
    area
        Polygon in EPSG:4326.
    epsg
        Conformal CRS, as UTM is: the error is the same in every direction.

    Returns
    -------
    tuple
        The lowest and the highest within the area.

    Notes
    -----
    A zone's own ground has -400 ppm at its central meridian and at most +980 ppm at its edges.
    """
    whole = joined(area)
    west, south, east, north = whole.bounds
    x, y = np.meshgrid(np.linspace(west, east, 60), np.linspace(south, north, 60))
    inside = shapely.contains_xy(whole, x, y)
    outline = shapely.get_coordinates(shapely.segmentize(whole, 0.05))
    places = np.vstack([outline, np.column_stack([x[inside], y[inside]])])
    factors = Proj(CRS.from_epsg(epsg)).get_factors(longitudes(places[:, 0]), places[:, 1])
    errors = 1e6 * (np.asarray(factors.meridional_scale) - 1)
    return float(errors.min()), float(errors.max())


def geodesic_area_km2(geometry: BaseGeometry) -> float:
    """Return the ellipsoidal area (WGS 84) of an EPSG:4326 polygon in km²."""
    # areas are signed by the direction of a ring: holes have to run against their shell
    oriented = shapely.orient_polygons(geometry)
    return abs(WGS84.geometry_area_perimeter(oriented)[0]) / 1e6
