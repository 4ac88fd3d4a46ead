"""Columns and rows of a table, in the terms of STAC."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from rockglacier.inventory.schema import COLUMNS
from rockglacier.storage import readable
from rockglacier_stac import extensions
from rockglacier_stac.extensions import Json


def table_of(path: Path) -> Json:
    """Return what a GeoParquet file holds: columns with types and meanings, number of rows."""
    file = pq.ParquetFile(readable(path))
    columns = [
        (field.name, _type_name(str(field.type)), _description(field.name))
        for field in file.schema_arrow
    ]
    return extensions.table(columns=columns, geometry="geometry", rows=file.metadata.num_rows)


def _type_name(name: str) -> str:
    return "struct" if name.startswith("struct") else name


def _description(name: str) -> str:
    if name in COLUMNS:
        return COLUMNS[name].description
    return {"geometry": "Outline, EPSG:4326, WKB.", "bbox": "Box of the outline."}.get(name, "")
