"""Tables as Parquet, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rockglacier.storage import uploaded

ROW_GROUP = 50_000
"""Rows read together; the bounding boxes let a reader skip the groups it does not need."""


def hilbert_order(geometry: gpd.GeoSeries) -> NDArray[np.int64]:
    """Return the order of geometries along a Hilbert curve: neighbours lie together in the file."""
    if len(geometry) < 2:
        return np.arange(len(geometry))
    return np.argsort(geometry.hilbert_distance().to_numpy(), kind="stable")


def write_geoparquet(
    table: gpd.GeoDataFrame, path: Path, *, about: Mapping[str, str] | None = None
) -> None:
    """Write GeoParquet 1.1: EPSG:4326, bounding box column, zstd, in the order of the rows.

    Parameters
    ----------
    table
        EPSG:4326; may have no rows.
    path
        Replaced as a whole.
    about
        Key-value metadata of the file, e.g. ``license`` and ``attribution``.
    """
    with uploaded(path) as partial:
        table.to_parquet(
            partial,
            index=False,
            compression="zstd",
            schema_version="1.1.0",
            write_covering_bbox=True,
            row_group_size=ROW_GROUP,
        )
        if about:
            held = pq.read_table(partial)
            pq.write_table(
                held.replace_schema_metadata({**held.schema.metadata, **about}),
                partial,
                compression="zstd",
                row_group_size=ROW_GROUP,
            )


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table without geometry."""
    with uploaded(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")
