"""An inventory that people edited, checked and taken over: decisions, outlines, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely

from rockglacier.errors import InputError
from rockglacier.inventory.domains import RELIABILITIES, REVIEWED
from rockglacier.inventory.edited_file import (
    in_period_of,
    inventory_ids,
    inventory_outlines,
    known_ids,
    problems_of,
    read_edited,
)
from rockglacier.inventory.ids import place_ids
from rockglacier.inventory.match import EQUAL_AREA, compare
from rockglacier.inventory.reviews import (
    KEPT,
    REVIEW_COLUMNS,
    decided_on,
    outline_hash,
    read_reviews,
    review_counts,
    review_table,
    write_reviews,
)
from rockglacier.study import Study

TWICE: Final = 0.5
"""Intersection over union from which two kept outlines are the same landform."""

SHOWN: Final = 20
"""Problems that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an import took over."""

    confirmed: int
    edited: int
    rejected: int
    added: int
    """Drawn by a person, where the model drew nothing."""
    again: tuple[str, ...]
    """Outlines without an id that were taken for those that people had drawn there before."""
    proposed: int
    """Primary ids that were proposed."""
    older: tuple[str, ...]
    """Outlines on which the file has an older decision than the one that is held, which stays."""
    waiting: int
    """Outlines without a decision."""
    missing: int
    """Outlines of the inventory that the file lacks; they stay as they are."""


def import_edited(study: Study, path: Path, *, today: datetime | None = None) -> Taken:
    """Take over what people decided in an exported GeoPackage.

    Parameters
    ----------
    study
        Whose inventory was exported; of several periods the one that the file names is meant.
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
    that lacks it. A file may be taken over again: what it says as before stays as it was, and an
    outline without an id is the one that was drawn there before.
    """
    study = in_period_of(study, path)
    table = read_edited(study, path)
    problems = problems_of(study, table)
    if problems:
        shown = "\n".join(f"    {line}" for line in problems[:SHOWN])
        rest = f"\n    and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(
            f"{len(problems)} problem(s) in {str(path)!r}, so that nothing was taken:\n"
            f"{shown}{rest}",
            todo="mend them in QGIS, save, and import again",
        )
    held = read_reviews(study)
    decided, again = _identified(table[table["status"].isin(REVIEWED)], study, held)
    rows, older = _merged(held, decided.drop(columns="date_given"), now=_now(today))
    proposed = _propose_primary_ids(rows, _primary_ids_elsewhere(study))
    reviews = review_table(rows)
    _require_apart(reviews, path)
    write_reviews(study, reviews)
    own = decided[decided["origin"] == "model"]
    return Taken(
        **{status: int((own["status"] == status).sum()) for status in REVIEWED},
        added=int((decided["origin"] == "person").sum()),
        again=again,
        proposed=proposed,
        older=older,
        waiting=int((table["status"] == "candidate").sum()),
        missing=_missing(study, table, reviews),
    )


def _now(today: datetime | None) -> pd.Timestamp:
    return pd.Timestamp(today or datetime.now(UTC).replace(tzinfo=None)).floor("s")


def _identified(
    table: gpd.GeoDataFrame, study: Study, held: gpd.GeoDataFrame
) -> tuple[gpd.GeoDataFrame, tuple[str, ...]]:
    """Return the decisions with an id each and who drew them first; and which were known again."""
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
    table.loc[nameless[table.loc[nameless, "PrimaryID"].notna()], "PrimaryID"] = None
    again = _drawn_before(
        table.loc[nameless], held[~held["candidate_id"].isin(table["candidate_id"])]
    )
    table.loc[nameless, "candidate_id"] = again
    nameless = nameless[again.isna()]
    points = table.geometry.representative_point()
    places = [(points[k].x, points[k].y) for k in nameless]
    taken = frozenset(known_ids(study) | set(table["candidate_id"].dropna()))
    table.loc[nameless, "candidate_id"] = place_ids(places, taken=taken)
    return table, tuple(sorted(again.dropna()))


def _drawn_before(nameless: gpd.GeoDataFrame, held: gpd.GeoDataFrame) -> pd.Series[str]:
    """Return the ids of outlines that a person drew and that were imported before, else NA.

    The file in which they were drawn knows nothing of the ids that they got.
    """
    drawn = held[held["origin"] == "person"]
    ids = pd.Series(pd.NA, index=nameless.index, dtype="string")
    if len(nameless) and len(drawn):
        now = gpd.GeoDataFrame(
            {"row": nameless.index}, geometry=nameless.geometry.to_numpy(), crs=4326
        )
        links = compare(now, drawn, id_a="row", id_b="candidate_id").links
        matched = links[links["relation"] == "matched"]
        ids.loc[matched["id_a"].astype(int)] = matched["id_b"].to_numpy()
    return ids


def _merged(
    held: gpd.GeoDataFrame, decided: gpd.GeoDataFrame, *, now: pd.Timestamp
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the decisions of both, of two on one outline the later; and which were older.

    A decision without a date is of ``now``, or of the same date as before if it is the same.
    """
    rows = {row["candidate_id"]: row for row in held.to_dict("records")}
    older = []
    for row in decided.to_dict("records"):
        ratings = [row[name] for name in RELIABILITIES]
        if all(not pd.isna(rating) for rating in ratings):
            row["RelIndex"] = sum(int(rating) for rating in ratings)
        before = rows.get(row["candidate_id"])
        if before is not None and pd.isna(row["PrimaryID"]):
            row["PrimaryID"] = before["PrimaryID"]
        if pd.isna(row["review_date"]):
            was_told = before is not None and _is_same(before, row)
            row["review_date"] = rows[row["candidate_id"]]["review_date"] if was_told else now
        if before is not None and before["review_date"] > row["review_date"]:
            older.append(str(row["candidate_id"]))
            continue
        rows[row["candidate_id"]] = row
    return list(rows.values()), tuple(older)


def _is_same(before: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Say whether two decisions on an outline differ in nothing but their dates."""
    names = [name for name in REVIEW_COLUMNS if name != "review_date"]
    is_alike = all(
        (pd.isna(before[name]) and pd.isna(row[name])) or str(before[name]) == str(row[name])
        for name in names
    )
    return is_alike and outline_hash(before["geometry"]) == outline_hash(row["geometry"])


def _missing(study: Study, table: gpd.GeoDataFrame, reviews: gpd.GeoDataFrame) -> int:
    """Count the outlines of the inventory that a file lacks and that nobody decided on."""
    left = inventory_outlines(study)
    left = left[
        ~left["candidate_id"].isin([*table["candidate_id"].dropna(), *reviews["candidate_id"]])
    ]
    return int((~decided_on(left.geometry, reviews, study.grid)).sum())


def _primary_ids_elsewhere(study: Study) -> dict[str, str]:
    """Return the primary ids that landforms have in the other periods, by candidate."""
    others = [one for one in study.each_period() if one.period != study.period]
    tables = [read_reviews(one).dropna(subset=["PrimaryID"]) for one in others]
    return {
        name: primary
        for table in tables
        for name, primary in zip(table["candidate_id"], table["PrimaryID"], strict=True)
    }


def _propose_primary_ids(rows: list[dict[str, Any]], elsewhere: Mapping[str, str]) -> int:
    """Give kept outlines without a primary id theirs of another period, or one of their own.

    Returns
    -------
    int
        How many.
    """
    taken = {row["PrimaryID"] for row in rows if not pd.isna(row["PrimaryID"])}
    without = [row for row in rows if row["status"] in KEPT and pd.isna(row["PrimaryID"])]
    nameless = []
    for row in without:
        primary = elsewhere.get(row["candidate_id"])
        if primary is None or primary in taken:
            nameless.append(row)
        else:
            row["PrimaryID"] = primary
            taken.add(primary)
    points = [row["geometry"].representative_point() for row in nameless]
    used = frozenset(f"RGC{primary[3:]}" for primary in taken | set(elsewhere.values()))
    ids = place_ids([(point.x, point.y) for point in points], taken=used)
    for row, name in zip(nameless, ids, strict=True):
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


def precision_line(study: Study) -> str:
    """Return the share of the reviewed outlines that are rock glaciers, in words."""
    waiting = len(inventory_ids(study) - set(read_reviews(study)["candidate_id"]))
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
    if taken.again:
        lines.append(
            f"{len(taken.again)} outline(s) without an id are those that people drew there before: "
            f"{', '.join(taken.again[:SHOWN])}"
        )
    if taken.proposed:
        lines.append(f"{taken.proposed} PrimaryID(s) were proposed")
    if taken.older:
        lines.append(
            f"{len(taken.older)} decision(s) are older than the one held, and were left: "
            f"{', '.join(taken.older[:SHOWN])}; to take one, set its review_date to today"
        )
    if taken.missing:
        lines.append(
            f"{taken.missing} outline(s) of the inventory are not in the file, and stay as they "
            "are: to be rid of one, set its status to rejected"
        )
    return lines
