"""The inventory stage: a basin's probabilities become tables of candidates.

Every outline here is a *candidate*: a model drew it and nobody has looked at it yet.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shapely
import zarr
from numpy.typing import NDArray

from rockglacier.config import fingerprint
from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError, NotFoundError
from rockglacier.grid import Grid
from rockglacier.inventory import geoparquet, qgis
from rockglacier.inventory.attributes import BAND_M, DOUBTS
from rockglacier.inventory.candidates import UNSEEN, draw, ground_of, measured, split_at
from rockglacier.inventory.compare import ground_of_links
from rockglacier.inventory.domains import domains_of
from rockglacier.inventory.ids import CHANGE_COLUMNS, Names, names_of
from rockglacier.inventory.match import Comparison, compare
from rockglacier.inventory.overlaps import overlap_columns
from rockglacier.inventory.review import review_queue
from rockglacier.inventory.reviews import read_reviews, review_counts, with_reviews
from rockglacier.inventory.schema import table_of
from rockglacier.inventory.scores import summary
from rockglacier.inventory.water import water_table
from rockglacier.inventory.whereabouts import write_tables
from rockglacier.labels.every_fold import tested_cells
from rockglacier.storage import open_group, read_json, readable, write_json, write_text
from rockglacier.study import Study, read_area

logger = logging.getLogger(__name__)


MOSTLY: Final = 0.5
"""Share of a candidate on ignored ground from which it is not judged."""

REFERENCE_COLUMNS: Final = ("label_id", "geometry")


class Model(Protocol):
    """What the inventory asks of somebody's trained model."""

    @property
    def threshold(self) -> float:
        """Probability (0 to 1) from which a pixel is a rock glacier."""

    @property
    def fingerprint(self) -> str:
        """Short hash of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What drew the inventory."""

    threshold: float
    model_id: str
    run_id: str


def build_inventory(
    study: Study, *, bundle: Model | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Draw, measure, name and match the candidates of a study, and write the inventory.

    Parameters
    ----------
    study
        With its prediction and cube; with ``labels.parquet`` and ``splits.parquet`` if it learned.
    bundle
        The given model, if the study maps with one.
    progress
        Told of blocks and of landforms.

    Returns
    -------
    dict
        ``objects``, ``area_km2``, ``threshold``, ``dropped_small``, ``dropped_outside``,
        ``kept_ids``, ``to_review``, ``edited_kept``, ``version``; with a reference also
        ``reference``, ``matched`` and the same on held-out ground, ``test_reference``,
        ``test_matched``, ``test_objects``.

    Raises
    ------
    NotFoundError
        The prediction or the cube is missing.
    ContractError
        The prediction does not lie on the study's grid.

    Notes
    -----
    Writes ``inventory.parquet``, ``inventory.gpkg``, ``hypsometry.csv``, ``tables/*.csv`` (where
    they sit), ``CHANGES.csv`` (what became of every landform, a version each time that something
    did), with a reference ``matches.parquet`` and ``matches.json``, and with
    ``inventory.hydrology`` ``water.csv`` and ``water.json``. A GeoPackage that was edited since is
    set aside first.
    """
    probability = _probability(study)
    cube = open_group(study.require(study.cube_path, stage="cube"))
    source = _source(study, bundle)
    drawn = draw(study, probability, threshold=source.threshold, progress=progress)
    reviews = read_reviews(study)
    drawn, decided = with_reviews(drawn, reviews, study.grid)
    outlines, points = drawn.outlines.to_crs(4326), drawn.points.to_crs(4326)
    previous, others = _previous(study), _other_periods(study)
    history = _history(study)
    names = names_of(
        outlines,
        points,
        previous,
        others=others,
        retired=_retired(history, previous) | frozenset(reviews["candidate_id"]),
        fixed={place: str(own["candidate_id"]) for place, own in enumerate(decided) if own},
    )
    splits = _splits(study, bundle)
    doubts = _doubts(study)
    rows, bands = measured(study, drawn, probability, cube, doubts=doubts, progress=progress)
    overlaps = {name: study.resolve(uri) for name, uri in study.config.inventory.overlaps.items()}
    extra, values = overlap_columns(drawn.outlines, overlaps)
    origin = {
        "model_id": source.model_id,
        "run_id": source.run_id,
        "period": study.period.name,
    }
    merged = [
        {
            **row,
            **own,
            **origin,
            **{name: column[place] for name, column in values.items()},
            "candidate_id": names.ids[place],
            "replaces": names.replaces[place],
            "n_periods_found": 1
            + sum(bool((other["candidate_id"] == names.ids[place]).any()) for other in others),
            "geometry": outlines.iloc[place],
            **decided[place],
        }
        for place, (row, own) in enumerate(
            zip(rows, ground_of(drawn, splits, study.grid), strict=True)
        )
    ]
    waiting = [row for row, own in zip(merged, decided, strict=True) if not own]
    queue = iter(review_queue(waiting, threshold=source.threshold))
    table = table_of(
        [row if own else {**row, **next(queue)} for row, own in zip(merged, decided, strict=True)],
        extra=extra,
    )
    facts: dict[str, Any] = {
        "objects": len(table),
        "area_km2": round(float(table["area_km2"].sum()), 4),
        "threshold": source.threshold,
        "dropped_small": drawn.small,
        "dropped_outside": drawn.outside,
        "kept_ids": 0
        if previous is None
        else int(np.isin(names.ids, previous["candidate_id"]).sum()),
        "to_review": int(table["review_reason"].notna().sum()),
    }
    facts["version"] = _write_changes(study, history, names, source)
    write_json(study.inventory_path / "reviews.json", review_counts(reviews, waiting=len(waiting)))
    matched = _matched(study, table)
    facts |= _write(study, table, points, dict(zip(names.ids, bands, strict=True)), matched)
    write_tables(study, table, drawn, cube, reference=_reference(study), progress=progress)
    facts |= _write_water(study, table)
    return facts | _write_matches(study, table, splits, matched)


def _probability(study: Study) -> zarr.Array[Any]:
    path = study.require(study.prediction_path / "prediction.zarr", stage="predict")
    array = open_group(path)["probability"]
    if not isinstance(array, zarr.Array) or array.dtype != np.uint8:
        raise ContractError(
            f"`probability` of {path.name!r} is not an array of uint8",
            expected="(y, x) uint8 percent, 255 = nodata",
            todo="run the stage `predict` again",
        )
    return array


def _doubts(study: Study) -> dict[str, Any]:
    """Return the layers that an ensemble leaves beside the probability."""
    group = open_group(study.prediction_path / "prediction.zarr")
    return {name: array for name, array in group.arrays() if name in DOUBTS}


def _source(study: Study, bundle: Model | None) -> Source:
    """Say what draws: the threshold of the settings, else that of the model."""
    if bundle is not None:
        model_id, threshold = f"bundle-{bundle.fingerprint}", bundle.threshold
    elif study.prediction_record_path.is_file():
        record = read_json(study.prediction_record_path)
        model_id, threshold = record["model_id"], record["threshold"]
    elif study.selection_path.is_file():
        selection = read_json(study.selection_path)
        model_id = f"{study.config.name}/{selection['network']}/trial-{selection['trial']}"
        threshold = selection["threshold"]
    elif study.config.inventory.threshold is not None:
        model_id, threshold = "unknown", study.config.inventory.threshold
    else:
        raise NotFoundError(
            f"no threshold for the outlines of {study.config.name!r}",
            expected="a selected model, a given one, or inventory.threshold in the study's file",
            todo="run the stage `train`, or set inventory.threshold",
        )
    threshold = float(study.config.inventory.threshold or threshold)
    run_id = fingerprint([study.resolved(), model_id, threshold])
    return Source(threshold=threshold, model_id=model_id, run_id=run_id)


def _previous(study: Study) -> gpd.GeoDataFrame | None:
    return _names_in(study.inventory_path / "inventory.parquet")


def _names_in(path: Path) -> gpd.GeoDataFrame | None:
    if not path.is_file():
        return None
    held = set(pq.read_schema(readable(path)).names)
    columns = [name for name in ("candidate_id", "replaces", "geometry") if name in held]
    return gpd.read_parquet(readable(path), columns=columns)


def _other_periods(study: Study) -> list[gpd.GeoDataFrame]:
    """Return the inventories of the other periods of the study, the latest first."""
    folder = study.inventory_path
    paths = sorted(folder.parent.glob("*/inventory.parquet"), reverse=True)
    tables = [_names_in(path) for path in paths if path.parent.name != folder.name]
    return [table for table in tables if table is not None]


def _history(study: Study) -> pd.DataFrame:
    path = study.inventory_path / "CHANGES.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(CHANGE_COLUMNS))
    return pd.read_csv(readable(path), dtype={"replaces": "string", "run_id": "string"})


def _retired(history: pd.DataFrame, previous: gpd.GeoDataFrame | None) -> frozenset[str]:
    """Return the ids that were ever given.

    Those that the latest version gave and the inventory lacks are still free: the run that gave
    them was stopped before it wrote the inventory, and gives them again now.
    """
    latest = history[
        (history["version"] == history["version"].max()) & (history["change"] != "gone")
    ]
    held = set() if previous is None else set(previous["candidate_id"])
    return frozenset(history["candidate_id"]) - (set(latest["candidate_id"]) - held)


def _write_changes(study: Study, history: pd.DataFrame, names: Names, source: Source) -> int:
    """Add a version to the list of changes if there are any, and return the latest one.

    It goes before the inventory: a run that is stopped in between finds its own changes in the list
    when it comes again, and adds no second version of them.
    """
    version = int(history["version"].max()) if len(history) else 0
    path = study.inventory_path / "CHANGES.csv"
    rows = [{"run_id": source.run_id, **row} for row in names.changes]
    new = pd.DataFrame(rows, columns=[name for name in CHANGE_COLUMNS if name != "version"])
    latest = history[history["version"] == version].drop(columns="version")
    if path.is_file() and (new.empty or new.to_csv(index=False) == latest.to_csv(index=False)):
        return version
    new.insert(0, "version", version + 1)
    # as objects: pandas would guess anew what a column without any value holds
    every = pd.concat([part.astype(object) for part in (history, new) if len(part)] or [new])
    write_text(path, every.to_csv(index=False))
    return version + 1


def _splits(study: Study, bundle: Model | None) -> gpd.GeoDataFrame | None:
    """Return the split of the ground, or None where a given model has seen none of it."""
    if bundle is not None or not study.splits_path.is_file():
        return None
    record = study.prediction_record_path
    if record.is_file() and read_json(record)["out_of_fold"]:
        return tested_cells(study)  # whatever is mapped was held out
    return gpd.read_parquet(readable(study.splits_path))


def _write(
    study: Study,
    table: gpd.GeoDataFrame,
    points: gpd.GeoSeries,
    bands: dict[str, dict[int, int]],
    matched: Matched | None,
) -> dict[str, Any]:
    folder = study.inventory_path
    package, record = folder / "inventory.gpkg", study.receipts_path / "inventory" / "gpkg.json"
    edited = qgis.set_aside_if_edited(package, record)
    geoparquet.write_geoparquet(table, folder / "inventory.parquet")
    qgis.write_geopackage(
        package,
        table,
        points,
        study.area,
        name=study.config.name,
        period=study.period.name,
        reference=None if matched is None else matched.reference[list(REFERENCE_COLUMNS)],
        matches=None if matched is None else matched.links,
        domains=study_domains(study),
    )
    qgis.remember(package, record)
    lines = ["candidate_id,band_from_m,band_to_m,thousandths"]
    lines += [
        f"{name},{low},{low + BAND_M},{n}"
        for name, shares in bands.items()
        for low, n in shares.items()
    ]
    write_text(folder / "hypsometry.csv", "\n".join(lines) + "\n")
    return {"edited_kept": edited.name if edited else None}


def study_domains(study: Study) -> dict[str, tuple[str, ...]]:
    """Return the values that RGIK columns may have in a study."""
    given = study.config.inventory.domains
    return domains_of(study.resolve(given) if given else None)


def _write_water(study: Study, table: gpd.GeoDataFrame) -> dict[str, Any]:
    settings = study.config.inventory.hydrology
    paths = study.inventory_path / "water.csv", study.inventory_path / "water.json"
    for path in paths:
        path.unlink(missing_ok=True)
    if settings is None:
        return {}
    water, summary = water_table(
        table, ice_fraction=settings.ice_fraction, ice_density=settings.ice_density
    )
    write_text(paths[0], water.round(3).to_csv(index=False))
    write_json(paths[1], summary)
    return {"water_at_most_km3": round(summary["water_high_km3"], 6)}


def _reference(study: Study) -> gpd.GeoDataFrame | None:
    if not study.label_table_path.is_file():
        return None
    labels = gpd.read_parquet(readable(study.label_table_path), columns=["used", "geometry"])
    return labels[labels["used"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The inventory beside the reference."""

    comparison: Comparison
    reference: gpd.GeoDataFrame
    """The polygons that count, EPSG:4326."""
    n_ignored: int
    """Candidates on ignored ground, which take no part."""

    @property
    def links(self) -> gpd.GeoDataFrame:
        """The links with their ground, EPSG:4326."""
        links = self.comparison.links
        return gpd.GeoDataFrame(links, geometry=ground_of_links(self.comparison), crs=4326)


def _matched(study: Study, table: gpd.GeoDataFrame) -> Matched | None:
    """Match with the reference, if there is one."""
    if not study.label_table_path.is_file():
        return None
    labels = gpd.read_parquet(readable(study.label_table_path))
    reference = labels[labels["used"]]
    is_ignored = is_on_ignored(table, labels[labels["action"] == "filtered"], study.grid)
    comparison = compare(
        table[~is_ignored], reference, complete_area(study), id_a="candidate_id", id_b="label_id"
    )
    return Matched(comparison=comparison, reference=reference, n_ignored=int(is_ignored.sum()))


def _write_matches(
    study: Study,
    table: gpd.GeoDataFrame,
    splits: gpd.GeoDataFrame | None,
    matched: Matched | None,
) -> dict[str, Any]:
    """Write the links, and the scores of all ground and of each split alone."""
    paths = study.inventory_path / "matches.parquet", study.inventory_path / "matches.json"
    for path in paths:
        path.unlink(missing_ok=True)
    if matched is None:
        return {}
    comparison, reference = matched.comparison, matched.reference
    split_a = table.loc[comparison.objects_a.index, "split"].to_numpy()
    split_b = np.full(len(comparison.objects_b), UNSEEN, dtype=object)
    if splits is not None:
        drawn = reference.loc[comparison.objects_b.index].geometry.to_crs(study.grid.epsg)
        split_b = split_at(drawn.representative_point(), splits, study.grid)
    scores = {"all": summary(comparison)}
    for name in pd.unique(np.concatenate([split_a, split_b])):
        scores[name] = summary(comparison, within_a=split_a == name, within_b=split_b == name)
    geoparquet.write_parquet(comparison.links, paths[0])
    left_out = comparison.left_out | {"ignored_a": matched.n_ignored}
    write_json(paths[1], {"left_out": left_out, **scores})
    facts = {"reference": scores["all"]["n_b"], "matched": scores["all"]["iou_0.5"]["matched_b"]}
    if "test" in scores:
        facts["test_reference"] = scores["test"]["n_b"]
        facts["test_matched"] = scores["test"]["iou_0.5"]["matched_b"]
        facts["test_objects"] = scores["test"]["n_a"]
    return facts


def is_on_ignored(
    table: gpd.GeoDataFrame, ignored: gpd.GeoDataFrame, grid: Grid
) -> NDArray[np.bool_]:
    """Say which candidates lie mostly on reference polygons that the settings filtered out.

    They are neither right nor wrong: the reference has a landform there, of a class not asked for.
    """
    outlines = table.geometry.to_crs(grid.epsg)
    share = outlines.intersection(ignored.to_crs(grid.epsg).union_all()).area / outlines.area
    return (share >= MOSTLY).to_numpy(bool)


def complete_area(study: Study) -> shapely.Geometry:
    """Return where the reference is complete, EPSG:4326."""
    given = study.config.labels.complete_within
    if given is None:
        return study.area
    return study.area.intersection(read_area(study.resolve(given)))
