"""A basin of 300 x 340 pixels as the search leaves it: grid, scenes and DEM, with real rasters.

UTM zone 43, near its eastern edge. Pixel values are a function of the place, so that any shift
shows. Four scenes: two overlapping tiles of one overpass, a second date whose pixels lack the
offset, and a scene of the neighbouring zone. 20 m pixels lie at an odd offset to the grid.
"""

from datetime import UTC, datetime

import numpy as np
import shapely
from affine import Affine
from rasterio.warp import transform_bounds

from made_study import grid_of, study_in, write_raster
from rockglacier.scenes.record import DemTile, Scene, write_dem_tiles, write_scenes

WEST, NORTH = 760_010, 4_000_010
HEIGHT, WIDTH = 300, 340
BANDS = ("B04", "B11")
RESOLUTION = {"B04": 10, "B11": 20, "SCL": 20}


def place_value(x, y, asset, date):
    """Stored number at a place (CRS metres, pixel centres)."""
    step = RESOLUTION[asset]
    column, row = np.floor(x / step).astype(int), np.floor(y / step).astype(int)
    if asset == "SCL":
        cloudy = (column % 23 < 4) & (row % 19 < 6) & (date == 1)
        snowy = (column % 37 < 9) & (row % 41 < 9)
        return np.where(cloudy, 9, np.where(snowy, 11, 5)).astype(np.uint8)
    return (1100 + (7 * column + 13 * row) % 500 + 100 * date).astype(np.uint16)


def write_scene(folder, name, *, date, west, north, size, epsg=32643, add=0, datatake=""):
    """Write the rasters of a scene of ``size`` metres; its left 200 m are nodata."""
    assets = {}
    for asset, step in RESOLUTION.items():
        pixels = size // step
        x, y = np.meshgrid(
            west + (np.arange(pixels) + 0.5) * step, north - (np.arange(pixels) + 0.5) * step
        )
        values = place_value(x, y, asset, date)
        if add and asset != "SCL":
            values = values - np.uint16(add)
        values[:, : 200 // step] = 0
        path = folder / f"{name}_{asset}.tif"
        write_raster(
            path,
            values,
            transform=Affine(step, 0, west, 0, -step, north),
            crs=f"EPSG:{epsg}",
            nodata=0,
            tiled=True,
            blockxsize=64,
            blockysize=64,
            compress="deflate",
        )
        assets[asset] = str(path)
    box = transform_bounds(epsg, 4326, west, north - size, west + size, north)
    return Scene(
        id=name,
        collection="sentinel-2-c1-l2a",
        datetime=datetime(2024, 8, date, 5, 40, tzinfo=UTC),
        tile="43SGV",
        platform="sentinel-2a",
        epsg=epsg,
        cloud_cover=1.0,
        baseline="05.11",
        sequence=0,
        datatake=datatake,
        nodata_percent=0.0,
        offset_in_pixels=add,
        offset_reason="made",
        assets=assets,
        self_href="",
        sun_azimuth=140.0 + date,
        sun_elevation=20.0,
        basin_cloud=float(date % 3),
        transform=(10.0, 0.0, float(west), 0.0, -10.0, float(north)),
        shape=(size // 10, size // 10),
        geometry=shapely.box(*box),
        bbox=box,
    )


def surface(lon, lat):
    """Elevation of a made-up mountain, metres."""
    x, y = (lon - 77.9) * 90_000, (lat - 36.1) * 111_000
    return 4000 + 600 * np.sin(x / 700) * np.cos(y / 900) + 40 * np.sin(x / 90 + y / 130)


def write_dem(folder, grid, *, seam=True, margin=0.06):
    """Write one or two abutting 1" tiles over a grid; the seam runs through its middle."""
    west, south, east, north = transform_bounds(grid.epsg, 4326, *grid.bounds)
    step = 1 / 3600
    left = np.floor((west - margin) / step) * step
    top = np.ceil((north + margin) / step) * step
    columns = int((east + margin - left) / step)
    rows = int((top - south + margin) / step)
    middle = int(((west + east) / 2 - left) / step)
    cuts = [(0, middle), (middle, columns)] if seam else [(0, columns)]
    tiles = []
    for index, (first, last) in enumerate(cuts):
        lon, lat = np.meshgrid(
            left + (np.arange(first, last) + 0.5) * step, top - (np.arange(rows) + 0.5) * step
        )
        path = folder / f"dem_{'seam' if seam else 'whole'}_{index}.tif"
        corner = left + first * step
        write_raster(
            path,
            surface(lon, lat).astype(np.float32),
            transform=Affine(step, 0, corner, 0, -step, top),
            crs="EPSG:4326",
        )
        box = shapely.box(corner, top - rows * step, left + last * step, top)
        tiles.append(
            DemTile(id=path.stem, href=str(path), collection="cop-dem", geometry=box, self_href="")
        )
    return tiles


def make_basin(folder, name="basin", *, block=256, seam=True, scenes=None, **cube):
    """Write a basin and return its study; ``scenes`` changes the list of scenes."""
    grid = grid_of((HEIGHT, WIDTH), block=block, west=WEST, north=NORTH)
    area = transform_bounds(grid.epsg, 4326, *grid.bounds)
    cube = {"bands": BANDS, "block": block, **cube}
    study = study_in(folder, grid, name=name, area=area, cube=cube)
    made = [
        write_scene(study.folder.parent, "a1", date=1, west=759_000, north=4_001_000, size=4000),
        write_scene(study.folder.parent, "b1", date=1, west=762_600, north=4_000_200, size=4000),
        write_scene(
            study.folder.parent, "a2", date=2, west=759_600, north=4_000_600, size=5000, add=1000
        ),
        write_scene(
            study.folder.parent,
            "z3",
            date=3,
            west=219_000,
            north=4_001_000,
            size=5000,
            epsg=32644,
        ),
    ]
    write_scenes(scenes(made) if scenes else made, study.scenes_path)
    write_dem_tiles(write_dem(study.folder.parent, grid, seam=seam), study.dem_path)
    return study
