"""Our side: the only place that knows how the engine is called."""

import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import zarr
from case import Case

from rockglacier.cube.build import build_cube
from rockglacier.cube.composite import Composite, composite
from rockglacier.cube.group import GDAL_CACHE, STRIPS
from rockglacier.cube.load import SceneReader, looks_of
from rockglacier.cube.store import CubeWriter, create_cube
from rockglacier.cube.terrain import SLOPE_HALO, meridian_convergence, slope_aspect
from rockglacier.grid import Grid, Window
from rockglacier.scenes.record import read_scenes
from rockglacier.study import Study, open_study

STRIP = STRIPS[0]
"""Rows whose looks are in memory at once."""


def load(case: Case):
    """Read all looks of the area into memory."""
    study = open_study(case.study)
    looks = looks_of(read_scenes(study.scenes_path), epsg=study.grid.epsg)
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
        SceneReader(study.grid, study.config.cube.bands) as reader,
    ):
        dn, scl = reader.read(looks, study.grid.whole)
    return lambda rows: (dn[:, :, rows], scl[:, rows])


def median(case: Case):
    """Read the looks strip by strip and keep their median."""
    study = open_study(case.study)
    grid, bands = study.grid, study.config.cube.bands
    looks = looks_of(read_scenes(study.scenes_path), epsg=grid.epsg)
    add = np.array([look.add for look in looks], np.int32)
    height, width = grid.shape
    windows = [
        Window(y=y, x=0, height=min(STRIP, height - y), width=width)
        for y in range(0, height, STRIP)
    ]
    result = Composite.empty(len(bands), height, width)
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
        SceneReader(grid, bands) as reader,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for window, (dn, scl) in zip(windows, reader.strips(looks, windows), strict=True):

            def compose(part: slice, window=window, dn=dn, scl=scl) -> None:
                rows = slice(window.y + part.start, window.y + part.stop)
                composite(dn[:, :, part], scl[:, part], add, method="median", out=result.part(rows))

            list(pool.map(compose, _parts(window.height, os.cpu_count() or 1)))
    return lambda rows: (result.reflectance[:, rows],)


def _parts(height: int, count: int) -> list[slice]:
    step = math.ceil(height / count)
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def cube(case: Case):
    """Build the whole stage: reflectance, counts, terrain, light, all written."""
    study = _copied(case)
    build_cube(study)
    return lambda rows: (zarr.open_group(str(study.cube_path))["reflectance"][0][:, rows],)


def _copied(case: Case) -> Study:
    """Return the study in a folder of its own, as the search left it."""
    found = open_study(case.study)
    shutil.copytree(found.folder, case.scratch / "products", dirs_exist_ok=True)
    config = found.config.model_copy(update={"output": str(case.scratch / "products")})
    return Study(config=config, base=found.base)


def write(case: Case, values: np.ndarray) -> Path:
    """Write (band, y, x) as blocks of a cube, on all cores, as the stage does."""
    study = _copied(case)
    create_cube(study)
    writer = CubeWriter(study.cube_path)

    def one(window: Window) -> None:
        writer.write(window, {"reflectance": values[(slice(None), *window.slices)]})

    with ThreadPoolExecutor(case.threads) as pool:
        list(pool.map(one, [block.window for block in study.grid.blocks()]))
    return study.cube_path / "reflectance"


def terrain(case: Case, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and aspect from true north, block by block with a halo, on all cores."""
    study = open_study(case.study)
    grid = Grid(
        geobox=Grid.from_dict({**study.grid.to_dict(), "shape": list(ground.shape)}).geobox,
        block=study.grid.block,
    )
    slope = np.full(ground.shape, np.nan, np.float32)
    aspect = np.full(ground.shape, np.nan, np.float32)

    def one(window: Window) -> None:
        near = window.grown(SLOPE_HALO).clipped(grid.shape)
        turn = meridian_convergence(grid.transform, grid.crs, near)
        found = slope_aspect(ground[near.slices], grid.resolution, turn)
        for target, values in zip((slope, aspect), found, strict=True):
            target[window.slices] = values[window.within(near)]

    with ThreadPoolExecutor(case.threads) as pool:
        list(pool.map(one, [block.window for block in grid.blocks()]))
    return slope, aspect
