"""Polygon files at the edge: which layer, which features, in EPSG:4326; attributes of markers."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

import geopandas as gpd
import shapely

from rockglacier.labels.columns import named_columns
from rockglacier.storage.vector import in_degrees, layers_of, read_attributes, read_polygons

logger = logging.getLogger(__name__)

OUTLINES: Final = re.compile(r"^outlines$|(^|[^a-z])go([^a-z]|$)", re.IGNORECASE)
"""Layers of geomorphological outlines: ours, and that of the published RGIK inventories."""

OTHERS: Final = re.compile(r"(^|[^a-z])(aoi|ma|moving_areas)([^a-z]|$)", re.IGNORECASE)
"""Polygon layers beside them that hold no landforms: the area of interest, moving areas."""

MARKED_BY: Final = "PrimaryID"


def read_outlines(
    uri: str,
    *,
    what: str = "the reference",
    layer: str | None = None,
    may_be_empty: bool = False,
) -> gpd.GeoDataFrame:
    """Read the outlines of landforms of a file.

    Parameters
    ----------
    uri, what, may_be_empty
        As for :func:`rockglacier.storage.vector.read_polygons`.
    layer
        Default: that of :func:`layer_of_outlines`.

    Returns
    -------
    GeoDataFrame
        EPSG:4326, two-dimensional, as valid as they were.

    Raises
    ------
    InputError
        The file or the layer cannot be read, names no CRS, or has no polygon.
    """
    polygons = read_polygons(
        uri,
        what=what,
        layer=layer or layer_of_outlines(uri, what=what),
        may_be_empty=may_be_empty,
        todo="if there is no rock glacier in this basin, set labels.complete_within to the "
        "ground that was looked at, and leave the file of the reference empty",
    )
    flat = shapely.force_2d(polygons.geometry.to_numpy())
    return polygons.set_geometry(in_degrees(gpd.GeoSeries(flat, crs=polygons.crs)))


def layer_of_outlines(uri: str, *, what: str) -> str | None:
    """Return the layer of outlines by its name, else the first with polygons; None without layers.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    layers = layers_of(uri, what=what)
    areal_ones = [name for name, kind in layers.items() if "Polygon" in kind]
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
    return next(iter(likely or layers), None)


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
    if not missing or MARKED_BY not in table.columns:
        return table
    for name in layers_of(uri, what="the reference"):
        markers = read_attributes(uri, what="the reference", layer=name)
        markers = named_columns(markers, {}, uri=uri)
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
