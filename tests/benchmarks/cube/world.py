"""A made-up world to measure on: tiles of Sentinel-2 and of a DEM, as files with STAC items.

Four tiles that overlap as MGRS tiles do, four overpasses of clouds, cloud shadows, snow and two
swath edges. One texture from the generator of the demo is mirrored over all of them: it is as large
as half a tile, so that no file block holds it twice, and compresses like mountains do.

The scale is the edge of the area to be read: 4096 px has tiles of 5490 px with blocks of 1024 px;
every other scale has the same number of tiles and blocks, so that small worlds ask the same.
"""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.transform import array_bounds
from scipy import ndimage

from rockglacier.demo.acquisitions import ACQUISITIONS, Tile
from rockglacier.demo.catalog import SceneFacts, dem_item, scene_item
from rockglacier.demo.cogs import WrittenFile
from rockglacier.demo.dem import DemTile
from rockglacier.demo.noise import enlarge
from rockglacier.demo.scenes import FINE_BANDS, ground_reflectance, look_at, tile_pixels
from rockglacier.demo.terrain import make_landscape
from rockglacier.grid import projected

VERSION = 2
"""Counts the changes of the files: a world of another version is made again."""
SEED = 11
EPSG = 32643
WEST, NORTH = 600_000.0, 4_200_000.0
CODES = {(0, 0): "43SFB", (0, 1): "43SGB", (1, 0): "43SFA", (1, 1): "43SGA"}
"""Row and column of a tile to its MGRS name."""
FULL = 4096
"""Scale at which tiles, overlaps and blocks have the sizes that follow, pixels."""
TILE, OVERLAP, BLOCK = 5490, 984, 1024
PER_DEGREE = 3600
DEM_MARGIN_M = 6000.0
"""DEM around the tiles: what shadows and warps reach for."""
SMALLEST_TEXTURE = 384
CLOUDS = {1: 0.12, 2: 0.25, 3: 0.2, 4: 0.08}
"""Index among the overpasses of the demo to the share of ground under cloud."""
SWATHS = {2: (0.78, 1), 4: (0.45, -1)}
"""Index to where an edge of the swath starts, as a share of the width, and the side that is seen:
1 means west of it, -1 east of it."""
SWATH_SLANT = 0.45
"""Columns by which the edge moves west from one row to the next."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The plan of a world, and where it lies."""

    root: Path
    """Holds worlds of all scales."""
    scale: int
    """Edge of the area to be read, pixels; a multiple of 256."""

    @property
    def folder(self) -> Path:
        """Folder of its files."""
        return self.root / f"world-{VERSION}-{self.scale}"

    @property
    def tile(self) -> int:
        """Edge of a tile, pixels of 10 m."""
        return 6 * round(self.scale * TILE / 6 / FULL)

    @property
    def step(self) -> int:
        """Pixels from one tile to the next."""
        return self.tile - 6 * round(self.scale * OVERLAP / 6 / FULL)

    @property
    def width(self) -> int:
        """Pixels along the edge of all tiles."""
        return self.step + self.tile

    @property
    def block(self) -> int:
        """Edge of a file's block, pixels."""
        return 16 * round(self.scale * BLOCK / 16 / FULL)

    @property
    def texture(self) -> int:
        """Edge of the part that is mirrored, pixels."""
        return max(SMALLEST_TEXTURE, 12 * (self.tile // 24))

    @property
    def area(self) -> tuple[int, int, int]:
        """First row, first column and edge of the area: in the two upper tiles, odd columns."""
        return round(self.scale * 200 / FULL), round(self.scale * 2500 / FULL) | 1, self.scale

    def centred(self, edge: int) -> tuple[int, int, int]:
        """Return an area in the middle of all four tiles."""
        first = (self.width - edge) // 2
        return first, first, edge

    @cached_property
    def transform(self) -> Affine:
        """Pixel (column, row) of the world to metres."""
        return Affine(10, 0, WEST, 0, -10, NORTH)

    def tile_at(self, row: int, col: int) -> Tile:
        """Return a tile of the demo's kind."""
        return Tile(
            code=CODES[row, col],
            epsg=EPSG,
            transform=self.transform @ Affine.translation(col * self.step, row * self.step),
            shape=(self.tile, self.tile),
        )

    def items(self, base: str = "", *, rows: int = 2) -> list[dict]:
        """Return the items of the scenes in the upper ``rows`` of tiles, and of the DEM.

        Parameters
        ----------
        base
            What paths are relative to: an address, or the folder.
        rows
            1 leaves the lower tiles out.
        """
        base = base or str(self.folder)
        paths = sorted(self.folder.glob("*/item.json"))
        items = [json.loads(path.read_text().replace('"./', f'"{base}/')) for path in paths]
        codes = {f"MGRS-{code}" for (row, _), code in CODES.items() if row < rows}
        return [
            item
            for item in items
            if item["properties"]["grid:code"] in codes or item["collection"].startswith("cop-dem")
        ]


def make_world(world: World, *, rows: int = 1, say=print) -> None:
    """Write the files of a world that are not there.

    Parameters
    ----------
    world
        Its scale is a multiple of 256.
    rows
        Rows of tiles, of two columns each: 1, or 2 for areas in the middle of four tiles.
    say
        Told what is being made.
    """
    if world.scale % 256:
        raise ValueError(f"scale {world.scale}: a multiple of 256 is needed")
    missing = [
        (day, row, col)
        for day in CLOUDS
        for row in range(rows)
        for col in range(2)
        if not (_scene_folder(world, day, row, col) / "item.json").is_file()
    ]
    dem = not list(world.folder.glob("Copernicus*/item.json"))
    if missing or dem:
        say(f"making {len(missing)} scenes of {world.tile} px in {world.folder}")
        _write(world, missing, dem=dem)


def _write(world: World, missing: list[tuple[int, int, int]], *, dem: bool) -> None:
    edge = world.texture
    landscape = make_landscape((edge, edge), transform=world.transform, epsg=EPSG, seed=SEED)
    if dem:
        _write_dem(world, landscape.elevation)
    ground = ground_reflectance(landscape, seed=SEED)
    for day in sorted({day for day, _, _ in missing}):
        acquisition = replace(
            ACQUISITIONS[day], cloud_share=CLOUDS[day], cloud_cover=1.0, offset_removed=()
        )
        pixels = tile_pixels(look_at(landscape, ground, acquisition, seed=SEED), offset=1000)
        bands = {**pixels.bands, "SCL": pixels.scl}
        for _, row, col in (one for one in missing if one[0] == day):
            _write_scene(world, day, row, col, bands)


def _scene_folder(world: World, day: int, row: int, col: int) -> Path:
    return world.folder / _facts(world, day, row, col).id


def _facts(world: World, day: int, row: int, col: int) -> SceneFacts:
    tile = world.tile_at(row, col)
    return SceneFacts(
        tile=tile,
        acquisition=replace(ACQUISITIONS[day], cloud_cover=1.0),
        sequence=0,
        baseline="05.11",
        offset_removed=False,
        nodata_percent=round(100 * (1 - float(_seen(world, day, row, col).mean())), 4),
        footprint=shapely.box(*tile.bounds),
    )


def _seen(world: World, day: int, row: int, col: int) -> np.ndarray:
    """Return where (y, x) the swath covers a tile."""
    rows = row * world.step + np.arange(world.tile)[:, None]
    cols = col * world.step + np.arange(world.tile)[None, :]
    if day not in SWATHS:
        return np.ones((world.tile, world.tile), bool)
    start, side = SWATHS[day]
    return side * (cols + SWATH_SLANT * rows - start * world.width) < 0


def _mirrored(first: int, count: int, edge: int) -> np.ndarray:
    """Return which pixels of a texture lie under ``count`` pixels of the world."""
    place = np.arange(first, first + count) % (2 * edge)
    return np.where(place < edge, place, 2 * edge - 1 - place)


def _write_scene(world: World, day: int, row: int, col: int, texture: dict) -> None:
    facts, seen = _facts(world, day, row, col), _seen(world, day, row, col)
    coarse = seen[0::2, 0::2] & seen[1::2, 0::2] & seen[0::2, 1::2] & seen[1::2, 1::2]
    folder = world.folder / facts.id

    def write(name: str) -> tuple[str, WrittenFile]:
        factor = 1 if name in FINE_BANDS else 2
        edge, count = texture[name].shape[0], world.tile // factor
        at_y = _mirrored(row * world.step // factor, count, edge)
        at_x = _mirrored(col * world.step // factor, count, edge)
        values = texture[name][at_y][:, at_x] * (seen if factor == 1 else coarse)
        return name, _write_cog(
            folder / f"{name}.tif",
            values,
            facts.tile.transform @ Affine.scale(factor),
            EPSG,
            block=world.block,
            nodata=0,
            classes=name == "SCL",
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = dict(pool.map(write, texture))
    _write_item(folder, scene_item(facts, files))


def _write_dem(world: World, elevation: np.ndarray) -> None:
    """Write one tile a degree, cut to the world: cells centred on whole arc seconds."""
    west, south, east, north = array_bounds(world.width, world.width, world.transform)
    box = shapely.box(west, south, east, north).buffer(DEM_MARGIN_M)
    left, low, right, high = projected(box, epsg=4326, source_epsg=EPSG).bounds
    for lat in range(math.floor(low), math.ceil(high)):
        for lon in range(math.floor(left), math.ceil(right)):
            first = max(math.floor(left * PER_DEGREE), lon * PER_DEGREE)
            last = min(math.ceil(right * PER_DEGREE), (lon + 1) * PER_DEGREE - 1)
            bottom = max(math.floor(low * PER_DEGREE), lat * PER_DEGREE + 1)
            top = min(math.ceil(high * PER_DEGREE), (lat + 1) * PER_DEGREE)
            step = 1 / PER_DEGREE
            tile = DemTile(
                name=f"Copernicus_DSM_COG_10_N{lat:02d}_00_E{lon:03d}_00_DEM",
                grid_code=f"CDEM-N{lat:02d}E{lon:03d}",
                transform=Affine(step, 0, (first - 0.5) * step, 0, -step, (top + 0.5) * step),
                elevation=_sampled(world, elevation, (top, bottom), (first, last)),
            )
            folder = world.folder / tile.name
            file = _write_cog(
                folder / f"{tile.name}.tif",
                tile.elevation,
                tile.transform,
                4326,
                block=world.block,
                nodata=None,
                classes=False,
            )
            _write_item(folder, dem_item(tile, file, when=datetime(2021, 4, 22, tzinfo=UTC)))


def _sampled(
    world: World, elevation: np.ndarray, rows: tuple[int, int], cols: tuple[int, int]
) -> np.ndarray:
    """Return the elevation at arc seconds, from the first row and column to the last."""
    every = 16  # degrees to metres is smooth enough for linear interpolation between these
    shape = rows[0] - rows[1] + 1, cols[1] - cols[0] + 1
    y, x = np.mgrid[0 : shape[0] + every : every, 0 : shape[1] + every : every]
    transformer = Transformer.from_crs(4326, EPSG, always_xy=True)
    metres = transformer.transform((cols[0] + x) / PER_DEGREE, (rows[0] - y) / PER_DEGREE)
    col, row = ~world.transform @ metres
    at = enlarge(row - 0.5, every, shape), enlarge(col - 0.5, every, shape)
    # reflect repeats the edge pixel, as the mirrored texture does
    return ndimage.map_coordinates(elevation, at, order=1, mode="reflect")


def _write_cog(
    path: Path,
    values: np.ndarray,
    transform: Affine,
    epsg: int,
    *,
    block: int,
    nodata: int | None,
    classes: bool,
) -> WrittenFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        dtype=values.dtype,
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        crs=f"EPSG:{epsg}",
        transform=transform,
        nodata=nodata,
        compress="DEFLATE",
        predictor="NO" if classes else "YES",
        blocksize=block,
        overview_resampling="nearest" if classes else "average",
    ) as raster:
        raster.write(values, 1)
    return WrittenFile(
        shape=values.shape,
        transform=transform,
        size=path.stat().st_size,
        checksum="1220" + 64 * "0",
    )


def _write_item(folder: Path, item: dict) -> None:
    """Write an item last: a scene without one is not finished."""
    part = folder / "item.part"
    part.write_text(json.dumps(item))
    part.replace(folder / "item.json")
