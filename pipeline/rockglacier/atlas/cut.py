"""A study a basin, from any layer of polygons that cuts an area into basins."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
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

logger = logging.getLogger(__name__)

SMALLEST_KM2: Final = 1.0
"""Smaller pieces of a basin, at the edge of the area, are no basins of their own."""

MARGIN_M: Final = 1000
"""Ground around each basin that is mapped too, so that landforms across a border are seen whole."""

SHOWN: Final = 3

LONGEST: Final = 80
"""Letters of a name in file names: systems allow 255 bytes, with endings and folders."""

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

    Notes
    -----
    Pieces that are too small, and basins that share ground, are logged.
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
    rows, small = [], []
    for label, group in table.groupby(named, sort=True):
        shape = cut(shapely.union_all([cut(part) for part in group.geometry]))
        piece = areal(shapely.intersection(shape, area))
        if piece.is_empty:
            continue
        if geodesic_area_km2(piece) < SMALLEST_KM2:
            small.append(str(label))
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
    if small:
        logger.warning(
            "%d basin(s) have less than %g km² in the area, and are left out: %s",
            len(small), SMALLEST_KM2, _some(small),
        )  # fmt: skip
    twice = basins[basins["basin"].duplicated(keep=False)]
    if len(twice):
        raise InputError(
            f"the basins {', '.join(map(repr, twice['name'][:SHOWN]))} are all "
            f"{twice['basin'].iloc[0]!r} in file names",
            expected=f"names that differ, within {LONGEST} letters, in more than accents, case and "
            "signs",
            todo="change them, or name another column",
        )
    _warn_of_shared_ground(basins)
    return basins


def _warn_of_shared_ground(basins: gpd.GeoDataFrame) -> None:
    """Tell which basins overlap by more than their borders do: that ground is mapped twice."""
    shapes = basins.geometry.to_numpy()
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    shared = []
    for one, other in zip(first, second, strict=True):
        if one < other:
            common = areal(shapely.intersection(shapes[one], shapes[other]))
            if (km2 := geodesic_area_km2(common)) >= SMALLEST_KM2:
                names = basins["name"].iloc[one], basins["name"].iloc[other]
                shared.append(f"{names[0]} and {names[1]} ({km2:,.0f} km²)")
    if shared:
        logger.warning(
            "%d pair(s) of basins share ground, which each of them maps: %s",
            len(shared), _some(shared),
        )  # fmt: skip


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def file_name(name: str) -> str:
    """Return a basin's name as a study has it: lower case, digits, ``-`` and ``_``.

    Examples
    --------
    >>> file_name("Río Mendoza (alto)")
    'rio-mendoza-alto'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9_]+", "-", plain)[:LONGEST].strip("-_")
    if not found:
        raise InputError(
            f"the basin {name!r} has no letter that a file name can hold",
            expected="a name with letters a to z or digits",
            todo="name another column, or add one with such names",
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
    files, others = [], []
    for basin in basins.itertuples():
        values = {
            **settings,
            "name": basin.basin,
            "area": f"{basin.basin}.gpkg",
            "cube": {"margin_m": MARGIN_M, **(settings.get("cube") or {})},
            "compute": {**(settings.get("compute") or {}), "priority": basin.priority},
        }
        parse_config(values, source=source)
        path = folder / f"{basin.basin}.yaml"
        if path.is_file():
            _require_same(folder / f"{basin.basin}.gpkg", basin.geometry)
            if differ := _differing(path, values):
                others.append(f"{path.name} ({', '.join(differ)})")
        else:
            _write_area(folder / f"{basin.basin}.gpkg", str(basin.name), basin.geometry)
            first = {"name": values["name"], "area": values["area"]}
            write_text(path, yaml.safe_dump({**first, **values}, sort_keys=False))
        files.append(path)
    if others:
        logger.warning(
            "%d file(s) that were there keep settings that differ from %s; delete them to have "
            "them written anew: %s",
            len(others), source, _some(others),
        )  # fmt: skip
    return files


def _differing(path: Path, values: Mapping[str, Any]) -> list[str]:
    """Return the sections in which a study's file means something else than given settings."""
    held, wanted = (
        parse_config(one, source=str(path)).model_dump(mode="json")
        for one in (yaml.safe_load(path.read_text(encoding="utf-8")), values)
    )
    return [section for section in wanted if held[section] != wanted[section]]


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


def _priority(values: pd.Series, basin: str) -> float:
    found = pd.to_numeric(values, errors="coerce").max()
    if pd.isna(found):
        raise InputError(
            f"the priority of basin {basin!r} is {values.iloc[0]!r}",
            expected="a number, the highest first",
            todo="fill in the column",
        )
    return float(found)


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
