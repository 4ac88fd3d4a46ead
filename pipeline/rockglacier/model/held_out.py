"""Scores on held-out ground, each pixel once, and what a random split would have claimed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.labels.split import windows_of
from rockglacier.model.costs import measure_costs
from rockglacier.model.metrics import as_json, scores
from rockglacier.model.networks import folder_name
from rockglacier.model.scoring import Ground, Infer, Map, Score, Scored, score_ground
from rockglacier.model.summary import as_csv, as_text, summarize
from rockglacier.model.trained import TrainedModel, load_model
from rockglacier.storage import open_array, read_json, readable, write_json, write_text
from rockglacier.study import Study

TABLE_COLUMNS = ("ground", "network", "trial", "pixels", "tn", "fp", "fn", "tp")

ENSEMBLE = "ensemble"
"""Name of the networks that predict together, in the place of a network's."""

Row = dict[str, Any]


class Several(Scored, Protocol):
    """Networks that predict as one, at a threshold of their own."""

    @property
    def ensemble(self) -> Any:
        """What maps with them."""

    @property
    def members(self) -> Sequence[tuple[str, int]]:
        """Network and trial of each."""

    @property
    def validation_iou(self) -> float | None:
        """IoU of rock glaciers on the ground on which the threshold was chosen."""

    @property
    def model_id(self) -> str:
        """Their name in products."""


class Judge(Protocol):
    """Judges maps of test ground beyond counting right and wrong pixels."""

    @property
    def reach(self) -> int:
        """Pixels around the test ground that it wants to see too."""

    def judge(self, name: str, trial: int, maps: Sequence[Map], *, threshold: float) -> Row:
        """Return more scores of one trial, JSON-able; ``name`` is that of the network."""

    def conclude(self, best: Mapping[str, int]) -> dict[str, Any]:
        """Return what the trials have to say together; ``best``: the trial of each network."""


def evaluate(
    study: Study,
    *,
    infer: Infer,
    judge: Judge | None = None,
    together: Several | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score every trained network of a study once on its test ground.

    Parameters
    ----------
    study
        Trained.
    infer
        Blends the windows of a model over a rectangle.
    judge
        Adds scores of its own to those of every trial on the test ground.
    together
        Networks that predict the study together: scored as one beside them.
    progress
        Told after every model.

    Returns
    -------
    dict
        IoU of the rock glacier class by network, and the leak of the random split.

    Raises
    ------
    NotFoundError
        Nothing was trained.
    InputError
        The split holds no test ground.

    Notes
    -----
    The map is blended over the whole test ground, at its natural share of landforms, and each
    pixel counts once. Threshold and temperature are those of the validation ground. Bands near
    outlines that the loss may ignore count here. Pixels without features are reported, not scored.

    A network trained on the random split has seen the test ground: it is scored on its own held-out
    chips, which share pixels with the chips it learnt from. ``leak`` is how much its IoU there
    exceeds the IoU that the same network reaches on ground it never saw.
    """
    ground = _test_ground(study)
    leak_free = _trained(study, study.config.train.networks, suffix="")
    leaking = _trained(study, study.config.train.random_split, suffix="-random")
    if not leak_free:
        raise NotFoundError(
            f"no trained network in {str(study.models_path)!r}",
            expected=f"one of {', '.join(study.config.train.networks)}",
            todo="rockglacier train STUDY.yaml",
        )
    total = len(leak_free) + len(leaking) + (together is not None)
    reach = judge.reach if judge else None
    rows: list[Row] = []
    for name, folder in leak_free:
        progress("evaluate", len(rows), total)
        model = _load(study, folder)
        score = score_ground(model, ground, infer=infer, reach=reach)
        row = _row(name, folder, score) | _judged(
            judge, name, int(model.settings["trial"]), model, score
        )
        rows.append({**row, "speed": measure_speed(model, score, study)})
    if together is not None:
        progress("evaluate", len(rows), total)
        score = score_ground(together, ground, infer=_as_one(together, infer), reach=reach)
        row = _row_together(together, score, rows, study)
        rows.append(row | _judged(judge, ENSEMBLE, 0, together, score))
    random_rows: dict[str, Row] = {}
    for name, folder in leaking:
        progress("evaluate", len(rows) + len(random_rows), total)
        model = _load(study, folder)
        chips = replace(ground, windows=held_out(model))
        random_rows[name] = _row(name, folder, score_ground(model, chips, infer=infer))
    progress("evaluate", total, total)
    return _write(study, rows, random_rows, judge)


def _as_one(together: Several, infer: Infer) -> Infer:
    """Return an inference by all of them, whatever model it is given."""

    def mapped(
        model: Any,
        features: zarr.Array[Any],
        window: Window,
        *,
        settings: PredictConfig | None = None,
    ) -> NDArray[np.float32]:
        return infer(together.ensemble, features, window, settings=settings)

    return mapped


def _judged(judge: Judge | None, name: str, trial: int, scored: Scored, score: Score) -> Row:
    if judge is None:
        return {}
    return judge.judge(name, trial, score.maps, threshold=scored.threshold)


def held_out(model: TrainedModel) -> tuple[Window, ...]:
    """Return the chips that a network of the random split did not train on."""
    return tuple(
        Window(y=y, x=x, height=height, width=width)
        for y, x, height, width in model.settings["held_out"]
    )


def measure_speed(model: TrainedModel, score: Score, study: Study) -> dict[str, Any]:
    """Measure how fast a network is here: bare, and with reading and blending.

    Returns
    -------
    dict
        What :func:`~rockglacier.model.costs.measure_costs` gives, and ``km2_per_s`` of the blended
        map.
    """
    return {**measure_costs(model), "km2_per_s": _km2_per_s(score, study)}


def _km2_per_s(score: Score, study: Study) -> float | None:
    km2 = score.mapped * study.grid.resolution**2 / 1e6
    return round(km2 / score.seconds, 4) if score.seconds else None


def _test_ground(study: Study) -> Ground:
    splits = gpd.read_parquet(readable(study.require(study.splits_path, stage="label")))
    windows = tuple(windows_of(splits, "test"))
    if not windows:
        raise InputError(
            "the split of the ground holds no test ground",
            expected="ground that no network has seen",
            todo="set labels.test_share above 0, then `rockglacier run STUDY.yaml`",
        )
    return Ground(
        features=open_array(study.require(study.features_path, stage="fuse") / "features"),
        labels=open_array(study.require(study.labels_path, stage="label") / "labels"),
        windows=windows,
        settings=study.config.predict,
    )


def _trained(study: Study, networks: tuple[str, ...], *, suffix: str) -> list[tuple[str, Path]]:
    """Return name and folder of every finished trial, in order."""
    return [
        (name, path.parent)
        for name in networks
        for path in sorted(
            (study.models_path / f"{folder_name(name)}{suffix}").glob("trial-*/model.json")
        )
    ]


def _load(study: Study, folder: Path) -> TrainedModel:
    model = load_model(folder)
    fusion = read_json(study.require(study.fusion_path, stage="fuse"))
    model.check_features(channels=tuple(fusion["channels"]), fusion_hash=fusion["hash"])
    return model


def _row(name: str, folder: Path, score: Score) -> Row:
    settings = read_json(folder / "model.json")
    return {
        "network": name,
        "trial": settings["trial"],
        "validation_iou": settings["validation"]["iou_rock_glacier"],
        "threshold": settings["threshold"],
        "pixels": int(score.counts.sum()),
        **score.as_dict(),
    }


def _row_together(together: Several, score: Score, rows: Sequence[Row], study: Study) -> Row:
    """Return the row of several networks: they run one after the other, and all are loaded."""
    members = list(together.members)
    parameters = (r["speed"]["parameters"] for r in rows if (r["network"], r["trial"]) in members)
    return {
        "network": ENSEMBLE,
        "trial": 0,
        "members": [f"{name}/trial-{trial}" for name, trial in members],
        "model_id": together.model_id,
        "validation_iou": together.validation_iou,
        "threshold": together.threshold,
        "pixels": int(score.counts.sum()),
        **score.as_dict(),
        "speed": {"parameters": sum(parameters), "km2_per_s": _km2_per_s(score, study)},
    }


def _write(
    study: Study,
    rows: list[Row],
    random_rows: dict[str, Row],
    judge: Judge | None,
) -> dict[str, Any]:
    best = {row["network"]: row for row in sorted(rows, key=_by_validation)}
    names = (*study.config.train.networks, ENSEMBLE)
    networks = {name: best[name] for name in names if name in best}
    leak = {
        name: leak_of(networks[name], row) for name, row in random_rows.items() if name in networks
    }
    summary = summarize(rows)
    together = (
        judge.conclude({name: row["trial"] for name, row in networks.items()}) if judge else {}
    )
    write_json(
        study.evaluation_path,
        {
            "split": f"test ({study.config.labels.split})",
            "networks": networks,
            "trials": rows,
            "table": summary,
            "random": {
                name: {**row, "split": "held-out chips of the random 9:1 split, leaking"}
                for name, row in random_rows.items()
            },
            "leak": leak,
            **together,
        },
    )
    write_json(study.models_path / "table.json", summary)
    write_text(study.models_path / "table.csv", as_csv(summary))
    write_text(study.models_path / "table.md", as_text(summary))
    write_text(study.models_path / "evaluation.csv", _table(rows, list(random_rows.values())))
    return {
        "networks": {name: row["iou_rock_glacier"] for name, row in networks.items()},
        "leak": {name: values["leak"] for name, values in leak.items()},
    }


def _by_validation(row: Row) -> float:
    """Sort key that puts a network's best trial last, so that it is the one that is kept."""
    return float(row["validation_iou"] or 0.0)


def leak_of(unseen: dict[str, Any], random: dict[str, Any]) -> dict[str, Any]:
    """Return by how much the random split overstates a network.

    Parameters
    ----------
    unseen
        Its scores on the test ground, trained without it.
    random
        Its scores on the random split's held-out chips.
    """
    claimed, reached = random["iou_rock_glacier"], unseen["iou_rock_glacier"]
    known = claimed is not None and reached is not None
    return {
        "random_split_iou": claimed,
        "test_iou": reached,
        "leak": round(claimed - reached, 6) if known else None,
        "meaning": "IoU on the random split's held-out chips, minus IoU of the same network on "
        "test ground that it never saw",
    }


def _table(rows: list[dict[str, Any]], random_rows: list[dict[str, Any]]) -> str:
    names = list(as_json(scores(np.ones((2, 2), np.int64))))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*TABLE_COLUMNS, *names])
    for ground, group in (("test", rows), ("random held-out", random_rows)):
        for row in group:
            cells = [cell for line in row["confusion"] for cell in line]
            facts = [ground, row["network"], row["trial"], row["pixels"], *cells]
            writer.writerow([*facts, *(row[name] for name in names)])
    return buffer.getvalue()
