"""Polygon files at the edge: which layer, which features, in EPSG:4326; attributes of markers."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

import geopandas as gpd
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.labels.columns import named_columns

logger = logging.getLogger(__name__)

PARQUET: Final = (".parquet", ".geoparquet")
POLYGONS: Final = ("Polygon", "MultiPolygon")
COLLECTION: Final = shapely.GeometryType.GEOMETRYCOLLECTION

OUTLINES: Final = re.compile(r"^outlines$|(^|[^a-z])go([^a-z]|$)", re.IGNORECASE)
"""Layers of geomorphological outlines: ours, and that of the published RGIK inventories."""

OTHERS: Final = re.compile(r"(^|[^a-z])(aoi|ma|moving_areas)([^a-z]|$)", re.IGNORECASE)
"""Polygon layers beside them that hold no landforms: the area of interest, moving areas."""

MARKED_BY: Final = "PrimaryID"


def read_polygons(
    uri: str,
    *,
    what: str = "the reference",
    layer: str | None = None,
    may_be_empty: bool = False,
) -> gpd.GeoDataFrame:
    """Read the polygons of a file.

    Parameters
    ----------
    uri
        GeoPackage, GeoParquet, Shapefile (in the code page of its ``.cpg``) or GeoJSON.
    what
        What messages call it.
    layer
        Default: the one of outlines by its name, else the first with polygons.
    may_be_empty
        A file without a single feature is refused without it.

    Returns
    -------
    GeoDataFrame
        EPSG:4326, two-dimensional, as valid as they were; polygons of collections included. What
        is left out is logged.

    Raises
    ------
    InputError
        The file or the layer cannot be read, names no CRS, or has no polygon.
    """
    table = _table(uri, what, layer)
    shapes = table.geometry.to_numpy().copy()
    is_mixed = shapely.get_type_id(shapes) == COLLECTION
    shapes[is_mixed] = [areal(shape) for shape in shapes[is_mixed]]
    table = table.set_geometry(gpd.GeoSeries(shapes, index=table.index, crs=table.crs))
    polygons = table[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    polygons = polygons[polygons.geom_type.isin(POLYGONS)].reset_index(drop=True)
    left_out = len(table) - len(polygons)
    if left_out:
        logger.warning(
            "%s %s: %d of %d features are no polygon, and are left out",
            what,
            uri,
            left_out,
            len(table),
        )
    if polygons.empty and not (table.empty and may_be_empty):
        raise InputError(
            f"{what} {uri!r} has {len(table)} feature(s) and no polygon",
            expected="outlines of landforms",
            todo="if there is no rock glacier in this basin, set labels.complete_within to the "
            "ground that was looked at, and leave the file of the reference empty",
        )
    if polygons.crs is None:
        raise InputError(
            f"{what} {uri!r} has no CRS",
            expected="a file that says its coordinate reference system",
            todo="set it in QGIS (Layer > Set CRS) and save the layer again",
        )
    flat = shapely.force_2d(polygons.geometry.to_numpy())
    return polygons.set_geometry(flat, crs=polygons.crs).to_crs(4326)


def _table(uri: str, what: str, layer: str | None) -> gpd.GeoDataFrame:
    try:
        if uri.endswith(PARQUET):
            return gpd.read_parquet(uri)
        return gpd.read_file(uri, layer=layer or _layer_of_outlines(uri))
    except Exception as error:
        raise InputError(
            f"{what} {uri!r} cannot be read: {error}",
            expected="polygons in a GeoPackage, GeoParquet, Shapefile or GeoJSON",
            todo="check the path in the settings under `labels` (labels.reference, labels.layer)",
        ) from error


def _layer_of_outlines(uri: str) -> str | None:
    layers = [(str(name), str(kind or "")) for name, kind in pyogrio.list_layers(uri)]
    areal_ones = [name for name, kind in layers if "Polygon" in kind]
    named = [name for name in areal_ones if OUTLINES.search(name)]
    likely = named or [name for name in areal_ones if not OTHERS.search(name)] or areal_ones
    if len(likely) > 1:
        logger.warning(
            "%s has %d layers of polygons (%s): %r is read; labels.layer names another one",
            uri,
            len(likely),
            ", ".join(likely),
            likely[0],
        )
    if likely:
        return likely[0]
    return layers[0][0] if layers else None


def with_markers(table: gpd.GeoDataFrame, wanted: Sequence[str], *, uri: str) -> gpd.GeoDataFrame:
    """Add columns that the file keeps in another layer, by ``PrimaryID``.

    RGIK inventories have activity and certainty on the primary markers, and not on the outlines.

    Parameters
    ----------
    table
        Outlines.
    wanted
        Columns; those that no layer has beside ``PrimaryID`` stay missing.
    uri
        The file of the outlines.

    Returns
    -------
    GeoDataFrame
        Empty where an outline has no marker, or several that disagree.
    """
    missing = [name for name in wanted if name not in table.columns]
    if not missing or MARKED_BY not in table.columns or uri.endswith(PARQUET):
        return table
    for name, _ in pyogrio.list_layers(uri):
        markers = named_columns(pyogrio.read_dataframe(uri, layer=name, read_geometry=False), {},
                                uri=uri)  # fmt: skip
        found = [column for column in missing if column in markers.columns]
        if MARKED_BY not in markers.columns or not found:
            continue
        for column in found:
            known = markers[[MARKED_BY, column]].dropna().drop_duplicates()
            sure = known[~known[MARKED_BY].duplicated(keep=False)].set_index(MARKED_BY)[column]
            table = table.assign(**{column: table[MARKED_BY].map(sure)})
            logger.info("%s: %s of the outlines is that of layer %s", uri, column, name)
        missing = [column for column in missing if column not in found]
    return table


def areal(shape: BaseGeometry) -> BaseGeometry:
    """Return the union of the polygon parts of a geometry, empty if it has none."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in POLYGONS]
    return shapely.union_all(parts) if parts else shapely.Polygon()
