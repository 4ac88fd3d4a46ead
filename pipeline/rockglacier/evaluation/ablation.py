"""The same network on other features: what bands, fusion and terrain are worth on unseen ground."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from rockglacier.branch import Branch, branch_of
from rockglacier.config import FeatureSet, fingerprint
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.evaluation.judge import BLOCKS, FOLDER, evaluate, write_rows
from rockglacier.evaluation.paired import BlockCounts, compare_networks
from rockglacier.evaluation.worth import ABLATION
from rockglacier.features.build import cube_bands
from rockglacier.features.fusion import fuse
from rockglacier.features.sets import FEATURE_SETS
from rockglacier.model.fit import train
from rockglacier.model.networks import folder_name
from rockglacier.model.pace import time_steps, trial_seconds
from rockglacier.model.scoring import Infer
from rockglacier.plan import channel_count
from rockglacier.scenes.record import read_table
from rockglacier.storage import read_json, write_json
from rockglacier.study import Study

NAME: Final = "ablation"
SCORES: Final = ("iou_rock_glacier", "f1_rock_glacier", "boundary_f", "object_f1")
CHIP_COLUMNS: Final = ["basin", "split", "row", "col"]


def variants_of(study: Study, *, network: str, sets: Sequence[str] | None = None) -> list[Branch]:
    """Return the study with every other feature set, to be trained on one network.

    Scenes, cube, labels and the split of the ground are the study's; features and models of each
    lie in ``ablation/SET``.

    Parameters
    ----------
    study
        Its cube is built.
    network
        One that the study trains.
    sets
        Names of feature sets; default: all that the bands of the cube allow.

    Raises
    ------
    InputError
        There is no such network or set, or the cube lacks bands of one that is named.
    """
    if network not in study.config.train.networks:
        raise InputError(
            f"the study does not train {network!r}",
            expected=f"one of {', '.join(study.config.train.networks)}",
            todo="name one of them, or add it to train.networks and train it",
        )
    unknown = sorted(set(sets or ()) - set(FEATURE_SETS))
    if unknown:
        raise InputError(
            f"no feature set {', '.join(map(repr, unknown))}", expected=", ".join(FEATURE_SETS)
        )
    bands = cube_bands(study.require(study.cube_path, stage="cube"))
    wanted = [name for name in sets or _possible(bands) if name != study.config.features.set]
    if not wanted:
        raise InputError(
            f"nothing to compare the feature set {study.config.features.set!r} with",
            expected=f"another one: {', '.join(FEATURE_SETS)}",
        )
    for name in wanted:
        FEATURE_SETS[name].needed_bands(bands)
    return [_variant(study, network, name) for name in wanted]


def _possible(bands: Sequence[str]) -> list[str]:
    found = []
    for name in get_args(FeatureSet):
        try:
            FEATURE_SETS[name].needed_bands(bands)
        except InputError:
            continue
        found.append(name)
    return found


def _variant(study: Study, network: str, name: str) -> Branch:
    config = study.config
    changed = {
        "features": config.features.model_copy(update={"set": name}),
        "labels": config.labels.model_copy(update={"every_fold": False}),
        "train": config.train.model_copy(update={"networks": (network,), "random_split": ()}),
        "predict": config.predict.model_copy(
            update={"network": None, "ensemble": "none", "out_of_fold": False}
        ),
    }
    return branch_of(
        study,
        study.folder / NAME / name,
        config=config.model_copy(update=changed),
        is_of_one_period=True,
    )


def cost_lines(variants: Sequence[Branch], *, steps: int = 5) -> list[str]:
    """Return what an ablation will take, as lines for people; a few training steps are timed.

    Parameters
    ----------
    variants
        From :func:`variants_of`.
    steps
        Training steps to time for every variant that is not trained.
    """
    first = variants[0]
    config, (height, width) = first.config.train, first.grid.shape
    network = config.networks[0]
    trials = "1 trial" if config.trials == 1 else f"{config.trials} trials"
    budget = f"{trials} a feature set, at most {config.epochs} epochs of {config.chips_per_epoch}"
    known = first.trunk.config.features.set
    lines = [f"ablation   {network}: {budget} chips each; {known} is trained already"]
    hours, size, device = 0.0, 0.0, ""
    for variant in variants:
        name, channels = variant.config.features.set, channel_count(variant.config)
        if len(_models(variant)) >= config.trials:
            lines.append(f"           {name}: {channels} channels, trained before")
            continue
        encoder = next((e for key, e in config.encoders.items() if key == network), None)
        pace = time_steps(network, config, channels=channels, encoder=encoder, steps=steps)
        chips = variant.config.labels.validation_share * height * width / config.chip**2
        own = config.trials * trial_seconds(pace, config, validation_chips=chips) / 3600
        hours, size, device = hours + own, size + 2e-9 * channels * height * width, pace.device
        lines.append(f"           {name}: {channels} channels, at most {own:.2g} h")
    if device:
        lines.append(f"           together at most {hours:.2g} h here ({device}), {size:.2g} GB")
    return lines


def ablate(
    study: Study,
    *,
    network: str,
    infer: Infer,
    sets: Sequence[str] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train one network on other feature sets and score each on the study's test ground.

    Parameters
    ----------
    study
        Trained and evaluated.
    network
        One that the study trains.
    infer
        Blends the windows of a model over a rectangle.
    sets
        Names of feature sets; default: all that the cube allows.
    progress
        Told of blocks, steps and models.

    Returns
    -------
    dict
        ``network``, ``base`` (the study's feature set), ``trials``, ``epochs``,
        ``chips_per_epoch``, ``seed`` and ``rows``: a row a feature set, the base first, also in
        ``models/ablation.csv``; see :func:`rows_of`.

    Notes
    -----
    Ground, chips, budget, seeds, network and settings are the study's; only the features differ.
    A variant that is cut off goes on after its last epoch, and one that is finished is kept as long
    as cube, labels, split and settings are the same. Choices are made on validation ground, as for
    every network.
    """
    variants = variants_of(study, network=network, sets=sets)
    for done, variant in enumerate(variants):
        progress(NAME, done, len(variants))
        fuse(variant, progress=progress)
        train(variant, progress=progress)
        _evaluate(variant, infer, progress)
    progress(NAME, len(variants), len(variants))
    config = study.config.train
    rows = rows_of(study, variants, network=network)
    found = {
        "network": network,
        "base": study.config.features.set,
        "trials": config.trials,
        "epochs": config.epochs,
        "chips_per_epoch": config.chips_per_epoch,
        "seed": config.seed,
        "of": _inputs(study, network),
        "rows": rows,
    }
    write_json(study.models_path / ABLATION, found)
    write_rows((study.models_path / ABLATION).with_suffix(".csv"), rows)
    return found


def _models(study: Study, network: str | None = None) -> list[Path]:
    folder = study.models_path / folder_name(network or study.config.train.networks[0])
    return sorted(folder.glob("trial-*/model.json"))


def _inputs(study: Study, network: str) -> dict[str, str]:
    """Return what each trial was made from, by its path in the folder of the models."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": str(read_json(path)["inputs"])
        for path in _models(study, network)
    }


def _evaluate(variant: Branch, infer: Infer, progress: Progress) -> None:
    """Score a variant, unless the same models were scored under the same settings."""
    config = variant.config
    settings = [config.predict.model_dump(mode="json"), config.inventory.model_dump(mode="json")]
    key = fingerprint([_inputs(variant, config.train.networks[0]), settings])
    record = variant.models_path / FOLDER / "of.json"
    is_scored = variant.evaluation_path.is_file() and record.is_file()
    if is_scored and read_json(record) == key:
        return
    record.unlink(missing_ok=True)
    evaluate(variant, infer=infer, progress=progress)
    write_json(record, key)


def rows_of(study: Study, variants: Sequence[Branch], *, network: str) -> list[dict[str, Any]]:
    """Return a row a feature set, the study's own first.

    Returns
    -------
    list of dict
        ``set``, ``channels``, ``is_base``; for each score the mean of the trials, ``_spread`` their
        standard deviation and ``_best`` that of the trial that did best on validation ground;
        ``pixels`` scored; ``same_chips``: whether the first epoch and the validation had the chips
        of the base; ``difference``, ``low``, ``high``: the best trial's IoU minus that of the base
        with its 95 % interval, paired over ``blocks`` of test ground; ``seconds`` of training.
    """
    base, chips = _blocks(study, network), _chips(study, network)
    rows = []
    for one in (study, *variants):
        evaluation = read_json(one.evaluation_path)
        (summary,) = (row for row in evaluation["table"] if row["network"] == network)
        settings = [read_json(path) for path in _models(one, network)]
        row = {
            "set": one.config.features.set,
            "is_base": one is study,
            "channels": len(settings[0]["channels"]),
            "trials": summary["trials"],
        }
        for name in SCORES:
            row[name] = summary[name]["mean"]
            row[f"{name}_spread"] = summary[name]["spread"]
            row[f"{name}_best"] = summary[name]["best"]
        row["pixels"] = evaluation["networks"][network]["pixels"]
        row["same_chips"] = _chips(one, network) == chips
        difference = {} if one is study else against(_blocks(one, network), base)
        row |= {key: difference.get(key) for key in ("difference", "low", "high", "blocks")}
        row["seconds"] = round(sum(trial["seconds"] for trial in settings), 1)
        rows.append(row)
    return rows


def against(other: BlockCounts, base: BlockCounts, *, seed: int = 0) -> dict[str, Any]:
    """Return the IoU of one map minus that of another, with its paired interval.

    Parameters
    ----------
    other, base
        Counts of each; where only one of them has features, a block counts for neither.
    seed
        Of the draws.
    """
    shared = sorted(set(other) & set(base))
    found = compare_networks(
        {"other": {p: other[p] for p in shared}, "base": {p: base[p] for p in shared}}, seed=seed
    )
    (row,) = found["differences"]
    iou = row["iou_rock_glacier"]
    if row["first"] == "base":
        negative = {key: None if value is None else -value for key, value in iou.items()}
        iou = {"value": negative["value"], "low": negative["high"], "high": negative["low"]}
    return {
        "difference": iou["value"],
        "low": iou["low"],
        "high": iou["high"],
        "blocks": found["blocks"],
    }


def _blocks(study: Study, network: str) -> BlockCounts:
    """Return the counts of a network's best trial by block of test ground."""
    trial = read_json(study.evaluation_path)["networks"][network]["trial"]
    path = study.models_path / FOLDER / BLOCKS
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {
        (int(row["row"]), int(row["col"])): np.array(
            [[int(row["tn"]), int(row["fp"])], [int(row["fn"]), int(row["tp"])]], np.int64
        )
        for row in rows
        if row["network"] == network and int(row["trial"]) == trial
    }


def _chips(study: Study, network: str) -> list[list[Any]]:
    """Return where the chips of the first trial lie."""
    path = _models(study, network)[0].with_name("chips.parquet")
    found: list[list[Any]] = read_table(path, CHIP_COLUMNS).to_numpy().tolist()
    return found
