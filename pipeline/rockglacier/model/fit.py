"""Train every network of a study in every trial, keep what is finished, choose the best."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from rockglacier.config import NetworkName, fingerprint
from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError, InputError
from rockglacier.features.teachers import fuse_teachers
from rockglacier.labels.burn import TAUGHT
from rockglacier.model.encoders import check_encoder
from rockglacier.model.loaders import SplitGround, chips_of, grounds_of
from rockglacier.model.networks import folder_name
from rockglacier.model.trained import SETTINGS, WEIGHTS, TrainedModel, load_model
from rockglacier.model.trial import Trial, run_trial
from rockglacier.storage import open_array, open_group, read_json, readable, write_json
from rockglacier.study import Study

__all__ = ["TrainedModel", "load_model", "select_model", "train", "train_networks"]

logger = logging.getLogger(__name__)

RECIPE = 3
"""Counted up when the same inputs would give other weights."""
HASHED_ROWS = 1024
UNHASHED = {
    "networks",
    "encoders",
    "pretrained",
    "trials",
    "random_split",
    "cache",
    "workers",
    "devices",
    "basins",  # what they hold is hashed
}  # what acts on other trials only, or on the speed
SPLIT_COLUMNS = ["split", "row0", "col0", "height", "width"]


def train(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Train a study's networks on its ground and that of ``train.basins``: `train_networks`."""
    teachers = fuse_teachers(study, progress=progress)
    return train_networks([study, *teachers], into=study, progress=progress)


def train_networks(
    basins: Sequence[Study], *, into: Study, progress: Progress = silent
) -> dict[str, Any]:
    """Train every network in every trial on the ground of one or more basins.

    Parameters
    ----------
    basins
        Studies whose features were made with the fusion of ``into``. Their training grounds take
        part in equal measure; their validation grounds are pooled.
    into
        The study whose settings hold, and whose folder gets the models.
    progress
        Told after every step, a bar a trial.

    Returns
    -------
    dict
        Trials trained and kept, seconds, and the selected network with its validation IoU.

    Raises
    ------
    ContractError
        The features of a basin were made with another fusion.
    InputError
        There is no ground to train on or to choose on.

    Notes
    -----
    A finished trial is kept as long as the content of features, labels and split and the settings
    are the same; a trial that was cut off goes on after its last saved epoch, with the result that
    it would have had. A model is never overwritten: where others take its place it is moved to
    ``models/earlier``. Test ground is never read. Networks of the random split train beside the
    others, on one trial each, and are never selected: that split leaks.
    """
    fusion = _common_fusion(basins, into)
    content = [_content(study) for study in basins]
    trials = _trials(into, fingerprint([fusion["hash"], content]))
    done: dict[str, dict[str, Any]] = {}
    built = 0
    for trial in trials:
        known = _finished(trial)
        if known is None:
            known = _train_one(trial, basins, into, fusion, content, progress)
            built += 1
        else:
            logger.info("%s: finished before, kept", trial.name)
        done[str(trial.folder.relative_to(into.models_path))] = known
    selection = select_model(into, done)
    return {
        "trials": len(trials),
        "built": built,
        "kept": len(trials) - built,
        "seconds": round(sum(settings["seconds"] for settings in done.values()), 1),
        "selected": selection["path"],
        "validation_iou": selection["validation_iou"],
    }


def select_model(study: Study, done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Choose the trial that does best on validation ground, and write ``selection.json``.

    Parameters
    ----------
    study
        Its ``predict.network`` limits the choice to one network if it is set.
    done
        ``model.json`` of every finished trial by path; those of the random split are not eligible.

    Raises
    ------
    InputError
        No trial of the wanted network was trained.
    """
    wanted = study.config.predict.network
    eligible = {
        path: settings
        for path, settings in done.items()
        if settings["split"] != "random" and wanted in (None, settings["network"])
    }
    if not eligible:
        raise InputError(
            f"predict.network is {wanted!r}, which was not trained",
            expected=f"one of {', '.join(study.config.train.networks)}",
            todo="add it to train.networks, or choose another",
        )
    path = max(eligible, key=lambda path: _validation_iou(eligible[path]))
    best = eligible[path]
    reason = "largest IoU of the rock glacier class on validation ground"
    if wanted:
        reason += f", among the trials of {wanted} as predict.network says"
    selection = {
        "network": best["network"],
        "trial": best["trial"],
        "path": path,
        "threshold": best["threshold"],
        "temperature": best["temperature"],
        "validation_iou": best["validation"]["iou_rock_glacier"],
        "reason": reason,
    }
    write_json(study.selection_path, selection)
    return selection


def _validation_iou(settings: dict[str, Any]) -> float:
    return float(settings["validation"]["iou_rock_glacier"] or 0.0)


def _trials(study: Study, inputs: str) -> list[Trial]:
    """Return every trial of the config: the leak-free ones first."""
    config = study.config.train
    wanted = [(name, number, False) for name in config.networks for number in range(config.trials)]
    wanted += [(name, 0, True) for name in config.random_split]
    return [_trial(study, name, number, is_random, inputs) for name, number, is_random in wanted]


def _trial(study: Study, name: str, number: int, is_random: bool, inputs: str) -> Trial:
    config = study.config.train
    settings = config.model_dump(exclude=UNHASHED)
    folder = folder_name(name) + ("-random" if is_random else "")
    split = "random" if is_random else study.config.labels.split
    encoder = _chosen(config.encoders, name)
    pretrained = _chosen(config.pretrained, name)
    if encoder is not None:
        check_encoder(name, encoder)
    return Trial(
        network=name,
        number=number,
        seed=config.seed + number,
        split=split,
        folder=study.models_path / folder / f"trial-{number}",
        inputs=fingerprint([RECIPE, name, encoder, pretrained, number, split, settings, inputs]),
        encoder=encoder,
        pretrained=_located(study, pretrained),
    )


def _chosen(choices: Mapping[NetworkName, str], name: str) -> str | None:
    return next((value for network, value in choices.items() if network == name), None)


def _located(study: Study, weights: str | None) -> str | None:
    """Return where a file of weights lies, by the study's folder; a name as it is."""
    if weights and (path := Path(study.resolve(weights))).is_file():
        return str(path)
    return weights


def _finished(trial: Trial) -> dict[str, Any] | None:
    settings = trial.folder / SETTINGS
    if not (settings.is_file() and (trial.folder / WEIGHTS).is_file()):
        return None
    known: dict[str, Any] = read_json(settings)
    return known if known["inputs"] == trial.inputs else None


def _train_one(
    trial: Trial,
    basins: Sequence[Study],
    into: Study,
    fusion: dict[str, Any],
    content: Sequence[dict[str, str]],
    progress: Progress,
) -> dict[str, Any]:
    config = into.config.train
    grounds = grounds_of(basins, into.config, is_random=trial.split == "random", content=content)
    about = {
        "channels": list(fusion["channels"]),
        "set": fusion["set"],
        "bands": list(fusion["bands"]),
        "fusion": fusion["hash"],
        "normalisation": {"mean": list(fusion["mean"]), "std": list(fusion["std"])},
        "data": list(content),
        "resolution": into.grid.resolution,
        "basins": [study.config.name for study in basins],
        "chip": config.chip,
        "batch": config.batch,
        "held_out": _held_out(grounds) if trial.split == "random" else None,
    }
    chips = partial(chips_of, grounds, config, seed=trial.seed)
    settings = run_trial(trial, chips, config=config, about=about, progress=progress)
    logger.info(
        "%s: %s steps in %s s, validation IoU %s",
        trial.name,
        settings["steps"],
        settings["seconds"],
        settings["validation"]["iou_rock_glacier"],
    )
    return settings


def _held_out(grounds: Sequence[SplitGround]) -> list[list[int]]:
    """Return the validation chips of the first basin as y, x, height, width."""
    return [[window.y, window.x, window.height, window.width] for window in grounds[0].validation]


def _common_fusion(basins: Sequence[Study], into: Study) -> dict[str, Any]:
    fusion: dict[str, Any] = read_json(into.require(into.fusion_path, stage="fuse"))
    for study in basins:
        path = study.require(study.features_path, stage="fuse")
        found = open_group(path).attrs.get("fusion")
        if found != fusion["hash"]:
            raise ContractError(
                f"the features of basin {study.config.name!r} were made with fusion {found!r}",
                expected=f"fusion {fusion['hash']!r}, that of basin {into.config.name!r}",
                todo="fuse them again with that fusion",
            )
    return fusion


def _content(study: Study) -> dict[str, str]:
    """Return a hash of all that training reads of a basin."""
    splits = study.require(study.splits_path, stage="label")
    labels = study.require(study.labels_path, stage="label")
    return {
        "features": _hash_of(study.features_path / "features"),
        "labels": _labels_hash(labels),
        "splits": fingerprint(gpd.read_parquet(readable(splits))[SPLIT_COLUMNS].values.tolist()),
    }


def _labels_hash(labels: Path) -> str:
    """Return a hash of the labels, and of what the loss is told where that is something else."""
    if not (labels / TAUGHT / "zarr.json").is_file():
        return _hash_of(labels / "labels")
    return fingerprint([_hash_of(labels / name) for name in ("labels", TAUGHT)])


def _hash_of(path: Path) -> str:
    """Return a hash of a raster's pixels, read in bands of rows."""
    array = open_array(path)
    digest = hashlib.blake2b(repr((array.shape, str(array.dtype))).encode(), digest_size=16)
    for row in range(0, array.shape[-2], HASHED_ROWS):
        digest.update(np.ascontiguousarray(array[..., row : row + HASHED_ROWS, :]).tobytes())
    return digest.hexdigest()
