"""Blocks at the command line: some of them, those that failed, and where they stand."""

import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import yaml
from typer.testing import CliRunner

from rockglacier.cli import app
from rockglacier.console import errors_shown
from rockglacier.engine import Failure, Receipts
from rockglacier.scenes.record import read_scenes
from rockglacier.stages import stage_named


@pytest.fixture
def study(make_basin, monkeypatch):
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_S", 0.0)
    study = make_basin(block=128)
    (study.folder / "study.yaml").write_text("name: basin\n")
    text = yaml.safe_dump(study.config.model_dump(mode="json"))
    (study.base / "basin.yaml").write_text(text)
    return study


def rockglacier(study, command, *options):
    """Run a command as `main` does: errors are shown, not raised."""

    def invoke():
        with errors_shown():
            app([command, str(study.base / "basin.yaml"), *options], standalone_mode=False)

    return CliRunner().invoke(_as_app(invoke))


def _as_app(function):
    import typer

    wrapped = typer.Typer()
    wrapped.command()(function)
    return wrapped


def test_some_blocks_then_the_rest(study):
    first = rockglacier(study, "cube", "--blocks", "0:2,0:2")
    assert first.exit_code == 0, first.output
    assert "built 4" in first.output
    assert "left 5" in first.output
    shown = rockglacier(study, "status").output
    assert "missing  cube" in shown
    assert "blocks: 4 done, 0 stale, 5 missing, 0 failed" in shown
    assert "built 5" in rockglacier(study, "cube").output
    assert "blocks: 9 done, 0 stale, 0 missing, 0 failed" in rockglacier(study, "status").output


def test_status_for_programs_is_json_with_stages_blocks_and_facts(study):
    rockglacier(study, "cube", "--blocks", "0:2,0:2")
    (basin,) = json.loads(rockglacier(study, "status", "--json").output)
    assert basin["basin"] == "basin"
    assert basin["folder"] == str(study.folder)
    cube = next(stage for stage in basin["stages"] if stage["stage"] == "cube")
    assert cube["state"] == "missing"
    assert cube["blocks"] == {"done": 4, "stale": 0, "missing": 5, "failed": {}}
    assert {stage["stage"] for stage in basin["stages"]} >= {"search", "predict", "publish"}


def test_failed_blocks_are_named_and_tried_again(study):
    scene = next(scene for scene in read_scenes(study.scenes_path) if scene.id == "b1")
    path = Path(scene.assets["B11"])
    whole = path.read_bytes()
    path.write_bytes(b"no raster")
    failed = rockglacier(study, "cube")
    assert failed.exit_code == 1
    assert "6 block(s) failed, 3 are done" in failed.output
    assert "item 'b1', asset 'B11' cannot be read" in failed.output
    shown = rockglacier(study, "status").output
    assert "3 done, 0 stale, 6 missing, 6 failed" in shown
    assert "r0002c0001: item 'b1', asset 'B11'" in shown
    path.write_bytes(whole)
    again = rockglacier(study, "cube", "--only-failed", "--blocks", "2:3,0:3")
    assert "built 2" in again.output
    assert "left 4" in again.output
    assert "built 4" in rockglacier(study, "cube", "--only-failed").output
    assert "kept 9" in rockglacier(study, "cube").output


def test_blocks_of_another_form_are_refused(study):
    answer = rockglacier(study, "cube", "--blocks", "all")
    assert answer.exit_code == 1
    assert "blocks 'all'" in answer.output
    assert "0:2,3:5" in answer.output


def blocks_of(shown, stage):
    """Return the line about the blocks of a stage in what `status` shows."""
    lines = shown.splitlines()
    place = next(i for i, line in enumerate(lines) if line.split()[1:2] == [stage])
    return lines[place + 1].strip()


def test_every_stage_of_blocks_takes_some_and_tells_where_they_stand(study):
    outlines = study.base / "outlines.gpkg"
    west, south, east, north = study.config.area
    x, y = (west + east) / 2, (south + north) / 2
    landform = shapely.box(x - 0.003, y - 0.003, x + 0.003, y + 0.003)
    gpd.GeoDataFrame(geometry=[landform], crs=4326).to_file(outlines)
    values = study.config.model_dump(mode="json")
    values["labels"] |= {"reference": str(outlines), "split": "train-only"}
    values["features"] |= {"set": "stack"}
    (study.base / "basin.yaml").write_text(yaml.safe_dump(values))
    assert "built 9" in rockglacier(study, "cube").output
    for stage in ("label", "fuse"):
        if stage == "fuse":
            rockglacier(study, "label")
        some = rockglacier(study, stage, "--blocks", "1:3,0:2")
        assert some.exit_code == 0, some.output
        assert "built 4" in some.output
        assert "left 5" in some.output
        shown = rockglacier(study, "status").output
        assert blocks_of(shown, stage) == "blocks: 4 done, 0 stale, 5 missing, 0 failed"
        Receipts(study.receipts_path / stage).fail(
            Failure(name="r0000c0000", error="OSError", message="no luck [today]")
        )
        shown = rockglacier(study, "status").output
        assert blocks_of(shown, stage).endswith("1 failed")
        assert "r0000c0000: no luck [today]" in shown
        again = rockglacier(study, stage, "--only-failed")
        assert "built 1" in again.output
        assert "left 4" in again.output
    assert "built 4" in rockglacier(study, "fuse").output
    moved = shapely.affinity.translate(landform, 0.0005, 0)
    outlines.unlink()
    gpd.GeoDataFrame(geometry=[moved], crs=4326).to_file(outlines)
    shown = rockglacier(study, "status").output
    assert "stale    label" in shown
    assert "0 missing, 0 failed" in blocks_of(shown, "label")
    assert "0 stale" not in blocks_of(shown, "label")


def test_blocks_beyond_the_grid_are_refused_and_what_was_done_stays_done(study):
    rockglacier(study, "cube")
    answer = rockglacier(study, "cube", "--blocks", "7:9,0:1")
    assert answer.exit_code == 1
    assert "some of rows 0:3 and columns 0:3" in answer.output
    assert (study.receipts_path / "cube.json").is_file()
    assert "failed   cube" not in rockglacier(study, "status").output


def test_folds_that_are_not_there_are_refused_and_a_prediction_stays_done(study):
    receipt = study.receipts_path / "predict.json"
    receipt.parent.mkdir(parents=True, exist_ok=True)
    receipt.write_text("{}")
    answer = rockglacier(study, "predict", "--out-of-fold")
    assert answer.exit_code == 1
    assert "trains one split" in answer.output
    assert receipt.is_file()
    assert not receipt.with_name("predict.failed.json").exists()


def test_an_ablation_of_no_feature_set_is_refused_before_the_evaluation(study):
    answer = rockglacier(study, "evaluate", "--ablation", "colours")
    assert answer.exit_code == 1
    assert "no feature set 'colours'" in answer.output


@pytest.mark.parametrize("stage", ["cube", "label", "fuse", "predict"])
def test_every_stage_of_blocks_has_the_options(stage):
    assert stage_named(stage).blocks is not None
    shown = CliRunner().invoke(app, [stage, "--help"], env={"COLUMNS": "120"}).output
    assert "--blocks" in shown
    assert "--only-failed" in shown
