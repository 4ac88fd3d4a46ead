"""What a network is told about its mistakes: losses that leave ignored pixels out."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor

from rockglacier.model.metrics import IGNORE

LossName = Literal["ce", "weighted-ce", "focal", "dice", "ce-dice"]
LANDFORM_WEIGHT = 2.0
"""A landform's pixel against one of the background."""
HARD = 2
"""Label of background that is easily taken for a landform."""
HARD_WEIGHT = 2.0
"""A pixel of it against another one of the background; ``train.hard_weight`` sets another."""
FOCUS = 2.0
"""Exponent of the focal loss, as its authors chose it."""


def segmentation_loss(
    logits: Tensor,
    mask: Tensor,
    *,
    kind: LossName = "ce-dice",
    landform_weight: float = LANDFORM_WEIGHT,
    hard_weight: float = HARD_WEIGHT,
) -> Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    logits
        Float (B, 2, H, W).
    mask
        Integer (B, H, W): 0, 1, 2 for hard background, or 255, which counts in no term.
    kind
        ``ce``: cross-entropy; ``weighted-ce``: with ``landform_weight``; ``focal``: cross-entropy
        in which a pixel of probability p of its own class weighs (1 - p) squared; ``dice``: of the
        rock glacier class; ``ce-dice``: the sum of ``weighted-ce`` and ``dice``.
    landform_weight
        Weight of class 1 in the weighted cross-entropy; background has 1.
    hard_weight
        Weight of hard background in every entropy; the Dice term takes it for background.

    Returns
    -------
    Tensor
        Scalar float32; 0 where every pixel is ignored, not NaN.

    Notes
    -----
    Cross-entropy keeps the probabilities honest, Dice keeps a rare class from vanishing. Dice is
    taken over the batch, as a chip without a landform has none of its own.

    References
    ----------
    Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002, equation 4.
    """
    logits, mask = logits.float(), mask.long()
    weight = torch.where(mask == HARD, hard_weight, 1.0) * (mask != IGNORE)
    mask = torch.where(mask == HARD, 0, mask)
    if kind == "dice":
        return _dice(logits, mask)
    if kind == "focal":
        return _focal(logits, mask, weight)
    if kind != "ce":
        weight = weight * torch.where(mask == 1, landform_weight, 1.0)
    entropy = _entropy(logits, mask, weight)
    return entropy + _dice(logits, mask) if kind == "ce-dice" else entropy


def _entropy(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    entropy = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    return (entropy * weight).sum() / weight.sum().clamp(min=1.0)


def _focal(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    entropy = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    focused = (1 - torch.exp(-entropy)) ** FOCUS * entropy
    return (focused * weight).sum() / weight.sum().clamp(min=1.0)


def _dice(logits: Tensor, mask: Tensor) -> Tensor:
    counted = mask != IGNORE
    probability = torch.softmax(logits, dim=1)[:, 1] * counted
    truth = (mask == 1).float()
    both = (probability * truth).sum()
    dice = 1 - (2 * both + 1) / (probability.sum() + truth.sum() + 1)
    return dice * counted.any()
