"""Which trained models predict, and how a worker gets them: read there once, never sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol

from torch import nn

from rockglacier.config import PredictConfig
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.model.networks import folder_name
from rockglacier.model.trained import SETTINGS, WEIGHTS, TrainedModel, load_model
from rockglacier.prediction.ensemble import Ensemble
from rockglacier.storage import listing, read_json
from rockglacier.study import Study

HELD = 16
"""Models that a process keeps: an ensemble of three networks in five trials."""

_reading = Lock()


class Source(Protocol):
    """Where the models of an ensemble come from."""

    def ensemble(self, settings: PredictConfig) -> Ensemble:
        """Return them, ready to predict on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Models of this process; not for workers, which would be sent their weights."""

    models: tuple[TrainedModel, ...]

    def ensemble(self, settings: PredictConfig) -> Ensemble:
        """Return them."""
        return Ensemble.of(self.models, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Folders of trained models, each with the fingerprint that it had when the run began."""

    folders: tuple[tuple[Path, str], ...]

    @classmethod
    def of(cls, models: Mapping[Path, TrainedModel]) -> Stored:
        """Return where models lie that :func:`described` tells of."""
        return cls(folders=tuple((path, model.fingerprint) for path, model in models.items()))

    def ensemble(self, settings: PredictConfig) -> Ensemble:
        """Read what this process has not read yet."""
        with _reading:  # threads of a worker begin at once
            models = [_model(folder, fingerprint) for folder, fingerprint in self.folders]
        return Ensemble.of(models, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed model in the folder of the study."""

    path: Path

    def ensemble(self, settings: PredictConfig) -> Ensemble:
        """Read and check it, unless this process did."""
        with _reading:
            return Ensemble.of([_packed(self.path)], settings)


@lru_cache(maxsize=HELD)
def _model(folder: Path, fingerprint: str) -> TrainedModel:
    model = load_model(folder)
    if model.fingerprint != fingerprint:
        raise ContractError(
            f"the model in {str(folder)!r} is not the one that the run began with",
            expected=f"model {fingerprint}, found {model.fingerprint}",
            todo="let training end, then run `rockglacier predict` again",
        )
    return model


@lru_cache(maxsize=1)
def _packed(path: Path) -> TrainedModel:
    from rockglacier.model.bundle import read_bundle
    from rockglacier.storage import local_copy

    with local_copy(path) as file:
        return read_bundle(file).model


def described(folder: Path) -> TrainedModel:
    """Return a trained model without its weights: all that is known of it but how it answers.

    Raises
    ------
    NotFoundError
        The folder holds no trained model.
    """
    if not ((folder / SETTINGS).is_file() and (folder / WEIGHTS).is_file()):
        raise NotFoundError(
            f"no trained model in {str(folder)!r}",
            expected=f"{SETTINGS} and {WEIGHTS}",
            todo="rockglacier train STUDY.yaml",
        )
    return TrainedModel(network=nn.Identity(), settings=read_json(folder / SETTINGS))


def chosen_folders(study: Study) -> list[Path]:
    """Return the folders of the trained models that predict, as ``predict.ensemble`` says.

    Raises
    ------
    NotFoundError
        Nothing was trained.
    InputError
        The selection was made before ``predict.network`` named another network.
    """
    selection = read_json(study.require(study.selection_path, stage="train"))
    wanted = study.config.predict.network
    if wanted not in (None, selection["network"]):
        raise InputError(
            f"the selected model is a {selection['network']}, and predict.network is {wanted!r}",
            expected=f"a selection among the trials of {wanted}",
            todo="rockglacier train STUDY.yaml (what is trained is kept, the choice made again)",
        )
    which = study.config.predict.ensemble
    if which == "none":
        return [study.models_path / Path(selection["path"])]
    networks = study.config.train.networks if which != "trials" else (selection["network"],)
    found: list[Path] = []
    for network in networks:
        trials = _trials(study, network)
        found += [max(trials, key=_validation_iou)] if which == "networks" and trials else trials
    return found


def _trials(study: Study, network: str) -> list[Path]:
    """Return the finished trials of a network that the settings ask for."""
    folder = study.models_path / folder_name(network)
    places = [folder / f"trial-{number}" for number in range(study.config.train.trials)]
    held = {path.name for path in listing(folder)}
    return [place for place in places if place.name in held and (place / SETTINGS).is_file()]


def _validation_iou(folder: Path) -> float:
    return float(read_json(folder / SETTINGS)["validation"]["iou_rock_glacier"] or 0.0)
