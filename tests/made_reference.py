"""Outlines of rock glaciers that somebody drew, and a study with a grid to burn them on."""

import geopandas as gpd
import shapely

from made_study import study_in
from rockglacier.grid import Grid

AREA = shapely.box(74.0, 36.0, 74.1, 36.06)
LANDFORM = shapely.box(74.02, 36.02, 74.03, 36.03)
BOW_TIE = shapely.Polygon([(74.07, 36.02), (74.08, 36.03), (74.08, 36.02), (74.07, 36.03)])
"""It crosses itself."""


def write_outlines(path, shapes, crs=4326, **columns):
    """Write polygons with columns, and return where."""
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return str(path)


def make_grid(block=128):
    """Return the grid of the area, 20 m wide pixels."""
    return Grid.from_area(AREA, epsg=32643, resolution=20, block=block)


def label_study(folder, *, block=128, **labels):
    """Return a study with that grid, ready to be labelled."""
    return study_in(
        folder,
        make_grid(block),
        area=list(AREA.bounds),
        cube={"block": block, "resolution": 20},
        labels={"split": "strip", "guard": 10, **labels},
    )
