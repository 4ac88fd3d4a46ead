"""The STAC extensions that are published, each in the one version whose schema is vendored.

Functions here return fields, plain JSON values, to be put into items and assets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rockglacier_stac.errors import StacError

Json = dict[str, Any]

EXTENSIONS: Final[dict[str, str]] = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in {
        "classification": "2.0.0",
        "datacube": "2.2.0",
        "file": "2.1.0",
        "mlm": "1.4.0",
        "processing": "1.1.0",
        "projection": "2.0.0",
        "raster": "1.1.0",
        "render": "2.0.0",
        "scientific": "1.0.0",
        "table": "1.2.0",
        "version": "1.2.0",
    }.items()
} | {"rockglacier": "https://rockglacier.example/stac/v1.0.0/schema.json"}
"""Address by name. Our own is a name that leads nowhere: its schema comes with every catalog."""

ALIASES: Final[dict[str, str]] = {
    # addresses in `$ref`s that the vendored files answer under another name
    "https://proj.org/schemas/v0.4/projjson.schema.json": (
        "https://proj.org/en/latest/schemas/v0.4/projjson.schema.json"
    ),
    "https://proj.org/schemas/v0.7/projjson.schema.json": (
        "https://proj.org/en/latest/schemas/v0.7/projjson.schema.json"
    ),
    "https://stac-extensions.github.io/classification/v1.1.0/schema.json": EXTENSIONS[
        "classification"
    ],
}

PREFIXES: Final[dict[str, str]] = {
    "classification:": "classification",
    "cube:": "datacube",
    "file:": "file",
    "mlm:": "mlm",
    "processing:": "processing",
    "proj:": "projection",
    "raster:": "raster",
    "rockglacier:": "rockglacier",
    "sci:": "scientific",
    "table:": "table",
}
FIELDS: Final[dict[str, str]] = {"renders": "render", "version": "version"}

METHOD: Final[Json] = {
    "doi": "10.3390/rs17243942",
    "citation": "The study whose method this follows: Remote Sensing 2025, 17(24), 3942.",
}
"""The paper of the method. It is not the DOI of anything that is published here."""


@cache
def vendored() -> dict[str, Json]:
    """Return every vendored schema by its address, aliases included."""
    found: dict[str, Json] = {}
    for file in files("rockglacier_stac").joinpath("schemas").iterdir():
        if file.name.endswith(".json"):
            address = "https://" + file.name.replace("__", "/")
            found[address] = json.loads(file.read_text(encoding="utf-8"))
    return found | {alias: found[address] for alias, address in ALIASES.items()}


def used_extensions(document: Mapping[str, Any]) -> list[str]:
    """Return the addresses of the extensions whose fields a STAC object uses, sorted.

    Only the object itself, its properties, assets, item assets, summaries, providers and links are
    looked at: hyperparameters and other free values may be called anything.
    """
    names: set[str] = set()
    for fields in _places(document):
        for key in fields:
            prefix = key[: key.find(":") + 1]
            if prefix in PREFIXES:
                names.add(PREFIXES[prefix])
    for field, name in FIELDS.items():
        if field in document or field in document.get("properties", {}):
            names.add(name)
    return sorted(EXTENSIONS[name] for name in names)


def _places(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield document
    for name in ("properties", "summaries"):
        yield document.get(name, {})
    for name in ("assets", "item_assets"):
        for asset in document.get(name, {}).values():
            yield asset
            yield from asset.get("bands", [])
    yield from document.get("providers", [])
    yield from document.get("links", [])


def projection(
    *, epsg: int, shape: Sequence[int], transform: Sequence[float], bbox: Sequence[float]
) -> Json:
    """Return the fields of the projection extension.

    Parameters
    ----------
    epsg
        Code of the CRS.
    shape
        Rows and columns.
    transform
        Six numbers, pixel (column, row) to CRS, row by row.
    bbox
        West, south, east, north in the CRS.
    """
    return {
        "proj:code": f"EPSG:{epsg}",
        "proj:shape": [int(size) for size in shape],
        "proj:transform": [float(value) for value in transform][:6],
        "proj:bbox": [float(value) for value in bbox],
    }


def multihash(sha256: str) -> str:
    """Return a SHA-256 (64 hex digits) as a multihash: algorithm 0x12, length 0x20, digest."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise StacError(f"{sha256!r} is not a SHA-256", expected="64 hexadecimal digits")
    return f"1220{sha256}"


def file_info(*, size: int, sha256: str) -> Json:
    """Return size (bytes) and checksum of a single file."""
    return {"file:size": int(size), "file:checksum": multihash(sha256)}


def processing(
    *,
    level: str,
    lineage: str,
    software: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> Json:
    """Return how something was made.

    Parameters
    ----------
    level, lineage
        L3 or L4, and in words.
    software
        Version by name.
    settings
        The configuration, if it is to be told.
    """
    fields: Json = {
        "processing:level": level,
        "processing:lineage": lineage,
        "processing:software": dict(sorted(software.items())),
    }
    if settings:
        fields["processing:expression"] = {"format": "rockglacier", "expression": dict(settings)}
    return fields


def raster_band(
    name: str,
    *,
    data_type: str,
    nodata: float | str | None,
    resolution: float,
    scale: float | None = None,
    offset: float | None = None,
    statistics: Mapping[str, float] | None = None,
    description: str = "",
) -> tuple[Json, Json]:
    """Return a band as STAC 1.1 core has it and as raster 1.1.0 has it.

    Scale, offset and resolution are in the second only: the version of the raster extension that
    puts them into core bands (2.0.0) is not vendored.

    Parameters
    ----------
    name, description
        What readers call it.
    data_type, nodata
        Of the stored pixels.
    resolution
        Edge of a pixel, metres.
    scale, offset
        Value = stored pixel times scale plus offset.
    statistics
        ``minimum, maximum, mean, stddev, valid_percent`` of the stored pixels.
    """
    stored: Json = {"data_type": data_type}
    if nodata is not None:
        stored["nodata"] = nodata
    if statistics:
        stored["statistics"] = dict(statistics)
    core: Json = {"name": name, **stored}
    if description:
        core["description"] = description
    raster: Json = {"sampling": "area", "spatial_resolution": float(resolution), **stored}
    if scale is not None:
        raster["scale"] = scale
    if offset is not None:
        raster["offset"] = offset
    return core, raster


def landform_classes(counts: Mapping[int, int] | None = None) -> list[Json]:
    """Return the classes of a map of rock glaciers, with pixel counts where they are known."""
    classes: list[Json] = [
        {
            "value": 0,
            "name": "background",
            "description": "Ground that is no rock glacier",
            "color_hint": "D9D2C5",
        },
        {
            "value": 1,
            "name": "rock_glacier",
            "description": "Candidate of a rock glacier",
            "color_hint": "B5432A",
        },
        {
            "value": 255,
            "name": "nodata",
            "description": "No prediction",
            "color_hint": "000000",
            "nodata": True,
        },
    ]
    if counts is not None:
        for entry in classes:
            entry["count"] = int(counts.get(entry["value"], 0))
    return classes


def table(
    *, columns: Sequence[tuple[str, str, str]], geometry: str | None, rows: int | None
) -> Json:
    """Return the fields of the table extension.

    Parameters
    ----------
    columns
        Name, type and description of each column, in order.
    geometry
        Name of the primary geometry column.
    rows
        Number of rows.
    """
    described: list[Json] = []
    for name, kind, description in columns:
        entry = {"name": name, "type": kind}
        if description:
            entry["description"] = description
        described.append(entry)
    fields: Json = {"table:columns": described}
    if geometry is not None:
        fields["table:primary_geometry"] = geometry
    if rows is not None:
        fields["table:row_count"] = int(rows)
    return fields


def cube_dimensions(
    *,
    epsg: int,
    bbox: Sequence[float],
    resolution: float,
    bands: Sequence[str],
    times: Sequence[str],
    interval: tuple[str, str],
) -> Json:
    """Return the dimensions of a cube (time, band, y, x) for the datacube extension.

    Parameters
    ----------
    epsg, bbox, resolution
        CRS, outer edges (west, south, east, north) and edge of a pixel, CRS units.
    bands
        Names along ``band``.
    times
        Starts of the periods along ``time``, RFC 3339.
    interval
        First and last moment that ``time`` covers, RFC 3339.
    """
    west, south, east, north = (float(value) for value in bbox)
    half = resolution / 2
    return {
        "time": {"type": "temporal", "values": list(times), "extent": list(interval)},
        "band": {"type": "bands", "values": list(bands)},
        "y": {
            "type": "spatial",
            "axis": "y",
            "extent": [south + half, north - half],
            "step": -float(resolution),
            "reference_system": epsg,
            "description": "Pixel centres, north first",
        },
        "x": {
            "type": "spatial",
            "axis": "x",
            "extent": [west + half, east - half],
            "step": float(resolution),
            "reference_system": epsg,
            "description": "Pixel centres",
        },
    }


def cube_variable(dimensions: Sequence[str], *, description: str = "", unit: str = "") -> Json:
    """Return one variable of a cube for the datacube extension."""
    fields: Json = {"dimensions": list(dimensions), "variable_type": "data"}
    if description:
        fields["description"] = description
    if unit:
        fields["unit"] = unit
    return fields
