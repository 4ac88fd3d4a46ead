"""The outlines of an inventory that people edited, read and checked before any is taken over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.inventory.domains import RELIABILITIES, REVIEWED, outside_domains
from rockglacier.inventory.export import HASH
from rockglacier.inventory.polygons import AREA, read_outlines
from rockglacier.inventory.reviews import KEPT, REVIEW_COLUMNS, outline_hash, read_reviews
from rockglacier.inventory.schema import UNREVIEWED
from rockglacier.inventory.tables import study_domains
from rockglacier.labels.columns import named_columns
from rockglacier.storage import readable
from rockglacier.storage.vector import POLYGONS, in_degrees, layers_of
from rockglacier.study import Study

WHAT: Final = "the edited inventory"
OUTLINES: Final = "outlines"
NEEDED: Final = ("candidate_id", "status")
SAME_DEG: Final = 1e-8
"""Degrees, a millimetre: as far off as an outline comes back from another CRS."""

PRIMARY_ID: Final = re.compile(r"RG[US]\d{6}[NS]\d{7}[EW]")

OWN_BEFORE_REVIEW: Final = ("Complet",)
"""Review columns that a run fills as well."""


def in_period_of(study: Study, path: Path) -> Study:
    """Return the study in the period that an edited file was exported from, else in its last one.

    Raises
    ------
    InputError
        The file is of another study, or of another period than the one that was chosen.
    """
    said = _said_of(path)
    if said is None:
        return study if study.chosen else study.of_period(None)
    name, period = said
    wanted = study.chosen.name if study.chosen else period
    if (name, period) != (study.config.name, wanted):
        raise InputError(
            f"{str(path)!r} holds the inventory of {name}, {period}",
            expected=f"that of {study.config.name}, {wanted}",
            todo="name the study and the period that it was exported from",
        )
    return study.of_period(period)


def _said_of(path: Path) -> tuple[str, str] | None:
    """Return the study and the period that an exported file names."""
    if AREA not in layers_of(str(path), what=WHAT):
        return None
    area = gpd.read_file(path, layer=AREA, ignore_geometry=True)
    if not {"name", "period"} <= set(area.columns) or area.empty:
        return None
    return str(area["name"].iloc[0]), str(area["period"].iloc[0])


def read_edited(study: Study, path: Path) -> gpd.GeoDataFrame:
    """Return the layer with our columns, EPSG:4326, and whether each outline was moved."""
    table = read_outlines(str(path), name=WHAT, layer=_layer_of(path))
    table = named_columns(table, {}, uri=str(path))
    for name in NEEDED:
        if name not in table:
            raise InputError(
                f"the outlines of {str(path)!r} have no column {name!r}",
                expected="a GeoPackage from `rockglacier export STUDY.yaml --to qgis`",
                todo="edit that file; in a Shapefile, names of columns are cut to ten letters",
            )
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
    table["date_given"] = table["review_date"]
    table["review_date"] = _naive(table["review_date"])
    table = table.set_geometry(shapely.force_2d(table.geometry.to_numpy()), crs=table.crs)
    table = table.set_geometry(in_degrees(table.geometry))
    is_new = table["candidate_id"].isna()
    table["is_moved"], shapes = _moved(study, table)
    table = table.set_geometry(gpd.GeoSeries(shapes, index=table.index, crs=4326))
    # a person who drew an outline, or moved one and left its status, decided on it
    table.loc[is_new & (table["status"] == "candidate"), "status"] = "confirmed"
    table.loc[table["is_moved"] & table["status"].isin(["candidate", "confirmed"]), "status"] = (
        "edited"
    )
    return table


def _layer_of(path: Path) -> str | None:
    """Return the layer that was exported as ``outlines``, by its columns if it was renamed."""
    layers = layers_of(str(path), what=WHAT)
    ours = [
        name
        for name, kind in layers.items()
        if "Point" not in kind
        and set(NEEDED) <= set(pyogrio.read_info(path, layer=name)["fields"].tolist())
    ]
    if len(ours) > 1 and OUTLINES not in ours:
        raise InputError(
            f"{str(path)!r} has {len(ours)} layers of outlines: {', '.join(ours)}",
            expected=f"one, or one that is called {OUTLINES!r}",
            todo=f"rename the layer that you edited to {OUTLINES!r}, or remove the others",
        )
    return OUTLINES if OUTLINES in ours else next(iter(ours), None)


def _moved(study: Study, table: gpd.GeoDataFrame) -> tuple[list[bool], list[BaseGeometry | None]]:
    """Say which outlines (EPSG:4326) are no longer where they were when they were exported.

    Returns
    -------
    is_moved, outlines
        Those of the file, or as the inventory has them: one in another CRS comes back a little off,
        and one that was rejected may have none.

    Notes
    -----
    A file that another program wrote may lack what was exported: then they are compared with the
    inventory.
    """
    ours = _outlines_of(study)
    before = table[HASH] if HASH in table else pd.Series(None, index=table.index, dtype="string")
    moved, shapes = [], []
    columns = table["candidate_id"], before, table.geometry, table["status"]
    for name, told, shape, status in zip(*columns, strict=True):
        own = None if pd.isna(name) else ours.get(name)
        drawn = None if own is None else outline_hash(own)
        exported = told if isinstance(told, str) and told else drawn
        if exported is None or shape is None or shape.is_empty:
            moved.append(False)
            is_gone = shape is None or shape.is_empty
            shapes.append(own if is_gone and status == "rejected" else shape)
            continue
        is_near = drawn == exported and shapely.hausdorff_distance(own, shape) < SAME_DEG
        moved.append(not is_near and outline_hash(shape) != exported)
        shapes.append(own if is_near else shape)
    return moved, shapes


def _outlines_of(study: Study) -> dict[str, BaseGeometry]:
    """Return the outlines of the inventory and of the decisions by id, EPSG:4326."""
    tables = [inventory_outlines(study), read_reviews(study)]
    return {
        name: shape
        for table in reversed(tables)
        for name, shape in zip(table["candidate_id"], table.geometry, strict=True)
    }


def inventory_outlines(study: Study) -> gpd.GeoDataFrame:
    """Return ids and outlines of the inventory as it is."""
    path = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    return gpd.read_parquet(readable(path), columns=["candidate_id", "geometry"])


def _naive(dates: pd.Series[Any]) -> pd.Series[Any]:
    found = pd.to_datetime(dates, errors="coerce", format="ISO8601", utc=True)
    return found.dt.tz_localize(None).astype("datetime64[ms]")


def problems_of(study: Study, table: gpd.GeoDataFrame) -> list[str]:
    """Say what is not right with outlines of :func:`read_edited`, a line each."""
    lines = []
    names = _called(table)
    box = shapely.box(*study.grid.bounds)
    in_grid = table.geometry.to_crs(study.grid.epsg)
    for name, shape, place in zip(names, table.geometry, in_grid, strict=True):
        if shape is None or shape.is_empty:
            lines.append(f"{name}: has no outline; set its status to rejected, or draw it")
        elif shape.geom_type not in POLYGONS:
            lines.append(f"{name}: is a {shape.geom_type}, and may be a polygon")
        elif not shape.is_valid:
            reason = shapely.is_valid_reason(shape)
            lines.append(f"{name}: is no valid polygon ({reason}); QGIS mends it by Fix geometries")
        elif not place.intersects(box):
            lines.append(
                f"{name}: lies outside the study's grid ({_place(shape)}); was the layer saved "
                "in another CRS than it says?"
            )
    lines += outside_domains(table.assign(candidate_id=names), study_domains(study))
    known, decided = known_ids(study), set(read_reviews(study)["candidate_id"])
    for name, row in zip(names, table.to_dict("records"), strict=True):
        own = row["candidate_id"]
        if not pd.isna(own) and own not in known:
            lines.append(
                f"{name}: no such candidate in {study.config.name}, {study.period.name}; a new "
                "outline has an empty candidate_id"
            )
        if not pd.isna(row["date_given"]) and pd.isna(row["review_date"]):
            lines.append(f"{name}: review_date {row['date_given']!r} is no date like 2026-03-01")
        if row["status"] == "candidate" and own in decided and pd.isna(row.get("review_rank", 0)):
            lines.append(
                f"{name}: was decided on, and is a candidate again; a decision stays until "
                "another one takes its place: confirmed, edited or rejected"
            )
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


def _called(table: gpd.GeoDataFrame) -> list[str]:
    """Return what messages call each outline: a new one, by its place."""
    return [
        f"a new outline ({_place(shape)})" if pd.isna(name) else str(name)
        for name, shape in zip(table["candidate_id"], table.geometry, strict=True)
    ]


def _place(shape: BaseGeometry | None) -> str:
    if shape is None or shape.is_empty:
        return "nowhere"
    west, south, east, north = shape.bounds
    return f"latitude {(south + north) / 2:.4f}, longitude {(west + east) / 2:.4f}"


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
        known |= set(pd.read_csv(readable(changes), usecols=["candidate_id"])["candidate_id"])
    return known


def inventory_ids(study: Study) -> set[str]:
    """Return the ids of the inventory as it is."""
    path = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    return set(pd.read_parquet(readable(path), columns=["candidate_id"])["candidate_id"])
