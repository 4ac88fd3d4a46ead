"""The cube stage with everything remote: scenes, DEM, store and receipts in a real S3 server."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
import xarray as xr

from rockglacier.cube.build import build_cube
from rockglacier.cube.lazy import open_scenes
from rockglacier.cube.store import LAYERS, open_arrays, open_cube
from rockglacier.engine import Receipts
from rockglacier.scenes.record import (
    read_dem_tiles,
    read_scenes,
    write_dem_tiles,
    write_scenes,
)
from rockglacier.storage import local_copy, remote, write_bytes, write_json
from rockglacier.study import Study


@pytest.fixture
def local(make_basin, monkeypatch):
    """A searched basin on this disk, and its cube."""
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_S", 0.01)
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_MAX_S", 0.2)
    monkeypatch.setitem(remote.BACKOFF, "init_backoff", timedelta(milliseconds=20))
    study = make_basin("near", block=128)
    build_cube(study)
    return study


def moved(local, place):
    """Put a study's scenes, DEM and search into a store; return the study that uses them."""

    def put(path):
        name = path.rpartition("/")[2]
        with open(path, "rb") as file:  # noqa: PTH123
            write_bytes(place / "scenes" / name, file.read())
        return str(place / "scenes" / name)

    config = local.config.model_copy(update={"output": str(place / "far")})
    study = Study(config=config, base=local.base)
    scenes = [
        dataclasses.replace(scene, assets={band: put(href) for band, href in scene.assets.items()})
        for scene in read_scenes(local.scenes_path)
    ]
    tiles = [
        dataclasses.replace(tile, href=put(tile.href)) for tile in read_dem_tiles(local.dem_path)
    ]
    write_scenes(scenes, study.scenes_path)
    write_dem_tiles(tiles, study.dem_path)
    write_json(study.grid_path, local.grid.to_dict())
    return study


def assert_same_cubes(one, other):
    first, second = open_arrays(one.cube_path), open_arrays(other.cube_path)
    for name in LAYERS:
        np.testing.assert_array_equal(first[name][...], second[name][...], err_msg=name)


def test_a_cube_in_a_store_equals_one_on_this_disk(s3, local):
    study = moved(local, s3)
    facts = build_cube(study)
    assert (facts["built"], facts["kept"]) == (9, 0)
    assert_same_cubes(local, study)
    assert build_cube(study)["kept"] == 9
    Receipts(study.receipts_path / "cube").drop("r0001c0001")
    assert build_cube(study)["built"] == 1
    assert open_cube(study.cube_path).attrs["proj:code"] == "EPSG:32643"
    with local_copy(study.scenes_path) as path:
        assert path.stat().st_size > 0


@pytest.mark.parametrize("engine", ["odc-stac", "stackstac"])
def test_loaders_of_the_field_read_scenes_in_a_store(s3, local, engine):
    study = moved(local, s3)
    here, there = open_scenes(local, engine=engine), open_scenes(study, engine=engine)
    xr.testing.assert_equal(here.compute(), there.compute())


def test_a_cube_is_equal_where_every_fifth_answer_is_spoilt(s3, fault_proxy, local):
    study = moved(local, s3)
    fault_proxy.set(busy=0.07, reset=0.07, truncated=0.06)
    facts = build_cube(study)
    assert facts["built"] == 9
    spoilt = sum(fault_proxy.faults.values())
    fault_proxy.set()
    assert spoilt > 5
    assert_same_cubes(local, study)
