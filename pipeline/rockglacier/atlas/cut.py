"""A study a basin, from any layer of polygons that cuts an area into basins."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely
import yaml
from shapely.geometry.base import BaseGeometry

from rockglacier.config import parse_config
from rockglacier.errors import InputError
from rockglacier.grid import geodesic_area_km2
from rockglacier.storage import uploaded, write_text
from rockglacier.storage.vector import areal, read_polygons
from rockglacier_stac.globe import cut
from rockglacier_stac.providers import PROVIDERS

SMALLEST_KM2: Final = 1.0
"""Smaller pieces of a basin, at the edge of the area, are no basins of their own."""

MARGIN_M: Final = 1000
"""Ground around each basin that is mapped too, so that landforms across a border are seen whole."""

SHOWN: Final = 3

OWN: Final = ("name", "area", "output")
"""Settings of one basin alone."""

FILES: Final = (
    ("search", "catalog"),
    ("search", "dem_catalog"),
    ("cube", "extra", "href"),
    ("labels", "reference"),
    ("labels", "complete_within"),
    ("labels", "glaciers"),
    ("labels", "sub_basins"),
    ("inventory", "overlaps"),
    ("inventory", "domains"),
    ("publish", "catalog"),
)
"""Settings that may be paths, which a study's file means from its own folder."""


def read_basins(
    path: str,
    area: BaseGeometry,
    *,
    name: str,
    priority: str | None = None,
    layer: str | None = None,
) -> gpd.GeoDataFrame:
    """Read the basins of an area from a layer of polygons.

    Parameters
    ----------
    path
        Any vector file with polygons.
    area
        EPSG:4326, cut at the antimeridian; basins are cut to it.
    name
        Column that names the basins; several polygons of one name are one basin.
    priority
        Column of numbers, the highest first.
    layer
        Of the file; default: its first.

    Returns
    -------
    GeoDataFrame
        ``basin`` (fit for file names), ``name`` (as in the file), ``priority``, ``area_km2``;
        EPSG:4326, cut at the antimeridian, by name.

    Raises
    ------
    InputError
        The layer cannot be read, lacks a column or names, has no basin in the area, or has two
        names that are one in file names.
    """
    table = _read(path, layer)
    for column in (name, *([priority] if priority else [])):
        if column not in table.columns:
            columns = ", ".join(map(str, table.columns.drop("geometry")))
            raise InputError(
                f"the basins {path!r} have no column {column!r}",
                expected=f"one of: {columns or 'none'}",
                todo="name another one",
            )
    named = table[name].map(lambda value: "" if pd.isna(value) else _text(value))
    if (named == "").any():
        raise InputError(
            f"{int((named == '').sum())} polygon(s) of {path!r} have no name in {name!r}",
            expected="a name for each",
            todo="fill in the column, or name another one",
        )
    rows = []
    for label, group in table.groupby(named, sort=True):
        shape = cut(shapely.union_all([cut(part) for part in group.geometry]))
        piece = areal(shapely.intersection(shape, area))
        if piece.is_empty or geodesic_area_km2(piece) < SMALLEST_KM2:
            continue
        rows.append(
            {
                "basin": file_name(str(label)),
                "name": str(label),
                "priority": _priority(group[priority], str(label)) if priority else 0,
                "area_km2": round(geodesic_area_km2(piece), 3),
                "geometry": piece,
            }
        )
    if not rows:
        raise InputError(
            f"no basin of {path!r} lies in the area",
            expected=f"polygons that share {SMALLEST_KM2:g} km² with it",
            todo="check both files and their coordinate systems",
        )
    basins = gpd.GeoDataFrame(rows, geometry="geometry", crs=4326)
    twice = basins[basins["basin"].duplicated(keep=False)]
    if len(twice):
        raise InputError(
            f"the basins {', '.join(map(repr, twice['name'][:SHOWN]))} are all "
            f"{twice['basin'].iloc[0]!r} in file names",
            expected="names that differ in more than accents, case and signs",
            todo="change them, or name another column",
        )
    return basins


def file_name(name: str) -> str:
    """Return a basin's name as a study has it: lower case, digits, ``-`` and ``_``.

    Examples
    --------
    >>> file_name("Río Mendoza (alto)")
    'rio-mendoza-alto'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")
    if not found:
        raise InputError(
            f"the basin {name!r} has no letter that a file name can hold",
            expected="a name with letters a to z or digits",
            todo="name another column",
        )
    return found


def write_studies(
    basins: gpd.GeoDataFrame, folder: Path, settings: Mapping[str, Any], *, source: str
) -> list[Path]:
    """Write ``NAME.gpkg`` and ``NAME.yaml`` of every basin, and return the latter.

    Parameters
    ----------
    basins
        As from :func:`read_basins`.
    folder
        New, or of the same basins: then files that are there stay as they are.
    settings
        Of all studies: what a study's file holds beside its name and its area.
    source
        Names the settings in messages.

    Raises
    ------
    InputError
        Settings are wrong; or a basin of that name was cut in another way before.
    """
    files = []
    for basin in basins.itertuples():
        values = {
            **settings,
            "name": basin.basin,
            "area": f"{basin.basin}.gpkg",
            "cube": {"margin_m": MARGIN_M, **(settings.get("cube") or {})},
            "compute": {**(settings.get("compute") or {}), "priority": int(basin.priority)},
        }
        parse_config(values, source=source)
        path = folder / f"{basin.basin}.yaml"
        if path.is_file():
            _require_same(folder / f"{basin.basin}.gpkg", basin.geometry)
        else:
            _write_area(folder / f"{basin.basin}.gpkg", str(basin.name), basin.geometry)
            first = {"name": values["name"], "area": values["area"]}
            write_text(path, yaml.safe_dump({**first, **values}, sort_keys=False))
        files.append(path)
    return files


def settings_like(path: Path, folder: Path) -> dict[str, Any]:
    """Return the settings of a study's file, but name and area, as they are meant in a folder.

    Raises
    ------
    InputError
        There is no such file, or it holds no settings.
    """
    if not path.is_file():
        raise InputError(
            f"no file {str(path)!r}",
            expected="a study's YAML file, whose settings hold for all basins",
            todo="check the path",
        )
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} holds {type(values).__name__}", expected="keys and values")

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(inner) for key, inner in value.items()}
        if isinstance(value, str) and "://" not in value and value not in PROVIDERS:
            return os.path.relpath((path.parent / value).absolute(), folder.absolute())
        return value

    def placed(value: Any, keys: tuple[str, ...]) -> Any:
        if not keys:
            return moved(value)
        if isinstance(value, list):
            return [placed(inner, keys) for inner in value]
        if not isinstance(value, dict) or value.get(keys[0]) is None:
            return value
        return {**value, keys[0]: placed(value[keys[0]], keys[1:])}

    settings = {key: value for key, value in values.items() if key not in OWN}
    for keys in FILES:
        settings = placed(settings, keys)
    return settings


def _read(path: str, layer: str | None) -> gpd.GeoDataFrame:
    table = read_polygons(path, what="the file of basins", layer=layer).to_crs(4326)
    return table.set_geometry(shapely.make_valid(table.geometry.to_numpy()), crs=4326)


def _text(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _priority(values: pd.Series, basin: str) -> int:
    found = pd.to_numeric(values, errors="coerce").max()
    if pd.isna(found):
        raise InputError(
            f"the priority of basin {basin!r} is {values.iloc[0]!r}",
            expected="a number, the highest first",
            todo="fill in the column",
        )
    return int(found)


def _write_area(path: Path, name: str, geometry: BaseGeometry) -> None:
    table = gpd.GeoDataFrame({"name": [name]}, geometry=[geometry], crs=4326)
    with uploaded(path) as partial:
        table.to_file(partial, layer=path.stem, driver="GPKG", engine="pyogrio")


def _require_same(path: Path, geometry: BaseGeometry) -> None:
    held = shapely.union_all(_read(str(path), None).geometry.to_numpy())
    apart = shapely.symmetric_difference(held, geometry)
    if apart.area > 1e-6 * geometry.area:
        raise InputError(
            f"{str(path)!r} holds another outline than the layer has now",
            expected="the basins that were cut before",
            todo="name another folder, or run the basins that are there: rockglacier run "
            f"{path.parent}/*.yaml",
        )
