"""Hours of a training from timed steps."""

import json

import geopandas as gpd
import pytest
import torch

from rockglacier.config import parse_config
from rockglacier.model.pace import Pace, time_steps, trial_seconds
from rockglacier.plan import channel_count, make_plan, plan_lines


def config_of(**train):
    values = {"name": "x", "area": [75, 36, 75.1, 36.1], "train": train}
    return parse_config(values, source="test")


SMALL = {"networks": ["hrnet"], "size": "small", "chip": 64, "batch": 2}


def test_steps_are_timed_and_leave_no_trace():
    config = config_of(**SMALL).train
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    pace = time_steps("hrnet", config, channels=5)
    assert pace.steps == 10
    assert 0 < pace.seconds < 30
    assert pace.device
    assert torch.equal(torch.rand(4), expected)


def test_a_slow_network_is_timed_for_a_short_while():
    config = config_of(**SMALL).train
    assert time_steps("hrnet", config, channels=5, limit_s=0).steps == 1


def test_a_trial_is_its_steps_and_its_validation():
    pace = Pace(seconds=0.5, steps=10, device="here")
    config = config_of(epochs=20, chips_per_epoch=65, batch=8).train
    # nine batches, and 24 chips of validation in three batches at a third of the cost
    assert trial_seconds(pace, config, validation_chips=24) == pytest.approx(20 * 0.5 * (9 + 1))
    limited = config_of(epochs=20, chips_per_epoch=65, batch=8, max_minutes=1).train
    assert trial_seconds(pace, limited, validation_chips=24) == 60


@pytest.mark.parametrize(
    ("name", "expected"),
    [("paper-pc1", 3), ("paper-rgb", 9), ("triplets", 7), ("stack", 11), ("bands", 6)],
)
def test_channels_of_a_set_are_known_before_it_is_fused(name, expected):
    values = {"name": "x", "area": [75, 36, 75.1, 36.1], "features": {"set": name}}
    assert channel_count(parse_config(values, source="test")) == expected


def test_the_plan_says_how_many_steps_on_what(basin):
    from rockglacier.scenes.select import search_scenes

    basin.scene("a")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    values = study.config.model_dump(mode="json")
    values["labels"] |= {"reference": "reference.gpkg", "split": "strip", "guard": 2}
    outline = gpd.GeoDataFrame(geometry=[study.area.buffer(-0.002)], crs=4326)
    outline.to_file(study.base / "reference.gpkg")
    values["train"] |= {**SMALL, "networks": ["hrnet"], "trials": 2, "epochs": 3}
    study = type(study)(config=parse_config(values, source="test"), base=study.base)
    plan = make_plan(study, steps=10)
    (pace,) = plan.training
    assert (pace["network"], pace["steps"], pace["trials"]) == ("hrnet", 10, 2)
    batches = study.config.train.chips_per_epoch / 2
    assert pace["hours"] * 3600 >= 2 * 3 * batches * pace["seconds_per_step"]
    assert plan.hours > pace["hours"]
    text = "\n".join(plan_lines(plan))
    assert "training   hrnet:" in text
    assert "2 trials" in text
    json.dumps(plan.training)
    rough = make_plan(study)
    assert rough.training == []
    assert "roughly" in "\n".join(plan_lines(rough))
