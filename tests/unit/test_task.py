"""The loss and the schedule by hand."""

import math

import pytest
import torch

from rockglacier.model.task import learning_rate_share, segmentation_loss


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
