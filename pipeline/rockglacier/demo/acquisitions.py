"""What the satellite saw and when: the dates, the tiles, and the traps of a real catalog."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from affine import Affine
from pyproj import Transformer
from rasterio.transform import array_bounds

from rockglacier.demo.light import Sun

SNAP_M = 60.0
"""Sentinel-2 grids start at multiples of this, metres."""
OVERLAP_SHARE = 0.3
"""Height of the strip that both tiles of the zone hold, as a share of the terrain."""

TileName = Literal["south", "north", "east"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The part of an MGRS tile that the demo keeps."""

    code: str
    """MGRS name."""
    epsg: int
    transform: Affine
    """10 m pixel (column, row) to metres."""
    shape: tuple[int, int]
    """Rows and columns at 10 m; both even."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres of the tile's CRS."""
        return array_bounds(*self.shape, self.transform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One overpass."""

    time: datetime
    platform: Literal["sentinel-2a", "sentinel-2b"]
    sun: Sun
    tiles: tuple[TileName, ...]
    cloud_cover: float
    """What the items say of their whole tile, percent."""
    cloud_share: float
    """Share of the terrain under cloud."""
    snowline_shift_m: float
    """How far the snow reaches above (or, negative, below) the perennial snowline, metres."""
    haze: float
    """Reflectance that the atmosphere adds in the blue."""
    offset_removed: tuple[TileName, ...] = ()
    """Tiles whose +1000 was taken off already."""
    wedge: tuple[TileName, ...] = ()
    """Tiles that the swath covers only in part."""
    reprocessed: tuple[TileName, ...] = ()
    """Tiles that the catalog holds twice: sequence 0 and, of a higher baseline, sequence 1."""
    baseline: str = "05.11"


def _overpass(
    month: int, day: int, platform: Literal["a", "b"], sun: tuple[float, float]
) -> dict[str, Any]:
    return {
        "time": datetime(2024, month, day, 5, 36, 49, tzinfo=UTC),
        "platform": f"sentinel-2{platform}",
        "sun": Sun(azimuth=sun[0], elevation=sun[1]),
    }


ACQUISITIONS = (
    # processed twice: with the baseline of its day, and again with the next
    Acquisition(
        **_overpass(7, 16, "b", (126.2, 67.1)),
        tiles=("south", "north"),
        cloud_cover=1.86,
        cloud_share=0.006,
        snowline_shift_m=-50,
        haze=0.006,
        reprocessed=("south",),
    ),
    # too cloudy, and says so
    Acquisition(
        **_overpass(7, 26, "a", (128.9, 65.8)),
        tiles=("south", "north"),
        cloud_cover=41.73,
        cloud_share=0.42,
        snowline_shift_m=0,
        haze=0.015,
    ),
    Acquisition(
        **_overpass(8, 10, "b", (135.1, 62.4)),
        tiles=("south", "north"),
        cloud_cover=2.41,
        cloud_share=0.006,
        snowline_shift_m=30,
        haze=0.010,
    ),
    # clear on the whole, but the clouds hang over the basin
    Acquisition(
        **_overpass(8, 25, "a", (142.0, 58.3)),
        tiles=("south", "north"),
        cloud_cover=3.58,
        cloud_share=0.20,
        snowline_shift_m=30,
        haze=0.004,
    ),
    # one item without the +1000 of its baseline
    Acquisition(
        **_overpass(9, 4, "a", (146.8, 55.2)),
        tiles=("south", "north"),
        cloud_cover=0.93,
        cloud_share=0.004,
        snowline_shift_m=20,
        haze=0.004,
        offset_removed=("south",),
    ),
    # the neighbouring UTM zone
    Acquisition(
        **_overpass(9, 19, "b", (153.4, 50.1)),
        tiles=("east",),
        cloud_cover=0.37,
        cloud_share=0.003,
        snowline_shift_m=-20,
        haze=0.005,
    ),
    # the edge of the swath
    Acquisition(
        **_overpass(9, 29, "b", (156.6, 46.6)),
        tiles=("south", "north"),
        cloud_cover=1.12,
        cloud_share=0.004,
        snowline_shift_m=-80,
        haze=0.003,
        wedge=("south",),
    ),
    # fresh snow
    Acquisition(
        **_overpass(10, 14, "a", (161.2, 41.4)),
        tiles=("south", "north"),
        cloud_cover=2.75,
        cloud_share=0.004,
        snowline_shift_m=-560,
        haze=0.003,
    ),
)


def make_tiles(transform: Affine, shape: tuple[int, int], *, epsg: int) -> dict[TileName, Tile]:
    """Cut a terrain into two overlapping tiles of its zone and one of the zone to the east.

    Parameters
    ----------
    transform, shape, epsg
        The terrain at 10 m; rows and columns are multiples of 6.
    """
    rows, columns = shape
    half_overlap = _snapped_pixels(OVERLAP_SHARE * rows / 2)
    middle = _snapped_pixels(rows / 2)
    first = middle - half_overlap
    return {
        "south": Tile(
            code="43SGV",
            epsg=epsg,
            transform=transform * Affine.translation(0, first),
            shape=(rows - first, columns),
        ),
        "north": Tile(
            code="43SGA", epsg=epsg, transform=transform, shape=(middle + half_overlap, columns)
        ),
        "east": _east_tile(transform, shape, epsg),
    }


def _snapped_pixels(pixels: float) -> int:
    return round(pixels / 6) * 6


def _east_tile(transform: Affine, shape: tuple[int, int], epsg: int) -> Tile:
    """Return the eastern 60 % of the terrain on the grid of the next zone."""
    west, south, east, north = array_bounds(*shape, transform)
    transformer = Transformer.from_crs(epsg, epsg + 1, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(
        west + 0.4 * (east - west), south, east, north, densify_pts=21
    )
    left, top = math.floor(left / SNAP_M) * SNAP_M, math.ceil(top / SNAP_M) * SNAP_M
    rows = math.ceil((top - bottom) / SNAP_M) * 6
    columns = math.ceil((right - left) / SNAP_M) * 6
    return Tile(
        code="44SKF",
        epsg=epsg + 1,
        transform=Affine(10, 0, left, 0, -10, top),
        shape=(rows, columns),
    )
