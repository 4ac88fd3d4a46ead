"""The evaluation of a study: what is judged beside pixels, on which ground, and what is written."""

import csv
import json
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import zarr
from scipy import ndimage

from made_study import write_raster
from rockglacier.evaluation.everywhere import write_everywhere
from rockglacier.evaluation.judge import evaluate
from rockglacier.evaluation.outputs import read_outputs
from rockglacier.evaluation.pieces import Mosaic, pieces_of
from rockglacier.grid import Window
from rockglacier.model.metrics import confusion_matrix
from rockglacier.model.scoring import Map
from rockglacier.storage import read_json, write_json
from rockglacier.study import Study

TEST = slice(0, 96)
NODATA_ROWS = 8


def with_reference(study, folder):
    """A copy of a trained study with the outlines of its landforms, and a cube's slope."""
    shutil.copytree(study.folder, folder / study.config.name)
    copy = Study(config=study.config, base=folder)
    labels = zarr.open_array(copy.labels_path / "labels", mode="r")[:]
    numbered, count = ndimage.label(labels)
    boxes = []
    for rows, cols in ndimage.find_objects(numbered):
        west, north = copy.grid.transform * (cols.start, rows.start)
        east, south = copy.grid.transform * (cols.stop, rows.stop)
        boxes.append(shapely.box(west, south, east, north))
    table = gpd.GeoDataFrame(
        {
            "label_id": [f"rg-{k}" for k in range(count)],
            "used": True,
            "action": "used",
            "area_km2": 0.1,
        },
        geometry=boxes,
        crs=copy.grid.epsg,
    )
    table.to_crs(4326).to_parquet(copy.label_table_path)
    slope = np.zeros(labels.shape, np.float32)
    slope[128:] = 35
    group = zarr.create_group(copy.cube_path, zarr_format=3, overwrite=True)
    group.create_array("slope", shape=slope.shape, dtype="float32", chunks=(128, 128))[:] = slope
    return copy, labels


def seer(labels, *, misses=0):
    """An inference that sees the labels, but nothing in the first ``misses`` columns."""

    def infer(model, features, window, *, settings=None):
        probability = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
        probability[:, :misses] = 0.1
        probability[:NODATA_ROWS] = np.nan
        return probability[window.slices]

    return infer


@pytest.fixture(scope="module")
def judged(trained_ground, tmp_path_factory):
    study, labels = with_reference(trained_ground, tmp_path_factory.mktemp("judged"))
    evaluate(study, infer=seer(labels, misses=12))
    return study, labels, read_json(study.evaluation_path)


def test_every_landform_of_the_test_ground_is_found_or_missed(judged):
    study, _, found = judged
    objects = found["networks"]["hrnet"]["objects"]
    reference = gpd.read_parquet(study.label_table_path).to_crs(study.grid.epsg)
    inside = reference.representative_point().x < study.grid.transform.c + 96 * 10
    lies_in = reference.geometry.to_crs(4326).representative_point().within(study.area)
    assert objects["n_b"] == (inside & lies_in).sum() > 0
    assert objects["iou_0.5"]["precision"] == 1
    assert objects["iou_0.5"]["f1"] == found["networks"]["hrnet"]["object_f1"]
    assert sum(row["n_b"] for row in objects["size_classes"]) == objects["n_b"]


def test_a_landform_across_the_border_is_not_cut(judged):
    study, labels, found = judged
    assert ((labels[:, 95] == 1) & (labels[:, 96] == 1)).any()  # the ground was made so
    reference = gpd.read_parquet(study.label_table_path).to_crs(study.grid.epsg)
    points = reference.representative_point()
    here = reference[
        (points.x < study.grid.transform.c + 960) & points.to_crs(4326).within(study.area)
    ]
    left = (here.bounds["minx"] - study.grid.transform.c) / 10
    too_narrow = (12 - left) / 32 > 0.1  # of 32 columns the map misses those before the twelfth
    top = found["networks"]["hrnet"]["objects"]["curve"][-1]
    # an outline cut at the border would not match with an IoU of 0.9
    assert top["iou"] == 0.9
    assert top["matched_b"] == (~too_narrow).sum()


def test_boundaries_calibration_and_ground_agree_with_counting(judged):
    _, labels, found = judged
    row = found["networks"]["hrnet"]
    truth = labels[NODATA_ROWS:, TEST]
    seen = truth.copy()
    seen[:, :12] = 0
    pixels = truth.size
    wrong = (truth != seen).sum()
    assert row["calibration"]["brier"] == pytest.approx(
        (0.01 * (pixels - wrong) + 0.81 * wrong) / pixels, abs=1e-6
    )
    ece = (0.1 * (seen == 1).sum() + abs(0.1 * (seen == 0).sum() - wrong)) / pixels
    assert row["calibration"]["ece"] == pytest.approx(ece, abs=1e-5)
    by_ground = {part["ground"]: part for part in row["errors_by_ground"]}
    steep = np.zeros_like(labels, bool)
    steep[128:] = True
    steep = steep[NODATA_ROWS:, TEST]
    expected = ((truth == 1) & (seen == 0) & steep).sum() / ((truth == 1) & steep).sum()
    assert by_ground["slope 30-40"]["miss_rate"] == pytest.approx(expected, abs=1e-6)
    assert by_ground["all"]["pixels"] == pixels
    assert row["boundary_precision"] == pytest.approx(1.0, abs=0.05)
    assert row["boundary_recall"] < 1


def test_tables_and_the_picture_lie_beside_the_numbers(judged):
    study, _, found = judged
    folder = study.models_path / "evaluation"
    blocks = list(csv.DictReader((folder / "blocks.csv").read_text().splitlines()))
    matrix = [
        [sum(int(b[n]) for b in blocks) for n in names] for names in (("tn", "fp"), ("fn", "tp"))
    ]
    assert matrix == found["networks"]["hrnet"]["confusion"]
    assert found["paired"]["blocks"] == len(blocks)
    assert found["paired"]["differences"] == []
    assert {"reliability.csv", "errors-by-ground.csv", "objects.csv", "reliability.png"} <= {
        path.name for path in folder.iterdir()
    }
    sizes = list(csv.DictReader((folder / "objects.csv").read_text().splitlines()))
    assert [row["class_km2"] for row in sizes] == ["all", "<0.1", "0.1-0.5", "0.5-1", "1-3", ">=3"]
    table = json.loads((study.models_path / "table.json").read_text())
    assert table == found["table"]
    assert table[0]["object_f1"]["best"] == found["networks"]["hrnet"]["object_f1"]
    assert table[0]["boundary_f"]["best"] is not None


def test_the_map_of_the_test_ground_is_kept_and_nothing_beside_it(judged):
    study, labels, _ = judged
    kept = read_outputs(study, "hrnet", 0)[:]
    wanted = np.where(labels == 1, 90, 10)
    wanted[:, :12] = 10
    wanted[:NODATA_ROWS] = 255
    np.testing.assert_array_equal(kept[:, TEST], wanted[:, TEST])
    assert (kept[:, 96:] == 255).all()
    assert read_outputs(study, "unet", 0) is None


def test_found_outlines_of_the_reference_are_those_that_are_counted(judged):
    study, _, found = judged
    path = study.models_path / "evaluation" / "found.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    objects = found["networks"]["hrnet"]["objects"]
    assert len(rows) == objects["n_b"]
    assert sum(int(row["hrnet"]) for row in rows) == objects["iou_0.5"]["matched_b"] > 0


def test_two_networks_are_compared_on_the_same_blocks(trained_ground, tmp_path):
    study, labels = with_reference(trained_ground, tmp_path)
    shutil.copytree(study.models_path / "hrnet", study.models_path / "unet")
    settings = json.loads((study.models_path / "unet/trial-0/model.json").read_text())
    both = study.config.model_copy(
        update={"train": study.config.train.model_copy(update={"networks": ("hrnet", "unet")})}
    )
    study = Study(config=both, base=tmp_path)
    assert settings["trial"] == 0
    calls = []

    def infer(model, features, window, *, settings=None):
        calls.append(model)
        misses = 12 if len(calls) == 1 else 40  # the second network misses more
        return seer(labels, misses=misses)(model, features, window)

    evaluate(study, infer=infer)
    found = read_json(study.evaluation_path)
    (row,) = found["paired"]["differences"]
    assert (row["first"], row["second"]) == ("hrnet", "unet")
    iou = {name: found["networks"][name]["iou_rock_glacier"] for name in ("hrnet", "unet")}
    assert row["iou_rock_glacier"]["value"] == pytest.approx(iou["hrnet"] - iou["unet"], abs=2e-6)
    assert row["iou_rock_glacier"]["low"] > 0
    assert row["share_not_better"] == 0
    text = (study.models_path / "evaluation" / "differences.csv").read_text()
    assert text.startswith("first,second,iou_rock_glacier_value")


def test_landforms_are_counted_on_all_ground_and_on_test_ground_by_network_and_size(
    trained_ground, tmp_path
):
    study, labels = with_reference(trained_ground, tmp_path)
    shutil.copytree(study.models_path / "hrnet", study.models_path / "unet")
    train = study.config.train.model_copy(update={"networks": ("hrnet", "unet")})
    study = Study(config=study.config.model_copy(update={"train": train}), base=tmp_path)
    write_json(study.evaluation_path, {"networks": {name: {"trial": 0} for name in train.networks}})
    numbered, _ = ndimage.label(labels)
    known = gpd.read_parquet(study.label_table_path).to_crs(study.grid.epsg)
    points = known.representative_point()
    inside = points.to_crs(4326).within(study.area)
    tested = inside & (points.x < study.grid.transform.c + 96 * 10)
    # the second network misses one landform of the test ground and one of the rest
    missed = [known.index[tested][0] + 1, known.index[inside & ~tested][-1] + 1]
    maps = [labels, np.where(np.isin(numbered, missed), 0, labels)]
    windows = []

    def infer(model, features, window, *, settings=None):
        windows.append(window)
        return seer(maps[(len(windows) - 1) // 6])(model, features, window)

    assert len(list(study.grid.blocks())) == 6
    n, n_tested = int(inside.sum()), int(tested.sum())
    assert write_everywhere(study, infer=infer) == {"everywhere": {"hrnet": n, "unet": n - 2}}
    table = pd.read_csv(study.models_path / "evaluation" / "everywhere.csv")
    whole = table[table["class_km2"] == "all"].set_index(["ground", "network"])
    assert whole["n"].to_dict() == {
        ("all", "hrnet"): n, ("all", "unet"): n - 2, ("all", "reference"): n,
        ("test", "hrnet"): n_tested, ("test", "unet"): n_tested - 1,
        ("test", "reference"): n_tested,
    }  # fmt: skip
    assert (whole.loc["all", "n_of_all"] == n - 2).all()
    assert (whole.loc["test", "n_of_all"] == n_tested - 1).all()
    assert whole.loc[("all", "unet"), "count_ratio"] == pytest.approx((n - 2) / n, abs=1e-6)
    sizes = table[(table["class_km2"] != "all") & (table["ground"] == "all")]
    assert sizes.groupby("network")["n"].sum().to_dict() == whole["n"].loc["all"].to_dict()
    scores = read_json(study.models_path / "evaluation" / "everywhere.json")["unet"]
    assert (scores["all"]["iou_0.5"]["matched_b"], scores["test"]["n_b"]) == (n - 2, n_tested)
    write_everywhere(study, infer=infer)
    assert len(windows) == 12  # what is mapped stays so


def test_a_raster_of_the_same_map_scores_the_same_on_the_ground_of_the_study(judged, tmp_path):

    from rockglacier.evaluation.benchmark import benchmark_of
    from rockglacier.evaluation.score import score_map

    study, labels, found = judged
    probability = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    probability[:, :12] = 0.1
    assert study.grid.epsg == 32643
    write_raster(tmp_path / "map.tif", probability, transform=study.grid.transform)
    benchmark = benchmark_of(study)
    part = score_map(tmp_path / "map.tif", benchmark, threshold=0.5)["areas"]["test"]
    expected = found["networks"]["hrnet"]["confusion"]
    # rims of outlines that went to degrees and back may gain or lose a pixel centre
    assert part["confusion"][1] == pytest.approx(expected[1], rel=0.005)
    assert part["confusion"][0][1] == pytest.approx(expected[0][1], abs=5)


def test_strips_of_any_height_count_the_same(monkeypatch):
    from rockglacier.evaluation import judge

    rng = np.random.default_rng(0)
    truth = (rng.random((50, 30)) < 0.3).astype(np.uint8)
    piece = judge.Piece(
        window=Window(y=7, x=3, height=50, width=30),
        truth=truth,
        probability=rng.random((50, 30)).astype(np.float32),
    )
    odd = np.zeros((100, 100), bool)
    odd[::2] = True

    def kinds(window):
        return {"all": np.ones((window.height, window.width), bool), "odd": odd[window.slices]}

    whole = judge.inspect([piece], threshold=0.5, kinds=kinds, edge=16).errors.table()
    monkeypatch.setattr(judge, "STRIP_PX", 7 * 30)
    cut = judge.inspect([piece], threshold=0.5, kinds=kinds, edge=16).errors.table()
    assert cut == whole
    assert [row["pixels"] for row in whole] == [1500, 750]


# pieces


def map_of(y, x, height, width, *, reach=4, value=0.5):
    window = Window(y=y, x=x, height=height, width=width)
    around = window.grown(reach).clipped((100, 100))
    values = np.full((around.height, around.width), value, np.float32)
    return Map(window=window, reach=around, probability=values)


def test_rectangles_that_touch_make_one_piece():
    labels = np.arange(10_000).reshape(100, 100) % 2
    maps = [map_of(0, 0, 20, 30), map_of(20, 0, 20, 10), map_of(60, 60, 10, 10)]
    pieces = pieces_of(maps, lambda window: labels[window.slices].astype(np.uint8))
    assert [(p.window.height, p.window.width) for p in pieces] == [(40, 30), (10, 10)]
    first = pieces[0]
    assert (first.truth[20:, 10:] == 255).all()
    assert np.isnan(first.probability[20:, 10:]).all()
    counted = sum(int((p.truth != 255).sum()) for p in pieces)
    assert counted == sum(m.window.height * m.window.width for m in maps)


def test_a_mosaic_reads_any_rectangle():
    mosaic = Mosaic([map_of(10, 10, 10, 10), map_of(30, 30, 5, 5, value=0.25)], (100, 100))
    whole = mosaic[0:100, 0:100]
    assert (whole == 50).sum() == 18 * 18
    assert (whole == 25).sum() == 13 * 13
    assert (mosaic[7:40, 8:33] == whole[7:40, 8:33]).all()
    assert mosaic.shape == (100, 100)


def test_confusion_of_pieces_is_that_of_the_ground():
    truth = np.zeros((100, 100), np.uint8)
    truth[5:15, 5:25] = 1
    (piece,) = pieces_of([map_of(0, 0, 40, 40, value=0.7)], lambda w: truth[w.slices])
    matrix = confusion_matrix(piece.truth, piece.classes(0.5))
    assert matrix.tolist() == [[0, 1600 - 200], [0, 200]]
