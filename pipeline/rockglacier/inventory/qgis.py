"""The inventory as a GeoPackage, to look at and to edit in QGIS.

The layers are those of an RGIK inventory: area of interest, primary markers, outlines, and moving
areas, of which a run knows none.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from rockglacier.inventory.schema import MARKER_COLUMNS, MOVING_AREA_COLUMNS
from rockglacier.storage import read_json, write_json

logger = logging.getLogger(__name__)


def write_geopackage(
    path: Path,
    outlines: gpd.GeoDataFrame,
    points: gpd.GeoSeries,
    aoi: BaseGeometry,
    *,
    name: str,
    period: str,
) -> None:
    """Write GeoPackage 1.3 with the layers ``outlines``, ``aoi``, ``markers``, ``moving_areas``.

    Parameters
    ----------
    path
        Replaced as a whole.
    outlines
        The inventory, EPSG:4326.
    points
        A representative point of every outline, EPSG:4326: where a primary marker may go.
    aoi
        The area, EPSG:4326.
    name, period
        Of the study; columns of the layer ``aoi``.
    """
    markers = gpd.GeoDataFrame(outlines[list(MARKER_COLUMNS)], geometry=points.to_numpy(), crs=4326)
    area = gpd.GeoDataFrame({"name": [name], "period": [period]}, geometry=[aoi], crs=4326)
    moving = gpd.GeoDataFrame(
        {column: pd.Series([], dtype="string") for column in MOVING_AREA_COLUMNS},
        geometry=gpd.GeoSeries([], crs=4326),
        crs=4326,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.gpkg")
    partial.unlink(missing_ok=True)
    for layer, table, kind in (
        ("outlines", outlines, "MultiPolygon"),
        ("aoi", area, "MultiPolygon"),
        ("markers", markers, "Point"),
        ("moving_areas", moving, "MultiPolygon"),
    ):
        table.to_file(
            partial,
            layer=layer,
            driver="GPKG",
            engine="pyogrio",
            mode="a" if partial.exists() else "w",
            geometry_type=kind,
            promote_to_multi=kind == "MultiPolygon",
            dataset_options={"VERSION": "1.3"},
        )
    os.replace(partial, path)


def set_aside_if_edited(path: Path, record: Path) -> Path | None:
    """Rename a GeoPackage that was changed since it was written, so that no edit is overwritten.

    Parameters
    ----------
    path
        The GeoPackage.
    record
        JSON of :func:`remember`; without it the file counts as edited.

    Returns
    -------
    Path or None
        Where it is now, if it was renamed.
    """
    if not path.is_file():
        return None
    if record.is_file() and read_json(record).get("sha256") == _sha256(path):
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}-edited-{number}{path.suffix}")).exists():
        number += 1
    os.replace(path, kept)
    logger.warning("%s was edited: kept as %s", path.name, kept.name)
    return kept


def remember(path: Path, record: Path) -> None:
    """Record what was written, for :func:`set_aside_if_edited`."""
    write_json(record, {"file": path.name, "sha256": _sha256(path)})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
