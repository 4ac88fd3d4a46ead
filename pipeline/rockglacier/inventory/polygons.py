"""Outlines of any polygon file, as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import geopandas as gpd
import pyogrio
import shapely

from rockglacier.errors import InputError

PARQUET: Final = (".parquet", ".geoparquet")
POLYGONS: Final = ("Polygon", "MultiPolygon")
OUTLINES: Final = "outlines"
"""Layer of our own GeoPackages that holds the outlines; another one may lie before it."""

AREA: Final = "aoi"
"""Layer of our own GeoPackages that says where they are complete."""


def read_outlines(uri: str, *, name: str, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read the polygons of a file, in its own CRS and with its own columns.

    Parameters
    ----------
    uri
        GeoPackage, GeoParquet, Shapefile, GeoJSON, or whatever else OGR reads; a path or a URL.
    name
        What messages call it, e.g. ``inventory A``.
    layer
        Default: the layer ``outlines``, else the first with polygons.

    Returns
    -------
    GeoDataFrame
        Features that are no polygon included: whoever counts them says so. Outlines of both RGIK
        types, where the file has them.

    Raises
    ------
    InputError
        There is no such file or layer, it cannot be read, it holds features and none of them is a
        polygon, or it has no CRS.
    """
    table = _read(uri, name=name, layer=layer)
    is_polygon = table.geom_type.isin(POLYGONS) & ~table.geometry.is_empty
    if len(table) and not is_polygon.any():
        kinds = sorted({str(kind) for kind in table.geom_type.dropna()}) or ["nothing"]
        raise InputError(
            f"{name} {uri!r} has {len(table)} feature(s) and no polygon: {', '.join(kinds)}",
            expected="outlines of landforms",
            todo="name the layer of the outlines, or another file",
        )
    if table.crs is None:
        raise InputError(
            f"{name} {uri!r} has no CRS",
            expected="a file that says its coordinate reference system",
            todo="set it in QGIS (Layer > Set CRS) and save the layer again; a Shapefile needs its "
            ".prj beside it",
        )
    if table.crs.is_geographic and len(table):
        _require_degrees(table, uri, name)
    return table


def _read(uri: str, *, name: str, layer: str | None) -> gpd.GeoDataFrame:
    if "://" not in uri and not Path(uri).exists():
        raise InputError(
            f"{name}: there is no file {uri!r}",
            expected="a polygon file (GeoPackage, GeoParquet, Shapefile, GeoJSON)",
            todo="check the path",
        )
    try:
        if uri.endswith(PARQUET):
            return gpd.read_parquet(uri)
        table = gpd.read_file(uri, layer=layer or _layer_of_outlines(uri))
    except Exception as error:
        raise InputError(
            f"{name} {uri!r} cannot be read: {error}",
            expected="a polygon file (GeoPackage, GeoParquet, Shapefile, GeoJSON)",
            todo="open it in QGIS, and save it as GeoPackage",
        ) from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise InputError(f"{name} {uri!r} is a table without geometry", expected="polygons")
    return table


def _layer_of_outlines(uri: str) -> str | None:
    layers = [(str(name), str(kind or "")) for name, kind in pyogrio.list_layers(uri)]
    names = [name for name, _ in layers]
    if OUTLINES in names:
        return OUTLINES
    return next((name for name, kind in layers if "Polygon" in kind), names[0] if names else None)


def _require_degrees(table: gpd.GeoDataFrame, uri: str, name: str) -> None:
    west, south, east, north = table.total_bounds
    if -360 <= west <= east <= 360 and -90 <= south <= north <= 90:
        return
    raise InputError(
        f"{name} {uri!r} says that it is in degrees ({table.crs.name}), and lies within "
        f"{west:.0f}, {south:.0f}, {east:.0f}, {north:.0f}",
        expected="longitudes within 180 and latitudes within 90",
        todo="set its CRS in QGIS (Layer > Set CRS) to the one that it is in",
    )


def area_of(uri: str) -> shapely.Geometry | None:
    """Return where an inventory of ours is complete (layer ``aoi``), EPSG:4326, or None."""
    if uri.endswith(PARQUET):
        return None
    if AREA not in [str(name) for name, _ in pyogrio.list_layers(uri)]:
        return None
    table = gpd.read_file(uri, layer=AREA)
    return None if table.empty else shapely.union_all(table.to_crs(4326).geometry.to_numpy())
