"""One trial: train a network within its limits, keep its best weights, calibrate it, store it."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from rockglacier.config import TrainConfig
from rockglacier.engine import Progress
from rockglacier.model.calibrate import Calibration, calibrate
from rockglacier.model.keeper import Keeper
from rockglacier.model.metrics import as_json, confusion_matrix, scores
from rockglacier.model.networks import make_network, parameter_count
from rockglacier.model.task import SegmentationTask
from rockglacier.model.trained import (
    SETTINGS,
    WEIGHTS,
    autocast_for,
    best_device,
    precision_for,
)
from rockglacier.storage import write_json, write_text

Batches = DataLoader[dict[str, Any]]
GRADIENT_NORM = 5.0  # a chip of noise must not undo an epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one trial trains, and where it goes."""

    network: str
    number: int
    seed: int
    split: str
    """``strip``, ``blocks`` or ``random``."""
    folder: Path
    inputs: str
    """Hash of all that the result depends on."""

    @property
    def name(self) -> str:
        """Name for people."""
        suffix = " (random split)" if self.split == "random" else ""
        return f"train {self.network}{suffix}, trial {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chips:
    """The batches of a trial; each can be iterated again and again."""

    train: Batches
    train_batches: int
    """Batches in an epoch."""
    validation: Batches


def run_trial(
    trial: Trial,
    chips: Chips,
    *,
    config: TrainConfig,
    about: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Train, calibrate and store one trial; return the content of its ``model.json``.

    Parameters
    ----------
    trial, chips
        What to train, on what.
    config
        Epochs, patience, time limit and learning rate.
    about
        What the settings should also say: channels, fusion, chip and the like.
    progress
        Told after every step, of the steps that are planned.
    """
    device = best_device()
    lightning.seed_everything(trial.seed, workers=True, verbose=False)
    network = make_network(
        trial.network,  # type: ignore[arg-type]
        size=config.size,
        channels=len(about["channels"]),
    )
    task = SegmentationTask(
        network,
        learning_rate=config.learning_rate,
        total_steps=config.epochs * chips.train_batches,
    )
    keeper = Keeper(trial.name, limit_minutes=config.max_minutes, progress=progress)
    start = time.perf_counter()
    _fit(task, chips, keeper, config=config, device=device)
    network.load_state_dict(keeper.best_weights)
    network = network.eval().to(device)
    calibration, matrix = _calibrated(network, chips.validation, device)
    settings = {
        **about,
        "network": trial.network,
        "size": config.size,
        "split": trial.split,
        "trial": trial.number,
        "seed": trial.seed,
        "temperature": round(calibration.temperature, 6),
        "threshold": calibration.threshold,
        "validation": {**as_json(scores(matrix)), "confusion": matrix.tolist()},
        "best_epoch": keeper.best_epoch,
        "epochs": len(keeper.history),
        "steps": task.global_step,
        "seconds": round(time.perf_counter() - start, 2),
        "parameters": parameter_count(network),
        "precision": precision_for(device),
        "device": device_name(device),
        "inputs": trial.inputs,
    }
    return _store(trial, network, settings, keeper.history)


def _fit(
    task: SegmentationTask,
    chips: Chips,
    keeper: Keeper,
    *,
    config: TrainConfig,
    device: torch.device,
) -> None:
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision=precision_for(device),
            max_epochs=config.epochs,
            gradient_clip_val=GRADIENT_NORM,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                keeper,
                EarlyStopping("score", mode="max", patience=config.patience, check_finite=False),
            ],
        )
        trainer.fit(task, chips.train, chips.validation)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice away: chips come from memory, so that no worker would help."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _calibrated(
    network: nn.Module, validation: Batches, device: torch.device
) -> tuple[Calibration, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the calibration, and the confusion on the validation ground under it."""
    margins, truths = [], []
    with torch.inference_mode(), autocast_for(device):
        for batch in validation:
            image = batch["image"].to(device, memory_format=torch.channels_last)
            logits = network(image).float()
            margins.append((logits[:, 1] - logits[:, 0]).cpu().numpy().ravel())
            truths.append(batch["mask"].numpy().astype(np.uint8).ravel())
    margin, truth = np.concatenate(margins), np.concatenate(truths)
    found = calibrate(margin, truth)
    probability = 1 / (1 + np.exp(-margin / found.temperature))
    predicted = (probability >= found.threshold).astype(np.uint8)
    return found, confusion_matrix(truth, predicted)


def _store(
    trial: Trial, network: nn.Module, settings: dict[str, Any], history: list[dict[str, Any]]
) -> dict[str, Any]:
    trial.folder.mkdir(parents=True, exist_ok=True)
    (trial.folder / SETTINGS).unlink(missing_ok=True)
    state = {
        name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    partial = trial.folder / f".{WEIGHTS}.partial"
    partial.write_bytes(buffer.getvalue())
    os.replace(partial, trial.folder / WEIGHTS)
    write_text(trial.folder / "history.csv", _as_csv(history))
    settings = {**settings, "weights": hashlib.sha256(buffer.getvalue()).hexdigest()}
    write_json(trial.folder / SETTINGS, settings)  # last: it says that the trial is finished
    return settings


def _as_csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def device_name(device: torch.device) -> str:
    """Return the name of the hardware, as it is printed beside every speed."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    name = torch.cpu.get_capabilities().get("cpu_name", "processor")
    return f"{name}, {torch.get_num_threads()} threads"
