"""The loss and the schedule by hand."""

import math

import pytest
import torch

from rockglacier.chips.dataset import as_features
from rockglacier.config import TrainConfig
from rockglacier.model.task import SegmentationTask, learning_rate_share, segmentation_loss


def test_ignored_pixels_do_not_count():
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 8, 8, dtype=torch.long)
    mask[:, :4] = 1
    half = mask.clone()
    half[:, :, 4:] = 255
    assert segmentation_loss(logits, half) == pytest.approx(
        float(segmentation_loss(logits[..., :4], mask[..., :4])), rel=1e-6
    )


def test_a_batch_of_ignored_pixels_has_no_loss():
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(logits.grad).all()


def test_perfect_logits_have_almost_no_loss():
    mask = torch.tensor([[[0, 1], [1, 0]]])
    logits = torch.stack([1 - mask, mask], dim=1) * 40.0
    assert segmentation_loss(logits, mask) < 1e-3


def test_undecided_logits_cost_log_two_and_dice():
    mask = torch.tensor([[[0, 1], [1, 0]]])
    expected = math.log(2) + 1 - (2 * 1 + 1) / (2 + 2 + 1)
    assert segmentation_loss(torch.zeros(1, 2, 2, 2), mask) == pytest.approx(expected, rel=1e-5)


def test_learning_rate_rises_then_falls():
    shares = [learning_rate_share(step / 100) for step in range(101)]
    assert shares[0] == pytest.approx(0.01)
    assert max(shares) == shares[10] == pytest.approx(1)
    assert shares[100] == pytest.approx(0.01)
    assert learning_rate_share(1.5) == pytest.approx(0.01)


def probabilities(*values):
    """Logits of one row of pixels whose probability of class 1 is given."""
    wanted = torch.tensor([[values]])
    return torch.stack([torch.zeros_like(wanted), torch.log(wanted / (1 - wanted))], dim=1)


TRUTH = torch.tensor([[[1, 0, 255]]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ce", -(math.log(0.8) + math.log(0.7)) / 2),
        ("weighted-ce", -(3 * math.log(0.8) + math.log(0.7)) / 4),
        ("focal", -(0.2**2 * math.log(0.8) + 0.3**2 * math.log(0.7)) / 2),
        ("dice", 1 - (2 * 0.8 + 1) / (0.8 + 0.3 + 1 + 1)),
        (
            "ce-dice",
            -(3 * math.log(0.8) + math.log(0.7)) / 4 + 1 - (2 * 0.8 + 1) / (0.8 + 0.3 + 1 + 1),
        ),
    ],
)
def test_losses_follow_their_formulas(kind, expected):
    logits = probabilities(0.8, 0.3, 0.9)
    assert float(segmentation_loss(logits, TRUTH, kind=kind, landform_weight=3.0)) == pytest.approx(
        expected, rel=1e-5
    )
    nothing = torch.full_like(TRUTH, 255)
    assert segmentation_loss(logits, nothing, kind=kind) == 0


def test_poly_falls_as_a_power_and_without_warm_up_it_starts_in_full():
    shares = [learning_rate_share(step / 10, schedule="poly", warm_up=0.0) for step in range(11)]
    assert shares[0] == 1
    assert shares[5] == pytest.approx(0.01 + 0.99 * 0.5**0.9)
    assert shares[10] == pytest.approx(0.01)


@pytest.mark.parametrize(("optimizer", "kind"), [("adamw", "AdamW"), ("sgd", "SGD")])
def test_optimiser_and_its_settings_come_from_the_config(optimizer, kind):
    config = TrainConfig(
        optimizer=optimizer, learning_rate=0.2, weight_decay=0.03, schedule="poly", warm_up=0.5
    )
    task = SegmentationTask(
        torch.nn.Conv2d(2, 2, 1), config=config, total_steps=10, steps_an_epoch=5
    )
    found = task.configure_optimizers()
    group = found["optimizer"].param_groups[0]
    assert type(found["optimizer"]).__name__ == kind
    assert group["weight_decay"] == 0.03
    assert group["initial_lr"] == 0.2
    assert group["lr"] == pytest.approx(0.2 * 0.01)  # the first step of a warm-up


def test_stored_integers_are_the_features_that_the_floats_were():
    stored = torch.tensor([[[[-32768, 1500]], [[-32768, -250]]]], dtype=torch.int16)
    batch = as_features({"image": stored, "mask": torch.tensor([[[255, 1]]], dtype=torch.uint8)})
    assert batch["image"].tolist() == [[[[0, 1.5]], [[0, -0.25]]]]
    assert (batch["image"].dtype, batch["mask"].dtype) == (torch.float32, torch.int64)
    floats = {"image": batch["image"], "mask": batch["mask"]}
    assert as_features(floats) is floats
