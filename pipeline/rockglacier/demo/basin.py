"""Make a synthetic basin with everything a study of it needs, as files in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from rockglacier.demo.acquisitions import SNAP_M
from rockglacier.demo.catalog import write_items
from rockglacier.demo.export import write_dem, write_item_file, write_scenes
from rockglacier.demo.noise import stream
from rockglacier.demo.reference import make_reference
from rockglacier.demo.relief import PIXEL_M
from rockglacier.demo.terrain import Landscape, make_landscape
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.grid import projected
from rockglacier.storage import disk_errors, require_space

EPSG = 32643
"""UTM zone of the basin; its eastern edge, 78 E, runs through it."""
ZONE_EDGE_LON = 78.0
"""Meridian where both the UTM zone and the DEM tile end, degrees east."""
CENTRE_NORTHING_M = 3_995_130.0
"""Middle of the strip that the real tiles 43SGV and 43SGA share, metres."""
WEST_OF_EDGE = 0.12
"""How far the centre lies west of the zone's edge, as a share of the width."""
MARGIN_M = 900.0
"""Terrain around the basin, metres."""
BYTES_PER_KM2 = 1_100_000
"""Disk that a km² of basin takes with all its scenes."""
SMALLEST_KM = 2.0
"""Shortest edge of a basin that has room for landforms, kilometres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoBasin:
    """A basin on disk."""

    folder: Path
    items: Path
    """stac-geoparquet of the scenes and the DEM; paths in it are relative to it."""
    area: Path
    """GeoPackage of the outline."""
    reference: Path | None
    """GeoPackage of the reference inventory."""
    epsg: int
    """UTM zone of most scenes."""


def make_basin(
    folder: Path,
    *,
    seed: int = 7,
    size_km: tuple[float, float] = (20.0, 16.0),
    name: str = "demo",
    labelled: bool = True,
    progress: Progress = silent,
) -> DemoBasin:
    """Write a synthetic basin: scenes and DEM as COGs with a catalog, outline, reference.

    Parameters
    ----------
    folder
        Where to write; made if it is not there.
    seed
        The same seed makes the same pixels, another seed another basin in the same place.
    size_km
        Width and height of the basin, kilometres.
    name
        Name of the basin, a column of its outline.
    labelled
        Also write a reference inventory.
    progress
        Told after every scene.

    Raises
    ------
    InputError
        The basin is too small, or the disk too full.

    Notes
    -----
    Takes about 25 s of two cores and 2 GB of memory for 20 x 16 km.
    """
    _require_room(size_km)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        require_space(
            folder, int(size_km[0] * size_km[1] * BYTES_PER_KM2), what="the synthetic basin"
        )
        return _write_basin(folder, seed, size_km, name, labelled, progress)


def _write_basin(
    folder: Path,
    seed: int,
    size_km: tuple[float, float],
    name: str,
    labelled: bool,
    progress: Progress,
) -> DemoBasin:
    landscape = make_demo_landscape(seed=seed, size_km=size_km)
    outline = basin_outline(size_km, seed=seed)
    area = projected(outline, epsg=4326, source_epsg=EPSG)
    items = list(write_scenes(folder, landscape, seed=seed, progress=progress))
    items += write_dem(folder, landscape, area, seed=seed)
    for item in items:
        write_item_file(folder, item)
    write_items(items, folder / "items.parquet")
    _write_layer(
        gpd.GeoDataFrame({"name": [name]}, geometry=[area], crs=4326), folder / "area.gpkg"
    )
    reference = folder / "reference.gpkg" if labelled else None
    if reference is not None:
        table = make_reference(landscape.outlines, epsg=EPSG, within=outline, seed=seed)
        _write_layer(table, reference)
    return DemoBasin(
        folder=folder,
        items=folder / "items.parquet",
        area=folder / "area.gpkg",
        reference=reference,
        epsg=EPSG,
    )


def _require_room(size_km: tuple[float, float]) -> None:
    if not min(size_km) >= SMALLEST_KM:
        raise InputError(
            f"a basin of {size_km[0]:g} x {size_km[1]:g} km",
            expected=f"at least {SMALLEST_KM:g} km on each side, so that landforms fit in",
            todo="ask for a larger one",
        )


def make_demo_landscape(*, seed: int, size_km: tuple[float, float]) -> Landscape:
    """Return the truth behind :func:`make_basin`, for those who test against it."""
    _require_room(size_km)
    x, y = _centre(size_km)
    width, height = (_snapped(1000 * edge + 2 * MARGIN_M) for edge in size_km)
    west, north = _snapped(x - width / 2), _snapped(y + height / 2)
    return make_landscape(
        (round(height / PIXEL_M), round(width / PIXEL_M)),
        transform=Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north),
        epsg=EPSG,
        seed=seed,
    )


def _centre(size_km: tuple[float, float]) -> tuple[float, float]:
    """Centre of the basin, metres: a little west of the zone's edge whatever the size."""
    to_metres = Transformer.from_crs(4326, EPSG, always_xy=True)
    _, latitude = to_metres.transform(766_000, CENTRE_NORTHING_M, direction="INVERSE")
    edge, northing = to_metres.transform(ZONE_EDGE_LON, latitude)
    return edge - WEST_OF_EDGE * size_km[0] * 1000, northing


def _snapped(metres: float) -> float:
    return round(metres / SNAP_M) * SNAP_M


def basin_outline(size_km: tuple[float, float], *, seed: int) -> BaseGeometry:
    """Return the outline of the basin, metres of the UTM zone: rounded, slightly irregular."""
    x, y = _centre(size_km)
    rng = stream(seed, "outline")
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    rough = np.zeros(len(angle))
    for order in range(2, 14):
        rough += rng.uniform(0.2, 1) / order * np.sin(order * angle + rng.uniform(0, 2 * np.pi))
    # a rounded rectangle that its roughness only ever makes smaller
    radius = (np.abs(np.cos(angle)) ** 5 + np.abs(np.sin(angle)) ** 5) ** -0.2
    radius *= 1 - 0.09 * (rough - rough.min()) / np.ptp(rough)
    return shapely.Polygon(
        np.column_stack(
            (
                x + 500 * size_km[0] * radius * np.cos(angle),
                y + 500 * size_km[1] * radius * np.sin(angle),
            )
        )
    )


def _write_layer(table: gpd.GeoDataFrame, path: Path) -> None:
    path.unlink(missing_ok=True)
    table.to_file(path, layer=path.stem, driver="GPKG", engine="pyogrio")
