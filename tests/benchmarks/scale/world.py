"""Basins of 1, 4 and 16 times an area, over the same made scenes and the same mountain."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform_bounds

from rockglacier.config import parse_config
from rockglacier.grid import Grid
from rockglacier.scenes.record import DemTile, Scene, write_dem_tiles, write_scenes
from rockglacier.storage import write_json
from rockglacier.study import Study

EPSG, WEST, NORTH = 32643, 500_000, 4_000_000
BANDS = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B11": 20, "B12": 20, "SCL": 20}
DAYS = (2, 7, 12)
SMOOTH = 24
"""Pixels between random values of a scene: it is compressed about as well as real ones."""
FILE = {"driver": "GTiff", "count": 1, "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "predictor": 2, "crs": f"EPSG:{EPSG}"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """Where it all is, and how large."""

    folder: Path
    edge: int
    """Of the smallest basin, pixels; four blocks of it are its edge."""
    largest: int = 4
    """Edge of the largest basin, in edges of the smallest."""

    @property
    def block(self) -> int:
        """Edge of a block: a read group is as large as the smallest basin."""
        return self.edge // 4

    def study(self, factor: int, name: str = "basin") -> Study:
        """Return the searched study of a basin of ``factor`` times the smallest area."""
        edge = self.edge * round(factor**0.5)
        grid = Grid.from_dict(
            {
                "crs": f"EPSG:{EPSG}",
                "transform": [10.0, 0.0, WEST, 0.0, -10.0, NORTH],
                "shape": [edge, edge],
                "block": self.block,
            }
        )
        area = transform_bounds(EPSG, 4326, *grid.bounds)
        values = {
            "name": f"{name}-{factor}",
            "area": [round(value, 9) for value in area],
            "cube": {"block": self.block},
            "labels": {"reference": "landforms.gpkg", "split": "strip", "guard": 32},
            "train": {"networks": ["unet"], "size": "small", "chip": 64, "batch": 4, "epochs": 1,
                      "chips_per_epoch": 8},
            "predict": {"window": 64},
            "inventory": {"threshold": 0.5},
        }  # fmt: skip
        study = Study(config=parse_config(values, source="scale"), base=self.folder)
        if not study.grid_path.is_file():
            study.folder.mkdir(parents=True, exist_ok=True)
            write_json(study.grid_path, grid.to_dict())
            write_json(study.search_path, {})
            box = shapely.box(*grid.bounds).buffer(500)
            scenes = [self.scene(day, row, col) for day in DAYS for row, col in self.tiles()]
            near = [
                scene
                for scene in scenes
                if shapely.box(*self.bounds(*map(int, scene.tile.split("-")))).intersects(box)
            ]
            write_scenes(near, study.scenes_path)
            write_dem_tiles([self.dem()], study.dem_path)
        return study

    def tiles(self) -> list[tuple[int, int]]:
        """Return row and column of every tile: one for each smallest basin in the largest."""
        return [(row, col) for row in range(self.largest) for col in range(self.largest)]

    def bounds(self, row: int, col: int) -> tuple[float, float, float, float]:
        """Return the bounds of a tile, metres."""
        size = 10 * self.edge
        left, top = WEST + col * size, NORTH - row * size
        return left, top - size, left + size, top

    def scene(self, day: int, row: int, col: int) -> Scene:
        """Return the scene of a day over a tile."""
        west, south, east, north = self.bounds(row, col)
        box = shapely.box(*transform_bounds(EPSG, 4326, west, south, east, north))
        return Scene(
            id=f"{day}-{row}-{col}",
            collection="sentinel-2-c1-l2a",
            datetime=datetime(2024, 8, day, 5, 40, tzinfo=UTC),
            tile=f"{row}-{col}",
            platform="sentinel-2a",
            epsg=EPSG,
            cloud_cover=1.0,
            baseline="05.11",
            sequence=0,
            datatake=str(day),
            nodata_percent=0.0,
            offset_in_pixels=0,
            offset_reason="made",
            assets={band: str(self.path(day, row, col, band)) for band in BANDS},
            self_href="",
            sun_azimuth=150.0,
            sun_elevation=50.0,
            basin_cloud=1.0,
            transform=(10.0, 0.0, west, 0.0, -10.0, north),
            shape=(self.edge, self.edge),
            geometry=box,
            bbox=box.bounds,
        )

    def path(self, day: int, row: int, col: int, band: str) -> Path:
        """Return the file of a band of a scene."""
        return self.folder / "scenes" / f"{day}-{row}-{col}-{band}.tif"

    def dem(self) -> DemTile:
        """Return the one tile of elevation."""
        path = self.folder / "scenes" / "dem.tif"
        with rasterio.open(path) as raster:
            box = shapely.box(*raster.bounds)
        return DemTile(id="dem", href=str(path), collection="dem", geometry=box, self_href="")


def make(world: World) -> None:
    """Write the scenes, the elevation and a few landforms, unless they are there."""
    (world.folder / "scenes").mkdir(parents=True, exist_ok=True)
    for day in DAYS:
        for row, col in world.tiles():
            for band, step in BANDS.items():
                path = world.path(day, row, col, band)
                if not path.is_file():
                    write_band(world, path, day, row, col, band, step)
    if not (world.folder / "scenes" / "dem.tif").is_file():
        write_dem(world)
    if not (world.folder / "landforms.gpkg").is_file():
        write_landforms(world)


def write_band(
    world: World, path: Path, day: int, row: int, col: int, band: str, step: int
) -> None:
    """Write a band: random values every few pixels, smooth between, and noise."""
    size = world.edge * 10 // step
    rng = np.random.default_rng((day, row, col, list(BANDS).index(band)))
    if band == "SCL":
        values = np.full((size, size), 5, np.uint8)
        clouds = rng.random((size // 32 + 1, size // 32 + 1)) < 0.05
        values[np.kron(clouds, np.ones((32, 32), bool))[:size, :size]] = 9
    else:
        coarse = rng.uniform(1300, 4000, (size // SMOOTH + 2, size // SMOOTH + 2))
        at = np.arange(size) / SMOOTH
        low, part = at.astype(int), at % 1
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        smooth = rows[:, low] * (1 - part) + rows[:, low + 1] * part
        values = (smooth + rng.normal(0, 25, (size, size))).astype(np.uint16)
    west, _, _, north = world.bounds(row, col)
    with rasterio.open(
        path, "w", height=size, width=size, dtype=values.dtype, nodata=0,
        transform=Affine(step, 0, west, 0, -step, north), **FILE,
    ) as raster:  # fmt: skip
        raster.write(values, 1)


def write_dem(world: World) -> None:
    """Write a mountain in degrees that covers all basins and what lies around them."""
    size = 10 * world.edge * world.largest
    west, south, east, north = transform_bounds(
        EPSG, 4326, WEST - 6000, NORTH - size - 6000, WEST + size + 6000, NORTH + 6000
    )
    step = 1 / 3600
    rows, cols = int((north - south) / step), int((east - west) / step)
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    heights = 4000 + 500 * np.sin(x / 60) * np.cos(y / 70) + 30 * np.sin(x / 7 + y / 9)
    profile = {**FILE, "crs": "EPSG:4326", "predictor": 3}
    with rasterio.open(
        world.folder / "scenes" / "dem.tif", "w", height=rows, width=cols, dtype="float32",
        transform=Affine(step, 0, west, 0, -step, north), **profile,
    ) as raster:  # fmt: skip
        raster.write(heights, 1)


def write_landforms(world: World) -> None:
    """Write squares of 300 m as an inventory to learn from."""
    size = 10 * world.edge * world.largest
    boxes = [
        shapely.box(WEST + x, NORTH - y - 300, WEST + x + 300, NORTH - y)
        for x in range(200, size, 900)
        for y in range(200, size, 900)
    ]
    gpd.GeoDataFrame(geometry=boxes, crs=EPSG).to_file(world.folder / "landforms.gpkg")
