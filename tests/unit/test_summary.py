"""The paper's table for a basin: mean, spread and best of the trials, and what a network costs."""

import csv
import io
import statistics

import pytest
import torch
from torch import nn

from rockglacier.model.costs import flops_of, measure_costs, peak_bytes
from rockglacier.model.summary import SCORES, as_csv, as_text, summarize
from rockglacier.model.trained import TrainedModel
from rockglacier.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")
SPEED = {
    "images_per_s": 12.5,
    "km2_per_s": 0.8,
    "parameters": 29_546_515,
    "gflops": 22.6,
    "peak_memory_mb": 812.0,
    "batch": 8,
    "chip": 256,
    "device": "a processor, 2 threads",
    "precision": "32-true",
}


def row(network, trial, iou, validation, **given):
    scores = dict.fromkeys(SCORES, iou)
    return {
        "network": network, "trial": trial, "validation_iou": validation, "speed": SPEED,
        **scores, **given,
    }  # fmt: skip


ROWS = [
    row("hrnet", 0, 0.70, 0.60),
    row("hrnet", 1, 0.64, 0.66),
    row("hrnet", 2, 0.76, 0.61),
    row("unet", 0, 0.50, 0.50),
    row("deeplabv3plus", 0, None, None),
]


def test_mean_spread_and_the_best_on_validation_ground():
    hrnet, unet, deeplab = summarize(ROWS)
    found = hrnet["iou_rock_glacier"]
    assert found["mean"] == pytest.approx(0.70)
    assert found["spread"] == pytest.approx(statistics.stdev([0.70, 0.64, 0.76]))
    assert (hrnet["best_trial"], found["best"]) == (1, 0.64)  # not the largest on the test ground
    assert (hrnet["trials"], unet["trials"]) == (3, 1)
    assert unet["iou_rock_glacier"] == {"mean": 0.5, "spread": None, "best": 0.5}
    assert deeplab["iou_rock_glacier"] == {"mean": None, "spread": None, "best": None}


def test_table_is_text_and_numbers():
    summary = summarize(ROWS)
    rows = list(csv.DictReader(io.StringIO(as_csv(summary))))
    assert [line["network"] for line in rows] == ["hrnet", "unet", "deeplabv3plus"]
    assert float(rows[0]["iou_rock_glacier_best"]) == 0.64
    assert (rows[0]["km2_per_s"], rows[0]["batch"]) == ("0.8", "8")
    text = as_text(summary)
    assert "| hrnet | 3 | 0.700 ± 0.060 (0.640) |" in text
    assert "29,546,515 | 22.6 | 812 |" in text
    assert "a processor, 2 threads, 32-true, batches of 8 chips of 256 px" in text
    assert "| deeplabv3plus | 1 | - |" in text


def model_of(network, channels=4, chip=64):
    settings = {
        "network": "made", "channels": [f"b{band}" for band in range(channels)], "chip": chip,
        "temperature": 1.0, "threshold": 0.5, "precision": "32-true",
    }  # fmt: skip
    return TrainedModel(network=network.eval().requires_grad_(False), settings=settings)


def test_operations_and_parameters_are_counted():
    model = model_of(nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 2, 1)))
    multiplications = 64 * 64 * (9 * 4 * 16 + 16 * 2)
    assert flops_of(model, torch.zeros(1, 4, 64, 64)) == 2 * multiplications
    costs = measure_costs(model)
    assert costs["gflops"] == pytest.approx(2 * multiplications / 1e9, abs=1e-3)
    assert costs["parameters"] == 9 * 4 * 16 + 16 + 16 * 2 + 2
    assert (costs["batch"], costs["chip"]) == (8, 64)
    assert costs["images_per_s"] > 0
    assert "threads" in costs["device"]


def test_memory_counts_activations_and_weights():
    class Wide(nn.Module):
        """Holds 400 MB for as long as a few looks at the memory take."""

        def __init__(self):
            super().__init__()
            self.weights = nn.Parameter(torch.zeros(1_000_000))

        def forward(self, image):
            held = torch.ones(100_000_000)
            total = sum(float(held.sum()) for _ in range(3)) * 0
            return image[:, :2] + total

    found = peak_bytes(model_of(Wide()), torch.zeros(1, 4, 64, 64))
    assert 300e6 < found < 700e6


def test_evaluation_writes_the_table(trained_ground):
    from rockglacier.model.held_out import evaluate
    from rockglacier.prediction.infer import infer_window

    evaluate(trained_ground, infer=infer_window)
    (line,) = read_json(trained_ground.evaluation_path)["table"]
    assert line["network"] == "hrnet"
    assert line["gflops"] > 0
    assert line["km2_per_s"] > 0
    assert "| hrnet | 1 |" in (trained_ground.models_path / "table.md").read_text()
    rows = list(csv.DictReader((trained_ground.models_path / "table.csv").read_text().splitlines()))
    assert float(rows[0]["iou_rock_glacier_mean"]) == line["iou_rock_glacier"]["mean"]
