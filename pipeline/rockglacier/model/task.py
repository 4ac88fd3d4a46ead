"""One network in training: loss, schedule of the learning rate, and validation scores."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from rockglacier.model.metrics import CLASSES, IGNORE, scores

WARM_UP = 0.1  # share of the steps in which the learning rate rises
FINAL_SHARE = 0.01  # of the learning rate, at the last step
LANDFORM_WEIGHT = 2.0  # a landform's pixel against one of the background, in the cross-entropy
WEIGHT_DECAY = 1e-2


def segmentation_loss(
    logits: Tensor, mask: Tensor, *, landform_weight: float = LANDFORM_WEIGHT
) -> Tensor:
    """Return cross-entropy plus Dice of the rock glacier class.

    Parameters
    ----------
    logits
        Float (B, 2, H, W).
    mask
        Integer (B, H, W): 0, 1, or 255, which counts in neither term.
    landform_weight
        Weight of class 1 in the cross-entropy; background has 1.

    Returns
    -------
    Tensor
        Scalar float32; 0 where every pixel is ignored, not NaN.

    Notes
    -----
    Cross-entropy keeps the probabilities honest, Dice keeps a rare class from vanishing. Dice is
    taken over the batch, as a chip without a landform has none of its own.
    """
    logits, mask = logits.float(), mask.long()
    counted = mask != IGNORE
    weight = torch.where(mask == 1, landform_weight, 1.0) * counted
    entropy = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    entropy_mean = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
    probability = torch.softmax(logits, dim=1)[:, 1] * counted
    truth = (mask == 1).float()
    both = (probability * truth).sum()
    dice = 1 - (2 * both + 1) / (probability.sum() + truth.sum() + 1)
    return entropy_mean + dice * counted.any()


def learning_rate_share(progress: float) -> float:
    """Return the share of the full learning rate at a point of the training (0..1).

    It rises linearly over the first tenth and falls to a hundredth as half a cosine.
    """
    if progress < WARM_UP:
        return FINAL_SHARE + (1 - FINAL_SHARE) * progress / WARM_UP
    fallen = min((progress - WARM_UP) / (1 - WARM_UP), 1.0)
    return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * fallen))


class SegmentationTask(lightning.LightningModule):
    """Train one network on chips ``{"image": float (B,C,H,W), "mask": (B,H,W)}``.

    Parameters
    ----------
    network
        Image to logits of two classes.
    learning_rate
        Largest learning rate.
    total_steps
        Planned optimiser steps; a time limit may lower it under way, and the schedule follows.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, total_steps: int) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.matrix: NDArray[np.int64] = np.zeros((len(CLASSES),) * 2, dtype=np.int64)
        self.losses: dict[str, list[float]] = {"train": [], "validation": []}

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, 2, H, W)."""
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Return the loss of a batch."""
        loss = segmentation_loss(self(batch["image"]), batch["mask"])
        self.losses["train"].append(float(loss.detach()))
        return loss

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self.losses["train"] = []

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the epoch before."""
        self.matrix = np.zeros_like(self.matrix)
        self.losses["validation"] = []

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Count right and wrong pixels of a batch, at probability 0.5."""
        logits, mask = self(batch["image"]).float(), batch["mask"].long()
        self.losses["validation"].append(float(segmentation_loss(logits, mask)))
        counted = mask != IGNORE
        pairs = (mask * len(CLASSES) + logits.argmax(dim=1))[counted]
        counts = torch.bincount(pairs, minlength=len(CLASSES) ** 2)
        self.matrix += counts.reshape(len(CLASSES), -1).cpu().numpy()

    def on_validation_epoch_end(self) -> None:
        """Log the score by which weights are kept: IoU of rock glaciers, the larger the better.

        Without a single pixel of the class in truth or prediction there is no IoU; then it is the
        negative loss.
        """
        iou = scores(self.matrix)["iou_rock_glacier"]
        score = iou if math.isfinite(iou) else -mean(self.losses["validation"])
        self.log("score", score)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule by steps."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step / max(self.total_steps, 1))
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def mean(values: list[float]) -> float:
    """Return the mean, NaN of nothing."""
    return sum(values) / len(values) if values else math.nan
