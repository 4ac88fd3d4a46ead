"""The items of the demo in the form of Earth Search v1, as one stac-geoparquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import shapely
import stac_geoparquet.arrow
from shapely.geometry.base import BaseGeometry

from rockglacier.demo.acquisitions import Acquisition, Tile
from rockglacier.demo.cogs import WrittenFile
from rockglacier.demo.dem import DemTile
from rockglacier.grid import projected
from rockglacier.scenes.notices import MADE_UP

SCENES, DEM = "sentinel-2-c1-l2a", "cop-dem-glo-30"
"""Names of the two collections."""
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
NEWER_FORM = "2024-10-01"
"""Items from this day on say ``proj:code``, earlier ones ``proj:epsg``, as in the real catalog."""

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
_S2_EXTENSIONS = (
    "eo/v1.1.0",
    "file/v2.1.0",
    "grid/v1.1.0",
    "mgrs/v1.0.0",
    "raster/v1.1.0",
    "sentinel-2/v1.0.0",
    "view/v1.0.0",
)
_DEM_EXTENSIONS = ("grid/v1.1.0", "file/v2.1.0", "projection/v1.1.0", "raster/v1.1.0")

# asset key: band, common name, title, centre and width of the wavelengths in µm
_BANDS = {
    "blue": ("B02", "blue", "Blue - 10m", 0.49, 0.098),
    "green": ("B03", "green", "Green - 10m", 0.56, 0.045),
    "red": ("B04", "red", "Red - 10m", 0.665, 0.038),
    "nir": ("B08", "nir", "NIR 1 - 10m", 0.842, 0.145),
    "swir16": ("B11", "swir16", "SWIR 1.6μm - 20m", 1.61, 0.143),
    "swir22": ("B12", "swir22", "SWIR 2.2μm - 20m", 2.19, 0.242),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFacts:
    """What an item says of its scene."""

    tile: Tile
    acquisition: Acquisition
    sequence: int
    baseline: str
    offset_removed: bool
    nodata_percent: float
    footprint: BaseGeometry
    """Ground that was seen, metres of the tile's CRS."""

    @property
    def id(self) -> str:
        """Item id, e.g. ``S2A_43SGV_20240904_0_L2A``."""
        return (
            f"S2{self.acquisition.platform[-1].upper()}_{self.tile.code}_"
            f"{self.acquisition.time:%Y%m%d}_{self.sequence}_L2A"
        )


def scene_item(facts: SceneFacts, files: Mapping[str, WrittenFile]) -> dict[str, Any]:
    """Return the STAC item of a scene, asset paths relative to the catalog file.

    Parameters
    ----------
    facts
        What the item says.
    files
        Its files by band name, ``SCL`` included.
    """
    assets = {
        key: _band_asset(facts.id, band, files[band[0]], offset=-0.1)
        for key, band in _BANDS.items()
    }
    assets["scl"] = _scl_asset(facts.id, files["SCL"])
    newer = f"{facts.acquisition.time:%Y-%m-%d}" >= NEWER_FORM
    extensions = (*_S2_EXTENSIONS, "projection/v2.0.0" if newer else "projection/v1.1.0")
    return _item(
        facts.id,
        SCENES,
        projected(facts.footprint, epsg=4326, source_epsg=facts.tile.epsg),
        facts.acquisition.time,
        properties=_scene_properties(facts, newer=newer),
        assets=assets,
        extensions=extensions,
    )


def _scene_properties(facts: SceneFacts, *, newer: bool) -> dict[str, Any]:
    acquisition, tile = facts.acquisition, facts.tile
    start = f"{acquisition.time - timedelta(seconds=8):%Y%m%dT%H%M%S}"
    letter = acquisition.platform[-1].upper()
    processed = acquisition.time + timedelta(hours=4, days=40 * facts.sequence)
    properties: dict[str, Any] = {
        "platform": f"{MADE_UP}-{letter.lower()}",  # products then carry no notice of Copernicus
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": acquisition.cloud_cover,
        "mgrs:utm_zone": int(tile.code[:2]),
        "mgrs:latitude_band": tile.code[2],
        "mgrs:grid_square": tile.code[3:],
        "grid:code": f"MGRS-{tile.code}",
        "view:sun_azimuth": acquisition.sun.azimuth,
        "view:sun_elevation": acquisition.sun.elevation,
        "s2:nodata_pixel_percentage": facts.nodata_percent,
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": facts.baseline,
        "s2:product_uri": f"S2{letter}_MSIL2A_{start}_N{facts.baseline.replace('.', '')}_R005_"
        f"T{tile.code}_{processed:%Y%m%dT%H%M%S}.SAFE",
        "s2:datatake_id": f"GS2{letter}_{start}_{47000 + acquisition.time.timetuple().tm_yday:06d}"
        f"_N{facts.baseline}",
        "s2:datatake_type": "INS-NOBS",
        "s2:sequence": str(facts.sequence),
        "earthsearch:boa_offset_applied": facts.offset_removed,
        "created": _stamp(processed),
        "updated": _stamp(processed),
    }
    if newer:
        properties["proj:code"] = f"EPSG:{tile.epsg}"
    else:
        properties["proj:epsg"] = tile.epsg
    return properties


def _band_asset(
    item: str, band: tuple[str, str, str, float, float], file: WrittenFile, *, offset: float
) -> dict[str, Any]:
    name, common_name, title, centre, width = band
    resolution = int(file.transform.a)
    return {
        "href": f"./{item}/{name}.tif",
        "type": COG_TYPE,
        "title": title,
        "eo:bands": [
            {
                "name": name,
                "common_name": common_name,
                "center_wavelength": centre,
                "full_width_half_max": width,
            }
        ],
        **_placed(file),
        # the offset is said to be -0.1 even where the pixels no longer carry it: so does the real
        # catalog, and `earthsearch:boa_offset_applied` is what tells
        "raster:bands": [
            {
                "nodata": 0,
                "data_type": "uint16",
                "spatial_resolution": resolution,
                "scale": 0.0001,
                "offset": offset,
            }
        ],
        "roles": ["data", "reflectance"],
    }


def _scl_asset(item: str, file: WrittenFile) -> dict[str, Any]:
    return {
        "href": f"./{item}/SCL.tif",
        "type": COG_TYPE,
        "title": "Scene classification map (SCL)",
        **_placed(file),
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
        "roles": ["data"],
    }


def _placed(file: WrittenFile) -> dict[str, Any]:
    return {
        "gsd": int(file.transform.a),
        "proj:shape": list(file.shape),
        "proj:transform": list(file.transform)[:6],
        "file:size": file.size,
        "file:checksum": file.checksum,
    }


def dem_item(tile: DemTile, file: WrittenFile, *, when: datetime) -> dict[str, Any]:
    """Return the STAC item of a DEM tile, its asset path relative to the catalog file."""
    placed = {
        "proj:epsg": 4326,
        "proj:shape": list(file.shape),
        "proj:transform": list(file.transform)[:6],
    }
    asset = {
        "href": f"./{tile.name}/{tile.name}.tif",
        "type": COG_TYPE,
        "title": "Data",
        "raster:bands": [
            {"sampling": "point", "data_type": "float32", "spatial_resolution": 30, "unit": "meter"}
        ],
        "file:size": file.size,
        "file:checksum": file.checksum,
        "roles": ["data"],
    }
    return _item(
        tile.name,
        DEM,
        shapely.box(*tile.bounds),
        when,
        properties={"platform": "tandem-x", "gsd": 30, "grid:code": tile.grid_code, **placed},
        assets={"data": asset},
        extensions=_DEM_EXTENSIONS,
    )


def _item(
    name: str,
    collection: str,
    geometry: BaseGeometry,
    when: datetime,
    *,
    properties: dict[str, Any],
    assets: dict[str, Any],
    extensions: Sequence[str],
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": {"datetime": _stamp(when), **properties},
        "links": [{"rel": "self", "type": "application/geo+json", "href": f"./{name}/{name}.json"}],
        "assets": assets,
        "stac_extensions": [_EXTENSION.format(extension) for extension in extensions],
    }


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def write_items(items: Sequence[dict[str, Any]], path: Path) -> None:
    """Write every item, of both collections, into one stac-geoparquet file.

    Paths in it are relative to its folder. Items of one collection carry the properties of the
    other as nulls, which a reader has to drop.
    """
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(items)
    stac_geoparquet.arrow.to_parquet(table, path, collections=_collections(items))


def _collections(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    described = {
        SCENES: ("Sentinel-2 Collection 1 Level-2A", "Made up in the likeness of Sentinel-2."),
        DEM: ("Copernicus DEM GLO-30", "Made up in the likeness of the Copernicus DEM."),
    }
    return {
        name: {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": name,
            "title": title,
            "description": description,
            "license": "CC0-1.0",
            "links": [],
            "extent": _extent([item for item in items if item["collection"] == name]),
        }
        for name, (title, description) in described.items()
    }


def _extent(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    boxes = shapely.box(*zip(*(item["bbox"] for item in items), strict=True))
    times = sorted(item["properties"]["datetime"] for item in items)
    return {
        "spatial": {"bbox": [list(map(float, shapely.total_bounds(boxes)))]},
        "temporal": {"interval": [[times[0], times[-1]]]},
    }
