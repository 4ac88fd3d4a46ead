"""An inventory that people edited, checked and taken over: decisions, outlines, and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely

from rockglacier.errors import InputError
from rockglacier.inventory import qgis
from rockglacier.inventory.domains import RELIABILITIES, REVIEWED, outside_domains
from rockglacier.inventory.export import HASH
from rockglacier.inventory.ids import place_ids
from rockglacier.inventory.match import EQUAL_AREA
from rockglacier.inventory.polygons import POLYGONS, read_outlines
from rockglacier.inventory.reviews import (
    KEPT,
    REVIEW_COLUMNS,
    outline_hash,
    read_reviews,
    review_counts,
    review_table,
    reviews_path,
    write_reviews,
)
from rockglacier.inventory.schema import UNREVIEWED
from rockglacier.inventory.tables import complete_area, study_domains
from rockglacier.labels.columns import named_columns
from rockglacier.study import Study

PRIMARY_ID: Final = re.compile(r"RG[US]\d{6}[NS]\d{7}[EW]")
TWICE: Final = 0.5
"""Intersection over union from which two kept outlines are the same landform."""

SHOWN: Final = 20
"""Problems that a message lists."""

OWN_BEFORE_REVIEW: Final = ("Complet",)
"""Review columns that a run fills as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an import took over."""

    confirmed: int
    edited: int
    rejected: int
    added: int
    """Drawn by a person, where the model drew nothing."""
    proposed: int
    """Primary ids that were proposed."""
    older: int
    """Decisions of the file that are older than the one that is held; left."""
    waiting: int
    """Outlines without a decision."""
    missing: int
    """Outlines of the inventory that the file lacks; they stay as they are."""


def import_edited(study: Study, path: Path, *, today: datetime | None = None) -> Taken:
    """Take over what people decided in an exported GeoPackage.

    Parameters
    ----------
    study
        Whose inventory was exported.
    path
        The GeoPackage: its layer ``outlines``. A GeoPackage of another program is fine if it holds
        the columns ``candidate_id`` and ``status``.
    today
        Date of the decisions that name none; default: now.

    Raises
    ------
    InputError
        Something in the file is not right; then nothing is taken. The message lists what.

    Notes
    -----
    Decisions go to ``reviews.parquet`` beside the inventory, which every later run puts over what a
    model draws. An outline that was moved counts as ``edited``. Of one that was cut in two, the
    larger part keeps the id. A decision is replaced by a later one, never by a run nor by a file
    that lacks it.
    """
    table = _read(study, path)
    problems = _problems(study, table)
    if problems:
        shown = "\n".join(f"    {line}" for line in problems[:SHOWN])
        rest = f"\n    and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(
            f"{len(problems)} problem(s) in {str(path)!r}, so that nothing was taken:\n"
            f"{shown}{rest}",
            todo="mend them in QGIS, save, and import again",
        )
    held = read_reviews(study)
    decided = _identified(table[table["status"].isin(REVIEWED)], study, held)
    decided["review_date"] = decided["review_date"].fillna(_now(today))
    rows, older = _merged(held, decided)
    proposed = _propose_primary_ids(rows)
    reviews = review_table(rows)
    _require_apart(reviews, path)
    write_reviews(study, reviews)
    known = _inventory_ids(study)
    own = decided[decided["origin"] == "model"]
    return Taken(
        **{status: int((own["status"] == status).sum()) for status in REVIEWED},
        added=int((decided["origin"] == "person").sum()),
        proposed=proposed,
        older=older,
        waiting=int((table["status"] == "candidate").sum()),
        missing=len(known - set(table["candidate_id"].dropna())),
    )


def _now(today: datetime | None) -> pd.Timestamp:
    return pd.Timestamp(today or datetime.now(UTC).replace(tzinfo=None)).floor("s")


def _read(study: Study, path: Path) -> gpd.GeoDataFrame:
    """Return the layer with our columns, EPSG:4326, and whether each outline was moved."""
    table = named_columns(read_outlines(str(path), name="the edited inventory"), {}, uri=str(path))
    for name in ("candidate_id", "status"):
        if name not in table:
            raise InputError(
                f"the outlines of {str(path)!r} have no column {name!r}",
                expected="a GeoPackage from `rockglacier export STUDY.yaml --to qgis`",
                todo="export again, and edit that file",
            )
    _require_same_study(study, path)
    for name in REVIEW_COLUMNS:
        if name not in table:
            table[name] = None
    texts = [name for name in REVIEW_COLUMNS if name not in ("review_date", "RelIndex")]
    for name in ("candidate_id", *texts):
        if name in RELIABILITIES:
            continue
        text = table[name].astype("string").str.strip()
        table[name] = text.mask(text == "")
    table["status"] = table["status"].fillna("candidate")
    table["review_date"] = _naive(table["review_date"])
    table = table.to_crs(4326)
    baseline = table[HASH] if HASH in table else pd.Series(None, index=table.index, dtype="string")
    is_new = table["candidate_id"].isna()
    moved = [
        isinstance(before, str) and bool(before) and _hash_or_empty(shape) != before
        for before, shape in zip(baseline, table.geometry, strict=True)
    ]
    table["is_moved"] = moved
    # a person who drew an outline, or moved one and left its status, decided on it
    table.loc[is_new & (table["status"] == "candidate"), "status"] = "confirmed"
    table.loc[table["is_moved"] & table["status"].isin(["candidate", "confirmed"]), "status"] = (
        "edited"
    )
    return table


def _hash_or_empty(shape: Any) -> str:
    return outline_hash(shape) if shape is not None and not shape.is_empty else ""


def _naive(dates: pd.Series[Any]) -> pd.Series[Any]:
    found = pd.to_datetime(dates, errors="coerce", utc=True)
    return found.dt.tz_localize(None).astype("datetime64[ms]")


def _require_same_study(study: Study, path: Path) -> None:
    if path.suffix != ".gpkg" or "aoi" not in qgis.layers_of(path):
        return
    area = gpd.read_file(path, layer="aoi", ignore_geometry=True)
    ours = study.config.name, study.period.name
    if not {"name", "period"} <= set(area.columns) or area.empty:
        return
    theirs = str(area["name"].iloc[0]), str(area["period"].iloc[0])
    if theirs != ours:
        raise InputError(
            f"{str(path)!r} holds the inventory of {' '.join(theirs)}",
            expected=f"that of {' '.join(ours)}",
            todo="name the study that it was exported from",
        )


def _problems(study: Study, table: gpd.GeoDataFrame) -> list[str]:
    lines = []
    names = table["candidate_id"].fillna("a new outline").tolist()
    box = shapely.box(*study.grid.bounds)
    in_grid = table.geometry.to_crs(study.grid.epsg)
    for name, shape, place in zip(names, table.geometry, in_grid, strict=True):
        if shape is None or shape.is_empty:
            lines.append(f"{name}: has no outline; set its status to rejected, or draw it")
        elif shape.geom_type not in POLYGONS:
            lines.append(f"{name}: is a {shape.geom_type}, and may be a polygon")
        elif not shape.is_valid:
            lines.append(f"{name}: {shapely.is_valid_reason(shape)}")
        elif not place.intersects(box):
            lines.append(f"{name}: lies outside the study's grid")
    lines += outside_domains(table, study_domains(study))
    known = _known_ids(study)
    lines += [
        f"{name}: no such candidate in this study" for name in names
        if name != "a new outline" and name not in known
    ]  # fmt: skip
    for name, row in zip(names, table.to_dict("records"), strict=True):
        if row["status"] in REVIEWED and pd.isna(row["reviewer"]):
            lines.append(f"{name}: is {row['status']}, and names no reviewer")
        if row["status"] == "candidate" and (filled := _filled(row)):
            lines.append(f"{name}: has {', '.join(filled)} and is a candidate: set its status")
        if not pd.isna(row["PrimaryID"]) and not PRIMARY_ID.fullmatch(str(row["PrimaryID"])):
            lines.append(f"{name}: PrimaryID {row['PrimaryID']!r} is not like RGU361000N0745234E")
    given = table.loc[table["status"].isin(KEPT), "PrimaryID"].dropna()
    lines += [
        f"PrimaryID {name} is given {count} times"
        for name, count in given.value_counts().items()
        if count > 1 and not _is_cut(table, str(name))
    ]
    return lines


def _is_cut(table: gpd.GeoDataFrame, primary: str) -> bool:
    """Say whether the outlines of a primary id are parts of one that was cut, and moved all."""
    parts = table[table["PrimaryID"] == primary]
    return parts["candidate_id"].nunique() == 1 and bool(parts["candidate_id"].notna().all())


def _filled(row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a candidate that a person filled."""
    return [
        name
        for name in REVIEW_COLUMNS
        if name not in OWN_BEFORE_REVIEW
        and not pd.isna(row[name])
        and row[name] != UNREVIEWED.get(name)
    ]


def _known_ids(study: Study) -> set[str]:
    """Return every id that the study's period ever gave."""
    changes = study.inventory_path / "CHANGES.csv"
    known = _inventory_ids(study) | set(read_reviews(study)["candidate_id"])
    if changes.is_file():
        known |= set(pd.read_csv(changes, usecols=["candidate_id"])["candidate_id"])
    return known


def _inventory_ids(study: Study) -> set[str]:
    path = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    return set(pd.read_parquet(path, columns=["candidate_id"])["candidate_id"])


def _identified(table: gpd.GeoDataFrame, study: Study, held: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the decisions with an id each, and who drew them first."""
    table = table.copy()
    size = table.to_crs(EQUAL_AREA).area
    later = table.assign(size=size).sort_values("size", ascending=False)
    is_part = later["candidate_id"].notna() & later.duplicated("candidate_id")
    nameless = later.index[is_part | later["candidate_id"].isna()].sort_values()
    by_person = set(held.loc[held["origin"] == "person", "candidate_id"])
    from_person = table["candidate_id"].isin(by_person) | table["candidate_id"].isna()
    table["origin"] = from_person.map({True: "person", False: "model"})
    # parts of a cut outline are one finding of the model: the part that keeps the id counts
    table.loc[nameless, "origin"] = "person"
    points = table.geometry.representative_point()
    places = [(points[k].x, points[k].y) for k in nameless]
    taken = frozenset(_known_ids(study) | set(table["candidate_id"].dropna()))
    table.loc[nameless, "candidate_id"] = place_ids(places, taken=taken)
    table.loc[nameless[table.loc[nameless, "PrimaryID"].notna()], "PrimaryID"] = None
    return table


def _merged(held: gpd.GeoDataFrame, decided: gpd.GeoDataFrame) -> tuple[list[dict[str, Any]], int]:
    """Return the decisions of both, of two on one outline the later; and how many were older."""
    rows = {row["candidate_id"]: row for row in held.to_dict("records")}
    older = 0
    for row in decided.to_dict("records"):
        before = rows.get(row["candidate_id"])
        if before is not None and before["review_date"] > row["review_date"]:
            older += 1
            continue
        ratings = [row[name] for name in RELIABILITIES]
        if all(not pd.isna(rating) for rating in ratings):
            row["RelIndex"] = sum(int(rating) for rating in ratings)
        rows[row["candidate_id"]] = row
    return list(rows.values()), older


def _propose_primary_ids(rows: list[dict[str, Any]]) -> int:
    """Give kept outlines without a primary id one of their own, and return how many."""
    without = [row for row in rows if row["status"] in KEPT and pd.isna(row["PrimaryID"])]
    taken = frozenset(f"RGC{row['PrimaryID'][3:]}" for row in rows if not pd.isna(row["PrimaryID"]))
    points = [row["geometry"].representative_point() for row in without]
    ids = place_ids([(point.x, point.y) for point in points], taken=taken)
    for row, name in zip(without, ids, strict=True):
        row["PrimaryID"] = f"RGU{name[3:]}"
    return len(without)


def _require_apart(reviews: gpd.GeoDataFrame, path: Path) -> None:
    """Refuse two kept outlines that are one landform, or share a primary id."""
    kept = reviews[reviews["status"].isin(KEPT)].to_crs(EQUAL_AREA).reset_index(drop=True)
    shapes = kept.geometry.to_numpy()
    lines = [
        f"{kept['candidate_id'][one]} and {kept['candidate_id'][other]} are the same ground"
        for one, other in shapely.STRtree(shapes).query(shapes, predicate="intersects").T
        if one < other
        and shapes[one].intersection(shapes[other]).area
        >= TWICE * shapes[one].union(shapes[other]).area
    ]
    primary = kept["PrimaryID"].value_counts()
    lines += [f"PrimaryID {name} is given {n} times" for name, n in primary.items() if n > 1]
    if lines:
        raise InputError(
            f"{len(lines)} problem(s) in {str(path)!r}, so that nothing was taken:\n"
            + "\n".join(f"    {line}" for line in lines[:SHOWN]),
            todo="reject one of them, or cut the other",
        )


def write_corrected(study: Study) -> tuple[Path, Path]:
    """Write labels with the corrections in them, and return the files of both settings.

    Parameters
    ----------
    study
        With decisions; with a reference if it learned from one.

    Returns
    -------
    reference, complete_within
        ``reviewed/outlines.gpkg``: the reference, with the outlines that people kept in the place
        of those that they lie on, and without those that lie mostly on rejected ones.
        ``reviewed/complete.gpkg``: where that is complete: where the reference is, and wherever
        something was reviewed.
    """
    reviews = read_reviews(study)
    folder = reviews_path(study).with_name("reviewed")
    kept = reviews[reviews["status"].isin(KEPT)]
    labels = study.config.labels
    known = gpd.GeoDataFrame(geometry=gpd.GeoSeries([], crs=4326), crs=4326)
    complete = shapely.union_all(reviews.geometry.to_numpy())
    if labels.reference is not None:
        uri = study.resolve(labels.reference)
        known = read_outlines(uri, name="the reference").to_crs(4326)
        known = known[known.geom_type.isin(POLYGONS) & ~known.geometry.is_empty]
        known = known.set_geometry(shapely.make_valid(shapely.force_2d(known.geometry.to_numpy())))
        known = known[~_replaced(known.geometry, reviews.geometry)]
        complete = complete.union(complete_area(study))
    ours = kept[["candidate_id", "PrimaryID", "OutType", "status", "reviewer", "geometry"]].copy()
    for name, accepted in labels.where.items():
        if name not in ours:
            ours[name] = accepted[0]  # else the study's own filter would drop what people drew
    ours = ours.rename(columns={a: b for a, b in labels.columns.items() if a in ours})
    parts = [part for part in (known, ours) if len(part)] or [ours]
    together = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry", crs=4326)
    together = together.drop(columns=[k for k in together if str(k).casefold() == "fid"])
    paths = folder / "outlines.gpkg", folder / "complete.gpkg"
    tables = together, gpd.GeoDataFrame(geometry=[complete], crs=4326)
    folder.mkdir(parents=True, exist_ok=True)
    for path, table in zip(paths, tables, strict=True):
        partial = path.with_name(f"{path.stem}.partial.gpkg")
        partial.unlink(missing_ok=True)
        table.to_file(
            partial,
            layer=path.stem,
            driver="GPKG",
            geometry_type="MultiPolygon",
            promote_to_multi=True,
        )
        partial.replace(path)
    return paths


def _replaced(known: gpd.GeoSeries, reviewed: gpd.GeoSeries) -> pd.Series[bool]:
    """Say which known outlines lie mostly on reviewed ones, or hold most of one."""
    known_m, reviewed_m = (shapes.to_crs(EQUAL_AREA).to_numpy() for shapes in (known, reviewed))
    found = pd.Series(data=False, index=known.index)
    for place, other in shapely.STRtree(reviewed_m).query(known_m, predicate="intersects").T:
        shared = known_m[place].intersection(reviewed_m[other]).area
        if shared >= TWICE * min(known_m[place].area, reviewed_m[other].area):
            found.iloc[place] = True
    return found


def settings_of(files: tuple[Path, Path]) -> str:
    """Return the settings of a study that learns from the files of :func:`write_corrected`."""
    return f"labels:\n  reference: {files[0]}\n  complete_within: {files[1]}"


def precision_line(study: Study) -> str:
    """Return the share of the reviewed outlines that are rock glaciers, in words."""
    waiting = len(_inventory_ids(study) - set(read_reviews(study)["candidate_id"]))
    counts = review_counts(read_reviews(study), waiting=waiting)
    if not counts["reviewed"]:
        return "precision: no outline of the model is reviewed yet"
    right = counts["confirmed"] + counts["edited"]
    return (
        f"precision: {counts['precision']:.2f} ({right} of {counts['reviewed']} reviewed, 95 % "
        f"interval {counts['precision_low']:.2f} to {counts['precision_high']:.2f}; the queue "
        "begins with the doubtful ones, so that it says little before all are reviewed)"
    )


def lines_of(taken: Taken) -> list[str]:
    """Return what was taken, in lines for people."""
    lines = [
        (
            f"{taken.confirmed} confirmed, {taken.edited} edited, {taken.rejected} rejected, "
            f"{taken.added} added; {taken.waiting} wait for a decision"
        ),
    ]
    if taken.proposed:
        lines.append(f"{taken.proposed} PrimaryID(s) were proposed")
    if taken.older:
        lines.append(f"{taken.older} decision(s) are older than the one held, and were left")
    if taken.missing:
        lines.append(
            f"{taken.missing} outline(s) of the inventory are not in the file, and stay as they "
            "are: to be rid of one, set its status to rejected"
        )
    return lines
