"""A scene as the pipeline knows it: from a STAC item, and as a row of ``scenes.parquet``."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.scenes import radiometry
from rockglacier.storage import read_bytes, redact, write_bytes
from rockglacier_stac import dialects
from rockglacier_stac.globe import bbox_of, footprint_of
from rockglacier_stac.providers import ASSET_KEYS
from rockglacier_stac.search import UNREADABLE, item_datetime
from rockglacier_stac.sign import unsigned

MASK = "MASK"
"""Key of a mask of clouds among a scene's assets, where the config names one."""

NOT_BANDS = frozenset({"SCL", MASK})

JSON_COLUMNS = ("assets", "transform", "shape", "bbox", "notes")
"""Lists and mappings, stored as JSON text so that every Parquet reader can open the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One Sentinel-2 L2A item that may be used."""

    id: str
    collection: str
    datetime: datetime
    """UTC."""
    tile: str
    """MGRS tile, e.g. ``43SDA``, or empty."""
    platform: str
    epsg: int
    """CRS of the pixels; 0 if the item does not say it and no file was opened yet."""
    cloud_cover: float | None
    """The item's own cloud cover, of its whole tile, percent."""
    baseline: str
    """Processing baseline, e.g. ``05.11``, or empty."""
    sequence: int
    """Number of the processing among those of the same tile and day."""
    datatake: str
    """Datatake without its baseline, or empty."""
    nodata_percent: float | None
    offset_in_pixels: int
    """What must be added to the stored numbers of valid pixels; see ``scenes.radiometry``."""
    offset_reason: str
    offset_evidence: str = ""
    """What decided: ``flag``, ``asset``, ``baseline`` or ``pixels``."""
    offset_pixels: int | None = None
    """Pixels of clear ground that were looked at for it; None: no visible band is used."""
    offset_dark_percent: float | None = None
    """Share of those that hold 1 to 900, which pixels with the offset do not."""
    assets: dict[str, str]
    """Band, ``SCL`` and perhaps ``MASK`` to address, unsigned."""
    self_href: str
    """Address of the source item, without secrets; empty if it has none."""
    sun_azimuth: float | None
    """Degrees clockwise from north."""
    sun_elevation: float | None
    """Degrees above the horizon."""
    basin_cloud: float | None = None
    """Cloud over the basin from the full-resolution SCL, percent of what the scene covers."""
    basin_snow: float | None = None
    basin_shadow: float | None = None
    """Topographic shadow, percent of what the scene covers of the basin."""
    basin_clear: float | None = None
    """Neither cloud nor its shadow nor snow, percent of what the scene covers of the basin."""
    basin_cover: float | None = None
    """Share of the basin that the scene covers with data, percent."""
    transform: tuple[float, ...] | None = None
    """Affine coefficients a, b, c, d, e, f of the finest band's pixels: as the item says, and for
    scenes that are used as the file does."""
    shape: tuple[int, int] | None = None
    """Rows and columns of the finest band, likewise."""
    geometry: BaseGeometry
    """Footprint, EPSG:4326, cut at the antimeridian."""
    bbox: tuple[float, float, float, float]
    """West, south, east, north of the footprint, degrees; west is larger than east across the
    antimeridian."""
    notes: tuple[str, ...] = ()
    """Where the item and its files disagree, or the item says nothing: what was used instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemTile:
    """One DEM item."""

    id: str
    href: str
    collection: str
    geometry: BaseGeometry
    """Footprint, EPSG:4326."""
    self_href: str


def scene_from_item(
    item: dict[str, Any], bands: Sequence[str], keys: Mapping[str, str] | None = None
) -> Scene:
    """Read an item of any provider as a scene.

    Parameters
    ----------
    item
        A STAC item with absolute addresses; nothing of it is changed.
    bands
        Reflectance bands that it must have, ``B02`` and so on; ``SCL`` is always needed.
    keys
        Band to asset key, of a catalog that is not known.

    Raises
    ------
    InputError
        A band's asset, the geometry or any hint at the CRS is missing, nothing tells the offset, or
        a value is of another kind than STAC's.
    """
    with _told(item):
        return _scene_of(item, bands, keys)


@contextmanager
def _told(item: dict[str, Any]) -> Iterator[None]:
    """Name the item, where a value in it is of another kind than STAC's."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"item {item['id']!r} cannot be read: {type(error).__name__}: {error}",
            expected="fields of the kinds that STAC gives them",
            todo="mend the item, or take it out of the catalog",
        ) from error


def _scene_of(item: dict[str, Any], bands: Sequence[str], keys: Mapping[str, str] | None) -> Scene:
    classes = ("SCL", MASK) if keys and MASK in keys else ("SCL",)
    assets = {band: _asset(item, band, keys) for band in (*bands, *classes)}
    geometry, notes = _footprint(item)
    tile = dialects.tile_of(item)
    epsg, doubt = _epsg(item, tile, keys)
    decision = radiometry.decide(item, bands, keys)
    sun_azimuth, sun_elevation = dialects.sun_of(item)
    transform, rows_columns = _finest_grid(assets)
    return Scene(
        id=item["id"],
        collection=str(item.get("collection") or ""),
        datetime=item_datetime(item),
        tile=tile,
        platform=str(item["properties"].get("platform") or "").lower(),
        epsg=epsg,
        cloud_cover=_number(item["properties"].get("eo:cloud_cover")),
        baseline=dialects.baseline_of(item),
        sequence=dialects.sequence_of(item),
        datatake=dialects.datatake_of(item),
        nodata_percent=dialects.nodata_percent_of(item),
        offset_in_pixels=decision.add,
        offset_reason=decision.reason,
        offset_evidence=decision.evidence,
        assets={band: unsigned(asset["href"]) for band, asset in assets.items()},
        self_href=redact(dialects.link_of(item, "self")),
        sun_azimuth=sun_azimuth,
        sun_elevation=sun_elevation,
        transform=transform,
        shape=rows_columns,
        geometry=geometry,
        bbox=bbox_of(geometry),
        notes=(*doubt, *notes),
    )


def _epsg(
    item: dict[str, Any], tile: str, keys: Mapping[str, str] | None
) -> tuple[int, tuple[str, ...]]:
    """Return the CRS that the item says, else that of its tile, else 0 until the file is opened."""
    said = dialects.epsg_of(item, keys)
    if said is not None:
        return said, ()
    guess = dialects.utm_of_tile(tile)
    if guess is not None:
        return guess, (f"CRS: the item says none; EPSG:{guess} is that of tile {tile}",)
    return 0, ("CRS: the item says none",)


def dem_from_item(item: dict[str, Any], key: str = "data") -> DemTile:
    """Read a DEM item.

    Parameters
    ----------
    item
        A STAC item with absolute addresses.
    key
        Key of the asset that holds the pixels.

    Raises
    ------
    InputError
        It has no such asset or no geometry, or a value is of another kind than STAC's.
    """
    if key not in item["assets"]:
        raise _missing(item, key, key)
    with _told(item):
        return DemTile(
            id=item["id"],
            href=unsigned(item["assets"][key]["href"]),
            collection=str(item.get("collection") or ""),
            geometry=_footprint(item)[0],
            self_href=redact(dialects.link_of(item, "self")),
        )


def _asset(item: dict[str, Any], band: str, keys: Mapping[str, str] | None) -> dict[str, Any]:
    found = dialects.band_asset(item, band, keys)
    if found is None:
        named = (keys or {}).get(band)
        raise _missing(item, band, named or " or ".join(ASSET_KEYS[band]))
    return found[1]


def _missing(item: dict[str, Any], band: str, keys: str) -> InputError:
    return InputError(
        f"item {item['id']!r} has no asset for {band}",
        expected=f"an asset {keys}; it has {', '.join(sorted(item['assets'])) or 'none'}",
        todo="take another collection, name the asset in search.assets, or leave the band out of "
        "cube.bands",
    )


BBOX_TOLERANCE = 0.02
"""Degrees that an item's bounding box may differ from its geometry: providers round."""


def _footprint(item: dict[str, Any]) -> tuple[BaseGeometry, tuple[str, ...]]:
    """Return the item's footprint, and whether its geometry and its bounding box agree."""
    geometry = footprint_of(item)
    if geometry is None:
        raise InputError(
            f"item {item['id']!r} has no geometry",
            expected="its footprint in EPSG:4326",
            todo="mend the item, or take it out of the catalog",
        )
    bbox = list(item.get("bbox") or [])
    if not item.get("geometry"):
        return geometry, (f"geometry: the item has none; its bbox {bbox} was used",)
    found = bbox_of(geometry)
    if not bbox:
        return geometry, ()
    corners = (*bbox[:2], *bbox[len(bbox) // 2 :][:2])
    if max(abs(a - b) for a, b in zip(corners, found, strict=True)) <= BBOX_TOLERANCE:
        return geometry, ()
    shown = [round(edge, 3) for edge in found]
    return geometry, (f"bbox: the item says {bbox}, its geometry lies within {shown}",)


def _finest_grid(
    assets: dict[str, dict[str, Any]],
) -> tuple[tuple[float, ...] | None, tuple[int, int] | None]:
    finest: tuple[tuple[float, ...] | None, tuple[int, int] | None] = (None, None)
    for band, asset in assets.items():
        transform, size = asset.get("proj:transform"), asset.get("proj:shape")
        if band in NOT_BANDS or not transform:
            continue
        if finest[0] is None or transform[0] < finest[0][0]:
            rows_columns = (int(size[0]), int(size[1])) if size else None
            finest = tuple(float(value) for value in transform[:6]), rows_columns
    return finest


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def scene_table(scenes: Sequence[Scene]) -> gpd.GeoDataFrame:
    """Return scenes as a table, one row each, EPSG:4326; lists and mappings as JSON text."""
    columns: dict[str, list[Any]] = {}
    for field in fields(Scene):
        values = [getattr(scene, field.name) for scene in scenes]
        if field.name in JSON_COLUMNS:
            values = [None if value is None else _text(value) for value in values]
        columns[field.name] = values
    frame = gpd.GeoDataFrame(columns, geometry="geometry", crs=4326)
    frame["datetime"] = pd.to_datetime(frame["datetime"], utc=True)
    for name in _FLOATS:
        frame[name] = frame[name].astype("float64")
    return frame


def _text(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


_FLOATS = (
    "cloud_cover",
    "nodata_percent",
    "offset_pixels",
    "offset_dark_percent",
    "sun_azimuth",
    "sun_elevation",
    "basin_cloud",
    "basin_snow",
    "basin_shadow",
    "basin_clear",
    "basin_cover",
)


def write_scenes(scenes: Sequence[Scene], path: Path) -> None:
    """Write scenes as GeoParquet, whole or not at all."""
    write_table(scene_table(scenes), path)


def read_scenes(path: Path) -> list[Scene]:
    """Read the scenes that :func:`write_scenes` wrote."""
    rows = read_table(path).to_dict(orient="records")
    return [_scene_of_row(row) for row in rows]


def _scene_of_row(row: dict[str, Any]) -> Scene:
    values = dict(row)
    for name in JSON_COLUMNS:
        values[name] = None if values[name] is None else json.loads(values[name])
    for name in _FLOATS:
        values[name] = None if math.isnan(values[name]) else values[name]
    for name in ("transform", "shape", "bbox", "notes"):
        values[name] = None if values[name] is None else tuple(values[name])
    counted = values["offset_pixels"]
    values["offset_pixels"] = None if counted is None else int(counted)
    values["datetime"] = values["datetime"].to_pydatetime()
    return Scene(**values)


def write_dem_tiles(tiles: Sequence[DemTile], path: Path) -> None:
    """Write DEM tiles as GeoParquet, whole or not at all."""
    columns = {
        field.name: [getattr(tile, field.name) for tile in tiles] for field in fields(DemTile)
    }
    write_table(gpd.GeoDataFrame(columns, geometry="geometry", crs=4326), path)


def read_dem_tiles(path: Path) -> list[DemTile]:
    """Read the tiles that :func:`write_dem_tiles` wrote."""
    return [DemTile(**row) for row in read_table(path).to_dict(orient="records")]


def write_table(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1, here or in an object store, whole or not at all."""
    write_bytes(path, table_bytes(table))


def table_bytes(table: gpd.GeoDataFrame) -> bytes:
    """Return GeoParquet 1.1, with boxes, unless a column has their name."""
    content = io.BytesIO()
    table.to_parquet(
        content,
        schema_version="1.1.0",
        write_covering_bbox="bbox" not in table.columns,
        compression="zstd",
        index=False,
    )
    return content.getvalue()


def read_table(path: Path, columns: Sequence[str] | None = None) -> gpd.GeoDataFrame:
    """Read GeoParquet, here or in an object store; ``columns`` comes with the geometry."""
    content = io.BytesIO(read_bytes(path))
    return gpd.read_parquet(content, columns=None if columns is None else [*columns, "geometry"])
