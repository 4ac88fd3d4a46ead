"""The versions of an inventory: what was there before, and what became of every landform."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow.parquet as pq

from rockglacier.inventory.ids import CHANGE_COLUMNS, Names
from rockglacier.inventory.sources import Source
from rockglacier.storage import readable, write_text
from rockglacier.study import Study


def previous_names(study: Study) -> gpd.GeoDataFrame | None:
    """Return ids and outlines of the inventory that is there, or None."""
    return _names_in(study.inventory_path / "inventory.parquet")


def _names_in(path: Path) -> gpd.GeoDataFrame | None:
    if not path.is_file():
        return None
    held = set(pq.read_schema(readable(path)).names)
    columns = [name for name in ("candidate_id", "replaces", "geometry") if name in held]
    return gpd.read_parquet(readable(path), columns=columns)


def other_periods(study: Study) -> list[gpd.GeoDataFrame]:
    """Return the inventories of the other periods of the study, the latest first."""
    folder = study.inventory_path
    paths = sorted(folder.parent.glob("*/inventory.parquet"), reverse=True)
    tables = [_names_in(path) for path in paths if path.parent.name != folder.name]
    return [table for table in tables if table is not None]


def history_of(study: Study) -> pd.DataFrame:
    """Return the list of changes, empty before the first version."""
    path = study.inventory_path / "CHANGES.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(CHANGE_COLUMNS))
    return pd.read_csv(readable(path), dtype={"replaces": "string", "run_id": "string"})


def retired_ids(history: pd.DataFrame, previous: gpd.GeoDataFrame | None) -> frozenset[str]:
    """Return the ids that were ever given.

    Those that the latest version gave and the inventory lacks are still free: the run that gave
    them was stopped before it wrote the inventory, and gives them again now.
    """
    latest = history[
        (history["version"] == history["version"].max()) & (history["change"] != "gone")
    ]
    held = set() if previous is None else set(previous["candidate_id"])
    return frozenset(history["candidate_id"]) - (set(latest["candidate_id"]) - held)


def write_changes(study: Study, history: pd.DataFrame, names: Names, source: Source) -> int:
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
