"""One reading of the dialects in which providers write Sentinel-2 items.

Earth Search v0 and v1, Planetary Computer and CDSE name the same things differently, and their
items are of STAC 1.0.0-beta.2 to 1.1. Nothing is migrated: each function knows where to look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from rockglacier_stac.providers import ASSET_KEYS

Item = dict[str, Any]

COMMON_NAMES = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "swir16": "B11",
    "swir22": "B12",
}
"""Names of STAC's extension eo, where they mean one band of Sentinel-2."""

_PRODUCT_BASELINE = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|$)")


def band_asset(
    item: Item, band: str, keys: Mapping[str, str] | None = None
) -> tuple[str, dict[str, Any]] | None:
    """Return key and asset of a band (``B02`` ..., ``SCL``), or None.

    Parameters
    ----------
    item
        Of any provider.
    band
        Name of the band.
    keys
        Band to asset key, of a catalog that is not known: where it names the band, nothing else
        counts.

    Notes
    -----
    An asset under an unknown key counts if it says that it holds this one band; of several, the one
    with the smallest pixels.
    """
    assets = item["assets"]
    if keys and band in keys:
        return (keys[band], assets[keys[band]]) if keys[band] in assets else None
    for key in ASSET_KEYS[band]:
        if key in assets:
            return key, assets[key]
    said = [(key, asset) for key, asset in assets.items() if _says_band(asset, band)]
    return min(said, key=lambda pair: (_pixel_size(pair[1]), pair[0]), default=None)


def _says_band(asset: dict[str, Any], band: str) -> bool:
    bands = asset.get("eo:bands") or asset.get("bands") or []
    if len(bands) != 1:
        return False
    common = bands[0].get("eo:common_name") or bands[0].get("common_name")
    return bands[0].get("name") == band or COMMON_NAMES.get(str(common)) == band


def _pixel_size(asset: dict[str, Any]) -> float:
    transform = asset.get("proj:transform") or [asset.get("gsd") or float("inf")]
    return abs(float(transform[0]))


def epsg_of(item: Item, keys: Mapping[str, str] | None = None) -> int | None:
    """Return the EPSG code of the pixels, as the item or its band assets say it, or None.

    Read are ``proj:epsg``, ``proj:code``, ``proj:wkt2`` and ``proj:projjson``; what is none of
    EPSG's codes counts as unsaid.
    """
    for values in [item["properties"], *(asset for _, asset in _band_assets(item, keys))]:
        code = re.search(r"\d{4,5}$", str(values.get("proj:epsg") or values.get("proj:code") or ""))
        if code:
            return int(code[0])
        text = values.get("proj:wkt2") or values.get("proj:projjson")
        if text:
            try:
                found = CRS.from_user_input(text).to_epsg()
            except CRSError:
                continue
            if found:
                return int(found)
    return None


def utm_of_tile(tile: str) -> int | None:
    """Return the EPSG code of the UTM zone of an MGRS tile: ``43SDA`` is 32643; else None."""
    found = re.fullmatch(r"(\d{2})([C-X])[A-Z]{2}", tile)
    if found is None or not 1 <= int(found[1]) <= 60:
        return None
    return (32600 if found[2] >= "N" else 32700) + int(found[1])


def _band_assets(item: Item, keys: Mapping[str, str] | None) -> list[tuple[str, dict[str, Any]]]:
    found = (band_asset(item, band, keys) for band in ASSET_KEYS)
    return [pair for pair in found if pair is not None]


def tile_of(item: Item) -> str:
    """Return the MGRS tile, e.g. ``43SDA``, or an empty text."""
    properties = item["properties"]
    code = str(properties.get("grid:code") or "")
    if code.startswith("MGRS-"):
        return _padded(code.removeprefix("MGRS-"))
    if properties.get("s2:mgrs_tile"):
        return _padded(str(properties["s2:mgrs_tile"]))
    for prefix in ("mgrs", "sentinel"):
        zone = properties.get(f"{prefix}:utm_zone")
        if zone:
            band, square = (
                properties.get(f"{prefix}:latitude_band", ""),
                properties.get(f"{prefix}:grid_square", ""),
            )
            return f"{int(zone):02d}{band}{square}"
    return ""


def _padded(tile: str) -> str:
    return tile if len(tile) >= 5 else f"0{tile}"


def baseline_of(item: Item) -> str:
    """Return the processing baseline, e.g. ``05.11``, or an empty text.

    Read from the properties, else from the product's name (``..._N0511_...``); never guessed from
    a date, as old scenes have been processed again.
    """
    properties = item["properties"]
    for key in (
        "s2:processing_baseline",
        "processing:version",
        "sentinel:processing_baseline",
    ):
        if properties.get(key):
            return str(properties[key])
    names = [
        properties.get(key)
        for key in ("s2:product_uri", "sentinel:product_id", "s2:datatake_id", "eopf:datatake_id")
    ]
    for name in [*names, item["id"]]:
        found = _PRODUCT_BASELINE.search(str(name or "").removesuffix(".SAFE"))
        if found:
            return f"{found[1]}.{found[2]}"
    return ""


def offset_flag(item: Item) -> bool | None:
    """Return what the provider says: True, the -1000 is already taken off the pixels."""
    for prefix in ("earthsearch", "sentinel", "s2"):
        flag = item["properties"].get(f"{prefix}:boa_offset_applied")
        if flag is not None:
            return bool(flag)
    return None


def raster_offset(asset: dict[str, Any]) -> float | None:
    """Return the offset that an asset says turns its pixels into reflectance; raster v1 and v2."""
    return _raster_number(asset, "offset")


def raster_scale(asset: dict[str, Any]) -> float | None:
    """Return the scale that an asset says turns its pixels into reflectance; raster v1 and v2."""
    return _raster_number(asset, "scale")


def _raster_number(asset: dict[str, Any], name: str) -> float | None:
    bands = [*(asset.get("raster:bands") or []), *(asset.get("bands") or [])]
    for values in [asset, *bands]:
        for key in (f"raster:{name}", name):
            if values.get(key) is not None:
                return float(values[key])
    return None


def sequence_of(item: Item) -> int:
    """Return the number of the processing among those of the same tile and day; 0 if unsaid."""
    properties = item["properties"]
    value = properties.get("s2:sequence", properties.get("sentinel:sequence"))
    return int(value) if value is not None else 0


def datatake_of(item: Item) -> str:
    """Return the datatake, without the baseline at its end, or an empty text."""
    properties = item["properties"]
    name = str(properties.get("s2:datatake_id") or properties.get("eopf:datatake_id") or "")
    return re.sub(r"_N\d{2}\.?\d{2}$", "", name)


def nodata_percent_of(item: Item) -> float | None:
    """Return the share of the tile without data, percent."""
    properties = item["properties"]
    if properties.get("s2:nodata_pixel_percentage") is not None:
        return float(properties["s2:nodata_pixel_percentage"])
    statistics = properties.get("statistics") or {}
    if statistics.get("nodata") is not None:
        return float(statistics["nodata"])
    if properties.get("sentinel:data_coverage") is not None:
        return 100.0 - float(properties["sentinel:data_coverage"])
    return None


def sun_of(item: Item) -> tuple[float | None, float | None]:
    """Return azimuth and elevation of the sun, degrees."""
    properties = item["properties"]
    azimuth = properties.get("view:sun_azimuth", properties.get("s2:mean_solar_azimuth"))
    elevation = properties.get("view:sun_elevation")
    if elevation is None and properties.get("s2:mean_solar_zenith") is not None:
        elevation = 90.0 - float(properties["s2:mean_solar_zenith"])
    return (
        None if azimuth is None else float(azimuth),
        None if elevation is None else float(elevation),
    )


def link_of(item: Item, rel: str) -> str:
    """Return the address of the first link of a kind, or an empty text."""
    return next((str(link["href"]) for link in item["links"] if link.get("rel") == rel), "")
