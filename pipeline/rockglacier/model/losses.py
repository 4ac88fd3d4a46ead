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
FOCUS = 2.0
"""Exponent of the focal loss, as its authors chose it."""


def segmentation_loss(
    logits: Tensor,
    mask: Tensor,
    *,
    kind: LossName = "ce-dice",
    landform_weight: float = LANDFORM_WEIGHT,
) -> Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    logits
        Float (B, 2, H, W).
    mask
        Integer (B, H, W): 0, 1, or 255, which counts in no term.
    kind
        ``ce``: cross-entropy; ``weighted-ce``: with ``landform_weight``; ``focal``: cross-entropy
        in which a pixel of probability p of its own class weighs (1 - p) squared; ``dice``: of the
        rock glacier class; ``ce-dice``: the sum of ``weighted-ce`` and ``dice``.
    landform_weight
        Weight of class 1 in the weighted cross-entropy; background has 1.

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
    if kind == "dice":
        return _dice(logits, mask)
    if kind == "ce-dice":
        return _entropy(logits, mask, landform_weight) + _dice(logits, mask)
    if kind == "focal":
        return _focal(logits, mask)
    return _entropy(logits, mask, landform_weight if kind == "weighted-ce" else 1.0)


def _entropy(logits: Tensor, mask: Tensor, landform_weight: float) -> Tensor:
    weight = torch.where(mask == 1, landform_weight, 1.0) * (mask != IGNORE)
    entropy = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    return (entropy * weight).sum() / weight.sum().clamp(min=1.0)


def _focal(logits: Tensor, mask: Tensor) -> Tensor:
    entropy = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    focused = (1 - torch.exp(-entropy)) ** FOCUS * entropy
    return focused.sum() / (mask != IGNORE).sum().clamp(min=1)


def _dice(logits: Tensor, mask: Tensor) -> Tensor:
    counted = mask != IGNORE
    probability = torch.softmax(logits, dim=1)[:, 1] * counted
    truth = (mask == 1).float()
    both = (probability * truth).sum()
    dice = 1 - (2 * both + 1) / (probability.sum() + truth.sum() + 1)
    return dice * counted.any()
