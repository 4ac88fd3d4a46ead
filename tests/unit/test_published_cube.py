"""A published cube, by its item, as the cube of another study."""

import json

import geopandas as gpd
import numpy as np
import pytest

from rockglacier.config import parse_config
from rockglacier.cube.build import build_cube
from rockglacier.cube.published import PublishedCube
from rockglacier.cube.store import LAYERS, open_arrays
from rockglacier.errors import ContractError, InputError
from rockglacier.features.fusion import fuse
from rockglacier.products import cube_item
from rockglacier.stages import Context, stage_named
from rockglacier.storage import write_json
from rockglacier.study import Study


@pytest.fixture
def published(make_basin, monkeypatch):
    """A study with its cube, and the path of the cube's item."""
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    study = make_basin("near", block=128)
    build_cube(study)
    path = study.stac_path / "cubes" / "cube.json"
    write_json(path, cube_item(study))
    write_json(study.stac_path / "catalog.json", {})
    return study, path


def other(study, path, base, **settings):
    """Return another study, in the middle of a published cube."""
    given = study.config.model_dump(mode="json")
    x, y = study.area.centroid.coords[0]
    settings = {"area": [x - 0.005, y - 0.005, x + 0.005, y + 0.005], **settings}
    cube = {**given["cube"], "item": str(path), **settings.pop("cube", {})}
    return Study(
        config=parse_config(
            {**given, "name": "far", "output": "far", "cube": cube, **settings}, source="test"
        ),
        base=base,
    )


def run(study, *names):
    return [stage_named(name).work(study, Context()) for name in names]


def test_another_study_takes_scenes_grid_and_pixels(published, tmp_path):
    near, path = published
    far = other(near, path, tmp_path)
    searched, taken = run(far, "search", "cube")
    assert far.grid.to_dict() == near.grid.to_dict()
    ours, theirs = (gpd.read_parquet(one.scenes_path) for one in (near, far))
    addresses = ["assets", "self_href"]
    assert theirs.drop(columns=addresses).equals(ours.drop(columns=addresses))
    assert str(tmp_path) not in theirs[addresses].to_json()
    assert (searched["used"], taken["built"], taken["kept"]) == (4, 9, 0)
    for what in ("read_bytes", "written_bytes"):
        assert taken[what] > far.grid.shape[0] * far.grid.shape[1]  # more than a byte a pixel
    here, there = open_arrays(near.cube_path), open_arrays(far.cube_path)
    for name in LAYERS:
        np.testing.assert_array_equal(there[name][...], here[name][...], err_msg=name)
    assert there.attrs["scenes"] == here.attrs["scenes"]
    assert run(far, "cube")[0]["kept"] == 9


def test_features_are_made_of_some_of_its_bands(published, tmp_path):
    near, path = published
    far = other(near, path, tmp_path, cube={"bands": ["B11"]})
    run(far, "search", "cube")
    whole, part = open_arrays(near.cube_path)["reflectance"], open_arrays(far.cube_path)
    np.testing.assert_array_equal(part["reflectance"][:, 0], whole[:, 1])
    assert fuse(far)["built"] == 9


def test_an_area_beyond_the_cube_is_refused(published, tmp_path):
    near, path = published
    far = other(near, path, tmp_path, area=list(near.area.bounds))
    with pytest.raises(InputError, match=r"% of the area lie outside the cube"):
        run(far, "search")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cube": {"bands": ["B04", "B12"]}}, "no band B12"),
        ({"search": {"start": "2023-07-01", "end": "2023-09-30"}}, "is of 20"),
    ],
)
def test_a_cube_that_does_not_fit_is_refused(published, tmp_path, settings, words):
    near, path = published
    with pytest.raises(InputError, match=words):
        run(other(near, path, tmp_path, **settings), "search")


def test_days_of_a_cube_are_those_of_its_study(published):
    near, path = published
    assert PublishedCube.read(str(path)).days() == (
        near.config.search.start,
        near.config.search.end,
    )


def test_other_scenes_than_the_item_names_are_refused(published, tmp_path):
    near, path = published
    href = json.loads(path.read_text())["assets"]["scenes"]["href"]
    (path.parent / href).write_bytes(near.dem_path.read_bytes())
    with pytest.raises(ContractError, match=r"'scenes' of item .* is not the one"):
        run(other(near, path, tmp_path), "search")


def test_a_cube_that_was_published_again_is_searched_again(published, tmp_path):
    near, path = published
    far = other(near, path, tmp_path)
    run(far, "search")
    item = json.loads(path.read_text())
    item["properties"]["updated"] = "2026-01-01T00:00:00Z"
    path.write_text(json.dumps(item))
    with pytest.raises(InputError, match="was published again since the search"):
        run(far, "cube")


def test_no_item_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        PublishedCube.read(str(tmp_path / "nothing.json"))


def test_the_item_of_something_else_is_told(published):
    _, path = published
    item = json.loads(path.read_text())
    item["assets"].pop("cube")
    path.write_text(json.dumps(item))
    with pytest.raises(InputError, match="is not one of a cube"):
        PublishedCube.read(str(path))
