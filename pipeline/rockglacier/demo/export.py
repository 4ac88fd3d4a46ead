"""Write scenes and DEM tiles of a landscape, each with its item."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rockglacier.demo.acquisitions import ACQUISITIONS, Acquisition, Tile, TileName, make_tiles
from rockglacier.demo.catalog import SceneFacts, dem_item, scene_item
from rockglacier.demo.cogs import WrittenFile, write_cog
from rockglacier.demo.dem import make_dem
from rockglacier.demo.scenes import (
    FINE_BANDS,
    Look,
    cut,
    ground_reflectance,
    look_at,
    swath_edge,
    tile_pixels,
)
from rockglacier.demo.terrain import Landscape
from rockglacier.engine import Progress
from rockglacier.grid import projected
from rockglacier.storage import write_json

SCENES_WAITING = 2
"""Scenes held in memory until they are written."""
DEM_MARGIN_DEG = 0.004
"""DEM around the basin, degrees."""
DEM_TIME = datetime(2021, 4, 22, tzinfo=UTC)
"""What every item of the real collection says, whenever it was measured."""

type _Scene = tuple[SceneFacts, dict[str, Future[WrittenFile]]]


def write_scenes(
    folder: Path, landscape: Landscape, *, seed: int, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Write every scene into a folder of its own and yield its item.

    Files are written while the next overpass is made.

    Parameters
    ----------
    folder
        Folder of the catalog.
    landscape
        The truth.
    seed
        Seed of the basin.
    progress
        Told after every scene.
    """
    ground = ground_reflectance(landscape, seed=seed)
    tiles = make_tiles(landscape.transform, landscape.shape, epsg=landscape.epsg)
    total = sum(len(one.tiles) + len(one.reprocessed) for one in ACQUISITIONS)
    waiting: deque[_Scene] = deque()
    done = 0
    progress("scenes", done, total)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for acquisition in ACQUISITIONS:
            look = look_at(landscape, ground, acquisition, seed=seed)
            for tile in acquisition.tiles:
                scenes = _start_tile(folder, look, landscape, acquisition, tile, tiles[tile], pool)
                waiting.extend(scenes)
            while len(waiting) > SCENES_WAITING or (acquisition is ACQUISITIONS[-1] and waiting):
                facts, files = waiting.popleft()
                yield scene_item(facts, {band: file.result() for band, file in files.items()})
                done += 1
                progress("scenes", done, total)


def _start_tile(
    folder: Path,
    look: Look,
    landscape: Landscape,
    acquisition: Acquisition,
    name: TileName,
    tile: Tile,
    pool: ThreadPoolExecutor,
) -> Iterator[_Scene]:
    """Start to write one tile of an overpass, twice where it was reprocessed."""
    wedge = name in acquisition.wedge
    seen = cut(look, landscape, tile, wedge=wedge)
    removed = name in acquisition.offset_removed
    # the older processing comes out a little brighter, so that the choice between them shows
    versions = [(0, acquisition.baseline, 1.0)]
    if name in acquisition.reprocessed:
        versions = [(0, "05.10", 1.03), (1, acquisition.baseline, 1.0)]
    for sequence, baseline, gain in versions:
        facts = SceneFacts(
            tile=tile,
            acquisition=acquisition,
            sequence=sequence,
            baseline=baseline,
            offset_removed=removed,
            nodata_percent=round(100 * float(1 - seen.valid.mean()), 6),
            footprint=_footprint(landscape, tile, wedge=wedge),
        )
        pixels = tile_pixels(seen, offset=0 if removed else 1000, gain=gain)
        arrays: dict[str, NDArray[Any]] = {**pixels.bands, "SCL": pixels.scl}
        yield (
            facts,
            {
                band: _submit(pool, folder / facts.id / f"{band}.tif", values, tile, band)
                for band, values in arrays.items()
            },
        )


def _submit(
    pool: ThreadPoolExecutor, path: Path, values: NDArray[Any], tile: Tile, band: str
) -> Future[WrittenFile]:
    transform = tile.transform if band in FINE_BANDS else tile.transform * Affine.scale(2)
    return pool.submit(
        write_cog,
        path,
        values,
        transform=transform,
        epsg=tile.epsg,
        nodata=0,
        resampling="nearest" if band == "SCL" else "average",
    )


def _footprint(landscape: Landscape, tile: Tile, *, wedge: bool) -> BaseGeometry:
    """Ground that an item holds, metres of the tile's CRS."""
    ground = projected(
        shapely.box(*landscape.bounds), epsg=tile.epsg, source_epsg=landscape.epsg
    ).intersection(shapely.box(*tile.bounds))
    if not wedge:
        return ground
    rows, columns = tile.shape
    edge = swath_edge(tile) * columns
    corners = [(0, 0), (edge, 0), (edge - 0.45 * rows, rows), (0, rows)]
    swath = shapely.Polygon([tile.transform * corner for corner in corners])
    return ground.intersection(swath)


def write_dem(
    folder: Path, landscape: Landscape, area: BaseGeometry, *, seed: int
) -> Iterator[dict[str, Any]]:
    """Write the DEM tiles over an area (EPSG:4326), each into a folder, and yield their items."""
    west, south, east, north = area.bounds
    margin = DEM_MARGIN_DEG
    bounds = (west - margin, south - margin, east + margin, north + margin)
    for tile in make_dem(landscape, bounds, seed=seed):
        file = write_cog(
            folder / tile.name / f"{tile.name}.tif",
            tile.elevation,
            transform=tile.transform,
            epsg=4326,
            nodata=None,
            resampling="average",
            point=True,
        )
        yield dem_item(tile, file, when=DEM_TIME)


def write_item_file(folder: Path, item: dict[str, Any]) -> None:
    """Write an item as JSON beside its assets."""
    write_json(folder / item["id"] / f"{item['id']}.json", _beside_assets(item))


def _beside_assets(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item whose paths are relative to its own folder."""
    own = f"./{item['id']}/"
    assets = {
        key: {**asset, "href": asset["href"].replace(own, "./", 1)}
        for key, asset in item["assets"].items()
    }
    links = [{**link, "href": link["href"].replace(own, "./", 1)} for link in item["links"]]
    return {**item, "assets": assets, "links": links}
