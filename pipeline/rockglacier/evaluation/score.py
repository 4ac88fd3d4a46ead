"""Any map on a benchmark: the same scores as a study's own networks get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from rockglacier.errors import InputError
from rockglacier.evaluation.benchmark import Benchmark
from rockglacier.evaluation.boundary import Boundary
from rockglacier.evaluation.confusers import GroundErrors
from rockglacier.evaluation.foreign import ForeignMap, file_for, read_map, warped
from rockglacier.evaluation.judge import Findings, inspect, write_rows
from rockglacier.evaluation.paired import BlockCounts, block_edge, compare_networks
from rockglacier.evaluation.pieces import Piece
from rockglacier.grid import Grid, projected
from rockglacier.inventory.match import compare
from rockglacier.inventory.references import is_on_ignored
from rockglacier.inventory.scores import summary
from rockglacier.labels.burn import Outlines, burn
from rockglacier.model.metrics import IGNORE, as_json, confusion_matrix, scores
from rockglacier.model.reliability import Reliability
from rockglacier.storage import write_json

OBJECT_COUNTS: Final = ("n_a", "n_b", "area_a_km2", "area_b_km2")


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaScore:
    """A map scored on one area."""

    findings: Findings
    counts: NDArray[np.int64]
    objects: dict[str, Any]
    is_probability: bool
    unmapped: int
    """Pixels of the area of which the map says nothing."""
    small: int
    edge: int


def score_map(
    path: Path,
    benchmark: Benchmark,
    *,
    areas: Sequence[str] | None = None,
    threshold: float | None = None,
    against: Path | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Score a raster or polygons on the test areas of a benchmark.

    Parameters
    ----------
    path
        One file for all areas, or a folder with a file an area; see
        :func:`rockglacier.evaluation.foreign.read_map`.
    benchmark
        The ground, the truth and the rules.
    areas
        Only these; default: all of the split ``test``.
    threshold
        In place of that of the rules. Choose it on other ground than this.
    against
        Another map: its difference from the first is given with a paired interval.
    name
        What the map is called; default: the file's name.

    Returns
    -------
    dict
        JSON-able: ``benchmark``, ``version``, ``map``, ``rules``, ``areas`` (scores of each),
        ``all`` (their pixels and landforms together) and ``paired``.

    Raises
    ------
    InputError
        No such area, or a file that cannot be used.
    """
    chosen = list(areas or benchmark.test_areas())
    limit = benchmark.rules.threshold if threshold is None else threshold
    label = name or path.stem
    found = {area: _score_area(path, benchmark, area, limit) for area in chosen}
    maps = {label: _blocks(found)}
    if against is not None:
        other = against.stem if against.stem != label else f"{against.stem} (other)"
        rival = {area: _score_area(against, benchmark, area, limit) for area in chosen}
        maps[other] = _blocks(rival)
    return {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "protocol": benchmark.protocol,
        "map": label,
        "threshold": limit,
        "rules": asdict(benchmark.rules),
        "areas": {area: _as_dict(score) for area, score in found.items()},
        "all": _together(list(found.values())),
        "paired": compare_networks(maps),
    }


def write_score(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a score as ``score.json``, ``score.csv`` and ``objects.csv``; return the files."""
    rows, sizes = [], []
    for area, part in (*result["areas"].items(), ("all", result["all"])):
        facts = {"benchmark": result["benchmark"], "map": result["map"], "area": area}
        numbers = {k: v for k, v in part.items() if isinstance(v, int | float) or v is None}
        rows.append({**facts, **numbers})
        sizes += [
            {**facts, **{k: v for k, v in row.items() if not isinstance(v, dict)}}
            for row in (_whole(part["objects"]), *part["objects"]["size_classes"])
        ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    files = [folder / name for name in ("score.json", "score.csv", "objects.csv")]
    write_json(files[0], dict(result))
    write_rows(files[1], [{key: row.get(key) for key in columns} for row in rows])
    write_rows(files[2], sizes)
    return files


def _whole(objects: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_km2": "all", **{n: objects[n] for n in OBJECT_COUNTS}, **{
        k: objects["iou_0.5"][k] for k in ("matched_a", "matched_b", "precision", "recall", "f1")
    }}  # fmt: skip


def _score_area(path: Path, benchmark: Benchmark, area: str, threshold: float) -> AreaScore:
    grid, ground, rules = benchmark.grid(area), benchmark.ground(area), benchmark.rules
    found = read_map(
        file_for(path, area),
        grid,
        ground,
        threshold=threshold,
        min_area_km2=rules.min_area_km2,
    )
    truth = _truth(benchmark, area, grid)
    is_unmapped = np.isnan(found.probability) & (truth != IGNORE)
    if is_unmapped.sum() == (truth != IGNORE).sum():
        raise InputError(
            f"the map {str(path)!r} says nothing of the area {area!r}",
            expected="a map of the areas that are scored",
            todo="check its CRS and place, or score other areas with --area",
        )
    probability = found.probability
    if rules.unmapped == "background":
        probability = np.where(np.isnan(probability), np.float32(0), probability)
    piece = Piece(window=grid.whole, truth=truth, probability=probability)
    kinds = _kinds(benchmark, area, grid)
    edge = block_edge([grid.whole], largest=rules.block_px)
    findings = inspect(
        [piece],
        threshold=threshold,
        kinds=lambda window: {name: where[window.slices] for name, where in kinds.items()},
        edge=edge,
        tolerance=rules.boundary_px,
    )
    return AreaScore(
        findings=findings,
        counts=confusion_matrix(truth, piece.classes(threshold)),
        objects=_objects(found, benchmark, area, grid),
        is_probability=found.is_probability,
        unmapped=int(is_unmapped.sum()),
        small=found.small,
        edge=edge,
    )


def _truth(benchmark: Benchmark, area: str, grid: Grid) -> NDArray[np.uint8]:
    def shapes(use: str) -> tuple[Any, ...]:
        rows = benchmark.outlines(area, use=use)
        return tuple(projected(shape, epsg=grid.epsg) for shape in rows.geometry)

    outlines = Outlines(
        landforms=shapes("landform"),
        ignored=shapes("ignore"),
        complete_within=projected(benchmark.ground(area), epsg=grid.epsg),
    )
    truth = burn(outlines, grid, grid.whole)
    inside = burn(
        Outlines(landforms=(), ignored=(), complete_within=outlines.complete_within),
        grid,
        grid.whole,
    )
    truth[inside == IGNORE] = IGNORE  # a landform across the border is scored inside only
    return truth


def _kinds(benchmark: Benchmark, area: str, grid: Grid) -> dict[str, NDArray[np.bool_]]:
    found: dict[str, NDArray[np.bool_]] = {"all": np.ones(grid.shape, bool)}
    path = benchmark.kinds_path(area)
    if path is None:
        return found
    with rasterio.open(path) as source:
        values = warped(source, grid, Resampling.nearest, nodata=0)
    return found | {name: values == number for number, name in benchmark.kinds.items()}


def _objects(found: ForeignMap, benchmark: Benchmark, area: str, grid: Grid) -> dict[str, Any]:
    """Match the landforms of a map with those of the reference, by the rules of an inventory."""
    ignored = benchmark.outlines(area, use="ignore")
    table = found.outlines
    if len(table) and len(ignored):
        table = table[~is_on_ignored(table, ignored, grid)]
    reference = benchmark.outlines(area, use="landform")
    comparison = compare(table, reference, benchmark.ground(area), id_b="id")
    least = benchmark.rules.min_area_km2
    return summary(
        comparison,
        within_b=(comparison.objects_b["area_km2"] >= least).to_numpy(bool),
    )


def _as_dict(score: AreaScore) -> dict[str, Any]:
    found = score.findings.as_dict()
    if not score.is_probability:
        for name in ("calibration", "reliability"):
            found.pop(name)
    return {
        **as_json(scores(score.counts)),
        "confusion": score.counts.tolist(),
        "pixels": int(score.counts.sum()),
        "unmapped_pixels": score.unmapped,
        "small_left_out": score.small,
        "object_precision": score.objects["iou_0.5"]["precision"],
        "object_recall": score.objects["iou_0.5"]["recall"],
        "object_f1": score.objects["iou_0.5"]["f1"],
        **found,
        "objects": score.objects,
    }


def _together(found: Sequence[AreaScore]) -> dict[str, Any]:
    """Return the scores of all areas as if they were one."""
    counts = np.sum([score.counts for score in found], axis=0)
    errors = GroundErrors()
    boundary, reliability = Boundary(), Reliability()
    for score in found:
        boundary += score.findings.boundary
        reliability.merge(score.findings.reliability)
        for kind, matrix in score.findings.errors.counts.items():
            errors.counts[kind] = errors.counts.get(kind, np.zeros((2, 2), np.int64)) + matrix
    whole = AreaScore(
        findings=Findings(
            boundary=boundary,
            tolerance=found[0].findings.tolerance,
            reliability=reliability,
            errors=errors,
            blocks={},
        ),
        counts=counts,
        objects=_sum_objects([score.objects for score in found]),
        is_probability=all(score.is_probability for score in found),
        unmapped=sum(score.unmapped for score in found),
        small=sum(score.small for score in found),
        edge=0,
    )
    return _as_dict(whole)


def _sum_objects(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sizes = [
        {
            "class_km2": rows[0]["class_km2"],
            **_summed(rows),
            **_rates(rows, rows),
            "cover_0.5": _rates([row["cover_0.5"] for row in rows], rows),
        }
        for rows in zip(*(part["size_classes"] for part in parts), strict=True)
    ]
    return {
        **_summed(parts),
        "iou_0.5": _rates([part["iou_0.5"] for part in parts], parts),
        "cover_0.5": _rates([part["cover_0.5"] for part in parts], parts),
        "size_classes": sizes,
    }


def _summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: sum(row[name] for row in rows) for name in OBJECT_COUNTS}


def _rates(hits: Sequence[Mapping[str, Any]], sizes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    matched_a = sum(row["matched_a"] for row in hits)
    matched_b = sum(row["matched_b"] for row in hits)
    n_a, n_b = sum(row["n_a"] for row in sizes), sum(row["n_b"] for row in sizes)
    precision = matched_a / n_a if n_a else None
    recall = matched_b / n_b if n_b else None
    f1 = None
    if precision is not None and recall is not None:
        whole = precision + recall
        f1 = 2 * precision * recall / whole if whole else 0.0
    return {
        "matched_a": matched_a,
        "matched_b": matched_b,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _blocks(found: Mapping[str, AreaScore]) -> BlockCounts:
    """Return the blocks of all areas, each area's in rows of its own."""
    blocks: BlockCounts = {}
    first = 0
    for score in found.values():
        own = score.findings.blocks
        blocks |= {(first + row, col): counts for (row, col), counts in own.items()}
        first = 1 + max((row for row, _ in blocks), default=first)
    return blocks
