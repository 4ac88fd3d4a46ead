"""The tables of where a study's rock glaciers sit, counted over its blocks and written."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
import zarr
from numpy.typing import NDArray
from rasterio.features import rasterize

from rockglacier.engine import Progress, silent
from rockglacier.grid import Window, geodesic_area_km2, projected
from rockglacier.inventory.candidates import Drawn
from rockglacier.inventory.distribution import (
    LIGHTS,
    Counts,
    Ground,
    between,
    counts_of,
    light_of,
    summed,
    tables_of,
    true_pixel_km2,
)
from rockglacier.inventory.overlaps import RASTERS, features_of
from rockglacier.inventory.pool import in_order, threads
from rockglacier.storage import in_one_pass, listing, write_text
from rockglacier.study import Study

GLACIERS: Final = "glaciers"
"""Name in ``inventory.overlaps`` of what is no eligible terrain."""

SEEN: Final = ("train", "validation")
DECIMALS: Final = 6

TERRAIN: Final = ("elevation", "slope", "aspect")
LIGHT: Final = ("illumination", "cast_shadow")


def write_tables(
    study: Study,
    table: gpd.GeoDataFrame,
    drawn: Drawn,
    cube: zarr.Group,
    *,
    reference: gpd.GeoDataFrame | None = None,
    progress: Progress = silent,
) -> None:
    """Write ``tables/*.csv`` beside the inventory; see :mod:`rockglacier.inventory.distribution`.

    Parameters
    ----------
    study
        Its grid, area and ``inventory.overlaps.glaciers`` are used; with ``train.elevation`` also
        ``tables/*_filtered.csv``: of the ground between those elevations alone.
    table, drawn
        The inventory, and the exact outlines that it was drawn from, in the same order.
    cube
        With ``elevation, slope, aspect``; with ``illumination, cast_shadow`` by light too.
    reference
        Outlines that are known, EPSG:4326.
    progress
        Told after every block.
    """
    grid = study.grid
    area = gpd.GeoSeries([projected(study.area, epsg=grid.epsg)], crs=grid.epsg)
    is_unseen = np.append(False, ~table["split"].isin(SEEN).to_numpy(bool))
    known = None if reference is None else reference.geometry.to_crs(grid.epsg)
    shapes = {
        "is_area": area,
        "is_glacier": _glaciers(study, area),
        "is_reference": gpd.GeoSeries([], crs=grid.epsg) if known is None else known,
    }
    trees = {name: shapely.STRtree(geometry.to_numpy()) for name, geometry in shapes.items()}
    landforms = shapely.STRtree(drawn.exact.to_numpy())
    arrays: dict[str, Any] = {
        name: in_one_pass(cube[name]) for name in (*TERRAIN, *LIGHT) if name in cube
    }

    def counted(window: Window) -> tuple[dict[str, Counts], NDArray[np.int64]]:
        read: dict[str, Any] = {
            name: np.asarray(array[window.slices]) for name, array in arrays.items()
        }
        shadow = read.pop("cast_shadow", None)
        read |= {name: _burnt(tree, study, window) > 0 for name, tree in trees.items()}
        landform = _burnt(landforms, study, window)
        ground = Ground(
            **read,
            is_found=landform > 0,
            is_unseen=is_unseen[landform],
            is_cast_shadow=None if shadow is None else shadow > 0,
        )
        place = landform * len(LIGHTS) + light_of(ground)
        found = np.bincount(place.ravel(), minlength=lights.size)
        return counts_of(ground), found.reshape(lights.shape)

    windows = [block.window for block in grid.blocks()]
    total, lights = summed([]), np.zeros((len(table) + 1, len(LIGHTS)), dtype=np.int64)
    for done, (part, lit) in enumerate(
        in_order(counted, windows, threads=threads(study.folder)), start=1
    ):
        total, lights = summed([total, part]), lights + lit
        progress("outlines: tables", done, len(windows))
    lights = lights[1:]
    pixel_km2 = true_pixel_km2(
        area, resolution=grid.resolution, area_km2=geodesic_area_km2(study.area)
    )
    known_too = reference is not None
    told: Any = {"pixel_km2": pixel_km2, "has_reference": known_too}
    found = tables_of(total, table, lights=lights, **told)
    if limits := study.config.train.elevation:
        is_in = table["elevation_median_m"].between(*limits).to_numpy(bool)
        inside = tables_of(between(total, limits), table[is_in], lights=lights[is_in], **told)
        found |= {f"{name}_filtered": frame for name, frame in inside.items()}
    folder = study.inventory_path / "tables"
    for path in listing(folder, ".csv"):
        if path.stem not in found:
            path.unlink()  # of other settings
    for name, frame in found.items():
        write_text(folder / f"{name}.csv", frame.round(DECIMALS).to_csv(index=False))


def _glaciers(study: Study, area: gpd.GeoSeries) -> gpd.GeoSeries:
    uri = study.config.inventory.overlaps.get(GLACIERS)
    if uri is None or uri.lower().endswith(RASTERS):
        return gpd.GeoSeries([], crs=study.grid.epsg)
    return features_of(study.resolve(uri), GLACIERS, area).geometry


def _burnt(tree: shapely.STRtree, study: Study, window: Window) -> NDArray[np.int32]:
    """Return the number of the shape, from 1 on, in which the centre of each pixel lies, else 0."""
    shape = (window.height, window.width)
    box = study.grid.window_geobox(window)
    near = np.sort(tree.query(shapely.box(*box.boundingbox.bbox)))
    if not len(near):
        return np.zeros(shape, dtype=np.int32)
    numbered = zip(tree.geometries[near], (near + 1).tolist(), strict=True)
    return rasterize(numbered, out_shape=shape, transform=box.affine, dtype=np.int32)
