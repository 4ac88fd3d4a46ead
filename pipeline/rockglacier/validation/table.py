"""Whether a Parquet file keeps what its GeoParquet metadata say."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from rockglacier.storage import readable
from rockglacier.validation.finding import Finding
from rockglacier_stac import untrusted
from rockglacier_stac.errors import CatalogError

VERSIONS = ("1.1.0",)
EDGES = ("xmin", "ymin", "xmax", "ymax")
TOLERANCE = 1e-4
"""CRS units that a box may be narrower than its geometry: some writers round to float32."""
AGAIN = "write it again, e.g. with GeoPandas: to_parquet(schema_version='1.1.0', \
write_covering_bbox=True)"


def table_findings(
    place: Path | bytes, *, covering: bool = True, plain: bool = False, rows: int | None = None
) -> Iterator[Finding]:
    """Check a GeoParquet file.

    Parameters
    ----------
    place
        File, here or in an object store, or its content.
    covering
        Whether it must have a column of bounding boxes, unless another one has its name; those that
        are there are checked anyway.
    plain
        Whether it may be a table without geometry.
    rows
        How many rows somebody says it has.
    """
    try:
        file = pq.ParquetFile(BytesIO(place) if isinstance(place, bytes) else readable(place))
        yield from _file_findings(file, covering=covering, plain=plain, rows=rows)
    except (pa.ArrowException, OSError) as error:
        yield Finding(
            found=f"it cannot be read: {error}", expected="a Parquet file", todo="make it again"
        )


def _file_findings(
    file: pq.ParquetFile, *, covering: bool, plain: bool, rows: int | None
) -> Iterator[Finding]:
    held = file.metadata.num_rows
    if rows is not None and rows != held:
        yield _wrong(f"the item says {rows} row(s), the file has {held}", "as many as there are")
    metadata = (file.schema_arrow.metadata or {}).get(b"geo")
    if metadata is None:
        if not plain:
            yield _wrong("it has no metadata `geo`", "GeoParquet 1.1")
        return
    try:
        geo = untrusted.loads(metadata, source="its metadata")
        name, column = geo["primary_column"], geo["columns"][geo["primary_column"]]
        yield from _metadata_findings(geo, file.schema_arrow, covering=covering)
    except (CatalogError, LookupError, TypeError, AttributeError) as error:
        yield _wrong(f"its metadata `geo` cannot be read: {error!r}", "GeoParquet 1.1")
        return
    if name not in file.schema_arrow.names:
        return
    if not held and column.get("encoding") == "WKB":
        return
    boxes = _box_column(column)
    names = [name, *([boxes] if boxes in file.schema_arrow.names else [])]
    yield from _row_findings(file.read(columns=names), name, column, boxes)


def _metadata_findings(geo: Any, schema: pa.Schema, *, covering: bool) -> Iterator[Finding]:
    if geo.get("version") not in VERSIONS:
        yield _wrong(f"GeoParquet {geo.get('version')!r}", " or ".join(VERSIONS))
    name = geo["primary_column"]
    column = geo["columns"][name]
    if name not in schema.names:
        yield _wrong(f"there is no column {name!r}, its primary geometry", "the column")
    if column.get("encoding") != "WKB":
        yield _wrong(f"encoding {column.get('encoding')!r}", "WKB, which every reader knows")
    yield from _crs_findings(column)
    boxes = _box_column(column)
    if boxes is None and covering and not _is_taken("bbox", schema):
        yield _wrong(
            "it has no column of bounding boxes (`covering`)",
            "one, so that readers skip what they do not need",
        )
    elif boxes is not None:
        kind: Any = schema.field(boxes).type if boxes in schema.names else None
        fields = [field.name for field in kind] if isinstance(kind, pa.StructType) else []
        if missing := [edge for edge in EDGES if edge not in fields]:
            yield _wrong(
                f"its column of bounding boxes {boxes!r} has no {', '.join(missing)}",
                f"a struct of {', '.join(EDGES)}",
            )


def _is_taken(name: str, schema: pa.Schema) -> bool:
    return name in schema.names and not isinstance(schema.field(name).type, pa.StructType)


def _crs_findings(column: Any) -> Iterator[Finding]:
    if "crs" not in column:  # it is OGC:CRS84 then
        return
    if column["crs"] is None:
        yield _wrong("its CRS is null: unknown", "a CRS as PROJJSON")
        return
    try:
        CRS.from_json_dict(column["crs"])
    except (CRSError, TypeError, ValueError) as error:
        yield _wrong(f"its CRS cannot be read: {error}", "a CRS as PROJJSON")


def _box_column(column: Any) -> str | None:
    covering = (column.get("covering") or {}).get("bbox")
    return None if covering is None else str(covering["xmin"][0])


def _row_findings(table: pa.Table, name: str, column: Any, boxes: str | None) -> Iterator[Finding]:
    held = table.column(name).combine_chunks()
    held = getattr(held, "storage", held)
    try:
        shapes = shapely.from_wkb(held.to_numpy(zero_copy_only=False))
    except (ShapelyError, TypeError) as error:
        yield _wrong(f"its geometries cannot be read: {error}", "WKB")
        return
    invalid = int((~shapely.is_valid(shapes[~shapely.is_missing(shapes)])).sum())
    if invalid:
        yield _wrong(f"{invalid} of {len(shapes)} geometries are invalid", "valid geometries")
    kinds = {shape.geom_type for shape in shapes if shape is not None}
    said = {str(kind).removesuffix(" Z") for kind in column.get("geometry_types") or kinds}
    if kinds - said:
        yield _wrong(f"it holds {', '.join(sorted(kinds - said))}", f"{', '.join(sorted(said))}")
    if boxes in table.column_names:
        struct = table.column(boxes).combine_chunks()
        edges = np.column_stack([_edge(struct, edge) for edge in EDGES])
        outside = _outside(shapely.bounds(shapes), edges)
        if outside:
            yield _wrong(
                f"the boxes of {outside} of {len(shapes)} rows do not hold their geometries",
                "boxes around the geometries",
            )


def _edge(struct: Any, edge: str) -> np.ndarray:
    return np.asarray(struct.field(edge).to_numpy(zero_copy_only=False), float)


def _outside(bounds: np.ndarray, edges: np.ndarray) -> int:
    """Count boxes that do not hold their geometry; NaN, of what is empty, is held by any."""
    low = edges[:, :2] > bounds[:, :2] + TOLERANCE
    high = edges[:, 2:] < bounds[:, 2:] - TOLERANCE
    missing = np.isnan(edges).any(axis=1) & ~np.isnan(bounds).any(axis=1)
    return int((low.any(axis=1) | high.any(axis=1) | missing).sum())


def _wrong(found: str, expected: str) -> Finding:
    return Finding(found=found, expected=expected, todo=AGAIN)
