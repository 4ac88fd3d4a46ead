"""One reading of the dialects in which providers write Sentinel-2 items.

Earth Search v0 and v1, Planetary Computer and CDSE name the same things differently, and their
items are of STAC 1.0.0-beta.2 to 1.1. Nothing is migrated: each function knows where to look.
"""

from __future__ import annotations

import re
from typing import Any

Item = dict[str, Any]

# band -> the keys of its asset at the finest resolution: Earth Search v1, then v0 and Planetary
# Computer, then CDSE
ASSET_KEYS: dict[str, tuple[str, ...]] = {
    "B01": ("coastal", "B01", "B01_20m", "B01_60m"),
    "B02": ("blue", "B02", "B02_10m"),
    "B03": ("green", "B03", "B03_10m"),
    "B04": ("red", "B04", "B04_10m"),
    "B05": ("rededge1", "B05", "B05_20m"),
    "B06": ("rededge2", "B06", "B06_20m"),
    "B07": ("rededge3", "B07", "B07_20m"),
    "B08": ("nir", "B08", "B08_10m"),
    "B8A": ("nir08", "B8A", "B8A_20m"),
    "B09": ("nir09", "B09", "B09_60m"),
    "B11": ("swir16", "B11", "B11_20m"),
    "B12": ("swir22", "B12", "B12_20m"),
    "SCL": ("scl", "SCL", "SCL_20m"),
}

_PRODUCT_BASELINE = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|$)")


def band_asset(item: Item, band: str) -> tuple[str, dict[str, Any]] | None:
    """Return key and asset of a band (``B02`` ..., ``SCL``), or None.

    An asset under an unknown key counts if it says that it holds this one band.
    """
    assets = item["assets"]
    for key in ASSET_KEYS[band]:
        if key in assets:
            return key, assets[key]
    for key, asset in assets.items():
        bands = asset.get("eo:bands") or asset.get("bands") or []
        if len(bands) == 1 and bands[0].get("name") == band:
            return key, asset
    return None


def epsg_of(item: Item) -> int | None:
    """Return the EPSG code of the pixels: ``proj:code`` or ``proj:epsg``, of item or asset."""
    held = [item["properties"], *(asset for _, asset in _band_assets(item))]
    for values in held:
        if values.get("proj:epsg"):
            return int(values["proj:epsg"])
        code = str(values.get("proj:code") or "")
        if code.upper().startswith("EPSG:"):
            return int(code.split(":")[1])
    return None


def _band_assets(item: Item) -> list[tuple[str, dict[str, Any]]]:
    found = (band_asset(item, band) for band in ASSET_KEYS)
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
    bands = [*(asset.get("raster:bands") or []), *(asset.get("bands") or [])]
    for values in [asset, *bands]:
        for key in ("raster:offset", "offset"):
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
