"""Several basins train one network, and a packed model knows the ground that it was trained on."""

import json
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
import yaml

from made_study import changed
from rockglacier.cube.build import build_cube
from rockglacier.errors import InputError, NotFoundError
from rockglacier.features.fusion import fuse
from rockglacier.features.teachers import fuse_teachers, teachers_of
from rockglacier.grid import projected
from rockglacier.labels.burn import label_basin
from rockglacier.model.applicability import (
    sample_features,
    training_ground,
    write_applicability,
)
from rockglacier.model.fit import train
from rockglacier.storage import open_array, read_json
from rockglacier.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")
TRAIN = {
    "networks": ["unet"], "size": "small", "chip": 32, "batch": 2, "epochs": 1,
    "chips_per_epoch": 2,
}  # fmt: skip


def taught(study, name, **labels):
    """The study with labels and small networks, and its file beside it."""
    west, north = study.grid.transform.c, study.grid.transform.f
    boxes = [
        shapely.box(west + x, north - y - 300, west + x + 300, north - y)
        for x in range(200, 3300, 600)
        for y in range(200, 2600, 600)
    ]
    shapes = [projected(box, epsg=4326, source_epsg=study.grid.epsg) for box in boxes]
    gpd.GeoDataFrame(geometry=shapes, crs=4326).to_file(study.base / "reference.gpkg")
    labels = {"reference": "reference.gpkg", "split": "strip", "guard": 16, **labels}
    made = changed(study, labels=labels, train=TRAIN)
    (study.base / f"{name}.yaml").write_text(
        yaml.safe_dump(json.loads(json.dumps(made.resolved())))
    )
    return made


def learning_from(study, *others):
    config = study.config.model_copy(
        update={"train": study.config.train.model_copy(update={"basins": others})}
    )
    return Study(config=config, base=study.base)


@pytest.fixture
def basins(make_basin):
    """Two labelled basins of one split, as they lie on the same ground."""
    found = []
    for name in ("here", "there"):
        study = taught(make_basin(name), name)
        build_cube(study)
        label_basin(study)
        found.append(study)
    fuse(found[0])
    return found


def test_other_basin_teaches_with_the_numbers_of_the_study(basins):
    here, there = basins
    facts = train(learning_from(here, "there.yaml"))
    assert facts["built"] == 1
    settings = read_json(here.models_path / "unet" / "trial-0" / "model.json")
    assert settings["basins"] == ["here", "there"]
    made = open_array(here.folder / "teachers" / "there" / "features" / "stack.zarr" / "features")
    own = open_array(here.features_path / "features")
    assert np.array_equal(np.asarray(made), np.asarray(own))  # the same ground, the same numbers
    assert not there.features_path.exists()
    # nothing is done twice, and other labels train anew
    assert train(learning_from(here, "there.yaml"))["kept"] == 1
    labels = open_array(there.labels_path / "labels", "r+")
    labels[:40, :40] = 1
    assert train(learning_from(here, "there.yaml"))["built"] == 1
    # ground that is tested here teaches nobody
    splits = gpd.read_parquet(there.splits_path)
    splits.assign(split="train").to_parquet(there.splits_path)
    with pytest.raises(InputError, match=r"'there' of train\.basins trains or chooses") as caught:
        teachers_of(learning_from(here, "there.yaml"))
    assert "scores would be of ground that was learnt" in str(caught.value)


def test_packed_model_knows_the_ground_of_its_basins(basins):
    here, _ = basins
    study = learning_from(here, "there.yaml")
    fuse_teachers(study)
    known = training_ground(study)
    assert known["basins"] == ["here", "there"]
    assert known["profile"]["pixels"] == 2 * training_ground(here)["profile"]["pixels"]
    assert known["own"]["distance"] < 1
    bundle = SimpleNamespace(facts={"applicability": known}, path=here.folder / "a.rgbundle.zip")
    assert write_applicability(here, bundle)["applicability"] in {"alike", "shifted"}
    everywhere = sample_features(here, [here.grid.whole])
    # one of 64 pixels of so small a basin would be a thousand, all of a few slopes
    assert len(everywhere) > here.grid.shape[0] * here.grid.shape[1] / 8
    west, south, east, north = here.area.bounds
    corner = shapely.box(west, (south + north) / 2, (west + east) / 2, north)
    assert 0 < len(sample_features(here, [here.grid.whole], inside=corner)) < len(everywhere)
    # ground whose every channel lies three deviations off
    stored = open_array(here.features_path / "features", "r+")
    values = np.asarray(stored)
    stored[:] = np.where(values > -32_000, values + 3000, values)
    facts = write_applicability(here, bundle)
    assert facts["applicability"] == "unlike"
    found = read_json(here.prediction_path / "applicability.json")
    assert found["advice"].startswith("the ground is unlike")
    assert (found["trained_on"], len(found["farthest"])) == (["here", "there"], 3)
    assert len(found["channels"]) == stored.shape[0]
    # a model of earlier versions tells nothing
    old = SimpleNamespace(facts={}, path=bundle.path)
    assert write_applicability(here, old) == {"applicability": "unknown"}
    assert not (here.prediction_path / "applicability.json").exists()


def test_basins_that_cannot_teach_are_told(make_basin):
    here = taught(make_basin("here"), "here")
    with pytest.raises(InputError, match="names basin 'here', which trains already"):
        teachers_of(learning_from(here, "here.yaml"))
    taught(make_basin("bare"), "bare")
    with pytest.raises(NotFoundError, match="stage `cube`"):
        teachers_of(learning_from(here, "bare.yaml"))
    with pytest.raises(InputError, match=r"no file .*none\.yaml"):
        teachers_of(learning_from(here, "none.yaml"))
