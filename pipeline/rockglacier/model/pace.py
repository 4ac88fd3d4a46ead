"""How long a training step takes here: a few steps on made-up chips, timed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from rockglacier.config import TrainConfig
from rockglacier.model.networks import make_network
from rockglacier.model.task import SegmentationTask
from rockglacier.model.trained import autocast_for, best_device
from rockglacier.model.trial import device_name

STEPS = 10
WARM_UP = 2
LIMIT_S = 60.0
"""Longest that a network is timed; then fewer steps have to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a network trains on this machine."""

    seconds: float
    """Of a step: forward, backward and optimiser on one batch; the median."""
    steps: int
    """How many were timed."""
    device: str


def time_steps(
    network: str,
    config: TrainConfig,
    *,
    channels: int,
    encoder: str | None = None,
    steps: int = STEPS,
    limit_s: float = LIMIT_S,
) -> Pace:
    """Time training steps of a network with random weights on chips of noise.

    Parameters
    ----------
    network, encoder
        As in the study.
    config
        Size, chip, batch, loss and optimiser.
    channels
        Of the features.
    steps
        To be timed, after two that are not.
    limit_s
        Stop after so many seconds; at least one step is timed.
    """
    device = best_device()
    with torch.random.fork_rng():  # a plan must not change what comes after it
        made = make_network(network, size=config.size, encoder=encoder, channels=channels)
        task = SegmentationTask(made, config=config, total_steps=1000, steps_an_epoch=100)
        task = task.to(device).train()
        image = torch.randn(config.batch, channels, config.chip, config.chip, device=device)
        mask = torch.randint(0, 2, (config.batch, config.chip, config.chip), device=device)
        optimizer = task.configure_optimizers()["optimizer"]
        spent: list[float] = []
        begun = time.perf_counter()
        for step in range(WARM_UP + steps):
            start = time.perf_counter()
            with autocast_for(device):
                loss = task.loss(task(image), mask)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            now = time.perf_counter()
            if step >= WARM_UP:
                spent.append(now - start)
            if spent and now - begun > limit_s:
                break
    return Pace(seconds=statistics.median(spent), steps=len(spent), device=device_name(device))


def trial_seconds(pace: Pace, config: TrainConfig, *, validation_chips: float) -> float:
    """Return how long a trial takes at most, seconds.

    Parameters
    ----------
    pace
        Of the network.
    config
        Epochs, chips and batch of the training; its time limit holds. Stopping early is not
        counted on.
    validation_chips
        Chips of the validation ground, scored after every epoch at a third of a step's cost.
    """
    batches = -(-config.chips_per_epoch // config.batch)
    epoch = pace.seconds * (batches + validation_chips / config.batch / 3)
    whole = config.epochs * epoch
    return min(whole, 60 * config.max_minutes) if config.max_minutes else whole
