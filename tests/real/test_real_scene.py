"""One real Earth Search scene: search, plan, cube; the cube equals what rasterio reads.

The pixels are a real Level-2A product decimated to 100 m (20 m bands: 200 m) with its own item.
"""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import stac_geoparquet.arrow as stac_arrow
import zarr

from rockglacier.config import parse_config
from rockglacier.plan import make_plan, plan_lines
from rockglacier.run import run_stages
from rockglacier.stages import Context, stage_named
from rockglacier.study import Study

pytestmark = pytest.mark.real

SCENE = "sentinel-cogs_S2A_29RKH_20200219_0_L2A"
FILES = {
    "blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "swir22": "B12",
    "scl": "SCL",
}  # fmt: skip
BANDS = {
    "B02": 1,
    "B03": 1,
    "B04": 1,
    "B08": 1,
    "B11": 2,
    "B12": 2,
}  # band: pixels of 100 m an edge


def write_catalog(source, folder):
    """Its own item with the hrefs rewritten, and a flat DEM tile, which the source has not."""
    item = json.loads(next(source.glob("*.json")).read_text())
    item["assets"] = {
        key: {**item["assets"][key], "href": str((source / f"{band}.tif").absolute())}
        for key, band in FILES.items()
    }
    item["links"] = []
    dem = folder / "dem.tif"
    west, south, east, north = (-12.2, 24.0, -10.6, 25.6)
    profile = {
        "driver": "GTiff",
        "crs": "EPSG:4326",
        "count": 1,
        "dtype": "float32",
        "width": 320,
        "height": 320,
        "transform": rasterio.transform.from_bounds(west, south, east, north, 320, 320),
    }
    with rasterio.open(dem, "w", **profile) as file:
        file.write(np.full((320, 320), 250, "float32"), 1)
    dem_item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": "dem",
        "collection": "cop-dem-glo-30",
        "geometry": json.loads(shapely.to_geojson(shapely.box(west, south, east, north))),
        "bbox": [west, south, east, north],
        "links": [],
        "properties": {"datetime": "2021-04-22T00:00:00Z"},
        "assets": {"data": {"href": str(dem), "type": "image/tiff; application=geotiff"}},
    }
    for name, one in {"scenes": item, "dem": dem_item}.items():
        table = stac_arrow.parse_stac_items_to_arrow([one])
        stac_arrow.to_parquet(table, folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def study(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    source = shared_data / "s2" / SCENE
    write_catalog(source, folder)
    gpd.GeoDataFrame(geometry=[shapely.box(-11.6, 24.5, -11.2, 24.9)], crs=4326).to_file(
        folder / "area.gpkg"
    )
    config = parse_config(
        {
            "name": "sahara",
            "area": "area.gpkg",
            "search": {
                "catalog": "scenes.parquet",
                "dem_catalog": "dem.parquet",
                "collection": "sentinel-2-l2a",
                "start": "2020-01-01",
                "end": "2020-12-31",
                "season": [1, 12],
                "basin_cloud_max": 100,
            },
            "cube": {"resolution": 100, "block": 256, "bands": list(BANDS)},
        },
        source="test",
    )
    study = Study(config=config, base=folder)
    run_stages(study, [stage_named("search"), stage_named("cube")], Context())
    return study


def test_plan_counts_the_scene(study):
    plan = make_plan(study)
    assert (plan.scenes, plan.epsg) == (1, 32629)
    assert "29RKH" in "\n".join(plan_lines(plan))


@pytest.mark.parametrize("band", BANDS)
def test_composite_equals_what_rasterio_reads(study, shared_data, band):
    scale = BANDS[band]
    source = shared_data / "s2" / SCENE
    west, south, east, north = study.grid.bounds
    with rasterio.open(source / f"{band}.tif") as file:
        window = rasterio.windows.from_bounds(west, south, east, north, file.transform)
        assert scale > 1 or window == window.round_offsets().round_lengths()
        raw = np.repeat(np.repeat(file.read(1), scale, 0), scale, 1)
        row, col = round(window.row_off * scale), round(window.col_off * scale)
    with rasterio.open(source / "SCL.tif") as file:
        scl = np.repeat(np.repeat(file.read(1), 2, 0), 2, 1)
    height, width = study.grid.shape
    raw = raw[row : row + height, col : col + width]
    scl = scl[row : row + height, col : col + width]
    # baseline 02.14 never carried the +1000: the cube's numbers do (documented radiometry)
    expected = np.where(raw == 0, 0, raw.astype("int32") + 1000).astype("uint16")
    clear = ~np.isin(scl, [0, 1, 3, 8, 9, 10])
    group = zarr.open_group(study.cube_path, mode="r")
    index = [str(name) for name in group["band"][:]].index(band)
    cube = group["reflectance"][0, index]
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(cube[clear], expected[clear])
    assert not cube[~clear].any()
