import json
from collections import Counter

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import shapely
import stac_geoparquet.arrow
from affine import Affine
from pyproj import Transformer
from rasterio.features import geometry_mask
from scipy import ndimage

from rockglacier.demo.acquisitions import ACQUISITIONS
from rockglacier.demo.basin import EPSG, basin_outline, make_basin, make_demo_landscape
from rockglacier.errors import InputError
from rockglacier.grid import projected, utm_epsg
from rockglacier.study import read_area

SIZE_KM = (4.0, 3.0)
CLOUDS = (3, 8, 9, 10)


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    return make_basin(tmp_path_factory.mktemp("basin"), seed=7, size_km=SIZE_KM)


@pytest.fixture(scope="module")
def items(basin):
    read = stac_geoparquet.arrow.stac_table_to_items(pq.read_table(basin.items))
    return {item["id"]: item for item in read}


def scenes_of(items):
    return {name: item for name, item in items.items() if item["collection"] != "cop-dem-glo-30"}


def dem_of(items):
    return [item for item in items.values() if item["collection"] == "cop-dem-glo-30"]


def read(basin, item, key):
    with rasterio.open(basin.folder / item["assets"][key]["href"]) as file:
        return file.read(1)


def dark_share(basin, item):
    return float((np.ma.masked_equal(read(basin, item, "swir22"), 0) < 1000).mean())


def test_same_seed_makes_the_same_pixels(basin, items, tmp_path):
    again = make_basin(tmp_path, seed=7, size_km=SIZE_KM)
    for item in list(items.values())[::3]:
        for key in item["assets"]:
            np.testing.assert_array_equal(read(again, item, key), read(basin, item, key))
    assert json.loads(
        again.area.with_name(f"{next(iter(items))}")
        .joinpath(f"{next(iter(items))}.json")
        .read_text()
    )["id"] == next(iter(items))


def test_basin_too_small_for_landforms_says_so(tmp_path):
    with pytest.raises(InputError) as caught:
        make_basin(tmp_path, size_km=(1.0, 3.0))
    assert caught.value.found == "a basin of 1 x 3 km"
    assert "at least 2 km" in caught.value.expected
    assert caught.value.todo == "ask for a larger one"


def test_unlabelled_basin_has_no_reference(tmp_path):
    made = make_basin(tmp_path, seed=3, size_km=(2.0, 2.0), labelled=False)
    assert made.reference is None
    assert not (tmp_path / "reference.gpkg").exists()


@pytest.mark.parametrize("size_km", [(2.0, 2.0), (4.0, 3.0), (20.0, 16.0)])
@pytest.mark.parametrize("seed", [7, 11])
def test_outline_is_valid_and_of_the_size_asked_for(size_km, seed):
    outline = basin_outline(size_km, seed=seed)
    west, south, east, north = outline.bounds
    assert outline.is_valid
    assert 0.85 * size_km[0] < (east - west) / 1000 <= 1.08 * size_km[0]
    assert 0.85 * size_km[1] < (north - south) / 1000 <= 1.08 * size_km[1]
    assert utm_epsg(projected(outline, epsg=4326, source_epsg=EPSG)) == EPSG


def test_items_are_stac_and_lie_beside_their_assets(basin, items):
    for name, item in items.items():
        own = pystac.Item.from_file(str(basin.folder / name / f"{name}.json"))
        assert own.id == name
        for key, asset in own.assets.items():
            assert (basin.folder / name / asset.href).is_file()
            assert item["assets"][key]["href"] == f"./{name}/{asset.href[2:]}"


def test_items_tell_where_their_pixels_lie(basin, items):
    for item in items.values():
        for asset in item["assets"].values():
            placed = asset if asset.get("proj:transform") else item["properties"]
            with rasterio.open(basin.folder / asset["href"]) as file:
                assert list(file.shape) == list(placed["proj:shape"])
                np.testing.assert_allclose(list(file.transform)[:6], placed["proj:transform"])
                code = item["properties"].get("proj:code")
                epsg = int(code[5:]) if code else item["properties"]["proj:epsg"]
                assert file.crs.to_epsg() == epsg
                assert file.nodata == (None if "DEM" in item["id"] else 0)
                assert file.block_shapes[0] == (512, 512)
                footprint = projected(shapely.geometry.shape(item["geometry"]), epsg=epsg)
                assert footprint.within(shapely.box(*file.bounds).buffer(0.1))


def test_bands_keep_their_own_resolution(basin, items):
    item = items["S2B_43SGV_20240810_0_L2A"]
    fine, coarse = read(basin, item, "red"), read(basin, item, "swir16")
    assert fine.shape == (2 * coarse.shape[0], 2 * coarse.shape[1])
    assert read(basin, item, "scl").shape == coarse.shape


def test_both_forms_of_the_projection_occur(items):
    forms = Counter(bool(item["properties"]["proj:code"]) for item in scenes_of(items).values())
    assert forms[True] == 2
    assert forms[False] > 2


def test_two_tiles_of_the_zone_overlap_inside_the_basin_and_neither_holds_it(basin, items):
    area = read_area(str(basin.area))
    south, north = (
        shapely.geometry.shape(items[f"S2B_{tile}_20240810_0_L2A"]["geometry"])
        for tile in ("43SGV", "43SGA")
    )
    assert south.intersection(north).intersection(area).area > 0.1 * area.area
    assert not south.contains(area)
    assert not north.contains(area)
    assert south.union(north).buffer(1e-9).contains(area)


def test_one_scene_of_the_neighbouring_zone_shows_the_same_ground(basin, items):
    """Its near infrared resembles that of the next date in the basin's own zone."""
    item = items["S2B_44SKF_20240919_0_L2A"]
    assert item["properties"]["proj:epsg"] == EPSG + 1
    own = items["S2A_43SGV_20240904_0_L2A"]
    with rasterio.open(basin.folder / own["assets"]["nir"]["href"]) as file:
        here, transform = file.read(1).astype(float), file.transform
    with rasterio.open(basin.folder / item["assets"]["nir"]["href"]) as file:
        there = file.read(1).astype(float)
        rows, columns = np.mgrid[0 : file.height : 7, 0 : file.width : 7]
        x, y = Transformer.from_crs(EPSG + 1, EPSG, always_xy=True).transform(
            *(file.transform * (columns + 0.5, rows + 0.5))
        )
    column, row = ~transform * (x, y)
    at = np.stack([row - 0.5, column - 0.5])
    value = ndimage.map_coordinates(here, at, order=1, cval=0)
    seen = there[rows, columns]
    both = (value > 0) & (seen > 0) & (value < 4000) & (seen < 4000)
    assert both.sum() > 1000
    assert np.corrcoef(value[both], seen[both])[0, 1] > 0.8


def test_one_item_had_its_offset_removed_and_says_so(basin, items):
    removed = [
        name
        for name, item in scenes_of(items).items()
        if item["properties"]["earthsearch:boa_offset_applied"]
    ]
    assert removed == ["S2A_43SGV_20240904_0_L2A"]
    assert items[removed[0]]["properties"]["s2:processing_baseline"] == "05.11"
    assert dark_share(basin, items[removed[0]]) > 0.1
    assert dark_share(basin, items["S2A_43SGA_20240904_0_L2A"]) == 0


def test_offset_is_the_only_difference_of_that_item(basin, items):
    south, north = (items[f"S2A_{tile}_20240904_0_L2A"] for tile in ("43SGV", "43SGA"))
    lower = read(basin, south, "red").astype(int)
    upper = read(basin, north, "red").astype(int)
    overlap = round(
        (south["assets"]["red"]["proj:transform"][5] - north["assets"]["red"]["proj:transform"][5])
        / -10
    )
    shared = upper.shape[0] - overlap
    difference = upper[overlap:] - lower[:shared]
    assert (difference[lower[:shared] > 1] == 1000).all()


def test_reprocessed_scene_occurs_twice(basin, items):
    first, second = (items[f"S2B_43SGV_20240716_{n}_L2A"]["properties"] for n in (0, 1))
    assert (first["s2:sequence"], second["s2:sequence"]) == ("0", "1")
    assert first["s2:processing_baseline"] < second["s2:processing_baseline"]
    assert first["datetime"] == second["datetime"]
    assert first["s2:datatake_id"].rpartition("_")[0] == second["s2:datatake_id"].rpartition("_")[0]
    ids = Counter(
        (item["properties"]["grid:code"], item["properties"]["datetime"])
        for item in scenes_of(items).values()
    )
    assert sorted(ids.values())[-2:] == [1, 2]


def test_clouds_over_the_basin_are_as_the_season_needs_them(basin, items):
    area = read_area(str(basin.area))
    seen = {}
    for name, item in scenes_of(items).items():
        with rasterio.open(basin.folder / item["assets"]["scl"]["href"]) as file:
            inside = ~geometry_mask(
                [projected(area, epsg=file.crs.to_epsg())], file.shape, file.transform
            )
            classes = file.read(1)[inside]
        seen[name] = 100 * np.isin(classes[classes > 0], CLOUDS).mean()
    cloudy = {
        name for name, item in scenes_of(items).items() if item["properties"]["eo:cloud_cover"] > 5
    }
    assert {name[10:18] for name in cloudy} == {"20240726"}
    over_basin = {name for name, share in seen.items() if share > 5} - cloudy
    assert {name[10:18] for name in over_basin} == {"20240825"}
    assert len(over_basin) == 2
    assert max(share for name, share in seen.items() if name not in cloudy | over_basin) < 5


def test_swath_edge_leaves_a_wedge_without_data(basin, items):
    item = items["S2B_43SGV_20240929_0_L2A"]
    red, scl = read(basin, item, "red"), read(basin, item, "scl")
    assert 0.05 < (red == 0).mean() < 0.5
    assert item["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(
        100 * (red == 0).mean(), abs=1e-4
    )
    assert abs((red == 0).mean() - (scl == 0).mean()) < 0.01
    footprint = projected(shapely.geometry.shape(item["geometry"]), epsg=EPSG)
    assert footprint.area == pytest.approx((red > 0).sum() * 100, rel=0.01)


def test_fresh_snow_covers_more_in_october(basin, items):
    snow = {
        day: (read(basin, items[f"S2{letter}_43SGV_{day}_0_L2A"], "scl") == 11).mean()
        for letter, day in (("B", "20240810"), ("A", "20241014"))
    }
    assert snow["20241014"] > snow["20240810"] + 0.05


def test_topographic_shadow_is_classified(basin, items):
    scl = read(basin, items["S2A_43SGV_20241014_0_L2A"], "scl")
    assert (scl == 2).mean() > 0.005


def test_seam_of_the_dem_lies_in_the_basin_and_is_invisible(basin, items):
    tiles = sorted(dem_of(items), key=lambda item: item["bbox"][0])
    area = read_area(str(basin.area))
    assert len(tiles) == 2
    west, east = tiles
    assert west["bbox"][2] == pytest.approx(east["bbox"][0], abs=1e-9)
    assert area.bounds[0] < east["bbox"][0] < area.bounds[2]
    assert (
        shapely.unary_union([shapely.box(*tile["bbox"]) for tile in tiles])
        .buffer(1e-9)
        .contains(area)
    )
    left, right = read(basin, west, "data"), read(basin, east, "data")
    inner = np.abs(np.diff(left[:, -40:], axis=1)).mean()
    assert np.abs(right[:, 0] - left[:, -1]).mean() < 1.5 * inner


def test_cells_of_the_dem_are_points_on_whole_arc_seconds(basin, items):
    for item in dem_of(items):
        with rasterio.open(basin.folder / item["assets"]["data"]["href"]) as file:
            assert file.tags()["AREA_OR_POINT"] == "Point"
            assert file.dtypes == ("float32",)
            centre = file.transform * (0.5, 0.5)
        seconds = np.array(centre) * 3600
        np.testing.assert_allclose(seconds, np.rint(seconds), atol=1e-5)


def test_dem_is_the_landscape_at_a_coarser_scale(basin, items):
    landscape = make_demo_landscape(seed=7, size_km=SIZE_KM)
    for item in dem_of(items):
        with rasterio.open(basin.folder / item["assets"]["data"]["href"]) as file:
            rows, columns = np.mgrid[0 : file.height : 5, 0 : file.width : 5]
            lon, lat = file.transform * (columns + 0.5, rows + 0.5)
            sampled = file.read(1)[rows, columns]
        x, y = Transformer.from_crs(4326, EPSG, always_xy=True).transform(lon, lat)
        column, row = ~landscape.transform * (x, y)
        truth = ndimage.map_coordinates(landscape.elevation, (row - 0.5, column - 0.5), order=1)
        error = sampled - truth
        assert abs(error.mean()) < 0.3
        assert error.std() < 3


def test_reference_has_invalid_and_repeated_outlines(basin):
    table = gpd.read_file(basin.reference)
    landscape = make_demo_landscape(seed=7, size_km=SIZE_KM)
    assert table.crs.to_epsg() == 4326
    assert {"PrimaryID", "OutType", "ActiCl", "UpslCon", "RelFr"} <= set(table.columns)
    assert table["PrimaryID"].str.fullmatch(r"RGU\d{6}N\d{7}E").all()
    assert table["WorkingID"].is_unique
    assert (~table.geometry.is_valid).sum() >= 1
    assert table.geometry.to_wkb().duplicated().sum() >= 1
    sound = table[table.geometry.is_valid].to_crs(EPSG)
    truth = gpd.GeoSeries(landscape.outlines, crs=EPSG)
    for outline in sound.geometry:
        overlap = truth.intersection(outline).area / truth.union(outline).area
        assert overlap.max() > 0.9


def test_progress_is_told_of_every_scene(tmp_path):
    told = []
    make_basin(
        tmp_path, size_km=(2.0, 2.0), labelled=False, progress=lambda *step: told.append(step)
    )
    total = sum(len(one.tiles) + len(one.reprocessed) for one in ACQUISITIONS)
    assert told == [("scenes", done, total) for done in range(total + 1)]


def test_grids_start_at_multiples_of_60_m(items):
    for item in scenes_of(items).values():
        transform = Affine(*item["assets"]["red"]["proj:transform"][:6])
        assert transform.c % 60 == 0
        assert transform.f % 60 == 0
