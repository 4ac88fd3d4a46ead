"""Five real Sentinel-2 + DEM chips as five small basins, each with a catalog of its own.

Source: `s2_dem_pairs/terramind` of the shared data (IBM/terramind, Apache-2.0; contains modified
Copernicus Sentinel data; Copernicus DEM, DLR and Airbus). 224 x 224 px at 10 m, five UTM zones, two
hemispheres, 12 bands as int16, the DEM as int16 metres, a land-cover raster.

What is added, and is not in the source:

- a frame of nodata around the chip, so that it is padded to 256 px;
- SCL, written as class 5 (not vegetated) wherever the chip has pixels: the source has none, so no
  cloud, snow or shadow is known;
- date and orbit in the items: the source has none; every item says 2020-08-01;
- the processing baseline: 04.00 where every band is at least 900 (the +1000 shows), else 02.14.

Reference polygons are one land-cover class, a stand-in: no chip holds a rock glacier. It is class 2
(trees), which three chips hold (282D, 433D and 637U); the two others get an inventory without
polygons.

    python tests/data/real_chips/make.py SOURCE TARGET
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import stac_geoparquet.arrow as stac_arrow
from rasterio.features import shapes
from rasterio.transform import Affine
from rasterio.warp import transform_geom

ASSETS = {
    "blue": 1, "green": 2, "red": 3, "nir": 7, "swir16": 10, "swir22": 11,
}  # fmt: skip # position in the source: B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12
PADDED = 256
STAND_IN_CLASS = 2
CHIPS = ("282D_485L_3_3", "38D_378R_2_3", "433D_629L_3_1", "609U_541L_3_0", "637U_59R_1_3")


def make_basins(source: Path, target: Path) -> dict[str, Path]:
    """Write every chip as a basin; return the folder of each."""
    return {chip: _make_basin(source, chip, target / chip.lower()) for chip in CHIPS}


def _make_basin(source: Path, chip: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source / "S2L2A" / f"{chip}.tif") as bands:
        pixels, transform, crs = bands.read(), bands.transform, bands.crs
    with rasterio.open(source / "DEM" / f"{chip}.tif") as dem:
        heights = dem.read(1).astype("float32")
    with rasterio.open(source / "LULC" / f"{chip}.tif") as land_cover:
        classes = land_cover.read(1)
    frame = (PADDED - pixels.shape[1]) // 2
    padded = transform @ Affine.translation(-frame, -frame)
    bounds = rasterio.transform.array_bounds(*pixels.shape[1:], transform)
    outline = shapely.geometry.shape(
        transform_geom(crs, "EPSG:4326", shapely.geometry.mapping(shapely.box(*bounds)))
    )
    profile = {"crs": crs, "transform": padded, "height": PADDED, "width": PADDED, "count": 1}
    for name, index in ASSETS.items():
        values = np.pad(pixels[index].astype("uint16"), frame)
        _write(folder / f"{name}.tif", values, {**profile, "dtype": "uint16", "nodata": 0})
    scl = np.pad(np.full(pixels.shape[1:], 5, "uint8"), frame)
    _write(folder / "scl.tif", scl, {**profile, "dtype": "uint8", "nodata": 0})
    _write(
        folder / "dem.tif",
        np.pad(heights, frame, mode="edge"),
        {**profile, "dtype": "float32", "nodata": -32768},
    )
    items = [
        _scene_item(chip, outline, crs.to_epsg(), padded, baseline_of(pixels)),
        _dem_item(chip, outline, crs.to_epsg(), padded),
    ]
    table = stac_arrow.parse_stac_items_to_arrow(items)
    stac_arrow.to_parquet(table, folder / "items.parquet")
    gpd.GeoDataFrame(geometry=[outline.buffer(-2e-4)], crs=4326).to_file(folder / "area.gpkg")
    _write_reference(folder / "reference.gpkg", classes, transform, crs)
    return folder


def baseline_of(pixels: np.ndarray) -> str:
    """Return 04.00 where the +1000 of that baseline is visible in every band, else 02.14."""
    return "04.00" if pixels.reshape(len(pixels), -1).min(axis=1).min() >= 900 else "02.14"


def _write(path: Path, values: np.ndarray, profile: dict[str, Any]) -> None:
    with rasterio.open(path, "w", driver="COG", compress="DEFLATE", **profile) as file:
        file.write(values, 1)


def _write_reference(path: Path, classes: np.ndarray, transform: Affine, crs: Any) -> None:
    is_class = (classes == STAND_IN_CLASS).astype("uint8")
    polygons = [
        shapely.geometry.shape(shape)
        for shape, _ in shapes(is_class, mask=is_class.astype(bool), transform=transform)
    ]
    table = gpd.GeoDataFrame({"OutType": ["Extended"] * len(polygons)}, geometry=polygons, crs=crs)
    table.to_file(path, geometry_type="Polygon")


def _common(chip: str, outline: Any, epsg: int, transform: Affine) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "links": [],
        "properties": {
            "datetime": "2020-08-01T10:00:00Z",
            "proj:epsg": epsg,
            "grid:code": f"MGRS-{chip[:5].replace('_', 'X')}",
        },
    }


def _scene_item(
    chip: str, outline: Any, epsg: int, transform: Affine, baseline: str
) -> dict[str, Any]:
    item = _common(chip, outline, epsg, transform)
    item |= {"id": f"S2_{chip}_20200801_0_L2A", "collection": "sentinel-2-l2a"}
    item["properties"] |= {
        "eo:cloud_cover": 0.0,
        "platform": "sentinel-2a",
        "s2:processing_baseline": baseline,
        "s2:sequence": "0",
        "s2:nodata_pixel_percentage": 0.0,
        "view:sun_azimuth": 150.0,
        "view:sun_elevation": 50.0,
    }
    grid = {"proj:transform": list(transform)[:6], "proj:shape": [PADDED, PADDED]}
    image = "image/tiff; application=geotiff; profile=cloud-optimized"
    item["assets"] = {
        name: {"href": f"./{name}.tif", "type": image, "roles": ["data"], **grid}
        for name in (*ASSETS, "scl")
    }
    return item


def _dem_item(chip: str, outline: Any, epsg: int, transform: Affine) -> dict[str, Any]:
    item = _common(chip, outline, epsg, transform)
    item |= {"id": f"DEM_{chip}", "collection": "cop-dem-glo-30"}
    item["assets"] = {
        "data": {"href": "./dem.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}
    }
    return item


if __name__ == "__main__":
    for chip, folder in make_basins(Path(sys.argv[1]), Path(sys.argv[2])).items():
        sys.stdout.write(f"{chip}: {folder}\n")
