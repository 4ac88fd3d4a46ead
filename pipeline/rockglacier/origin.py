"""Where, when and from what the products of a study are, in the terms of STAC."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import quote, unquote

import antimeridian
import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from rockglacier import __version__
from rockglacier.config import fingerprint
from rockglacier.grid import projected
from rockglacier.scenes.notices import license_of, notices
from rockglacier.scenes.record import table_bytes
from rockglacier.storage import read_bytes, readable, redact, sha256_of, write_bytes
from rockglacier.storage.secrets import masked
from rockglacier.study import Study
from rockglacier_stac import extensions, item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, Period, Place, Provenance, Source

UP: Final = "../.."
"""From the folder of an item to that of the products."""

TOLD_OF_PUBLISHING: Final = frozenset({"license", "provider", "attribution", "version"})
"""Settings of the publication that are told; where it is published to is nobody's business."""

ADDRESSES: Final = ("self_href", "href", "assets")
"""Columns of scenes and tiles with addresses; the last in JSON."""

FOOTPRINT_TOLERANCE_DEG: Final = 1e-3
"""Detail of the outlines of items, about 100 m: they are for searching."""


def period_of(study: Study) -> Period:
    """Return first and last moment of the scenes used, or the configured days if there is none.

    Of a study in one of its periods, those of the period.
    """
    moments = _in_period(study, gpd.read_parquet(readable(study.scenes_path)))["datetime"]
    if len(moments):
        return Period(start=moments.min().to_pydatetime(), end=moments.max().to_pydatetime())
    days = study.chosen or study.config.search
    return Period(
        start=datetime.combine(days.start, time.min, UTC),
        end=datetime.combine(days.end, time(23, 59, 59), UTC),
    )


def _in_period(study: Study, scenes: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if study.chosen is None:
        return scenes
    days = scenes["datetime"].dt.date
    return scenes[(days >= study.chosen.start) & (days <= study.chosen.end)]


def place_of(geometry: BaseGeometry) -> Place:
    """Return an EPSG:4326 polygon as the place of an item, simplified and cut at ±180°."""
    west, _, east, _ = geometry.bounds
    is_crossing = west < -180 or east > 180 or east - west > 180
    if is_crossing:
        geometry = shapely.transform(geometry, _eastward)
    simple = shapely.simplify(geometry, FOOTPRINT_TOLERANCE_DEG, preserve_topology=True)
    shown = mapping(shapely.orient_polygons(shapely.set_precision(simple, 1e-6)))
    if is_crossing:
        shown = antimeridian.fix_geojson(shown)
        box = antimeridian.bbox(shown)
    else:
        box = simple.bounds
    west, south, east, north = (round(float(edge), 6) for edge in box)
    return Place(geometry=_plain(shown), bbox=(west, south, east, north))


def _eastward(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let longitudes go on beyond 180 instead of jumping back."""
    return np.column_stack([coordinates[:, 0] % 360, coordinates[:, 1]])


def _plain(geometry: Mapping[str, Any]) -> Json:
    def lists(values: Any) -> Any:
        return [lists(value) for value in values] if isinstance(values, (list, tuple)) else values

    return {"type": geometry["type"], "coordinates": lists(geometry["coordinates"])}


def grid_place(study: Study) -> Place:
    """Return the outline of the pixel grid."""
    grid = study.grid
    return place_of(projected(shapely.box(*grid.bounds), epsg=4326, source_epsg=grid.epsg))


def sources_of(study: Study) -> tuple[Source, ...]:
    """Return links to every scene and DEM tile that was read, for items in ``stac/COLLECTION/``.

    Of a study in one of its periods, to the scenes of the period.
    """
    return tuple(
        source
        for path in (study.scenes_path, study.dem_path)
        if path.is_file()
        for source in _sources(study, path)
    )


def _sources(study: Study, path: Path) -> Iterator[Source]:
    table = gpd.read_parquet(readable(path))
    if path == study.scenes_path:
        table = _in_period(study, table)
    record = href(study, public_record(study, path))
    for identifier, own in zip(table["id"], table["self_href"], strict=True):
        address = _address(study, own if isinstance(own, str) else "")
        if address is not None:
            yield Source(href=address, title=identifier)
        else:
            row = f"{record}#{quote(identifier)}"
            yield Source(href=row, title=identifier, type=item.GEOPARQUET)


def public_record(study: Study, path: Path) -> Path:
    """Return a table of scenes or tiles as it may be published.

    It is the table itself, unless an address in it opens something or is a path of this machine:
    then a copy in ``stac/records/``, with ``***`` in place of what opens it, and the name of a file
    in place of its path.
    """
    told = _told_table(read_bytes(path))
    if told is None:
        return path
    record = study.stac_path / "records" / path.name
    if not record.is_file() or read_bytes(record) != told:
        write_bytes(record, told)
    return record


@lru_cache(maxsize=4)
def _told_table(content: bytes) -> bytes | None:
    """Return a table as it may be published, None if as it is; every item asks for the same two."""
    table = gpd.read_parquet(io.BytesIO(content))
    told = {name: table[name].map(_told) for name in ADDRESSES if name in table.columns}
    if all(column.equals(table[name]) for name, column in told.items()):
        return None
    return table_bytes(table.assign(**told))


def _told(value: Any) -> Any:
    """Return an address, or all that JSON holds, as they may be published."""
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        held = json.loads(value)
        told = _each(held)
        return value if told == held else json.dumps(told, allow_nan=False)
    is_path = value.startswith("file://") or PurePath(value).is_absolute()
    return PurePath(unquote(value)).name if is_path else masked(value)


def _each(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _each(part) for key, part in value.items()}
    return [_each(part) for part in value] if isinstance(value, list) else _told(value)


def _address(study: Study, href: str) -> str | None:
    """Return a URL, or a path beside the products as a relative one; None for any other path."""
    path = href.removeprefix("file://")
    if "://" in path:
        return redact(path)
    source, beside = Path(unquote(path.partition("#")[0])), study.folder.parent
    if not (path and source.is_absolute() and source.is_file() and source.is_relative_to(beside)):
        return None
    return Path(os.path.relpath(source, study.stac_path / "cubes")).as_posix()


def own_source(collection: str, identifier: str, title: str) -> Source:
    """Return a link to another item of the same catalog."""
    return Source(href=f"../{collection}/{identifier}.json", title=title)


def provenance(study: Study, *, level: str, how: str, software: tuple[str, ...]) -> Provenance:
    """Return how a product was made.

    Parameters
    ----------
    study
        Whose settings made it.
    level
        L3 for the cube, L4 for what follows from it.
    how
        In words.
    software
        Distributions whose versions are worth telling.
    """
    config = study.config
    settings = fingerprint({**study.resolved(), "area": None, "output": None})
    versions = {name: version_of(name) for name in software}
    return Provenance(
        level=level,
        lineage=f"{how}; rockglacier {__version__}, settings {settings}, feature set "
        f"{config.features.set}, scenes of {config.search.collection} with cloud cover of at most "
        f"{config.search.scene_cloud_max:g} % (scene) and {config.search.basin_cloud_max:g} % "
        f"(basin), elevation of {config.search.dem_collection}",
        software={"rockglacier": __version__}
        | {name: found for name, found in versions.items() if found},
        version=config.publish.version or __version__,
        license=license_of(config),
        attribution=tuple(notices(study)),
        basin=config.name,
        settings=told_settings(study),
    )


def told_settings(study: Study) -> Json:
    """Return the settings as they may be published: files by their names, addresses unsigned."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [told(inner) for inner in value]
        return told_text(value) if isinstance(value, str) else value

    sections = study.resolved()
    for unsaid in ("output", "compute"):  # where it ran, and by whose servers
        sections.pop(unsaid, None)
    sections["publish"] = {
        key: value for key, value in sections["publish"].items() if key in TOLD_OF_PUBLISHING
    }
    return {key: told(value) for key, value in sections.items()}


def told_text(value: str) -> str:
    """Return a path as the name of its file, an address unsigned, and any other text as it is."""
    return redact(value) if "://" in value else PurePath(value.replace("\\", "/")).name


def projection(study: Study) -> Json:
    """Return the study's grid as fields of the projection extension."""
    grid = study.grid
    return extensions.projection(
        epsg=grid.epsg, shape=grid.shape, transform=list(grid.transform)[:6], bbox=grid.bounds
    )


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def file_asset(
    study: Study,
    name: str,
    path: Path,
    kind: str,
    title: str,
    *,
    roles: tuple[str, ...] = ("metadata",),
) -> dict[str, Asset]:
    """Return an asset of a single file by its name, or nothing where there is no such file."""
    if not path.is_file():
        return {}
    asset = Asset(
        href=href(study, path), type=kind, title=title, roles=roles, fields=file_info(path)
    )
    return {name: asset}


def href(study: Study, path: Path) -> str:
    """Return the address of a product for an item in ``stac/COLLECTION/``."""
    return f"{UP}/{path.relative_to(study.folder).as_posix()}"


def file_info(path: Path) -> Json:
    """Return size and checksum of a file."""
    return extensions.file_info(size=path.stat().st_size, sha256=sha256_of(path))
