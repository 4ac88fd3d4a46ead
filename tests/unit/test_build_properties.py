"""A cube does not depend on how it is built, bit for bit; windows of scenes equal rasterio's."""

import dataclasses
import os
import random
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import rasterio
from distributed import Client, LocalCluster
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from made_basin import make_basin
from rockglacier.cube import build, store
from rockglacier.cube.build import build_cube, cube_tasks
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import Look
from rockglacier.cube.store import create_cube, open_arrays
from rockglacier.engine import run_groups
from rockglacier.grid import Window
from rockglacier.scenes.asset import Retries
from rockglacier.scenes.record import read_scenes

REPEATED = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],  # a smaller example of a failure is not worth minutes of building
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that makes a basin in a new folder; see ``tests/made_basin.py``."""

    def make(**values):
        return make_basin(tmp_path_factory.mktemp("basin"), **values)

    return make


def bits(study):
    """Return the decoded arrays of every layer, as whole numbers that hold their bits."""
    group = open_arrays(study.cube_path)
    arrays = {name: group[name][...] for name in store.LAYERS}
    return {name: values.view(f"u{values.itemsize}") for name, values in arrays.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys() == store.LAYERS.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@contextmanager
def small_work(cores):
    """Use so many cores, and shadows of 500 m, which keep the halo small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: cores)
        patch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
        yield


@pytest.fixture(scope="module")
def expected(make):
    """A function that returns the bits of a cube of one block, composited by one thread."""

    @cache
    def expected(composite):
        study = make(block=512, composite=composite)
        with small_work(cores=1):
            assert build_cube(study)["built"] == 1
        return bits(study)

    return expected


def shuffled(values, order):
    return order.sample(list(values), len(values))


def build_by(study, *, shape, strip, workers, seed, client=None):
    """Build a cube by read groups of a shape, blocks, and strips of a height, in any order."""
    order = random.Random(seed)  # noqa: S311
    tasks, receipts = cube_tasks(study)
    named = {task.name: task for task in tasks}
    work = dataclasses.replace(build._work(study, Retries()), strip=strip)
    create_cube(study)
    groups = [
        [named[block.name] for block in shuffled(group, order)]
        for group in study.grid.groups(*shape)
    ]
    outcome = run_groups(
        shuffled(groups, order),
        work,
        receipts=receipts,
        what="cube",
        workers=workers,
        client=client,
    )
    assert outcome.built == len(tasks)


LAYOUTS = st.fixed_dictionaries(
    {
        "block": st.sampled_from([128, 128, 256, 384]),
        "composite": st.sampled_from(["median", "least-cloudy"]),
        "shape": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "strip": st.integers(5, 300),
        "workers": st.integers(1, 4),
        "seed": st.integers(0, 2**16),
    }
)


def assert_layout_is_of_no_account(make, expected, layout, cores):
    layout = dict(layout)
    study = make(block=layout.pop("block"), composite=layout["composite"])
    composite = layout.pop("composite")
    with small_work(cores):
        build_by(study, **layout)
    assert_same(bits(study), expected(composite))


@settings(max_examples=8, **REPEATED)
@given(LAYOUTS, st.integers(1, 5))
def test_blocks_groups_workers_and_order_leave_the_bits_of_a_cube(make, expected, layout, cores):
    assert_layout_is_of_no_account(make, expected, layout, cores)


@pytest.mark.soak
@settings(max_examples=100, **REPEATED)
@given(LAYOUTS, st.integers(1, 5))
def test_many_layouts_leave_the_bits_of_a_cube(make, expected, layout, cores):
    assert_layout_is_of_no_account(make, expected, layout, cores)


@pytest.mark.soak
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_worker_processes_leave_the_bits_of_a_cube(make, processes):
    """Shadows are as long as they are: other processes know nothing of shortened ones."""
    whole = make(block=512)
    build_cube(whole)
    with (
        LocalCluster(n_workers=processes, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for seed, (block, shape, strip) in enumerate(
            [(128, (1, 1), 128), (128, (2, 3), 50), (256, (2, 1), 256)]
        ):
            study = make(block=block)
            build_by(study, shape=shape, strip=strip, workers=1, seed=seed, client=client)
            assert_same(bits(study), bits(whole))


# windows

REACH = 1500
"""Pixels by which windows may miss a scene; it is 0 there."""


def on_grid(study, scene, asset):
    """Return an asset as rasterio reads it, in pixels of the grid, and where they begin."""
    grid = study.grid
    with rasterio.open(scene.assets[asset]) as file:
        if scene.epsg == grid.epsg:
            row = round((file.transform.f - grid.bounds[3]) / grid.transform.e)
            col = round((file.transform.c - grid.bounds[0]) / grid.transform.a)
            values = file.read(1)
            factor = round(file.transform.a / grid.transform.a)
            fine = np.kron(values, np.ones((factor, factor), values.dtype))
            return np.pad(fine, REACH), row - REACH, col - REACH
        height, width = grid.shape
        with WarpedVRT(
            file,
            crs=f"EPSG:{grid.epsg}",
            transform=grid.transform,
            height=height,
            width=width,
            resampling=Resampling.nearest if asset == "SCL" else Resampling.bilinear,
            tolerance=1e-9,  # exactly 0 makes GDAL transform nothing by itself
            XSCALE=1,
            YSCALE=1,
        ) as warped:
            return np.pad(warped.read(1), REACH), -REACH, -REACH


def cut(values, row, col, window):
    """Return a window of values whose first pixel lies at a row and column."""
    y, x = window.y - row, window.x - col
    return values[y : y + window.height, x : x + window.width]


@pytest.fixture(scope="module")
def read_already(make):
    """A study, and what rasterio reads of every asset of its scenes."""
    study = make()
    scenes = read_scenes(study.scenes_path)
    names = (*study.config.cube.bands, "SCL")
    return study, [(scene, [on_grid(study, scene, name) for name in names]) for scene in scenes]


EDGES = st.integers(-400, 700)


@settings(max_examples=30, **REPEATED)
@given(EDGES, EDGES, st.integers(1, 300), st.lists(st.integers(1, 150), min_size=1, max_size=4))
def test_any_window_of_a_scene_equals_that_of_rasterio(read_already, x, y, width, heights):
    study, files = read_already
    starts = np.cumsum([y, *heights])
    strips = [
        Window(y=int(top), x=x, height=height, width=width)
        for top, height in zip(starts, heights, strict=False)
    ]
    whole = Window(y=y, x=x, height=sum(heights), width=width)
    looks = [Look(scenes=(scene,), add=0) for scene, _ in files]
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        found = [(whole, reader.read(looks, whole))]
        for window, stack in zip(strips, reader.strips(looks, strips), strict=True):
            found.append((window, [values.copy() for values in stack]))
    for window, (dn, scl) in found:
        for index, (scene, assets) in enumerate(files):
            *bands, classes = (cut(*asset, window) for asset in assets)
            np.testing.assert_array_equal(dn[index], bands, err_msg=scene.id)
            np.testing.assert_array_equal(scl[index], classes, err_msg=scene.id)
