"""The error-adjusted area of a study's map, and the table that a terminal shows."""

import csv
import io

import numpy as np
import pytest
import zarr
from rich.console import Console

from rockglacier.evaluation.mapped import write_adjusted_area
from rockglacier.evaluation.show import difference_lines, network_table
from rockglacier.grid import projected
from rockglacier.storage import read_json, write_json, write_text


@pytest.fixture
def mapped(make_ground):
    """A study whose map calls a tenth of the ground rock glaciers, and its scored blocks."""
    study = make_ground()
    percent = np.full(study.grid.shape, 10, np.uint8)
    percent[:, ::10] = 80
    percent[:8] = 255
    group = zarr.create_group(study.prediction_path / "prediction.zarr", zarr_format=3)
    group.create_array("probability", shape=percent.shape, dtype="uint8", chunks=(128, 128))[:] = (
        percent
    )
    write_json(study.selection_path, {"network": "hrnet", "trial": 1, "threshold": 0.5})
    rows = [
        {"network": network, "trial": trial, "row": 0, "col": k, "edge_px": 32, "tn": 900,
         "fp": 10 if trial else 500, "fn": 20, "tp": 30 + k}
        for network, trial in (("hrnet", 0), ("hrnet", 1), ("ensemble", 0)) for k in range(30)
    ]  # fmt: skip
    together = {"model_id": f"{study.config.name}/all", "trial": 0, "threshold": 0.75}
    write_json(study.evaluation_path, {"networks": {"ensemble": together}})
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(study.models_path / "evaluation" / "blocks.csv", buffer.getvalue())
    return study, percent


def test_the_selected_trial_adjusts_what_is_mapped_in_the_area(mapped):
    study, percent = mapped
    found = write_adjusted_area(study)
    assert found == read_json(study.inventory_path / "adjusted-area.json")
    import shapely

    area = projected(study.area, epsg=study.grid.epsg)
    x = study.grid.transform.c + 10 * (np.arange(percent.shape[1]) + 0.5)
    y = study.grid.transform.f - 10 * (np.arange(percent.shape[0]) + 0.5)
    inside = shapely.contains_xy(area, *np.meshgrid(x, y)) & (percent != 255)
    landform, whole = (inside & (percent == 80)).sum() / 1e4, inside.sum() / 1e4
    assert found["mapped_km2"] == pytest.approx(landform)
    assert found["total_km2"] == pytest.approx(whole)
    tp = sum(30 + k for k in range(30))
    expected = landform * tp / (tp + 300) + (whole - landform) * 600 / (600 + 27_000)
    assert found["adjusted_km2"] == pytest.approx(expected, abs=1e-6)
    assert found["low_km2"] < expected < found["high_km2"]
    assert not found["few_blocks"]


def test_without_a_map_or_a_test_there_is_no_adjusted_area(make_ground, mapped):
    assert write_adjusted_area(make_ground("bare")) is None
    study, _ = mapped
    write_json(study.selection_path, {"network": "unet", "trial": 0, "threshold": 0.5})
    assert write_adjusted_area(study) is None


@pytest.mark.parametrize(
    ("maker", "threshold"), [("hrnet/trial-1", 0.5), ("all", 0.75), ("hrnet/trials", None)]
)
def test_only_a_map_of_a_judged_trial_or_ensemble_is_adjusted(mapped, maker, threshold):
    study, _ = mapped
    write_json(study.prediction_record_path, {"model_id": f"{study.config.name}/{maker}"})
    found = write_adjusted_area(study)
    assert (found and found["threshold"]) == threshold


def shown(table, width=100):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_a_column_a_network():
    score = {"mean": 0.7, "spread": 0.06, "best": 0.64}
    lone = {"mean": 0.5, "spread": None, "best": 0.5}
    speed = {"images_per_s": 12.5, "parameters": 29_546_515, "batch": 8, "chip": 256,
             "device": "a processor", "precision": "32-true"}  # fmt: skip
    text = shown(
        network_table(
            [
                {"network": "hrnet", "trials": 3, "iou_rock_glacier": score, **speed},
                {"network": "unet", "trials": 1, "iou_rock_glacier": lone, **speed},
            ]
        )
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["hrnet", "(3", "trials)", "unet", "(1", "trial)"] in lines
    assert ["IoU", "of", "rock", "glaciers", "0.700", "±", "0.060", "(0.640)", "0.500"] in lines
    assert ["parameters", "29,546,515", "29,546,515"] in lines
    assert "batches of 8 chips of 256 px on a processor" in " ".join(text.split())


def test_a_difference_is_told_with_its_interval():
    row = {"first": "hrnet", "second": "unet",
           "iou_rock_glacier": {"value": 0.041, "low": -0.002, "high": 0.08}}  # fmt: skip
    paired = {"differences": [row], "blocks": 12, "block_px": 128, "few_blocks": True}
    first, last = difference_lines(paired)
    assert first.startswith("hrnet - unet: IoU +0.041 (-0.002 to +0.080, 95 %, paired over 12")
    assert "wider" in last
    assert difference_lines({**paired, "differences": []}) == []
