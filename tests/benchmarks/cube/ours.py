"""Our side: the only place that knows how the engine is called."""

import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import zarr
from case import Case

from rockglacier.cube.build import build_cube
from rockglacier.cube.composite import Composite, composite
from rockglacier.cube.convergence import convergence_of
from rockglacier.cube.group import GDAL_CACHE, STRIPS
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import looks_of
from rockglacier.cube.store import create_cube
from rockglacier.cube.terrain import SLOPE_HALO, slope_aspect
from rockglacier.cube.writer import CubeWriter
from rockglacier.grid import Grid, Window
from rockglacier.scenes.record import read_scenes
from rockglacier.study import Study, open_study

STRIP = STRIPS[0]
"""Rows whose looks are in memory at once."""


def load(case: Case):
    """Read all looks of the area into memory."""
    read = _Strips(case)
    with read.reader() as reader:
        dn, scl = reader.read(read.looks, read.grid.whole)
    return lambda rows: (dn[:, :, rows], scl[:, rows])


def median(case: Case):
    """Read the looks and keep their median."""
    read = _Strips(case)
    add = np.array([look.add for look in read.looks], np.int32)
    result = Composite.empty(len(read.bands), *read.grid.shape)

    def compose(dn, scl, rows: slice) -> None:
        composite(dn, scl, add, method="median", out=result.part(rows))

    read.each(compose)
    return lambda rows: (result.reflectance[:, rows],)


class _Strips:
    """The looks of a study, strip by strip, as a read group of the cube takes them."""

    def __init__(self, case: Case) -> None:
        study = open_study(case.study)
        self.grid, self.bands = study.grid, study.config.cube.bands
        self.looks = looks_of(read_scenes(study.scenes_path), epsg=self.grid.epsg)

    @contextmanager
    def reader(self):
        """Yield a reader as a read group of the cube has it."""
        with (
            rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
            SceneReader(self.grid, self.bands) as reader,
        ):
            yield reader

    def each(self, work) -> None:
        """Call ``work`` with the looks of some rows and with those rows, on all cores."""
        height, width = self.grid.shape
        windows = [
            Window(y=y, x=0, height=min(STRIP, height - y), width=width)
            for y in range(0, height, STRIP)
        ]
        cores = os.cpu_count() or 1
        with self.reader() as reader, ThreadPoolExecutor(cores) as pool:
            for window, (dn, scl) in zip(windows, reader.strips(self.looks, windows), strict=True):
                step = math.ceil(window.height / cores)
                parts = [slice(at, at + step) for at in range(0, window.height, step)]
                done = [
                    pool.submit(
                        work,
                        dn[:, :, part],
                        scl[:, part],
                        slice(window.y + part.start, min(window.y + part.stop, height)),
                    )
                    for part in parts
                ]
                for one in done:
                    one.result()


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
    slope, aspect = np.empty(ground.shape, np.float32), np.empty(ground.shape, np.float32)
    for layer in (slope, aspect):
        layer[[0, -1]] = layer[:, [0, -1]] = np.nan  # the rim of the whole has no neighbours

    def one(window: Window) -> None:
        near = window.grown(SLOPE_HALO).clipped(grid.shape)
        inner = Window(y=near.y + 1, x=near.x + 1, height=near.height - 2, width=near.width - 2)
        turn = convergence_of(grid.transform, grid.crs, near)
        out = slope[inner.slices], aspect[inner.slices]
        slope_aspect(ground[near.slices], grid.resolution, turn, out=out)

    with ThreadPoolExecutor(case.threads) as pool:
        list(pool.map(one, [block.window for block in grid.blocks()]))
    return slope, aspect
