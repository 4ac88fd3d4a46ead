"""The fuse stage: fit a feature set to the training ground, or take one frozen, and apply it."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from typing import Any

import geopandas as gpd

from rockglacier.config import fingerprint
from rockglacier.engine import Progress, Receipts, run_tasks, silent
from rockglacier.errors import ContractError, InputError
from rockglacier.features.build import (
    FuseWork,
    LayerSource,
    create_store,
    cube_bands,
    sample,
    task_of,
)
from rockglacier.features.fitted import Fusion, fit
from rockglacier.features.sets import FEATURE_SETS, LAYERS
from rockglacier.grid import Window
from rockglacier.labels.split import windows_of
from rockglacier.storage import read_json, readable, require_space, write_json
from rockglacier.study import Study

__all__ = ["Fusion", "fit", "fuse"]

logger = logging.getLogger(__name__)

MAX_WORKERS = 4
"""Blocks in flight on one machine."""


def fuse(
    study: Study,
    *,
    fusion: Fusion | None = None,
    refit: bool = False,
    progress: Progress = silent,
    client: Any | None = None,
) -> dict[str, Any]:
    """Write the features of every block whose receipt does not match, and ``fusion.json``.

    Parameters
    ----------
    study
        Its cube is built; its ground is split, unless there are no labels.
    fusion
        Used as it is, as a model needs it; default: fitted to the training ground, to all ground
        where nothing is split, and then kept.
    refit
        Fit anew, though there are numbers of the same set, bands, kind of composite and ground.
    progress
        Told after every block.
    client
        A ``distributed.Client``; default: threads of this process.

    Returns
    -------
    dict
        Set, channels, whether its numbers were there before, pixels they were fitted to, variance
        kept by principal components, blocks built and kept, percent of the pixels that have
        features.

    Raises
    ------
    InputError
        The cube lacks bands that the features need, the fusion is of another feature set, or no
        training pixel can be used.
    NotFoundError
        There is no cube.

    Notes
    -----
    ``fusion.json`` is written last: where it is, the features are whole. What was fitted is kept
    beside the features, so that a scene that joins the cube changes features only where it changes
    the cube.
    """
    cube = study.require(study.cube_path, stage="cube")
    bands = cube_bands(cube)
    pixels: int | None = None
    frozen = True
    if fusion is None:
        fusion, pixels, frozen = _fitted(study, bands, progress, refit=refit)
    else:
        _require_same_form(fusion, study.config.features.set, bands)
    source = LayerSource(cube=cube, grid=study.grid, layers=fusion.layers)
    work = FuseWork(source=source, fusion=fusion, store=study.features_path)
    receipts = Receipts(study.receipts_path / "fuse")
    height, width = study.grid.shape
    study.fusion_path.unlink(missing_ok=True)
    if create_store(study.features_path, study.grid, fusion):
        for name, _ in list(receipts.all()):
            receipts.drop(name)
        needed = 2 * len(fusion.channels) * height * width
        require_space(study.folder, needed, what="the features")
    of_cube = Receipts(study.cube_receipts_path)
    outcome = run_tasks(
        [task_of(block, work, of_cube) for block in study.grid.blocks()],
        work,
        receipts=receipts,
        what="fuse",
        workers=_workers(),
        client=client,
        progress=progress,
    )
    write_json(study.fusion_path, fusion.to_dict())
    valid = sum(receipt["valid"] for _, receipt in receipts.all())
    return {
        "set": fusion.set,
        "fusion": fusion.hash,
        "channels": len(fusion.channels),
        "frozen": frozen,
        "training_pixels": pixels,
        "explained_variance": dict(fusion.explained_variance),
        "blocks": outcome.built + outcome.kept,
        "built": outcome.built,
        "kept": outcome.kept,
        "valid_percent": round(100 * valid / (height * width), 2),
    }


def _workers() -> int:
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _fitted(
    study: Study, bands: tuple[str, ...], progress: Progress, *, refit: bool
) -> tuple[Fusion, int, bool]:
    """Return the study's own fusion, the pixels it was fitted to, and whether it was there before.

    It is fitted once for a set, its bands, a kind of composite and the ground that trains.
    """
    training = _training_windows(study)
    fitted_to = fingerprint(
        {
            "bands": bands,
            "composite": study.config.cube.composite,
            "grid": study.grid.to_dict() | {"block": None},
            "training": None if training is None else [asdict(window) for window in training],
        }
    )
    path = study.features_path.parent / f"{study.config.features.set}.json"
    held = read_json(path) if path.is_file() and not refit else {}
    if held.get("fitted_to") == fitted_to:
        return Fusion.from_dict(held), int(held["pixels"]), True
    fusion, pixels = _fit(study, bands, training, progress)
    write_json(path, {**fusion.to_dict(), "pixels": pixels, "fitted_to": fitted_to})
    return fusion, pixels, False


def _fit(
    study: Study,
    bands: tuple[str, ...],
    training: list[Window] | None,
    progress: Progress,
) -> tuple[Fusion, int]:
    """Fit the configured set; return it and the number of pixels that it saw."""
    name = study.config.features.set
    form = FEATURE_SETS[name]
    form.needed_bands(bands)
    source = LayerSource(cube=study.cube_path, grid=study.grid, layers=form.inputs(bands))
    samples = sample(source, training, workers=_workers(), progress=progress)
    pixels = samples[source.layers[0]].size
    fitted = fit(samples, name=name, bands=bands)
    logger.info("%s fitted to %s pixels, hash %s", name, pixels, fitted.hash)
    return fitted, pixels


def _training_windows(study: Study) -> list[Window] | None:
    if not study.splits_path.is_file():
        return None
    return windows_of(gpd.read_parquet(readable(study.splits_path)), "train")


def _require_same_form(fusion: Fusion, wanted: str, bands: tuple[str, ...]) -> None:
    """Check that a fusion that comes from elsewhere can be applied to this cube."""
    if fusion.set != wanted:
        raise InputError(
            f"a model made for other bands or features: feature set {fusion.set!r}",
            expected=f"features.set of this study, {wanted!r}",
            todo=f"set features.set to {fusion.set!r}, or choose another model",
        )
    missing = [band for band in fusion.bands if band not in bands]
    if missing:
        raise InputError(
            f"a model made for other bands or features: it needs {', '.join(missing)}",
            expected=f"a cube with {', '.join(fusion.bands)}; this one has {', '.join(bands)}",
            todo="set cube.bands to those of the model and build the cube again",
        )
    known = all(layer in LAYERS for layer in fusion.layers)
    if not known or not len(fusion.layers) == len(fusion.mean) == len(fusion.std):
        raise ContractError(
            f"a fusion of {len(fusion.layers)} layers ({', '.join(fusion.layers)}) with "
            f"{len(fusion.mean)} means and {len(fusion.std)} deviations",
            expected="one of each a layer, and layers that this version knows",
            todo="get the model's file again",
        )
