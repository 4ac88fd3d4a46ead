"""Landforms by network and size on all ground, the paper's Table 3, and on unseen ground alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rockglacier.config import fingerprint
from rockglacier.engine import Progress, Receipts, Task, run_tasks, silent
from rockglacier.evaluation.objects import Judged, judge_outlines
from rockglacier.grid import Window
from rockglacier.inventory.match import SIZE_CLASSES, compare
from rockglacier.inventory.scores import COVER
from rockglacier.model.networks import folder_name
from rockglacier.model.trained import TrainedModel, load_model
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.prediction.store import PROBABILITY, create_target
from rockglacier.storage import open_array, read_json, write_json, write_text
from rockglacier.study import Study

GROUNDS: Final = {"all": None, "test": "test"}
"""All ground, the training ground included, and the one that no network has seen."""

REFERENCE: Final = "reference"
WHOLE: Final = "all"


def write_everywhere(study: Study, *, infer: Any, progress: Progress = silent) -> dict[str, Any]:
    """Map the whole basin by the best trial of each network, and count what all of them find.

    Parameters
    ----------
    study
        Evaluated.
    infer
        Gives the blended probability over a rectangle, as of the evaluation.
    progress
        Told after every block.

    Returns
    -------
    dict
        ``everywhere``: outlines by network; nothing where the study has no table of outlines.

    Notes
    -----
    Writes ``models/evaluation/everywhere.csv``, see :func:`table_of`, and the scores of every
    network on all ground and on test ground, ``everywhere.json``. Each network takes the time of a
    prediction; blocks that are mapped stay so.
    """
    best = read_json(study.evaluation_path)["networks"]
    judged: dict[str, Judged] = {}
    for name in (name for name in study.config.train.networks if name in best):
        model = load_model(study.models_path / folder_name(name) / f"trial-{best[name]['trial']}")
        mapped = _mapped(study, name, model, infer=infer, progress=progress)
        threshold = study.config.inventory.threshold or model.threshold
        found = judge_outlines(study, mapped, threshold=threshold)
        if found is None:
            return {}
        judged[name] = found
    folder = study.models_path / "evaluation"
    write_text(folder / "everywhere.csv", table_of(judged).round(6).to_csv(index=False))
    scores = {
        name: {ground: own.on(split) for ground, split in GROUNDS.items()}
        for name, own in judged.items()
    }
    write_json(folder / "everywhere.json", scores)
    return {"everywhere": {name: own[WHOLE]["n_a"] for name, own in scores.items()}}


def _mapped(study: Study, name: str, model: TrainedModel, *, infer: Any, progress: Progress) -> Any:
    """Return the map of one network, (y, x) uint8 percent, 255 nodata; what is there is kept."""
    path = study.models_path / "evaluation" / "everywhere" / f"{folder_name(name)}.zarr"
    receipts = Receipts(study.receipts_path / "everywhere" / folder_name(name))
    create_target(path, study.grid, (PROBABILITY,), receipts)
    features = open_array(study.require(study.features_path, stage="fuse") / "features")
    made = Receipts(study.receipts_path / "fuse").all()
    inputs = {
        "model": model.fingerprint,
        "features": fingerprint(sorted((block, receipt["inputs"]) for block, receipt in made)),
        "settings": study.config.predict.model_dump(mode="json"),
    }
    target = open_array(path / PROBABILITY, "r+")

    def work(task: Task) -> dict[str, Any]:
        window = Window(**task.inputs["window"])
        percent = to_percent(infer(model, features, window, settings=study.config.predict))
        target[window.slices] = percent
        return {"valid": int((percent != PERCENT_NODATA).sum())}

    run_tasks(
        [
            Task(name=block.name, inputs={**inputs, "window": asdict(block.window)})
            for block in study.grid.blocks()
        ],
        work,
        receipts=receipts,
        what=f"evaluate: {name} on all ground",
        workers=1,
        progress=progress,
    )
    return target


def table_of(judged: Mapping[str, Judged]) -> pd.DataFrame:
    """Return landforms by ground, size class and network, and those of the reference.

    Parameters
    ----------
    judged
        Of the same study, by network.

    Returns
    -------
    DataFrame
        ``ground`` (all, test), ``class_km2`` (five classes, and all), ``network`` (or reference),
        ``n``, ``area_km2``; ``n_of_all``, those that every other network draws too (half of the
        outline or more lies in its outlines), of the reference those that every network finds one
        to one; ``count_ratio``, n over that of the reference: not an accuracy.
    """
    shared = _drawn_by_all(judged)
    first = next(iter(judged.values()))
    found = np.all([own.comparison.objects_b["relation"] == "matched" for own in judged.values()],
                   axis=0)  # fmt: skip
    sides = {name: (own.comparison.objects_a, own.split_a, shared[name])
             for name, own in judged.items()}  # fmt: skip
    sides[REFERENCE] = (first.comparison.objects_b, first.split_b, found)
    rows = []
    for ground, split in GROUNDS.items():
        for size in (*SIZE_CLASSES, WHOLE):
            for name, (objects, splits, is_shared) in sides.items():
                is_in = np.ones(len(objects), bool) if split is None else splits == split
                if size != WHOLE:
                    is_in = is_in & (objects["size_class"] == size).to_numpy(bool)
                rows.append(
                    {
                        "ground": ground,
                        "class_km2": size,
                        "network": name,
                        "n": int(is_in.sum()),
                        "area_km2": float(objects["area_km2"].to_numpy()[is_in].sum()),
                        "n_of_all": int((is_in & is_shared).sum()),
                    }
                )
    table = pd.DataFrame(rows)
    known = table[table["network"] == REFERENCE].set_index(["ground", "class_km2"])["n"]
    whole = pd.MultiIndex.from_frame(table[["ground", "class_km2"]]).map(known).to_numpy(float)
    table["count_ratio"] = np.divide(
        table["n"].to_numpy(float), whole, out=np.full(len(table), np.nan), where=whole > 0
    )
    return table


def _drawn_by_all(judged: Mapping[str, Judged]) -> dict[str, NDArray[np.bool_]]:
    """Say of every outline of a network whether each other network draws half of it or more."""
    found = {name: np.ones(len(own.outlines), bool) for name, own in judged.items()}
    for one, other in combinations(judged, 2):
        both = compare(judged[one].outlines, judged[other].outlines)
        found[one] &= (both.objects_a["cover"] >= COVER).to_numpy(bool)
        found[other] &= (both.objects_b["cover"] >= COVER).to_numpy(bool)
    return found
