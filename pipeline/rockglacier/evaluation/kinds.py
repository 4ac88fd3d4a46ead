"""The kinds of ground that a study knows: its cube's terrain and looks, and other data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from rockglacier.evaluation.confusers import Kinds, terrain_kinds
from rockglacier.grid import Grid, Window
from rockglacier.inventory.match import EQUAL_AREA
from rockglacier.inventory.overlaps import RASTERS, features_of
from rockglacier.storage import open_group
from rockglacier.storage.vector import POLYGONS
from rockglacier.study import Study

LAYERS = ("slope", "aspect", "illumination", "cast_shadow", "n_snow", "n_shadow")

type KindsAt = Callable[[Window], Kinds]


def kinds_of(study: Study) -> KindsAt:
    """Return a function that gives the kinds of ground in a window.

    Terrain and looks come from the cube, if there is one (the study's period); every polygon file
    of ``inventory.overlaps`` is a kind of its own, e.g. ``glaciers``. ``all`` is the whole ground.
    """
    cube: Mapping[str, Any] = {}
    if study.cube_path.is_dir():
        group = open_group(study.cube_path)
        cube = {name: group[name] for name in LAYERS if name in group}
    others = _polygons(study)

    def kinds(window: Window) -> Kinds:
        time = study.period.index
        layers = {name: _read(array, window, time) for name, array in cube.items()}
        found: dict[str, NDArray[np.bool_]] = {"all": np.ones((window.height, window.width), bool)}
        found |= terrain_kinds(**layers)
        for name, shapes in others.items():
            found[name] = burnt(shapes, study.grid, window)
        return found

    return kinds


def burnt(shapes: list[shapely.Geometry], grid: Grid, window: Window) -> NDArray[np.bool_]:
    """Return which pixels of a window have their centre in one of the shapes (CRS of the grid)."""
    box = grid.window_geobox(window)
    frame = shapely.box(*box.boundingbox.bbox)
    near = [shape for shape in shapes if shape.intersects(frame)]
    where = np.zeros((window.height, window.width), np.uint8)
    if near:
        rasterize(near, out=where, transform=box.affine, default_value=1)
    return where == 1


def _polygons(study: Study) -> dict[str, list[shapely.Geometry]]:
    area = gpd.GeoSeries([study.area], crs=4326).to_crs(EQUAL_AREA)
    found = {}
    for name, uri in study.config.inventory.overlaps.items():
        if uri.lower().endswith(RASTERS):
            continue
        features = features_of(study.resolve(uri), name, area)
        polygons = features[features.geom_type.isin(POLYGONS)].to_crs(study.grid.epsg)
        if len(polygons):
            found[name] = list(polygons.geometry.make_valid())
    return found


def _read(array: Any, window: Window, time: int) -> NDArray[Any]:
    key = (time, *window.slices) if array.ndim == 3 else window.slices
    return np.asarray(array[key])
