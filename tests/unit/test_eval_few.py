"""A few labelled chips beside the probabilities of a mapped basin."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.evaluation.few import calibrate_on, lines_of
from rockglacier.model.calibrate import calibrate, calibration_error
from rockglacier.run import run_stages, standings
from rockglacier.stages import Context, stage_named
from rockglacier.storage import open_group, read_json, write_json

WEST, NORTH = 500_000, 4_000_000
LANDFORM = (60, 180, 60, 50)
"""Row, column, height, width; its probability is 90 %, that of the rest 3 %."""


def box(row, column, height, width):
    west, north = WEST + 10 * column, NORTH - 10 * row
    return shapely.box(west, north - 10 * height, west + 10 * width, north)


@pytest.fixture
def mapped(make_products, tmp_path):
    study = make_products(tmp_path / "here", learned=False)

    def check(landforms, chips):
        table = gpd.GeoDataFrame(geometry=[box(*one) for one in landforms], crs=32643)
        table.to_crs(4326).to_file(tmp_path / "drawn.gpkg")
        table = gpd.GeoDataFrame(geometry=[box(*one) for one in chips], crs=32643)
        table.to_crs(4326).to_file(tmp_path / "chips.gpkg")
        return calibrate_on(study, str(tmp_path / "drawn.gpkg"), str(tmp_path / "chips.gpkg"))

    check.study = study
    return check


def test_map_that_is_right_keeps_its_threshold_range(mapped):
    facts = mapped([LANDFORM], [(40, 160, 100, 90)])
    assert (facts["chips"], facts["pixels"]) == (1, 9000)
    assert facts["prevalence"] == pytest.approx(3000 / 9000, abs=1e-3)
    assert facts["best_iou"] == 1.0
    assert 0.03 < facts["best_threshold"] <= 0.9
    assert facts["ece_after"] <= facts["ece"]
    assert read_json(mapped.study.prediction_path / "calibration.json") == facts
    assert "fewer than 10 chips" in lines_of(facts)[-1]


def test_map_that_sounds_unsure_is_told_a_temperature(mapped):
    stored = open_group(mapped.study.prediction_path / "prediction.zarr", "r+")["probability"]
    values = np.asarray(stored)
    stored[:] = np.where(values == 90, 60, values)
    facts = mapped([LANDFORM], [(40, 160, 100, 90)])
    assert 0.03 < facts["best_threshold"] <= 0.6
    assert facts["best_iou"] == 1.0
    assert facts["temperature"] < 1  # it sounds less sure than it may


def test_ground_beyond_the_chips_does_not_count(mapped):
    left = mapped([(60, 180, 60, 25)], [(60, 180, 60, 25), (0, 100, 50, 50)])
    assert left["pixels"] == 60 * 25 + 2500
    assert left["best_iou"] == 1.0


def test_chips_that_say_nothing_are_told(mapped):
    with pytest.raises(InputError, match="lies on the prediction"):
        mapped([LANDFORM], [(5000, 5000, 50, 50)])
    with pytest.raises(InputError, match="hold no landform alone"):
        mapped([LANDFORM], [(0, 100, 50, 50)])
    with pytest.raises(InputError, match="hold landforms alone"):
        mapped([LANDFORM], [(70, 190, 20, 20)])


def stripes(study, chips):
    """Store a probability in chips of 20 x 20 pixels; return them, landforms and what they hold.

    A chip is a column, percents of its left and right part, and the width of the left one, which
    is a landform.
    """
    stored = open_group(study.prediction_path / "prediction.zarr", "r+")["probability"]
    values = np.full(stored.shape, 3, np.uint8)
    places, landforms, pixels = [], [], []
    for column, left, right, width in chips:
        values[20:40, column : column + 20] = right
        values[20:40, column : column + width] = left
        places.append((20, column, 20, 20))
        landforms.append((20, column, 20, width))
        percent = values[20:40, column : column + 20].ravel()
        truth = np.zeros((20, 20), np.uint8)
        truth[:, :width] = 1
        pixels.append((np.clip(percent / 100, 0.005, 0.995), truth.ravel()))
    stored[:] = values
    return landforms, places, pixels


BOASTS = [(24 * n, 97, 97, 15) if n % 2 else (24 * n, 3, 3, 5) for n in range(8)]
"""Of 97 % three quarters are landforms, of 3 % one quarter."""


def test_a_boasting_map_is_calibrated_for_ground_that_had_no_part_in_it(mapped):
    landforms, chips, _ = stripes(mapped.study, BOASTS)
    write_json(
        mapped.study.prediction_record_path,
        {"threshold": 0.5, "passes": 1, "members": [{"network": "unet", "temperature": 1.5}]},
    )
    facts = mapped(landforms, chips)
    assert facts["held_out"]["ece"] == pytest.approx(0.22, abs=1e-6)
    assert facts["held_out"]["ece_after"] < 0.01
    assert facts["temperature"] == pytest.approx(np.log(97 / 3) / np.log(3), rel=1e-3)
    assert facts["settings"] == {"predict": {"temperature": pytest.approx(1.5 * 3.1641, rel=1e-3)}}
    assert "calibration error 0.220, with temperature 0.00" in "\n".join(lines_of(facts))


def test_no_chip_has_a_part_in_what_it_is_judged_by(mapped):
    """Chips that need thresholds of their own, so that a part would show."""
    given = [(0, 90, 10, 4), (24, 60, 30, 9), (48, 30, 20, 12), (72, 97, 55, 6), (96, 45, 3, 2)]
    landforms, chips, pixels = stripes(mapped.study, given)
    facts = mapped(landforms, chips)
    raw, scaled, truths, found = [], [], [], []
    for n, (probability, truth) in enumerate(pixels):
        p, y = (np.concatenate(one) for one in zip(*pixels[:n], *pixels[n + 1 :], strict=True))
        chosen = calibrate(np.log(p / (1 - p)).astype(np.float32), y)
        raw.append(probability)
        scaled.append(1 / (1 + (1 / probability - 1) ** (1 / chosen.temperature)))
        found.append(scaled[-1] >= chosen.threshold)
        truths.append(truth)
    raw, scaled, truth, found = map(np.concatenate, (raw, scaled, truths, found))
    held = facts["held_out"]
    assert held["pixels"] == truth.size == facts["pixels"]
    assert held["ece"] == pytest.approx(calibration_error(raw, truth), abs=1e-6)
    assert held["ece_after"] == pytest.approx(calibration_error(scaled, truth), abs=1e-3)
    both, any_ = ((found & (truth == 1)).sum(), (found | (truth == 1)).sum())
    assert held["best_iou"] == pytest.approx(both / any_, abs=1e-4)
    assert held["best_iou"] < facts["best_iou"]
    assert held["ece_after"] > facts["ece_after"]


def test_a_report_that_was_written_before_is_stale(mapped):
    report = replace(stage_named("report"), work=lambda study, context: {}, after=())
    landforms, chips, _ = stripes(mapped.study, BOASTS)
    (mapped.study.folder / "study.yaml").write_text(f"name: {mapped.study.config.name}")
    mapped.study.report_path.parent.mkdir(exist_ok=True)
    mapped.study.report_path.write_text("page")
    run_stages(mapped.study, [report], Context())
    mapped(landforms, chips)
    (standing,) = standings(mapped.study, [report], Context())
    assert (standing.state, standing.why) == ("stale", "changed: calibration.json")


def test_too_few_chips_choose_nothing(mapped):
    landforms, chips, _ = stripes(mapped.study, BOASTS[:2])
    facts = mapped(landforms, chips)
    assert (facts["held_out"], facts["settings"]) == (None, {})
    assert "it takes 3" in "\n".join(lines_of(facts))
    # landforms in one chip alone: without it there is nothing to choose on
    facts = mapped([landforms[1]], [*chips, (20, 60, 20, 20), (20, 90, 20, 20)])
    assert (facts["held_out"], facts["settings"]) == (None, {})


def test_a_map_that_is_right_is_left_as_it_is(mapped):
    landforms, chips, _ = stripes(mapped.study, [(24 * n, 90, 3, 7) for n in range(4)])
    write_json(mapped.study.prediction_record_path, {"threshold": 0.5, "passes": 2, "members": []})
    facts = mapped(landforms, chips)
    assert facts["held_out"]["iou"] == 1.0
    assert facts["settings"] == {}
    assert "nothing to change" in "\n".join(lines_of(facts))


def test_chips_that_overlap_or_touch_are_one_and_no_pixel_counts_twice(mapped):
    landforms, chips, _ = stripes(mapped.study, BOASTS)
    facts = mapped(landforms, [*chips, chips[0], (20, 10, 20, 20), (20, 204, 20, 20)])
    assert facts["chips"] == len(chips)  # 10 to 30 makes one of the first two; one more
    assert facts["pixels"] == 400 * len(chips) + 4 * 20 + 400
