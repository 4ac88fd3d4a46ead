"""The report: one HTML file that holds its figures and loads nothing."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from rockglacier.engine import Progress, silent
from rockglacier.grid import geodesic_area_km2
from rockglacier.prediction.cog import notices
from rockglacier.report import figures
from rockglacier.storage import read_json, write_text
from rockglacier.study import Study

SCORES = (
    "iou_rock_glacier",
    "f1_rock_glacier",
    "miou",
    "mean_recall",
    "mean_precision",
    "accuracy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows for the page, and for a CSV file beside it."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page."""

    title: str
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[dict[str, str], ...] = field(default=())
    leaks: bool = False


def write_report(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Write ``report/index.html`` and a CSV file for each of its tables.

    Parameters
    ----------
    study
        With cube, prediction and inventory; what it has not (labels, models) is left out and said.
    progress
        Told after every section.

    Returns
    -------
    dict
        Size in bytes, sections, and the number of candidates.

    Raises
    ------
    NotFoundError
        There is no inventory.
    """
    path = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    inventory = gpd.read_parquet(path)
    makers = (_map, _scenes, _looks, _scores, _reference, _shape)
    sections = []
    for done, maker in enumerate(makers, start=1):
        sections.append(maker(study, inventory))
        progress("report", done, len(makers))
    page = _render(study, inventory, sections)
    write_text(study.report_path, page)
    for table in (table for section in sections for table in section.tables):
        write_text(study.report_path.parent / f"{table.name}.csv", _as_csv(table))
    return {
        "size_mb": round(len(page.encode()) / 1e6, 3),
        "sections": len(sections),
        "candidates": len(inventory),
    }


def _map(study: Study, inventory: gpd.GeoDataFrame) -> Section:
    return Section(
        title="The basin",
        notes=(
            (
                "Outlines are coloured by the ground on which they lie. Those on training ground "
                "were taught, not found; test and unseen ground was never shown to a network."
            ),
        ),
        figures=(_inline("overview", figures.overview(study, inventory)),),
    )


def _scenes(study: Study, _: gpd.GeoDataFrame) -> Section:
    used = pd.read_parquet(study.scenes_path)
    dropped = pd.read_parquet(study.dropped_path)
    columns = ("id", "datetime", "cloud_cover", "basin_cloud", "offset_in_pixels", "offset_reason")
    return Section(
        title="Scenes",
        notes=(
            (
                f"{len(used)} scenes used, {len(dropped)} found and not used. Cloud over the basin "
                "is counted in the scene classification at full resolution."
            ),
        ),
        tables=(
            _table("scenes", used, columns),
            _table("scenes-dropped", dropped, ("id", "datetime", "cloud_cover", "rule", "reason")),
        ),
    )


def _looks(study: Study, _: gpd.GeoDataFrame) -> Section:
    note = "A block with few looks has a composite that cannot reject what is odd."
    drawn = _inline("looks", figures.looks(study))
    return Section(title="Clear looks and split", notes=(note,), figures=(drawn,))


def _scores(study: Study, _: gpd.GeoDataFrame) -> Section:
    if not study.evaluation_path.is_file():
        return Section(
            title="Scores",
            notes=("No network was trained here: the model was given, its card has its scores.",),
        )
    evaluation = read_json(study.evaluation_path)
    groups = [(evaluation["split"], evaluation["networks"])]
    groups += [("random 9:1 split, leaks", evaluation["random"])] if evaluation["random"] else []
    rows = tuple(
        (ground, name, *(_shown(scores[key]) for key in SCORES))
        for ground, networks in groups
        for name, scores in networks.items()
    )
    notes = [
        (
            f"Ground: {evaluation['split']}, each pixel once, at natural prevalence; threshold and "
            "temperature come from validation ground."
        )
    ]
    for name, leak in evaluation["leak"].items():
        notes.append(
            f"The random split of overlapping chips leaks: it gives {name} an IoU of "
            f"{_shown(leak['random_split_iou'])}; on ground that it never saw the same network "
            f"reaches {_shown(leak['test_iou'])}. Difference: {_shown(leak['leak'])}."
        )
    return Section(
        title="Scores",
        notes=tuple(notes),
        tables=(Table(name="scores", columns=("ground", "network", *SCORES), rows=rows),),
        figures=(_inline("confusion", figures.confusion(evaluation)),),
        leaks=bool(evaluation["leak"]),
    )


def _reference(study: Study, inventory: gpd.GeoDataFrame) -> Section:
    path = study.inventory_path / "matches.json"
    if not path.is_file():
        return Section(title="Against the reference", notes=("There is no reference here.",))
    matches = read_json(path)
    rows = tuple(
        (
            ground,
            scores["n_a"],
            scores["n_b"],
            scores["iou_0.5"]["matched_b"],
            *(_shown(scores["iou_0.5"][key]) for key in ("precision", "recall", "f1")),
            _shown(scores["count_ratio"]),
        )
        for ground, scores in matches.items()
        if isinstance(scores, dict) and "iou_0.5" in scores
    )
    columns = (
        "ground",
        "found",
        "reference",
        "matched",
        "precision",
        "recall",
        "f1",
        "count ratio",
    )
    return Section(
        title="Against the reference",
        notes=(
            (
                "Outlines matched one to one at IoU >= 0.5. Only the rows of test ground say what "
                "the network finds by itself."
            ),
        ),
        tables=(Table(name="matches", columns=columns, rows=rows),),
        figures=(_inline("reference", figures.against_reference(study, inventory)),),
    )


def _shape(_: Study, inventory: gpd.GeoDataFrame) -> Section:
    counts = figures.size_counts(inventory)
    table = Table(name="sizes", columns=("area, km²", "candidates"), rows=tuple(counts.items()))
    return Section(
        title="Sizes, elevations, aspects",
        tables=(table,),
        figures=(_inline("distributions", figures.distributions(inventory)),),
    )


def _table(name: str, frame: pd.DataFrame, columns: Iterable[str]) -> Table:
    chosen = tuple(columns)
    rows = tuple(tuple(_shown(value) for value in row) for row in frame[list(chosen)].to_numpy())
    return Table(name=name, columns=chosen, rows=rows)


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d")
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _inline(title: str, figure: Figure) -> dict[str, str]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return {"title": title, "png": base64.b64encode(buffer.getvalue()).decode()}


def _as_csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return buffer.getvalue()


def _render(study: Study, inventory: gpd.GeoDataFrame, sections: list[Section]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    source = Path(str(files("rockglacier.report") / "page.html")).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        name=study.config.name,
        period=study.config.search.period,
        area_km2=geodesic_area_km2(study.area),
        epsg=study.grid.epsg,
        shape=study.grid.shape,
        resolution=f"{study.grid.resolution:g}",
        facts={
            "candidates": len(inventory),
            "candidate_area_km2": float(inventory["area_km2"].sum()),
        },
        sections=sections,
        notices=notices(study.config),
    )
