"""Every fold of a study: fused, trained and evaluated by itself, pooled, and predicted unseen.

Another basin, 10 km to the east, teaches every fold too.
"""

import csv
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
import zarr

from made_study import grid_of, study_in
from rockglacier.cube.store import create_cube
from rockglacier.errors import ContractError, InputError
from rockglacier.evaluation.pooled import pooled_lines, require_apart
from rockglacier.features.teachers import teachers_of
from rockglacier.grid import Window
from rockglacier.labels.every_fold import folds_of, other_folds
from rockglacier.labels.split import make_folds, make_splits, windows_of
from rockglacier.model.metrics import best_threshold, confusion_matrix
from rockglacier.model.trained import load_model
from rockglacier.prediction.infer import infer_window, predict
from rockglacier.run import block_counts, standings
from rockglacier.scenes.record import read_table, write_table
from rockglacier.stages import Context, stage_named
from rockglacier.storage import read_json, write_json

HEIGHT, WIDTH, FOLDS = 96, 288, 3
BANDS = ["B02", "B03", "B04", "B08", "B11", "B12"]


def make_study(folder, name="three", *, basins=("east.yaml",), **predict_settings):
    return study_in(
        folder,
        name=name,
        area=[75.0, 36.11, 75.033, 36.12],
        cube={"bands": BANDS, "block": 128},
        labels={
            "reference": "reference.gpkg", "split": "folds", "folds": FOLDS, "fold": 1,
            "every_fold": True, "guard": 8, "validation_share": 0.15,
        },
        features={"set": "triplets"},
        train={
            "networks": ["unet"], "size": "small", "chip": 32, "batch": 2, "epochs": 1,
            "chips_per_epoch": 8, "trials": 2, "basins": list(basins),
        },
        predict={"window": 32, "overlap": 0.25, "batch": 4, **predict_settings},
    )  # fmt: skip


def write_ground(study, *, west=500_000.0):
    """Write grid, cube, labels and folds; landforms are brighter than the ground around them."""
    grid = grid_of((HEIGHT, WIDTH), west=west)
    write_json(study.grid_path, grid.to_dict())
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    labels = ((rows % 40 < 20) & (cols % 32 < 16)).astype(np.uint8)
    create_cube(study)
    cube = zarr.open_group(str(study.cube_path), mode="r+")
    for index in range(len(BANDS)):
        # every fold has other numbers, so that it has another fusion
        bright = 2000 + 1500.0 * labels + 5 * cols + rng.normal(0, 60, labels.shape)
        cube["reflectance"][0, index] = bright.astype(np.uint16)
    cube["n_clear"][0] = 3
    cube["elevation"][:] = (4000 + rows).astype(np.float32)
    cube["slope"][:] = 6
    cube["aspect"][:] = 180
    group = zarr.create_group(study.labels_path, zarr_format=3)
    group.create_array("labels", data=labels, chunks=(128, 128))
    write_table(make_folds(grid, study.config.labels), study.folder / "folds.parquet")
    write_table(make_splits(grid, study.config.labels), study.splits_path)
    return labels


def write_teacher(folder, name, *, west):
    other = make_study(folder, name, basins=())
    write_ground(other, west=west)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(other.resolved()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, one_thread):
    study = make_study(tmp_path_factory.mktemp("folds"))
    labels = write_ground(study)
    write_teacher(study.base, "east", west=510_000.0)
    facts = {
        name: stage_named(name).work(study, Context()) for name in ("fuse", "train", "evaluate")
    }
    return study, labels, facts


def seen_by(fold):
    """The pixels that a fold's networks trained on or were chosen on, from the chips they saw."""
    seen = np.zeros((HEIGHT, WIDTH), bool)
    grid = fold.grid
    for path in sorted(fold.models_path.glob("unet/trial-*/chips.parquet")):
        for shape in gpd.read_parquet(path).to_crs(grid.epsg).geometry:
            west, south, east, north = shape.bounds
            window = grid.window_of((west + 1, south + 1, east - 1, north - 1))
            seen[window.clipped(grid.shape).slices] = True
    return seen


def test_folds_have_features_and_models_of_their_own(trained):
    study, _, facts = trained
    folds = folds_of(study)
    assert [fold.config.labels.fold for fold in folds] == [0, 1, 2]
    assert folds[1] is study
    assert len({fold.models_path for fold in folds}) == FOLDS
    assert len({read_json(fold.fusion_path)["hash"] for fold in folds}) == FOLDS
    assert facts["train"]["trials"] == facts["train"]["built"] == 2 * FOLDS
    for fold in folds:  # each has the other basin by its own numbers
        made = fold.folder / "teachers" / "east" / "features" / "triplets.zarr"
        fusion = read_json(fold.fusion_path)["hash"]
        assert zarr.open_group(made, mode="r").attrs["fusion"] == fusion
        settings = read_json(fold.models_path / "unet" / "trial-0" / "model.json")
        assert settings["basins"] == ["three", "east"]
    assert stage_named("train").work(study, Context())["kept"] == 2 * FOLDS
    (fuse,) = standings(study, [stage_named("fuse")], Context())
    counts, blocks = block_counts(study, fuse), len(list(study.grid.blocks()))
    assert (counts.done, counts.stale, counts.missing) == (FOLDS * blocks, 0, 0)


def test_a_basin_that_trains_on_ground_of_any_fold_is_refused_before_training(trained):
    study, _, _ = trained
    write_teacher(study.base, "near", west=500_000.0 + 10 * (WIDTH - 40))
    near = make_study(study.base, basins=("near.yaml",))
    shared = read_table(near.splits_path).query("split == 'test'").geometry
    assert not shared.intersects(box_of(near.base, "near")).any()  # another fold tests it
    with pytest.raises(InputError, match=r"'near' of train\.basins trains or chooses on .* km²"):
        teachers_of(near)


def box_of(folder, name):
    splits = read_table(make_study(folder, name, basins=()).splits_path)
    return splits[splits["split"] != "test"].union_all()


def test_no_pixel_is_predicted_by_a_network_that_was_trained_on_it(trained):
    """From the chips that the networks really saw, and from the pixels that were stored."""
    study, _, _ = trained
    out_of_fold = make_study(study.base, out_of_fold=True)
    predict(out_of_fold)
    stored = zarr.open_array(study.prediction_path / "prediction.zarr" / "probability")[:]
    assert (stored <= 100).all()
    whole = Window(y=0, x=0, height=HEIGHT, width=WIDTH)
    makers = np.zeros((HEIGHT, WIDTH), int)
    for fold in folds_of(out_of_fold):
        model = load_model(fold.models_path / read_json(fold.selection_path)["path"])
        features = zarr.open_array(fold.features_path / "features", mode="r")
        said = np.rint(100 * infer_window(model, features, whole, settings=fold.config.predict))
        for window in windows_of(read_table(fold.splits_path), "test"):
            assert np.array_equal(stored[window.slices], said[window.slices])
            assert not seen_by(fold)[window.slices].any()
            makers[window.slices] += 1
        assert seen_by(fold).any()
    assert (makers == 1).all()
    record = read_json(out_of_fold.prediction_record_path)
    assert record["out_of_fold"]
    assert [member["fold"] for member in record["members"]] == [0, 1, 2]
    with rasterio.open(study.prediction_path / "probability.tif") as file:
        assert file.tags()["ROCKGLACIER_MODEL"] == "out of 3 folds: unet"


def test_folds_change_no_bit_with_the_blocks_and_keep_what_is_finished(trained):
    study, _, _ = trained
    out_of_fold = make_study(study.base, out_of_fold=True, ensemble="trials")
    predict(out_of_fold)
    assert predict(out_of_fold)["built"] == 0
    layers = ("probability", "spread")
    stored = {n: zarr.open_array(study.prediction_path / "prediction.zarr" / n)[:] for n in layers}
    grid = read_json(study.grid_path)
    write_json(study.grid_path, {**grid, "block": 256})
    try:
        again = make_study(study.base, out_of_fold=True, ensemble="trials")
        assert predict(again)["built"] == 2
        for name, values in stored.items():
            held = zarr.open_array(study.prediction_path / "prediction.zarr" / name)[:]
            assert np.array_equal(values, held)
        assert stored["spread"].max() > 0
    finally:
        write_json(study.grid_path, grid)


def test_pooled_scores_count_every_labelled_pixel_once(trained):
    study, labels, facts = trained
    found = read_json(study.evaluation_path)["pooled"]["unet"]
    counts = np.zeros((2, 2), np.int64)
    for fold in folds_of(study):
        model = load_model(fold.models_path / read_json(fold.selection_path)["path"])
        features = zarr.open_array(fold.features_path / "features", mode="r")
        for window in windows_of(read_table(fold.splits_path), "test"):
            probability = infer_window(model, features, window, settings=fold.config.predict)
            called = (probability >= model.threshold).astype(np.uint8)
            counts += confusion_matrix(labels[window.slices], called)
    assert found["pixels"] == HEIGHT * WIDTH == counts.sum()
    assert found["confusion"] == counts.tolist()
    assert set(found["folds"]) == {"0", "1", "2"}
    whole = read_json(study.evaluation_path)["pooled"]["out of fold"]
    assert facts["evaluate"]["pooled"] == {
        "unet": found["iou_rock_glacier"],
        "out of fold": whole["iou_rock_glacier"],
    }
    with (study.models_path / "evaluation" / "pooled.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["fold"] for row in rows] == ["0", "1", "2"] * 2
    assert "3 folds pooled, unet: IoU" in pooled_lines({"unet": found})[0]
    json.dumps(found, allow_nan=False)


def test_the_map_out_of_folds_is_scored_at_the_threshold_that_it_is_cut_at(trained):
    study, labels, _ = trained
    out_of_fold = make_study(study.base, out_of_fold=True)
    facts = predict(out_of_fold)
    with rasterio.open(study.prediction_path / "classes.tif") as file:
        classes = file.read(1)
    found = read_json(study.evaluation_path)["pooled"]["out of fold"]
    assert confusion_matrix(labels, classes).tolist() == found["confusion"]
    truth, said = [], []
    for fold in folds_of(out_of_fold):
        model = load_model(fold.models_path / read_json(fold.selection_path)["path"])
        features = zarr.open_array(fold.features_path / "features", mode="r")
        for window in windows_of(read_table(fold.splits_path), "validation"):
            said.append(infer_window(model, features, window, settings=fold.config.predict).ravel())
            truth.append(labels[window.slices].ravel())
    chosen, _ = best_threshold(np.concatenate(said), np.concatenate(truth))
    assert (
        facts["threshold"] == read_json(out_of_fold.prediction_record_path)["threshold"] == chosen
    )


def test_folds_that_test_the_same_ground_are_refused():
    window = Window(y=0, x=0, height=4, width=4)
    with pytest.raises(ContractError, match="folds 0 and 2 test the same ground"):
        require_apart({0: [window], 2: [window]}, (8, 8))


def test_a_study_of_one_split_has_no_other_folds(tmp_path):
    study = study_in(tmp_path)
    assert other_folds(study) == []
    with pytest.raises(InputError, match="trains one split, blocks") as caught:
        folds_of(study)
    assert "labels.every_fold: true" in caught.value.expected
