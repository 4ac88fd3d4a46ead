"""Who predicts which ground: one ensemble all of it, or each fold's the ground it never saw."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Window
from rockglacier.labels.every_fold import folds_of
from rockglacier.labels.split import windows_of
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.ensemble import Ensemble
from rockglacier.prediction.members import (
    Loaded,
    Packed,
    Source,
    Stored,
    chosen_folders,
    described,
)
from rockglacier.prediction.work import Part
from rockglacier.scenes.record import read_table
from rockglacier.storage import read_json, uploaded, zarr_store
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a run predicts with."""

    parts: tuple[Part, ...]
    ensembles: tuple[Ensemble, ...]
    """One a part."""
    owners: tuple[Study, ...]
    """Whose features a part reads, and whose models unless they are given: the study, or a fold."""
    is_out_of_fold: bool
    model_id: str

    @property
    def fingerprints(self) -> list[str]:
        """Short hash of what every part says of given features."""
        return [ensemble.fingerprint for ensemble in self.ensembles]

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks, each once."""
        names = [name for ensemble in self.ensembles for name in ensemble.networks]
        return tuple(dict.fromkeys(names))

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of the prediction."""
        return self.ensembles[0].layers

    @property
    def passes(self) -> int:
        """How often every window passes a network."""
        return self.ensembles[0].passes

    @property
    def feature_receipts(self) -> tuple[Path, ...]:
        """Where the features of a part are recorded."""
        return tuple(owner.receipts_path / "fuse" for owner in self.owners)

    @property
    def title(self) -> str:
        """What predicts, for people."""
        first = self.ensembles[0].title
        if not self.is_out_of_fold:
            return first
        return f"out of {len(self.ensembles)} folds: {', '.join(self.networks)}"

    def as_dict(self) -> dict[str, Any]:
        """Return what later stages need to know, JSON-able."""
        return {
            "model_id": self.model_id,
            "out_of_fold": self.is_out_of_fold,
            "layers": list(self.layers),
            "passes": self.passes,
            "members": [
                {
                    "network": model.name,
                    "trial": model.settings.get("trial"),
                    "fold": number if self.is_out_of_fold else None,
                    "threshold": model.threshold,
                    "temperature": model.temperature,
                    "fingerprint": model.fingerprint,
                }
                for number, ensemble in enumerate(self.ensembles)
                for model in ensemble.models
            ],
        }


def prediction_of(study: Study, bundle: Bundle | None, *, stay_here: bool) -> Prediction:
    """Return who predicts a study.

    Parameters
    ----------
    study
        With features.
    bundle
        Somebody's packed model, in place of the study's own.
    stay_here
        No worker needs to find the models.

    Raises
    ------
    InputError
        Models are for other bands or features, or cannot predict together; the study has no folds.
    NotFoundError
        Nothing was trained, or there are no features.
    """
    settings = study.config.predict
    if bundle is not None:
        _check_features(study, [bundle.model])
        source: Source = Loaded(models=(bundle.model,))
        if not stay_here:
            source = Packed(path=_shared_bundle(study, bundle))
        return Prediction(
            parts=(Part(models=source, features=study.features_path),),
            ensembles=(Ensemble.of([bundle.model], settings),),
            owners=(study,),
            is_out_of_fold=False,
            model_id=f"bundle-{bundle.fingerprint}",
        )
    if not settings.out_of_fold:
        return own_prediction(study)
    folds = folds_of(study)
    grounds = [tuple(windows_of(read_table(fold.splits_path), "test")) for fold in folds]
    _warn_of_rest(study, grounds)
    return _of_own(study, list(zip(folds, grounds, strict=True)))


def own_prediction(study: Study) -> Prediction:
    """Return the prediction of all ground by the models of a study, or of one of its folds."""
    return _of_own(study, [(study, None)])


def _of_own(study: Study, owners: Sequence[tuple[Study, tuple[Window, ...] | None]]) -> Prediction:
    """Return a prediction by trained models: of the study, or of its folds."""
    parts, ensembles = [], []
    for owner, ground in owners:
        models = {folder: described(folder) for folder in chosen_folders(owner)}
        _check_features(owner, list(models.values()))
        source = Stored.of(models)
        parts.append(Part(models=source, features=owner.features_path, ground=ground))
        ensembles.append(Ensemble.of(list(models.values()), study.config.predict))
    if len({(ensemble.layers, ensemble.passes) for ensemble in ensembles}) > 1:
        raise InputError(
            "folds with different networks or trials",
            expected="the same networks and trials in every fold",
            todo="rockglacier train STUDY.yaml",
        )
    is_out_of_fold = owners[0][1] is not None
    return Prediction(
        parts=tuple(parts),
        ensembles=tuple(ensembles),
        owners=tuple(owner for owner, _ in owners),
        is_out_of_fold=is_out_of_fold,
        model_id=f"{study.config.name}/out-of-fold" if is_out_of_fold else _own_id(study),
    )


def _own_id(study: Study) -> str:
    selection, which = read_json(study.selection_path), study.config.predict.ensemble
    name = f"{study.config.name}/{selection['network']}"
    if which == "none":
        return f"{name}/trial-{selection['trial']}"
    return f"{name}/{which}" if which == "trials" else f"{study.config.name}/{which}"


def _shared_bundle(study: Study, bundle: Bundle) -> Path:
    """Put a packed model where workers find it: into the study's folder."""
    path = study.models_path / "given" / f"{bundle.fingerprint}.rgbundle.zip"
    if not path.is_file():
        with uploaded(path) as file:
            shutil.copyfile(bundle.path, file)
    return path


def _warn_of_rest(study: Study, grounds: Sequence[Sequence[Window]]) -> None:
    height, width = study.grid.shape
    tested = sum(one.height * one.width for ground in grounds for one in ground)
    if tested < height * width:
        logger.warning(
            "%.1f %% of the ground is tested by no fold: every network may have seen it, and it "
            "stays without a prediction",
            100 * (1 - tested / (height * width)),
        )


def _check_features(study: Study, models: Sequence[TrainedModel]) -> None:
    """Check the basin's features against what models were trained on."""
    fusion = read_json(study.require(study.fusion_path, stage="fuse"))
    for model in models:
        model.check_features(channels=tuple(fusion["channels"]), fusion_hash=str(fusion["hash"]))
    path = study.require(study.features_path, stage="fuse")
    group = zarr.open_group(zarr_store(path, read_only=True), mode="r")
    if group.attrs.get("fusion") != fusion["hash"]:
        raise ContractError(
            f"features of fusion {group.attrs.get('fusion')!r} in {str(path)!r}",
            expected=f"those of {str(study.fusion_path)!r}, fusion {fusion['hash']!r}",
            todo="rockglacier fuse STUDY.yaml",
        )
    features: Any = group["features"]
    check_channels(models[0], features)
    if features.shape[-2:] != study.grid.shape:
        raise ContractError(
            f"features of {features.shape[-2:]} pixels in {str(path)!r}",
            expected=f"the basin's grid of {study.grid.shape}",
            todo="rockglacier fuse STUDY.yaml",
        )


def check_channels(model: TrainedModel, features: zarr.Array[Any]) -> None:
    """Raise :class:`ContractError` where a raster has another number of channels than a model."""
    if features.shape[0] != len(model.channels):
        raise ContractError(
            f"features with {features.shape[0]} channels",
            expected=f"the {len(model.channels)} that the model reads: {', '.join(model.channels)}",
            todo="rockglacier fuse STUDY.yaml",
        )
