"""One trial: train a network within its limits, keep its best weights, calibrate it, store it."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from rockglacier.chips.augment import Augment
from rockglacier.chips.dataset import as_features
from rockglacier.chips.ranks import Rank
from rockglacier.config import TrainConfig
from rockglacier.engine import Progress, silent
from rockglacier.model.calibrate import Calibration, calibrate
from rockglacier.model.devices import check_devices, in_step
from rockglacier.model.history import TrainingLog, write_history
from rockglacier.model.keeper import Keeper
from rockglacier.model.metrics import as_json, confusion_matrix, scores
from rockglacier.model.networks import encoder_of, make_network, parameter_count
from rockglacier.model.resume import RESUME, Saver, restorable
from rockglacier.model.task import SegmentationTask
from rockglacier.model.trained import (
    SETTINGS,
    WEIGHTS,
    Precision,
    autocast_for,
    best_device,
    precision_for,
)
from rockglacier.storage import local_folder, move, remove, upload, write_json

logger = logging.getLogger(__name__)

Batches = DataLoader[dict[str, Any]]
FOOTPRINTS = "chips.parquet"
EARLIER = "earlier"
"""Folder beside the networks' for models whose place a new one took."""
HARDLY_TRAINED = 40
"""Steps of training below which a network's answers are hardly worth a look."""
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
    encoder: str | None = None
    """In place of that of the size."""
    pretrained: str | None = None
    """Weights of the encoder to start from."""

    @property
    def workplace(self) -> Path:
        """Folder of the trial until it is finished."""
        return self.folder.with_name(f".{self.folder.name}.training")

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
    augment: Augment | None = None
    """Applied to training batches where they are trained on."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What ``model.json`` should say about them."""
    footprints: gpd.GeoDataFrame | None = None
    """Where the chips of the first epoch and of the validation lie."""


ChipsOf = Callable[..., Chips]
"""Makes the batches of the process with the keyword ``rank``; a function of a module."""


def run_trial(
    trial: Trial,
    chips_of: ChipsOf,
    *,
    config: TrainConfig,
    about: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Train, calibrate and store one trial; return the content of its ``model.json``.

    Parameters
    ----------
    trial, chips_of
        What to train, on what.
    config
        Epochs, patience, time limit and learning rate.
    about
        What the settings should also say: channels, fusion, chip and the like.
    progress
        Told after every step, of the steps that are planned.
    """
    device = best_device()
    check_devices(config.devices)
    chips = chips_of(rank=Rank(0, config.devices))
    with local_folder(trial.workplace) as place:
        training = _Training(
            trial=trial, config=config, channels=len(about["channels"]), place=place
        )
        keeper = _trained(training, chips, chips_of, progress)
        network = training.network()
        network.load_state_dict(keeper.best_weights)
        network = network.eval().to(device)
        calibration, matrix = _calibrated(network, chips.validation, device)
        settings = {
            **about,
            **chips.facts,
            "network": trial.network,
            "encoder": trial.encoder,
            "trunk": encoder_of(trial.network, size=config.size, encoder=trial.encoder),
            "pretrained": trial.pretrained,
            "size": config.size,
            "split": trial.split,
            "trial": trial.number,
            "seed": trial.seed,
            "temperature": round(calibration.temperature, 6),
            "threshold": calibration.threshold,
            "calibration": {"ece_before": calibration.ece_before, "ece": calibration.ece},
            "validation": {**as_json(scores(matrix)), "confusion": matrix.tolist()},
            "best_epoch": keeper.best_epoch,
            "epochs": len(keeper.history),
            "steps": keeper.history[-1]["step"],
            "seconds": round(keeper.seconds, 2),
            "wait_share": keeper.wait_share,
            "parameters": parameter_count(network),
            "precision": _precision(config, device),
            "device": device_name(device),
            "devices": config.devices,
            "inputs": trial.inputs,
        }
        return _store(trial, place, network, settings, keeper.history, chips.footprints)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """What every process of a training knows."""

    trial: Trial
    config: TrainConfig
    channels: int
    place: Path
    """Folder on this machine, of the trial until it is finished."""

    @property
    def checkpoint(self) -> Path:
        return self.place / RESUME

    def network(self, pretrained: str | None = None) -> nn.Module:
        return make_network(
            self.trial.network,
            size=self.config.size,
            encoder=self.trial.encoder,
            pretrained=pretrained,
            channels=self.channels,
        )


def _trained(training: _Training, chips: Chips, chips_of: ChipsOf, progress: Progress) -> Keeper:
    """Train from the start, or from the last epoch that an earlier run finished."""
    trial, config = training.trial, training.config
    stored = restorable(training.checkpoint, inputs=trial.inputs)
    done = len(stored["callbacks"]["Keeper"]["history"]) if stored else 0
    log = TrainingLog(training.place, done=done)
    keeper = Keeper(trial.name, limit_minutes=config.max_minutes, progress=progress, log=log)
    try:
        if stored and stored["callbacks"]["Saver"]["is_finished"]:
            keeper.load_state_dict(stored["callbacks"]["Keeper"])
            return keeper
        if stored:
            logger.info("%s goes on after %s finished epochs", trial.name, done)
        others = (training, chips_of, stored is not None)
        with in_step(config.devices, _follow, others) as rank:
            _fit(training, chips, keeper, rank=rank, resume=stored is not None)
        steps = int(keeper.history[-1]["step"])
        if config.max_minutes and steps < HARDLY_TRAINED:
            logger.warning(
                "%s: train.max_minutes (%g) ended it after %s steps, too few to have learnt much; "
                "give it more time",
                trial.name,
                config.max_minutes,
                steps,
            )
        return keeper
    finally:
        log.close()


def _follow(rank: Rank, training: _Training, chips_of: ChipsOf, resume: bool) -> None:
    """Train as one of the other processes: in step with the first, which keeps what comes of it."""
    keeper = Keeper(training.trial.name, limit_minutes=training.config.max_minutes, progress=silent)
    _fit(training, chips_of(rank=rank), keeper, rank=rank, resume=resume)


def _fit(training: _Training, chips: Chips, keeper: Keeper, *, rank: Rank, resume: bool) -> None:
    trial, config, device = training.trial, training.config, best_device()
    lightning.seed_everything(trial.seed, workers=True, verbose=False)
    steps = math.ceil(chips.train_batches / config.accumulate)
    task = SegmentationTask(
        # the first process gives its weights to the others
        training.network(trial.pretrained if rank.number == 0 else None),
        config=config,
        total_steps=config.epochs * steps,
        steps_an_epoch=steps,
        augment=chips.augment,
        seed=trial.seed,
        rank=rank,
    )
    stop = EarlyStopping("score", mode="max", patience=config.patience, check_finite=False)
    saver = Saver(
        training.checkpoint,
        inputs=trial.inputs,
        saved=lambda: upload(training.place, trial.workplace),
    )
    together: dict[str, Any] = {}
    if rank.count > 1:
        together = {"strategy": "ddp", "plugins": [LightningEnvironment()]}
    with _quiet_lightning(), _algorithms():
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=rank.count,
            **together,
            sync_batchnorm=rank.count > 1 and device.type == "cuda",
            use_distributed_sampler=False,  # chips are parted already
            precision=_precision(config, device),
            max_epochs=config.epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=GRADIENT_NORM,
            deterministic=config.deterministic,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=True,  # of the saver, the only one
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keeper, stop, saver],
        )
        trainer.fit(
            task,
            chips.train,
            chips.validation,
            ckpt_path=training.checkpoint if resume else None,
            weights_only=True,
        )


def _precision(config: TrainConfig, device: torch.device) -> Precision:
    if config.precision == "auto":
        return precision_for(device)
    return "bf16-mixed" if config.precision == "bfloat16" else "32-true"


@contextmanager
def _algorithms() -> Iterator[None]:
    """Put back what a deterministic training sets for the whole process."""
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


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
        for batch in map(as_features, validation):
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
    trial: Trial,
    folder: Path,
    network: nn.Module,
    settings: dict[str, Any],
    history: list[dict[str, Any]],
    footprints: gpd.GeoDataFrame | None,
) -> dict[str, Any]:
    """Give the finished trial its name; a model that has it already is moved out of the way."""
    state = {
        name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    write_history(folder, history)
    if footprints is not None:
        footprints.to_parquet(folder / FOOTPRINTS)
    settings = {**settings, "weights": hashlib.sha256(buffer.getvalue()).hexdigest()}
    write_json(folder / SETTINGS, settings)
    (folder / RESUME).unlink(missing_ok=True)
    _keep_earlier(trial.folder)
    if folder == trial.workplace:
        move(folder, trial.folder)
    else:
        upload(folder, trial.folder, last=SETTINGS)
        remove(trial.workplace)
    return settings


def _keep_earlier(folder: Path) -> None:
    """Move a model that was trained before, whole or in part, to a folder of its own."""
    if not folder.exists():
        return
    earlier = folder.parents[1] / EARLIER / folder.parent.name
    earlier.mkdir(parents=True, exist_ok=True)
    number = 1 + sum(1 for _ in earlier.glob(f"{folder.name}.*"))
    while (moved := earlier / f"{folder.name}.{number}").exists():
        number += 1
    move(folder, moved)
    logger.info("the model trained before in %s is kept in %s", folder, moved)


def device_name(device: torch.device) -> str:
    """Return the name of the hardware, as it is printed beside every speed."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    name = torch.cpu.get_capabilities().get("cpu_name", "processor")
    return f"{name}, {torch.get_num_threads()} threads"
