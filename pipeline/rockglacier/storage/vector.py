"""Vector files that people bring: one way to open them, and one to say why they cannot be used."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.storage.files import fetch, file_at, listing
from rockglacier.storage.remote import SCHEMES, RemotePath
from rockglacier_stac import files
from rockglacier_stac.errors import StacError
from rockglacier_stac.globe import HALF, cut

logger = logging.getLogger(__name__)

PARQUET: Final = (".parquet", ".geoparquet")
POLYGONS: Final = ("Polygon", "MultiPolygon")
SHOWN: Final = 5
"""Features that a message names."""
FORMATS: Final = "a vector file (GeoPackage, GeoParquet, Shapefile, GeoJSON)"

UNREADABLE: Final = (
    DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, CRSError,
    pa.ArrowException, shapely.errors.ShapelyError, OSError, ValueError, KeyError, TypeError,
)  # fmt: skip
"""What OGR, Arrow and their readers raise of a file that is none or broken; the last two of
metadata of GeoParquet that lack a key, or hold a value of another kind."""


def layers_of(uri: str, *, what: str) -> dict[str, str]:
    """Return the layers of a file with their kinds of geometry, empty without; of GeoParquet none.

    Raises
    ------
    InputError
        There is no such file, or it cannot be read.
    """
    with _at_hand(uri, what) as path:
        return _layers(path, uri, what)


def _layers(path: str, uri: str, what: str) -> dict[str, str]:
    if path.lower().endswith(PARQUET):
        return {}
    layers = _opened(lambda: pyogrio.list_layers(path), uri, what)
    return {str(name): str(kind or "") for name, kind in layers}


@contextmanager
def _at_hand(uri: str, what: str) -> Iterator[str]:
    """Yield what OGR and Arrow open: a copy of what is in an object store, else the address."""
    scheme, mark, _ = uri.partition("://")
    is_remote = scheme in SCHEMES or (mark and scheme != "file" and uri.lower().endswith(PARQUET))
    place = file_at(uri)
    if not is_remote:
        in_archive = file_at(uri.partition("!")[0])  # as in hunza.zip!outlines.shp
        is_there = mark or uri.startswith("/vsi") or place.exists() or in_archive.is_file()
        if not is_there:
            raise _missing(uri, what)
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="rockglacier-") as folder:
        copy = Path(folder) / place.name
        if isinstance(place, RemotePath):
            if not place.is_file():
                raise _missing(uri, what)
            # a Shapefile is several files
            for path in listing(place.parent) if place.suffix.lower() == ".shp" else [place]:
                if path.stem == place.stem:
                    fetch(RemotePath(path), copy.with_name(path.name))
        else:
            copy.write_bytes(_downloaded(uri, what))
        yield str(copy)


def _missing(uri: str, what: str) -> InputError:
    return InputError(
        f"{what}: there is no file {uri!r}",
        expected=FORMATS,
        todo="check the path; in a study's file it is meant from the folder of that file",
    )


def _downloaded(uri: str, what: str) -> bytes:
    try:
        return files.read_bytes(uri)
    except StacError as error:
        raise InputError(f"{what}: {error.found}", expected=FORMATS, todo=error.todo) from error


def read_features(
    uri: str, *, what: str, layer: str | None = None, kind: str = ""
) -> gpd.GeoDataFrame:
    """Read all features of a layer, in its own CRS and with its own columns.

    Parameters
    ----------
    uri
        GeoPackage, GeoParquet, Shapefile (in the code page of its ``.cpg``), GeoJSON, or whatever
        else OGR reads; a path or a URL.
    what
        What messages call it, e.g. ``the area``.
    layer
        Default: the first with geometries.
    kind
        Of geometry, part of its name: the first layer of that kind is the default, if there is one.

    Returns
    -------
    GeoDataFrame
        Features of any kind, those without a geometry or with an empty one included.

    Raises
    ------
    InputError
        There is no such file or layer, it cannot be read, it has no geometry or no CRS, a
        coordinate is no number, or it says that it is in degrees and is not.
    """
    with _at_hand(uri, what) as path:
        table = _read(path, uri, what, layer, kind)
    if not isinstance(table, gpd.GeoDataFrame):
        raise InputError(f"{what} {uri!r} is a table without geometry", expected=FORMATS)
    if table.crs is None:
        raise InputError(
            f"{what} {uri!r} has no CRS",
            expected="a file that says its coordinate reference system",
            todo="set it in QGIS (Layer > Set CRS) and save the layer again; a Shapefile needs its "
            ".prj beside it",
        )
    _require_numbers(table, uri, what)
    if table.crs.is_geographic and len(table):
        _require_degrees(table, uri, what)
    return table


def _read(path: str, uri: str, what: str, layer: str | None, kind: str) -> Any:
    layers = _layers(path, uri, what)
    if layer is not None and layers and layer not in layers:
        raise InputError(
            f"{what} {uri!r} has no layer {layer!r}",
            expected=f"one of its layers: {', '.join(layers)}",
            todo="name one of them",
        )
    if path.lower().endswith(PARQUET):
        return _opened(lambda: gpd.read_parquet(path), uri, what)
    return _opened(
        lambda: gpd.read_file(path, layer=layer or _likely(layers, kind, uri, what)), uri, what
    )


def _likely(layers: dict[str, str], kind: str, uri: str, what: str) -> str | None:
    """Return the first layer of a kind, else the first with geometries; say if there are others."""
    held = [name for name, its_kind in layers.items() if its_kind]
    likely = [name for name in held if kind in layers[name]]
    if kind and len(likely) > 1:
        logger.warning(
            "%s %s has %d layers of %ss (%s), and %r is read: for another one, save it as a file",
            what,
            uri,
            len(likely),
            kind.lower(),
            ", ".join(likely),
            likely[0],
        )
    return next(iter(likely or held), None)


def read_attributes(uri: str, *, what: str, layer: str) -> pd.DataFrame:
    """Read the columns of a layer without its geometries; the rest as :func:`read_features`."""
    with _at_hand(uri, what) as path:
        found: pd.DataFrame = _opened(
            lambda: pyogrio.read_dataframe(path, layer=layer, read_geometry=False), uri, what
        )
        return found


def read_polygons(
    uri: str,
    *,
    what: str,
    layer: str | None = None,
    may_be_empty: bool = False,
    todo: str = "name the layer of the polygons, or another file",
) -> gpd.GeoDataFrame:
    """Read the polygons of a layer, in its own CRS, as valid as they are.

    Parameters
    ----------
    uri, what, layer
        As for :func:`read_features`.
    may_be_empty
        A file without a single feature is refused without it.
    todo
        What to do where there is no polygon.

    Returns
    -------
    GeoDataFrame
        Polygons of collections included; how many features are none is logged.

    Raises
    ------
    InputError
        As of :func:`read_features`; or there is no polygon.
    """
    table = read_features(uri, what=what, layer=layer, kind="Polygon")
    shapes = table.geometry.to_numpy().copy()
    is_mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes[is_mixed] = [areal(shape) for shape in shapes[is_mixed]]
    table = table.set_geometry(gpd.GeoSeries(shapes, index=table.index, crs=table.crs))
    polygons = table[has_polygons(table)].reset_index(drop=True)
    if polygons.empty and not (table.empty and may_be_empty):
        raise without_polygon(table, uri, what, todo=todo)
    if left_out := len(table) - len(polygons):
        logger.warning("%s %s: %d of %d features are no polygon, and are left out",
                       what, uri, left_out, len(table))  # fmt: skip
    return polygons


def has_polygons(table: gpd.GeoDataFrame) -> Any:
    """Say of each feature whether it is a polygon that is not empty, as a Series."""
    return table.geom_type.isin(POLYGONS) & ~table.geometry.is_empty


def without_polygon(table: gpd.GeoDataFrame, uri: str, what: str, *, todo: str) -> InputError:
    """Return the error that a file has no polygon, with what it has."""
    kinds = sorted({str(kind) for kind in table.geom_type.dropna()})
    found = f": {', '.join(kinds)}" if kinds else ""
    return InputError(
        f"{what} {uri!r} has {len(table)} feature(s) and no polygon{found}",
        expected="at least one polygon that is not empty",
        todo=todo,
    )


def in_degrees(shapes: gpd.GeoSeries) -> gpd.GeoSeries:
    """Return outlines in EPSG:4326, those that cross the antimeridian cut there.

    Uncut they are invalid, and go around the globe in whatever reads or projects them.
    """
    moved = shapes.to_crs(4326)
    west, east = moved.bounds["minx"], moved.bounds["maxx"]
    goes_around = (east - west > HALF) | (east > HALF) | (west < -HALF)
    if not goes_around.any():
        return moved
    whole = [cut(one) if too_far else one for one, too_far in zip(moved, goes_around, strict=True)]
    return gpd.GeoSeries(whole, index=moved.index, crs=4326)


def areal(shape: BaseGeometry) -> BaseGeometry:
    """Return the union of the polygon parts of a geometry, empty if it has none."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in POLYGONS]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _opened[Found](read: Callable[[], Found], uri: str, what: str) -> Found:
    try:
        with warnings.catch_warnings():
            # of coordinates that are no numbers, which are refused, and rings that are not closed
            warnings.simplefilter("ignore", RuntimeWarning)
            return read()
    except UNREADABLE as error:
        raise InputError(
            f"{what} {uri!r} cannot be read: {error}",
            expected=FORMATS,
            todo="open it in QGIS, and save it as GeoPackage",
        ) from error


def _require_numbers(table: gpd.GeoDataFrame, uri: str, what: str) -> None:
    """Refuse outlines with a corner that lies nowhere: without it they would be others."""
    places, rows = shapely.get_coordinates(table.geometry.to_numpy(), return_index=True)
    broken = np.unique(rows[~np.isfinite(places).all(axis=1)])
    if len(broken):
        shown = ", ".join(str(row + 1) for row in broken[:SHOWN])
        raise InputError(
            f"{what} {uri!r} has coordinates that are no numbers, in feature(s) "
            f"{shown}{', ...' if len(broken) > SHOWN else ''}",
            expected="a number for every coordinate",
            todo="draw them again in QGIS, or delete them",
        )


def _require_degrees(table: gpd.GeoDataFrame, uri: str, what: str) -> None:
    west, south, east, north = table.total_bounds
    if table.geometry.is_empty.all() or table.geometry.isna().all():
        return
    if -360 <= west <= east <= 360 and -90 <= south <= north <= 90:
        return
    raise InputError(
        f"{what} {uri!r} says that it is in degrees ({table.crs.name}), and lies within "
        f"{west:.6g}, {south:.6g}, {east:.6g}, {north:.6g}",
        expected="longitudes within 180 and latitudes within 90",
        todo="set its CRS in QGIS (Layer > Set CRS) to the one that it is in",
    )
