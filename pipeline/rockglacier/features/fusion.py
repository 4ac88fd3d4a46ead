"""The fuse stage: fit a feature set to the training ground, or take one frozen, and apply it.

It is fitted to one period of the study, and applied to all of them.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd

from rockglacier.config import fingerprint
from rockglacier.engine import (
    EVERYTHING,
    Outcome,
    Progress,
    Receipts,
    Selection,
    Task,
    run_tasks,
    silent,
)
from rockglacier.errors import ContractError, InputError, NotFoundError
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
    selection: Selection = EVERYTHING,
) -> dict[str, Any]:
    """Write the features of every block and period whose receipt does not match.

    Parameters
    ----------
    study
        Its cube is built; its ground is split, unless there are no labels.
    fusion
        Used as it is, as a model needs it; default: fitted to the training ground, to all ground
        where nothing is split, in the period that teaches (``features.period``), and then kept.
    refit
        Fit anew, though there are numbers of the same set, bands, kind of composite and ground.
    progress
        Told after every block.
    client
        A ``distributed.Client``; default: threads of this process.
    selection
        The blocks that are meant, in every period; the others are left as they are.

    Returns
    -------
    dict
        Set, channels, whether its numbers were there before, pixels they were fitted to, variance
        kept by principal components, periods, blocks built, kept and left, bytes read from the cube
        and written, seconds of blocks, percent of the pixels that have features.

    Raises
    ------
    InputError
        The cube lacks bands that the features need, the fusion is of another feature set, or no
        training pixel can be used.
    NotFoundError
        There is no cube, or blocks of it are missing: some features can be made then, with a
        ``selection``, but none be fitted.

    Notes
    -----
    ``fusion.json`` is written last: where it is, the features are whole. What was fitted is kept
    beside the features, so that a scene that joins the cube changes features only where it changes
    the cube, and a period that joins it changes none.
    """
    bands = cube_bands(study.require(study.cube_path, stage="cube"))
    if selection == EVERYTHING:
        _require_whole_cube(study)
    pixels: int | None = None
    frozen = True
    if fusion is None:
        fusion, pixels, frozen = _fitted(study, bands, progress, refit=refit)
    else:
        _require_same_form(fusion, study.config.features.set, bands)
    study.fusion_path.unlink(missing_ok=True)
    write_json(_at_work_path(study), fusion.to_dict())
    outcome, valid, cost = Outcome(built=0, kept=0), 0, Counter[str]()
    for one in study.each_period():
        more, receipts = _fuse_period(one, fusion, progress, client, selection)
        outcome += more
        valid += sum(receipt["valid"] for _, receipt in receipts.all())
        cost.update(receipts.cost())
    facts = {
        "set": fusion.set,
        "fusion": fusion.hash,
        "channels": len(fusion.channels),
        "frozen": frozen,
        "training_pixels": pixels,
        "explained_variance": dict(fusion.explained_variance),
        "periods": len(study.periods),
        **outcome.facts,
        **cost,
    }
    if outcome.left:
        return facts
    write_json(study.fusion_path, fusion.to_dict())
    every = len(study.periods) * study.grid.shape[0] * study.grid.shape[1]
    return {**facts, "valid_percent": round(100 * valid / every, 2)}


def _fuse_period(
    study: Study, fusion: Fusion, progress: Progress, client: Any | None, selection: Selection
) -> tuple[Outcome, Receipts]:
    """Write the features of a period; return what became of its blocks, and their receipts."""
    tasks, work, receipts = _blocks(study, fusion)
    height, width = study.grid.shape
    if create_store(study.features_path, study.grid, fusion):
        for name in [*dict(receipts.all()), *receipts.failures()]:
            receipts.drop(name)
        needed = 2 * len(fusion.channels) * height * width
        require_space(study.folder, needed, what="the features")
    outcome = run_tasks(
        tasks,
        work,
        receipts=receipts,
        what="fuse" if len(study.periods) == 1 else f"fuse {study.period.name}",
        workers=_workers(),
        client=client,
        progress=progress,
        selection=selection,
    )
    return outcome, receipts


def fuse_tasks(study: Study) -> tuple[list[Task], Receipts]:
    """Return the blocks of the study's features in its period, and where they are recorded.

    Raises
    ------
    NotFoundError
        There are no numbers to make features with yet.
    """
    path = study.require(_at_work_path(study), stage="fuse")
    tasks, _, receipts = _blocks(study, Fusion.from_dict(read_json(path)))
    return tasks, receipts


def _blocks(study: Study, fusion: Fusion) -> tuple[list[Task], FuseWork, Receipts]:
    source = LayerSource(
        cube=study.cube_path, grid=study.grid, layers=fusion.layers, period=study.period.index
    )
    work = FuseWork(source=source, fusion=fusion, store=study.features_path)
    of_cube = Receipts(study.cube_receipts_path)
    tasks = [task_of(block, work, of_cube) for block in study.grid.blocks()]
    return tasks, work, Receipts(study.receipts_path / "fuse")


def _at_work_path(study: Study) -> Path:
    """Return where the numbers are that features are being made with, finished or not."""
    return study.folder / "features" / "fusion.json"


def _fitted_path(study: Study) -> Path:
    """Return where the study's own numbers of the configured set are kept."""
    return study.folder / "features" / f"{study.config.features.set}.json"


def _workers() -> int:
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _fitted(
    study: Study, bands: tuple[str, ...], progress: Progress, *, refit: bool
) -> tuple[Fusion, int, bool]:
    """Return the study's own fusion, the pixels it was fitted to, and whether it was there before.

    It is fitted once for a set, its bands, a kind of composite, and the ground and the period that
    train.
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
    path, period = _fitted_path(study), study.teaching_period
    held = read_json(path) if path.is_file() and not refit else {}
    is_of_period = len(study.periods) == 1 or held.get("period") in (None, period.name)
    if is_of_period and held.get("fitted_to") == fitted_to:
        return Fusion.from_dict(held), int(held["pixels"]), True
    _require_whole_cube(study)
    fusion, pixels = _fit(study, bands, training, progress)
    about = {"pixels": pixels, "fitted_to": fitted_to, "period": period.name}
    write_json(path, {**fusion.to_dict(), **about})
    return fusion, pixels, False


def _require_whole_cube(study: Study) -> None:
    """Check, where the cube has receipts, that it has all of them."""
    built = dict(Receipts(study.cube_receipts_path).all())
    missing = [block.name for block in study.grid.blocks() if block.name not in built]
    if built and missing:
        some = ", ".join(missing[:3]) + " ..." * (len(missing) > 3)
        raise NotFoundError(
            f"{len(missing)} block(s) of the cube are not built: {some}",
            expected="a whole cube, at least to fit the features to",
            todo="rockglacier cube STUDY.yaml",
        )


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
    source = LayerSource(
        cube=study.cube_path,
        grid=study.grid,
        layers=form.inputs(bands),
        period=study.teaching_period.index,
    )
    samples = sample(source, training, workers=_workers(), progress=progress)
    pixels = samples[source.layers[0]].size
    fitted = fit(samples, name=name, bands=bands)
    period = study.teaching_period.name
    logger.info("%s fitted to %s pixels of %s, hash %s", name, pixels, period, fitted.hash)
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
