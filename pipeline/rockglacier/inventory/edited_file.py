"""The outlines of an inventory that people edited, read and checked before any is taken over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely

from rockglacier.errors import InputError
from rockglacier.inventory import qgis
from rockglacier.inventory.domains import RELIABILITIES, REVIEWED, outside_domains
from rockglacier.inventory.export import HASH
from rockglacier.inventory.polygons import read_outlines
from rockglacier.inventory.reviews import KEPT, REVIEW_COLUMNS, outline_hash, read_reviews
from rockglacier.inventory.schema import UNREVIEWED
from rockglacier.inventory.tables import study_domains
from rockglacier.labels.columns import named_columns
from rockglacier.storage.vector import POLYGONS
from rockglacier.study import Study

PRIMARY_ID: Final = re.compile(r"RG[US]\d{6}[NS]\d{7}[EW]")

OWN_BEFORE_REVIEW: Final = ("Complet",)
"""Review columns that a run fills as well."""


def read_edited(study: Study, path: Path) -> gpd.GeoDataFrame:
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


def problems_of(study: Study, table: gpd.GeoDataFrame) -> list[str]:
    """Say what is not right with outlines of :func:`read_edited`, a line each."""
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
    known = known_ids(study)
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


def known_ids(study: Study) -> set[str]:
    """Return every id that the study's period ever gave."""
    changes = study.inventory_path / "CHANGES.csv"
    known = inventory_ids(study) | set(read_reviews(study)["candidate_id"])
    if changes.is_file():
        known |= set(pd.read_csv(changes, usecols=["candidate_id"])["candidate_id"])
    return known


def inventory_ids(study: Study) -> set[str]:
    """Return the ids of the inventory as it is."""
    path = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    return set(pd.read_parquet(path, columns=["candidate_id"])["candidate_id"])
