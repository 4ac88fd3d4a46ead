"""The inventory as a GeoPackage, to look at and to edit in QGIS.

The layers are those of an RGIK inventory: area of interest, primary markers, outlines, and moving
areas, of which a run knows none; and beside them the reference and the links to it, where there is
one.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.inventory.domains import Domains, domains_of
from rockglacier.inventory.qgis_style import style
from rockglacier.inventory.schema import MARKER_COLUMNS, MOVING_AREA_COLUMNS
from rockglacier.storage import is_local, move, read_json, sha256_of, uploaded, write_json

logger = logging.getLogger(__name__)

STYLES: Final = "layer_styles"
"""The table that QGIS reads styles from."""


def write_geopackage(
    path: Path,
    outlines: gpd.GeoDataFrame,
    points: gpd.GeoSeries,
    aoi: BaseGeometry,
    *,
    name: str,
    period: str,
    reference: gpd.GeoDataFrame | None = None,
    matches: gpd.GeoDataFrame | None = None,
    domains: Domains | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write GeoPackage 1.3 with a style for QGIS of every layer inside.

    Parameters
    ----------
    path
        Replaced as a whole.
    outlines
        The inventory, EPSG:4326: layer ``outlines``.
    points
        A representative point of every outline, EPSG:4326: layer ``markers``, where a primary
        marker may go.
    aoi
        The area, EPSG:4326: layer ``aoi``.
    name, period
        Of the study; columns of the layer ``aoi``.
    reference
        Outlines that are known, EPSG:4326: layer ``reference``; None: no such layer.
    matches
        The links between both, EPSG:4326: layer ``matches``; None: no such layer.
    domains
        Values that a form lets choose from; default: those known here.
    about
        Metadata of the file, e.g. ``license`` and ``attribution``.
    """
    markers = gpd.GeoDataFrame(outlines[list(MARKER_COLUMNS)], geometry=points.to_numpy(), crs=4326)
    area = gpd.GeoDataFrame({"name": [name], "period": [period]}, geometry=[aoi], crs=4326)
    moving = gpd.GeoDataFrame(
        {column: pd.Series([], dtype="string") for column in MOVING_AREA_COLUMNS},
        geometry=gpd.GeoSeries([], crs=4326),
        crs=4326,
    )
    layers = {
        "outlines": outlines,
        "aoi": area,
        "markers": markers,
        "moving_areas": moving,
        **({} if reference is None else {"reference": _plain(reference)}),
        **({} if matches is None else {"matches": _plain(matches)}),
    }
    with uploaded(path) as partial:
        for layer, table in layers.items():
            kind = "Point" if layer == "markers" else "MultiPolygon"
            table.to_file(
                partial,
                layer=layer,
                driver="GPKG",
                engine="pyogrio",
                mode="a" if partial.exists() else "w",
                geometry_type=kind,
                promote_to_multi=kind == "MultiPolygon",
                dataset_options={"VERSION": "1.3"},
                dataset_metadata=dict(about or {}) or None,
            )
        _write_styles(partial, layers, domains or domains_of(None))


def _plain(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a table without columns that would be taken for the ids of features, polygons only."""
    held = table.drop(columns=[name for name in table.columns if name.casefold() in ("fid", "id")])
    is_areal = held.geom_type.isin(["Polygon", "MultiPolygon"]) & ~held.geometry.is_empty
    return held[is_areal].set_geometry(shapely.force_2d(held.geometry[is_areal].to_numpy()))


def _write_styles(path: Path, layers: Mapping[str, gpd.GeoDataFrame], domains: Domains) -> None:
    """Write the table in which QGIS looks for the styles of a GeoPackage's layers."""
    rows = pd.DataFrame(
        {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": list(layers),
            "f_geometry_column": "geom",
            "styleName": list(layers),
            "styleQML": [
                style(
                    layer,
                    "Point" if layer == "markers" else "Polygon",
                    [str(name) for name in table.columns if name != table.geometry.name],
                    domains,
                )
                for layer, table in layers.items()
            ],
            "styleSLD": "",
            "useAsDefault": True,
            "description": "by rockglacier",
            "owner": "",
        }
    )
    pyogrio.write_dataframe(rows, path, layer=STYLES, driver="GPKG", append=True, fid="id")


def layers_of(path: Path) -> list[str]:
    """Return the names of a file's layers."""
    return [str(name) for name, _ in pyogrio.list_layers(path)]


def require_closed(path: Path) -> None:
    """Check that no program has a GeoPackage open for editing, before it is replaced.

    QGIS writes what is saved into a file of its own beside it (``-wal``) as long as it is open:
    without that file edits would be lost, and beside another GeoPackage it would spoil that one.

    Raises
    ------
    InputError
        One has.

    References
    ----------
    https://sqlite.org/wal.html
    """
    log = path.with_name(f"{path.name}-wal")
    if not is_local(path) or not log.exists():
        return
    with closing(sqlite3.connect(path)) as data, suppress(sqlite3.Error):
        data.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # it goes with the last connection: a program that died left it behind, one that lives keeps it
    if log.exists():
        raise InputError(
            f"{str(path)!r} is open in another program",
            expected="a GeoPackage that nobody is editing, as it is written anew",
            todo="save your edits, close the project in QGIS, and run the same command again",
        )


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

    Raises
    ------
    InputError
        It is open in another program: see :func:`require_closed`.
    """
    require_closed(path)
    if not path.is_file():
        return None
    if record.is_file() and read_json(record).get("sha256") == sha256_of(path):
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}-edited-{number}{path.suffix}")).exists():
        number += 1
    move(path, kept)
    logger.warning("%s was edited: kept as %s", path.name, kept.name)
    return kept


def remember(path: Path, record: Path) -> None:
    """Record what was written, for :func:`set_aside_if_edited`."""
    write_json(record, {"file": path.name, "sha256": sha256_of(path)})
