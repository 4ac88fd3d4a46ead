"""In how many periods a landform was found, said by the inventory of each."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from rockglacier.inventory import geoparquet, qgis
from rockglacier.inventory.about import about_inventory
from rockglacier.scenes.record import read_table
from rockglacier.storage import listing, local_copy, uploaded
from rockglacier.study import Study

COLUMN = "n_periods_found"


def count_periods(study: Study) -> None:
    """Write into the inventories of a study in how many of them each landform is.

    An inventory that is drawn before that of another period cannot know it.

    Parameters
    ----------
    study
        With an inventory of every period; one of other days counts as another period, too.
    """
    if len(study.periods) == 1:
        return
    paths = [folder / "inventory.parquet" for folder in listing(study.inventory_path.parent)]
    tables = [read_table(path, ["candidate_id"]) for path in paths if path.is_file()]
    counts = Counter(name for table in tables for name in table["candidate_id"])
    for one in study.each_period():
        path = one.inventory_path / "inventory.parquet"
        table = read_table(path)
        found = table["candidate_id"].map(counts).astype("Int64")
        if not found.equals(table[COLUMN]):
            geoparquet.write_geoparquet(
                table.assign(**{COLUMN: found}), path, about=about_inventory(one)
            )
            package = one.inventory_path / "inventory.gpkg"
            _write_column(package, dict(zip(table["candidate_id"], found, strict=True)))
            qgis.remember(package, one.receipts_path / "inventory" / "gpkg.json")


def _write_column(package: Path, found: Mapping[str, int]) -> None:
    """Update one column of the outlines of a GeoPackage."""
    with local_copy(package) as held, uploaded(package) as partial:
        shutil.copyfile(held, partial)
        with closing(sqlite3.connect(partial)) as data, data:
            for name in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):
                # triggers name them, and call them where a geometry changes: none does
                data.create_function(f"ST_{name}", 1, None)
            data.executemany(
                f"UPDATE outlines SET {COLUMN} = ? WHERE candidate_id = ?",  # noqa: S608 - ours
                [(int(number), name) for name, number in found.items()],
            )
