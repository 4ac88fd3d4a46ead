"""Outlines of any polygon file, as they come, and the area that our own files say they cover."""

from __future__ import annotations

from typing import Final

import geopandas as gpd
import shapely

from rockglacier.labels.layers import layer_of_outlines
from rockglacier.storage.vector import has_polygons, layers_of, read_features, without_polygon

AREA: Final = "aoi"
"""Layer of our own GeoPackages that says where they are complete."""


def read_outlines(uri: str, *, name: str, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read the outlines of a file, in its own CRS and with its own columns.

    Parameters
    ----------
    uri
        As for :func:`rockglacier.storage.vector.read_features`.
    name
        What messages call it, e.g. ``inventory A``.
    layer
        Default: that of :func:`rockglacier.labels.layers.layer_of_outlines`.

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
    table = read_features(uri, what=name, layer=layer or layer_of_outlines(uri, what=name))
    if len(table) and not has_polygons(table).any():
        raise without_polygon(
            table, uri, name, todo="name the layer of the outlines, or another file"
        )
    return table


def area_of(uri: str) -> shapely.Geometry | None:
    """Return where an inventory of ours is complete (layer ``aoi``), EPSG:4326, or None."""
    if AREA not in layers_of(uri, what="the inventory"):
        return None
    table = read_features(uri, what="the inventory", layer=AREA)
    return None if table.empty else shapely.union_all(table.to_crs(4326).geometry.to_numpy())
