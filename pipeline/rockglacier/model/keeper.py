"""During training: keep the best weights and the history, watch the clock, tell how far it is."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from rockglacier.engine import Progress
from rockglacier.model.history import TrainingLog
from rockglacier.model.metrics import as_json, scores
from rockglacier.model.task import mean
from rockglacier.model.waits import BatchClock


class Keeper(Callback):
    """Keeps the best weights and the history, watches the clock, and tells how far it is.

    Parameters
    ----------
    what
        What the progress is called.
    limit_minutes
        Time for training; under it the number of planned steps shrinks to what fits, so that the
        learning rate still falls to its end.
    progress
        Told after every step.
    log
        Gets the history after every epoch.
    """

    def __init__(
        self,
        what: str,
        *,
        limit_minutes: float | None,
        progress: Progress,
        log: TrainingLog | None = None,
    ) -> None:
        self._what, self._progress = what, progress
        self._log = log
        self._limit = limit_minutes * 60 if limit_minutes else None
        self._start = time.perf_counter()
        self._epoch_ends: list[float] = []
        self._validation_start = self._start
        self._validation_seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.best_score = -np.inf
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        self._before = 0.0
        self._clock = BatchClock()

    @property
    def state_key(self) -> str:
        """Name under which Lightning stores the state."""
        return "Keeper"

    @property
    def seconds(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self._epoch_ends[-1] if self._epoch_ends else 0.0

    @property
    def wait_share(self) -> float:
        """Share (0..1) of the training steps' time in which the next batch was awaited."""
        return self._clock.share

    def state_dict(self) -> dict[str, Any]:
        """Return all that a training that goes on needs."""
        return {
            "history": self.history,
            "best_score": float(self.best_score),
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "epoch_ends": self._epoch_ends,
            "validation_seconds": self._validation_seconds,
            "waits": self._clock.totals,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a training where it ended."""
        self.history = list(state_dict["history"])
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]
        self.best_weights = dict(state_dict["best_weights"])
        self._epoch_ends = list(state_dict["epoch_ends"])
        self._validation_seconds = state_dict["validation_seconds"]
        self._before = self.seconds
        self._clock.totals = list(state_dict.get("waits", self._clock.totals))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clocks."""
        self._start = time.perf_counter() - self._before
        self._clock.expect()  # Lightning tells no start of the epoch after one that was restored

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Leave out what validation and saving took."""
        self._clock.expect()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that a batch is there."""
        self._clock.arrived()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step, and stop where the time is up."""
        self._clock.worked()
        done, total = trainer.global_step, pl_module.total_steps
        elapsed, shown, is_late = time.perf_counter() - self._start, total, False
        if self._limit is not None:
            shown = min(total, round(done * max(1, self._limit / elapsed)))
            is_late = elapsed > self._limit
        self._progress(self._what, min(done, shown), shown)
        if done >= total or trainer.strategy.broadcast(is_late):
            trainer.should_stop = True

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Note when the validation began."""
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights if they are the best so far; plan the rest of the time."""
        score = float(trainer.callback_metrics["score"])
        epoch = len(self.history)
        if score > self.best_score or not self.best_weights:
            self.best_score, self.best_epoch = score, epoch
            self.best_weights = copy.deepcopy(pl_module.network.state_dict())
        now = time.perf_counter()
        self._validation_seconds = now - self._validation_start
        self._epoch_ends.append(now - self._start)
        self.history.append(
            {
                "epoch": epoch,
                "step": trainer.global_step,
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": mean(pl_module.losses["train"]),
                "validation_loss": mean(pl_module.losses["validation"]),
                "score": score,
                **as_json(scores(pl_module.matrix)),
                "wait_share": self._clock.end_epoch(),
                "seconds": round(self._epoch_ends[-1], 2),
            }
        )
        if self._log is not None:
            self._log.epoch(self.history)
        self._replan(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the progress, however the training ended."""
        self._progress(self._what, pl_module.total_steps, pl_module.total_steps)

    def _replan(self, trainer: Any, pl_module: Any) -> None:
        if self._limit is None:
            return
        # the first epoch warms up the kernels: it is left out as soon as there is another
        since = self._epoch_ends[0] if len(self._epoch_ends) > 1 else 0.0
        epochs = max(1, len(self._epoch_ends) - 1)
        fitting = steps_that_fit(
            self._limit - self._epoch_ends[-1],
            epoch_seconds=(self._epoch_ends[-1] - since) / epochs,
            validation_seconds=self._validation_seconds,
            steps_an_epoch=pl_module.steps_an_epoch,
        )
        done: int = trainer.global_step
        planned = trainer.max_epochs * pl_module.steps_an_epoch
        pl_module.total_steps = trainer.strategy.broadcast(max(done, min(done + fitting, planned)))
        if pl_module.total_steps == done:
            trainer.should_stop = True


def steps_that_fit(
    seconds: float, *, epoch_seconds: float, validation_seconds: float, steps_an_epoch: int
) -> int:
    """Return how many steps fit into a time, each epoch, also a broken last one, validated.

    Parameters
    ----------
    seconds
        What is left; may be negative.
    epoch_seconds
        Of a whole epoch, its validation included.
    validation_seconds
        Of one validation.
    steps_an_epoch
        Optimiser steps in a whole epoch.
    """
    if seconds <= 0 or epoch_seconds <= 0:
        return 0
    whole, rest = divmod(seconds, epoch_seconds)
    training = max(epoch_seconds - validation_seconds, 1e-9)
    broken = max(rest - validation_seconds, 0.0) / training
    return int((whole + broken) * steps_an_epoch)
