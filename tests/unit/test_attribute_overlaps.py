"""What else lies where the landforms are."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from made_study import write_raster
from rockglacier.errors import InputError
from rockglacier.inventory.overlaps import overlap_columns

OUTLINES = gpd.GeoSeries(
    [
        shapely.box(500_000, 4_000_000, 500_400, 4_000_400),
        shapely.box(502_000, 4_000_000, 502_400, 4_000_400),
    ],
    crs=32643,
)


def saved(tmp_path, name, *shapes, crs=32643):
    path = tmp_path / name
    table = gpd.GeoDataFrame(geometry=list(shapes), crs=32643).to_crs(crs)
    if name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_file(path)
    return str(path)


@pytest.mark.parametrize("name", ["ice.gpkg", "ice.parquet", "ice.shp"])
def test_share_under_polygons_counts_ground_once(tmp_path, name):
    one = shapely.box(500_200, 4_000_000, 501_000, 4_000_400)
    other = shapely.box(500_300, 4_000_000, 501_000, 4_000_400)
    path = saved(tmp_path, name, one, other, crs=4326)
    columns, values = overlap_columns(OUTLINES, {"glaciers": path})
    assert list(columns) == ["glaciers_share"]
    assert values["glaciers_share"] == pytest.approx([0.5, 0], abs=1e-4)


def test_lines_have_a_length_inside_and_a_distance(tmp_path):
    river = shapely.LineString([(500_100, 3_999_000), (500_100, 4_002_000)])
    path = saved(tmp_path, "rivers.gpkg", river)
    columns, values = overlap_columns(OUTLINES, {"rivers": path})
    assert list(columns) == ["rivers_distance_m", "rivers_km"]
    assert values["rivers_km"] == pytest.approx([0.4, 0])
    assert values["rivers_distance_m"] == pytest.approx([0, 1900])


def test_lines_beyond_five_kilometres_have_no_distance(tmp_path):
    road = shapely.LineString([(520_000, 4_000_000), (520_000, 4_001_000)])
    _, values = overlap_columns(OUTLINES, {"roads": saved(tmp_path, "roads.gpkg", road)})
    assert np.isnan(values["roads_distance_m"]).all()
    assert values["roads_km"].tolist() == [0, 0]


def test_points_have_a_distance_only(tmp_path):
    path = saved(tmp_path, "huts.gpkg", shapely.Point(500_500, 4_000_200))
    columns, values = overlap_columns(OUTLINES, {"huts": path})
    assert list(columns) == ["huts_distance_m"]
    assert values["huts_distance_m"] == pytest.approx([100, 1500])


def raster(tmp_path, values, west, pixel=400, crs="EPSG:32643"):
    path = tmp_path / "pzi.tif"
    transform = Affine(pixel, 0, west, 0, -pixel, 4_000_400)
    write_raster(path, values.astype(np.float32), transform=transform, crs=crs, nodata=-1)
    return str(path)


def test_mean_of_a_raster_weights_pixels_by_what_of_them_lies_inside(tmp_path):
    # the outline covers three quarters of the first pixel and one quarter of the second
    path = raster(tmp_path, np.array([[0.4, 0.8, -1]]), west=499_900)
    columns, values = overlap_columns(OUTLINES, {"permafrost": path})
    assert list(columns) == ["permafrost_mean"]
    assert values["permafrost_mean"][0] == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)
    assert np.isnan(values["permafrost_mean"][1])


def test_first_band_is_taken_with_its_scale_and_offset(tmp_path):
    path = tmp_path / "scaled.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=8, count=2, dtype="uint8", crs="EPSG:32643",
        transform=Affine(400, 0, 499_600, 0, -400, 4_000_800),
    ) as file:  # fmt: skip
        file.write(np.full((2, 4, 8), [[[40]], [[99]]], dtype=np.uint8))
        file.scales, file.offsets = (0.01, 1.0), (0.1, 0.0)
    _, values = overlap_columns(OUTLINES, {"permafrost": str(path)})
    assert values["permafrost_mean"] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("kind", ["rivers.gpkg", "pzi.tif"])
def test_what_lies_elsewhere_is_told(tmp_path, caplog, kind):
    path = (
        raster(tmp_path, np.ones((2, 2)), west=900_000)
        if kind == "pzi.tif"
        else saved(tmp_path, kind, shapely.LineString([(900_000, 4_000_000), (901_000, 4_000_000)]))
    )
    _, values = overlap_columns(OUTLINES, {"given": path})
    assert np.isnan(next(iter(values.values()))).all()
    assert "inventory.overlaps.given has nothing near the landforms" in caplog.text
    assert "79.4" in caplog.text  # degrees east


def test_a_file_that_holds_nothing_is_told(tmp_path, caplog):
    path = saved(tmp_path, "ice.gpkg")
    _, values = overlap_columns(OUTLINES, {"ice": path})
    assert values["ice_share"].tolist() == [0, 0]
    assert "inventory.overlaps.ice: " in caplog.text
    assert "holds nothing" in caplog.text


def test_raster_of_another_projection_is_read(tmp_path):
    path = raster(tmp_path, np.full((4, 4), 0.7), west=8_300_000, pixel=20_000, crs="EPSG:3857")
    with rasterio.open(path, "r+") as file:
        west, north = 8_340_000, 4_340_000
        file.transform = Affine(20_000, 0, west - 20_000, 0, -20_000, north)
    _, values = overlap_columns(OUTLINES, {"permafrost": path})
    assert values["permafrost_mean"] == pytest.approx([0.7, 0.7])


def test_no_outline_has_all_columns(tmp_path):
    overlaps = {
        "glaciers": saved(tmp_path, "ice.gpkg", shapely.box(0, 0, 1, 1)),
        "rivers": saved(tmp_path, "rivers.gpkg", shapely.LineString([(0, 0), (1, 1)])),
        "pzi": raster(tmp_path, np.ones((2, 2)), west=500_000),
    }
    columns, values = overlap_columns(OUTLINES.iloc[:0], overlaps)
    assert list(columns) == ["glaciers_share", "rivers_distance_m", "rivers_km", "pzi_mean"]
    assert all(len(column) == 0 for column in values.values())


def test_missing_raster_is_refused_by_the_name_of_its_setting(tmp_path):
    with pytest.raises(InputError, match=r"(?s)inventory\.overlaps\.ice.*cannot be read.*path"):
        overlap_columns(OUTLINES, {"ice": str(tmp_path / "none.tif")})
