"""One network in training: its steps, the schedule of the learning rate, validation scores."""

from __future__ import annotations

import math
from typing import Any, Literal

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rockglacier.chips.augment import Augment
from rockglacier.chips.dataset import as_features
from rockglacier.chips.ranks import ALONE, Rank
from rockglacier.config import TrainConfig
from rockglacier.model.losses import segmentation_loss
from rockglacier.model.metrics import CLASSES, IGNORE, scores

__all__ = ["SegmentationTask", "learning_rate_share", "mean", "segmentation_loss"]

WARM_UP = 0.1  # share of the steps in which the learning rate rises
FINAL_SHARE = 0.01  # of the learning rate, at the last step
POLY_POWER = 0.9  # of the polynomial schedule, as DeepLab has it
MOMENTUM = 0.9  # of SGD, with Nesterov's correction


def learning_rate_share(
    progress: float,
    *,
    schedule: Literal["cosine", "poly"] = "cosine",
    warm_up: float = WARM_UP,
) -> float:
    """Return the share of the full learning rate at a point of the training (0..1).

    It rises linearly while ``progress`` is below ``warm_up`` and falls to a hundredth: as half a
    cosine, or as the power 0.9 of what is left.
    """
    if progress < warm_up:
        return FINAL_SHARE + (1 - FINAL_SHARE) * progress / warm_up
    fallen = min((progress - warm_up) / (1 - warm_up), 1.0)
    if schedule == "poly":
        left = (1 - fallen) ** POLY_POWER
    else:
        left = 0.5 * (1 + math.cos(math.pi * fallen))
    return FINAL_SHARE + (1 - FINAL_SHARE) * left


class SegmentationTask(lightning.LightningModule):
    """Train one network on chips ``{"image": (B,C,H,W), "mask": (B,H,W)}``.

    Parameters
    ----------
    network
        Image to logits of two classes.
    config
        Loss, optimiser, learning rate and its schedule.
    total_steps
        Planned optimiser steps; a time limit may lower it under way, and the schedule follows.
    steps_an_epoch
        Optimiser steps in an epoch.
    augment
        Applied to training batches on the device.
    seed
        All that is random in an epoch, augmentation and dropout, depends on it and on the epoch's
        number alone, so that a training that is resumed goes on as if it had never stopped.
    rank
        Which part of every batch this process gets.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        config: TrainConfig,
        total_steps: int,
        steps_an_epoch: int,
        augment: Augment | None = None,
        seed: int = 0,
        rank: Rank = ALONE,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.config = config
        self.total_steps = total_steps
        self.steps_an_epoch = steps_an_epoch
        self.augment = augment
        self.seed, self.rank = seed, rank
        self.matrix: NDArray[np.int64] = np.zeros((len(CLASSES),) * 2, dtype=np.int64)
        self.losses: dict[str, list[Tensor]] = {"train": [], "validation": []}

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, 2, H, W)."""
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the loss that the config names."""
        config = self.config
        return segmentation_loss(
            logits,
            mask,
            kind=config.loss,
            landform_weight=config.landform_weight,
            hard_weight=config.hard_weight,
        )

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the loss of a batch."""
        if index == 0:
            self._begin_epoch()
        batch = as_features(batch)
        if self.augment is not None:
            batch = self.augment(batch, step=(self.current_epoch, index), rank=self.rank)
        loss = self.loss(self(batch["image"]), batch["mask"])
        self.losses["train"].append(loss.detach())
        return loss

    def _begin_epoch(self) -> None:
        # Lightning calls no hook at the start of the epoch after one that was restored
        self.losses["train"] = []
        lightning.seed_everything(_mixed(self.seed, self.current_epoch), verbose=False)

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the epoch before."""
        self.matrix = np.zeros_like(self.matrix)
        self.losses["validation"] = []

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Count right and wrong pixels of a batch, at probability 0.5."""
        batch = as_features(batch)
        logits, mask = self(batch["image"]).float(), batch["mask"].long()
        self.losses["validation"].append(self.loss(logits, mask))
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store how many steps are planned."""
        checkpoint["total_steps"] = self.total_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the plan that was stored."""
        self.total_steps = checkpoint["total_steps"]

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule by steps."""
        config = self.config
        rates: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(self.parameters(), **rates)
            if config.optimizer == "adamw"
            else torch.optim.SGD(self.parameters(), momentum=MOMENTUM, nesterov=True, **rates)
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_at)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _share_at(self, step: int) -> float:
        return learning_rate_share(
            step / max(self.total_steps, 1),
            schedule=self.config.schedule,
            warm_up=self.config.warm_up,
        )


def _mixed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def mean(values: list[Tensor]) -> float:
    """Return the mean, NaN of nothing."""
    return float(torch.stack(values).double().mean()) if values else math.nan
