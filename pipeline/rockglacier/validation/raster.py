"""Whether a raster is a cloud-optimized GeoTIFF that says where it lies, and reads to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_validate

from rockglacier.scenes.asset import gdal_path, options_for
from rockglacier.storage import redact
from rockglacier.validation.finding import Finding

AGAIN = "write it again with rockglacier predict, or with rio cogeo create"


def raster_findings(address: str, *, said: dict[str, Any] | None = None) -> Iterator[Finding]:
    """Check a cloud-optimized GeoTIFF.

    Parameters
    ----------
    address
        Path or URL.
    said
        Properties and the asset of a STAC item in one mapping, to compare with.

    Notes
    -----
    The layout is checked by rio-cogeo, its warnings included; then CRS, transform and nodata; then
    the last block of the full resolution and of every overview is decoded.
    """
    try:
        with rasterio.Env(**options_for([address])):
            path = gdal_path(address)
            _, errors, warnings = cog_validate(path, strict=True, quiet=True)
            for message in (*errors, *warnings):
                yield Finding(found=message, expected="a cloud-optimized GeoTIFF", todo=AGAIN)
            with rasterio.open(path) as raster:
                yield from _georeference(raster)
                yield from _disagreements(raster, said or {})
                levels = len(raster.overviews(1))
            for level in (None, *range(levels)):
                options = {} if level is None else {"overview_level": level}
                with rasterio.open(path, **options) as raster:
                    _read_last_block(raster)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        yield Finding(
            found=f"it cannot be read: {redact(str(error))}",
            expected="a GeoTIFF that GDAL reads to its end",
            todo=AGAIN,
        )


def _georeference(raster: Any) -> Iterator[Finding]:
    if raster.crs is None:
        yield Finding(found="it has no CRS", expected="a coordinate reference system", todo=AGAIN)
    if raster.transform.is_identity:
        yield Finding(found="it has no transform", expected="a place on Earth", todo=AGAIN)
    if raster.nodata is None:
        yield Finding(
            found="it has no nodata value",
            expected="one, so that what is unknown is not taken for a value",
            todo=AGAIN,
        )


def _disagreements(raster: Any, said: dict[str, Any]) -> Iterator[Finding]:
    bands = said.get("bands") or [{}]
    pairs = (
        ("proj:code", said.get("proj:code"), _code(raster.crs)),
        ("proj:shape", said.get("proj:shape"), list(raster.shape)),
        ("proj:transform", (said.get("proj:transform") or [])[:6], list(raster.transform)[:6]),
        ("data_type", bands[0].get("data_type"), raster.dtypes[0]),
        ("nodata", bands[0].get("nodata"), raster.nodata),
        ("bands", len(said["bands"]) if "bands" in said else None, raster.count),
    )
    for name, told, held in pairs:
        is_nan = str(told).lower() == str(held).lower() == "nan"
        if told not in (None, []) and told != held and not is_nan:
            yield Finding(
                found=f"the item says {name} {told!r}, the file {held!r}",
                expected="an item that describes its file",
                todo="rockglacier publish STUDY.yaml",
            )


def _code(crs: Any) -> str | None:
    authority = None if crs is None else crs.to_authority()
    return None if authority is None else ":".join(authority)


def _read_last_block(raster: Any) -> None:
    *_, (_, window) = raster.block_windows(1)
    raster.read(1, window=window)
