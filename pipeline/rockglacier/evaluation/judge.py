"""All that is asked of a network's map of the test ground, beyond right and wrong pixels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.engine import Progress, silent
from rockglacier.evaluation.boundary import TOLERANCE_PX, Boundary, compare_boundaries
from rockglacier.evaluation.confusers import GroundErrors
from rockglacier.evaluation.figures import write_reliability
from rockglacier.evaluation.kinds import KindsAt, kinds_of
from rockglacier.evaluation.objects import object_scores
from rockglacier.evaluation.outputs import begin_outputs, write_outputs
from rockglacier.evaluation.paired import BlockCounts, block_counts, block_edge, compare_networks
from rockglacier.evaluation.pieces import Mosaic, Piece, pieces_of
from rockglacier.grid import Window
from rockglacier.model.held_out import evaluate as score_networks
from rockglacier.model.metrics import as_json
from rockglacier.model.reliability import Reliability
from rockglacier.model.scoring import Infer, Map
from rockglacier.prediction.together import together_of
from rockglacier.storage import open_array, write_text
from rockglacier.study import Study

FOLDER: Final = "evaluation"
"""In the folder of the models."""
BLOCKS: Final = "blocks.csv"
STRIP_PX: Final = 2**22
"""Pixels whose kinds of ground are in memory at a time."""


def evaluate(study: Study, *, infer: Infer, progress: Progress = silent) -> dict[str, Any]:
    """Score every network of a study on its test ground, and the ensemble, in every respect.

    See :func:`rockglacier.model.held_out.evaluate`, whose products these join: boundaries,
    calibration, errors by kind of ground and landforms in ``models/evaluation.json``, the paired
    differences of the networks there too, and tables of them in ``models/evaluation/``; there also
    the maps themselves, ``outputs.zarr``, and which landforms each network found, ``found.csv``.
    """
    return score_networks(
        study,
        infer=infer,
        judge=StudyJudge(study),
        together=together_of(study),
        progress=progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found of one map."""

    boundary: Boundary
    reliability: Reliability
    errors: GroundErrors
    blocks: BlockCounts
    tolerance: float = TOLERANCE_PX
    """Of the boundaries, pixels."""

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON-able values."""
        return {
            **as_json(self.boundary.scores()),
            "boundary_tolerance_px": self.tolerance,
            "calibration": as_json(self.reliability.scores()),
            "reliability": self.reliability.table(),
            "errors_by_ground": self.errors.table(),
        }


def inspect(
    pieces: Sequence[Piece],
    *,
    threshold: float,
    kinds: KindsAt,
    edge: int,
    tolerance: float = TOLERANCE_PX,
) -> Findings:
    """Look at a map piece by piece.

    Parameters
    ----------
    pieces
        Of the test ground.
    threshold
        Probability from which a pixel is a rock glacier.
    kinds
        Of ground, in any window.
    edge
        Of a block of the bootstrap, pixels.
    tolerance
        Of the boundaries, pixels.
    """
    boundary, reliability, errors = Boundary(), Reliability(), GroundErrors()
    blocks: BlockCounts = {}
    for piece in pieces:
        called = piece.classes(threshold)
        boundary += compare_boundaries(piece.truth, called, tolerance=tolerance)
        reliability.add(piece.probability, piece.truth)
        for strip in _strips(piece.window):
            rows, _ = strip.within(piece.window)
            errors.add(piece.truth[rows], called[rows], kinds(strip))
        for place, counts in block_counts(piece.truth, called, piece.window, edge=edge).items():
            blocks[place] = blocks.get(place, np.zeros((2, 2), np.int64)) + counts
    return Findings(
        boundary=boundary,
        reliability=reliability,
        errors=errors,
        blocks=blocks,
        tolerance=tolerance,
    )


def _strips(window: Window) -> Iterator[Window]:
    """Cut a window into strips of rows: two dozen kinds of ground take memory."""
    step = max(1, STRIP_PX // max(window.width, 1))
    for y in range(window.y, window.y + window.height, step):
        height = min(step, window.y + window.height - y)
        yield Window(y=y, x=window.x, height=height, width=window.width)


class StudyJudge:
    """Judges the networks of a study.

    Parameters
    ----------
    study
        With labels and split; with a cube and other data as far as it has them.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._labels = open_array(study.require(study.labels_path, stage="label") / "labels")
        self._kinds = kinds_of(study)
        self._found: dict[tuple[str, int], Findings] = {}
        self._objects: dict[tuple[str, int], dict[str, Any]] = {}
        self._found_by: dict[tuple[str, int], dict[str, bool]] = {}
        self._edge = 0
        begin_outputs(study)

    @property
    def reach(self) -> int:
        """Pixels around the test ground: a chip, and never beyond the guard band."""
        return min(self._study.config.train.chip, self._study.config.labels.guard)

    def judge(
        self, name: str, trial: int, maps: Sequence[Map], *, threshold: float
    ) -> dict[str, Any]:
        """Return scores of one trial beside those of its pixels."""
        study, key = self._study, (name, trial)
        self._edge = block_edge([m.window for m in maps], largest=study.config.train.chip)
        pieces = pieces_of(maps, self._read)
        found = inspect(pieces, threshold=threshold, kinds=self._kinds, edge=self._edge)
        self._found[key] = found
        row = found.as_dict()
        write_outputs(study, *key, maps)
        cut = study.config.inventory.threshold or threshold
        objects = object_scores(study, Mosaic(maps, study.grid.shape), threshold=cut)
        if objects is not None:
            self._found_by[key] = objects.pop("found_b")
            self._objects[key] = objects
            row |= {"objects": objects, "object_f1": objects["iou_0.5"]["f1"]}
        return row

    def conclude(self, best: Mapping[str, int]) -> dict[str, Any]:
        """Compare the networks by their best trials, and write the tables."""
        chosen = {name: self._found[name, trial] for name, trial in best.items()}
        seed = self._study.config.labels.seed
        paired = compare_networks({n: f.blocks for n, f in chosen.items()}, seed=seed)
        paired = {"block_px": self._edge, **paired}
        self._write(chosen, paired)
        found_by = {name: self._found_by.get((name, trial), {}) for name, trial in best.items()}
        write_rows(self._study.models_path / FOLDER / "found.csv", _found_rows(found_by))
        return {"paired": paired}

    def _read(self, window: Window) -> NDArray[np.uint8]:
        return np.asarray(self._labels[window.slices])

    def _write(self, chosen: Mapping[str, Findings], paired: Mapping[str, Any]) -> None:
        folder = self._study.models_path / FOLDER
        write_rows(folder / BLOCKS, _block_rows(self._found, self._edge))
        tables = {name: found.reliability.table() for name, found in chosen.items()}
        write_rows(folder / "reliability.csv", _flat(tables))
        errors = {name: found.errors.table() for name, found in chosen.items()}
        write_rows(folder / "errors-by-ground.csv", _flat(errors))
        write_rows(folder / "differences.csv", [_difference(r) for r in paired["differences"]])
        write_rows(folder / "objects.csv", _object_rows(self._objects))
        write_reliability(tables, folder)


def _block_rows(found: Mapping[tuple[str, int], Findings], edge: int) -> list[dict[str, Any]]:
    return [
        {
            "network": name, "trial": trial, "row": row, "col": col, "edge_px": edge,
            "tn": int(m[0, 0]), "fp": int(m[0, 1]), "fn": int(m[1, 0]), "tp": int(m[1, 1]),
        }
        for (name, trial), findings in found.items()
        for (row, col), m in sorted(findings.blocks.items())
    ]  # fmt: skip


def _flat(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [{"network": name, **row} for name, table in tables.items() for row in table]


def _difference(row: Mapping[str, Any]) -> dict[str, Any]:
    scores = {
        f"{name}_{part}": value
        for name in ("iou_rock_glacier", "f1_rock_glacier")
        for part, value in row[name].items()
    }
    return {"first": row["first"], "second": row["second"], **scores,
            "share_not_better": row["share_not_better"]}  # fmt: skip


def _object_rows(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a trial and size class, and one for all sizes, at an IoU of 0.5."""
    names = ("n_a", "n_b", "area_a_km2", "area_b_km2")
    scores = ("matched_a", "matched_b", "precision", "recall", "f1")
    rows = []
    for (network, trial), objects in found.items():
        whole = {"class_km2": "all", **{n: objects[n] for n in names}, **objects["iou_0.5"],
                 "cover_0.5": objects["cover_0.5"]}  # fmt: skip
        for row in (whole, *objects["size_classes"]):
            covered = {f"cover_{n}": row["cover_0.5"][n] for n in ("precision", "recall", "f1")}
            facts = {n: row[n] for n in ("class_km2", *names, *scores)}
            rows.append({"network": network, "trial": trial, **facts, **covered})
    return rows


def _found_rows(found_by: Mapping[str, Mapping[str, bool]]) -> list[dict[str, Any]]:
    """Return a row an outline of the reference: which networks have its partner, 1 or 0."""
    ids = next(iter(found_by.values()), {})
    return [{"label_id": i, **{n: int(own[i]) for n, own in found_by.items()}} for i in ids]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, with the columns of the first one; nothing where there is no row."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
