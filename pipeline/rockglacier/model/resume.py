"""A training that was cut off goes on after its last epoch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint

logger = logging.getLogger(__name__)

RESUME = "resume.ckpt"
SAVING_SHARE = 0.05
"""Most of the time that saving may take: where epochs are shorter than that, some are not saved."""


class Saver(Checkpoint):
    """Save all that the next epoch depends on after an epoch: weights, optimiser, schedule, stops.

    Parameters
    ----------
    path
        Of the file; it is replaced at once, so that it is whole whenever the process is killed.
    inputs
        Hash of all that the result depends on; a file with another one is not used.
    saved
        Called after every saving, which includes its time.

    Notes
    -----
    It is a checkpoint to Lightning, which calls those last: what stops the training has decided.
    """

    def __init__(
        self, path: Path, *, inputs: str, saved: Callable[[], None] = lambda: None
    ) -> None:
        self.path, self.inputs = path, inputs
        self._saved = saved
        self.is_finished = False
        self._saved_at = -float("inf")
        self._cost = 0.0

    @property
    def state_key(self) -> str:
        """Name under which Lightning stores the state."""
        return "Saver"

    def state_dict(self) -> dict[str, Any]:
        """Return what tells whether the file can be used."""
        return {"inputs": self.inputs, "is_finished": self.is_finished}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save, unless it would take too large a part of the time."""
        begin = time.perf_counter()
        self.is_finished = bool(trainer.should_stop)
        is_early = begin - self._saved_at < self._cost / SAVING_SHARE
        if trainer.strategy.broadcast(is_early):
            return
        partial = self.path.with_name(f".{self.path.name}.partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.path)
            self._saved()
        self._saved_at = time.perf_counter()
        self._cost = self._saved_at - begin


def restorable(path: Path, *, inputs: str) -> dict[str, Any] | None:
    """Return what a :class:`Saver` stored if a training with these inputs can go on from it.

    Nothing in the file is executed. A file that cannot be read, or of other inputs, is left alone
    and replaced by the next epoch.
    """
    if not path.is_file():
        return None
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state = stored["callbacks"]["Saver"]
    except Exception as error:
        logger.warning("%s cannot be read, so that the trial starts over: %s", path, error)
        return None
    if state["inputs"] != inputs:
        logger.info("%s belongs to other settings or data: the trial starts over", path)
        return None
    return stored
