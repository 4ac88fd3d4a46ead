"""A trained model as one file that another person, on another machine, maps with."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import torch
from numpy.typing import NDArray

from rockglacier.errors import ContractError, InputError
from rockglacier.features.fusion import Fusion
from rockglacier.grid import Window
from rockglacier.labels.split import windows_of
from rockglacier.model.applicability import training_ground
from rockglacier.model.card import model_card, packing
from rockglacier.model.networks import PLUGINS, is_installed_plugin
from rockglacier.model.trained import (
    SETTINGS,
    WEIGHTS,
    TrainedModel,
    best_device,
    load_model,
    restore_model,
)
from rockglacier.storage import open_array, read_json, readable, uploaded
from rockglacier.study import Study

FORMAT = 1
REQUIRED = (WEIGHTS, SETTINGS, "fusion.json", "bundle.json", "card.md", "selfcheck.npz")
OPTIONAL = ("item.json",)
LARGEST_BYTES = 4 * 2**30
"""Unpacked; a larger file is not one of ours."""
SELFCHECK_TOLERANCE = 1e-3
"""Between probabilities here and where it was packed: float32 sums differ by 1e-5 or so."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model gives the same file, byte for byte


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A packed model, read and checked."""

    model: TrainedModel
    fusion: Fusion
    """How its features are made; used frozen."""
    card: str
    """The model card, Markdown."""
    facts: dict[str, Any]
    """The content of ``bundle.json``: window, resolution, licence."""
    item: dict[str, Any] | None
    """Its STAC item (MLM), if it has one."""
    path: Path
    fingerprint: str
    """Short hash of the file."""

    @property
    def threshold(self) -> float:
        """Probability from which a pixel is a rock glacier."""
        return self.model.threshold

    @property
    def resolution(self) -> float:
        """Edge of a pixel that it was trained on, metres."""
        return float(self.facts["resolution"])

    @property
    def window(self) -> int:
        """Edge of the windows of a prediction, pixels."""
        return int(self.facts["window"])

    @property
    def license(self) -> str:
        """SPDX identifier, or ``other``."""
        return str(self.facts["license"])


def write_bundle(study: Study, path: Path, *, item: Mapping[str, Any] | None = None) -> Path:
    """Pack a study's selected model.

    Parameters
    ----------
    study
        Trained; its evaluation goes into the card if there is one.
    path
        Where to, ``.zip``; written whole or not at all.
    item
        STAC item of the model.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    NotFoundError
        Nothing was trained yet.
    """
    selection = read_json(study.require(study.selection_path, stage="train"))
    folder = study.models_path / Path(selection["path"])
    model = load_model(folder, device=torch.device("cpu"))
    fusion = read_json(study.require(study.fusion_path, stage="fuse"))
    model.check_fusion(Fusion.from_dict(fusion))
    facts = {"format": FORMAT, **packing(study), "applicability": training_ground(study)}
    evaluation = read_json(study.evaluation_path) if study.evaluation_path.is_file() else None
    contents = {
        WEIGHTS: (folder / WEIGHTS).read_bytes(),
        SETTINGS: _as_json(model.settings),
        "fusion.json": _as_json(fusion),
        "bundle.json": _as_json(facts),
        "card.md": model_card(study, model.settings, facts, evaluation).encode(),
        "selfcheck.npz": _selfcheck(study, model),
    }
    if item is not None:
        contents["item.json"] = _as_json(item)
    _write_zip(path, contents)
    return path


def read_bundle(path: Path, *, device: torch.device | None = None) -> Bundle:
    """Read a packed model and check that it works here as it did where it was packed.

    Nothing is unpacked to disk and no object is unpickled.

    Raises
    ------
    InputError
        No such file, or not a packed model.
    ContractError
        The file was damaged or tampered with, or the network answers differently here.
    """
    contents = _read_zip(path)
    try:
        settings, fusion_values, facts = (
            json.loads(contents[name]) for name in (SETTINGS, "fusion.json", "bundle.json")
        )
        fusion = Fusion.from_dict(fusion_values)
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            f"the packed model {str(path)!r} is damaged: {error}", todo="get the file again"
        ) from error
    if facts.get("format") != FORMAT:
        raise InputError(
            f"the packed model {str(path)!r} has format {facts.get('format')!r}",
            expected=f"format {FORMAT}",
            todo="pack it again with this version of rockglacier",
        )
    _check_weights(path, settings, contents[WEIGHTS])
    _check_builder(path, settings)
    model = restore_model(settings, io.BytesIO(contents[WEIGHTS]), device=torch.device("cpu"))
    model.check_fusion(fusion)
    check_answers(model, contents["selfcheck.npz"], source=str(path))
    model.network.to(device or best_device())
    return Bundle(
        model=model,
        fusion=fusion,
        card=contents["card.md"].decode(),
        facts=facts,
        item=json.loads(contents["item.json"]) if "item.json" in contents else None,
        path=path,
        fingerprint=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
    )


def _check_builder(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to import what a stranger's file names, unless its package was installed for that."""
    name = str(settings.get("network"))
    if ":" in name and not is_installed_plugin(name):
        raise InputError(
            f"the packed model {str(path)!r} is built by {name!r}, which no installed package "
            "offers",
            expected=f"a package with {name!r} among its entry points {PLUGINS!r}",
            todo="install the package of the model's authors if you trust it",
        )


def check_answers(model: TrainedModel, selfcheck: bytes, *, source: str) -> None:
    """Raise :class:`ContractError` unless the network answers as it did when it was packed.

    Parameters
    ----------
    model
        On the processor.
    selfcheck
        An ``.npz`` with ``features`` (C, H, W) int16 thousandths and ``probability`` (H, W).
    source
        Name of the file, for the message.
    """
    try:
        with np.load(io.BytesIO(selfcheck), allow_pickle=False) as arrays:
            features, expected = arrays["features"], arrays["probability"]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ContractError(
            f"the self-check of {source!r} cannot be read: {error}", todo="get the file again"
        ) from error
    found = _answer(model, features)
    difference = float(np.abs(found - expected).max())
    if not difference <= SELFCHECK_TOLERANCE:
        raise ContractError(
            f"the packed model {source!r} gives other probabilities than where it was packed: "
            f"they differ by up to {difference:.4f}",
            expected=f"at most {SELFCHECK_TOLERANCE}",
            todo="get the file again, or install the versions that its card names",
        )


def _answer(model: TrainedModel, features: NDArray[np.int16]) -> NDArray[np.float32]:
    image = features.astype(np.float32) / 1000
    image[:, features[0] == np.iinfo(np.int16).min] = 0
    return model.probability(torch.from_numpy(image)[None], exact=True)[0].cpu().numpy()


def _selfcheck(study: Study, model: TrainedModel) -> bytes:
    """Return a chip of held-out ground, the one with most landform, and the model's answer."""
    window = _telling_window(study, model.chip)
    stored = open_array(study.features_path / "features")
    features = np.asarray(stored[(slice(None), *window.slices)])
    edge_y, edge_x = (model.chip - side for side in features.shape[1:])
    features = np.pad(features, ((0, 0), (0, edge_y), (0, edge_x)), mode="edge")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, features=features, probability=_answer(model, features))
    return buffer.getvalue()


def _telling_window(study: Study, chip: int) -> Window:
    labels = open_array(study.labels_path / "labels")
    splits = gpd.read_parquet(readable(study.splits_path))
    grounds = windows_of(splits, "test") or windows_of(splits, "validation")
    best, most = study.grid.whole, -1
    for ground in grounds or [study.grid.whole]:
        for y in range(ground.y, ground.y + ground.height, chip):
            for x in range(ground.x, ground.x + ground.width, chip):
                window = Window(y=y, x=x, height=chip, width=chip).clipped(study.grid.shape)
                share = int((np.asarray(labels[window.slices]) == 1).sum())
                if share > most:
                    best, most = window, share
    return best


def _check_weights(path: Path, settings: Mapping[str, Any], weights: bytes) -> None:
    found = hashlib.sha256(weights).hexdigest()
    if found != settings.get("weights"):
        raise ContractError(
            f"the weights in {str(path)!r} are not those that its settings name",
            expected=f"sha256 {settings.get('weights')}",
            todo="get the file again",
        )


def _as_json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False, default=str) + "\n").encode()


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with uploaded(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            # float weights hardly shrink
            entry.compress_type = zipfile.ZIP_STORED if name == WEIGHTS else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)


def _read_zip(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise InputError(
            f"no packed model {str(path)!r}",
            expected="a file NAME-NETWORK.rgbundle.zip",
            todo="rockglacier pack STUDY.yaml, where it was trained",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise InputError(
            f"{str(path)!r} is not a packed model: {error}",
            expected="a file written by `rockglacier pack`",
            todo="get the file again",
        ) from error


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    strange = sorted(set(names) - {*REQUIRED, *OPTIONAL})
    missing = sorted(set(REQUIRED) - set(names))
    if strange or len(set(names)) != len(names):
        raise ContractError(
            f"the packed model {str(path)!r} holds what it should not: "
            f"{', '.join(map(repr, strange)) or 'a file twice'}",
            expected=", ".join((*REQUIRED, *OPTIONAL)),
            todo="do not use it; get the file from its author",
        )
    if missing:
        raise InputError(
            f"{str(path)!r} is not a packed model: it lacks {', '.join(missing)}",
            expected="a file written by `rockglacier pack`",
        )
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST_BYTES:
        raise ContractError(
            f"the packed model {str(path)!r} would unpack to {size / 1e9:.1f} GB",
            expected=f"at most {LARGEST_BYTES / 1e9:.1f} GB",
        )
