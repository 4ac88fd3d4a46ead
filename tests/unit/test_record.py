"""Scenes from items of every dialect, and scenes as rows."""

import dataclasses

import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.scenes.record import (
    DemTile,
    dem_from_item,
    read_dem_tiles,
    read_scenes,
    scene_from_item,
    write_dem_tiles,
    write_scenes,
)

BANDS = ("B02", "B04", "B11")
SQUARE = shapely.box(74.0, 36.0, 75.0, 37.0)


def make_item(keys=("blue", "red", "swir16", "scl"), **properties):
    pixels = {"proj:transform": [10, 0, 399960, 0, -10, 4100040], "proj:shape": [10980, 10980]}
    assets = {key: {"href": f"https://x.org/{key}.tif", **pixels} for key in keys}
    return {
        "id": "S2A_43SDA",
        "collection": "sentinel-2-c1-l2a",
        "geometry": shapely.geometry.mapping(SQUARE),
        "properties": {
            "datetime": "2024-08-01T05:50:01.5Z",
            "platform": "Sentinel-2A",
            "proj:epsg": 32643,
            "grid:code": "MGRS-43SDA",
            "s2:processing_baseline": "05.11",
            **properties,
        },
        "assets": assets,
        "links": [{"rel": "self", "href": "https://u:p@x.org/items/S2A_43SDA?sig=secret"}],
    }


@pytest.mark.parametrize(
    "keys",
    [
        ("blue", "red", "swir16", "scl"),
        ("B02", "B04", "B11", "SCL"),
        ("B02_10m", "B04_10m", "B11_20m", "SCL_20m", "B02_60m"),
    ],
)
def test_asset_keys_of_every_provider_are_known(keys):
    scene = scene_from_item(make_item(keys), BANDS)
    assert scene.assets["B02"] == f"https://x.org/{keys[0]}.tif"
    assert list(scene.assets) == [*BANDS, "SCL"]


def test_asset_under_another_key_is_found_by_its_band_name():
    item = make_item(("b", "red", "swir16", "scl"))
    item["assets"]["b"]["bands"] = [{"name": "B02", "eo:common_name": "blue"}]
    assert scene_from_item(item, BANDS).assets["B02"] == "https://x.org/b.tif"


def test_missing_asset_is_named_with_what_the_item_has():
    with pytest.raises(InputError, match="'S2A_43SDA' has no asset for B11") as caught:
        scene_from_item(make_item(("blue", "red", "scl")), BANDS)
    assert "swir16 or B11 or B11_20m; it has blue, red, scl" in str(caught.value)
    assert "cube.bands" in caught.value.todo


@pytest.mark.parametrize(
    "said",
    [
        {"proj:epsg": 32643},
        {"proj:epsg": None, "proj:code": "EPSG:32643"},
    ],
)
def test_crs_is_read_from_old_and_new_projection_extension(said):
    assert scene_from_item(make_item(**said), BANDS).epsg == 32643


@pytest.mark.parametrize(
    ("said", "epsg", "note"),
    [
        ({}, 32643, "CRS: the item says none; EPSG:32643 is that of tile 43SDA"),
        ({"proj:code": "EPSG:None"}, 32643, "CRS: the item says none; EPSG:32643"),
        ({"grid:code": "MGRS-19HCC"}, 32719, "EPSG:32719 is that of tile 19HCC"),
        ({"grid:code": None}, 0, "CRS: the item says none"),
    ],
)
def test_item_without_crs_gets_that_of_its_tile_until_its_file_is_opened(said, epsg, note):
    scene = scene_from_item(make_item(**{"proj:epsg": None, **said}), BANDS)
    assert scene.epsg == epsg
    assert len(scene.notes) == 1
    assert note in scene.notes[0]


@pytest.mark.parametrize(
    ("said", "tile"),
    [
        ({"grid:code": "MGRS-7HFE"}, "07HFE"),
        ({"grid:code": None, "s2:mgrs_tile": "43SDA"}, "43SDA"),
        (
            {
                "grid:code": None,
                "mgrs:utm_zone": 7,
                "mgrs:latitude_band": "H",
                "mgrs:grid_square": "FE",
            },
            "07HFE",
        ),
        ({"grid:code": None}, ""),
    ],
)
def test_tile_is_read_from_every_dialect(said, tile):
    assert scene_from_item(make_item(**said), BANDS).tile == tile


def test_sun_is_read_from_zenith_where_elevation_is_missing():
    said = {"s2:mean_solar_zenith": 30.0, "s2:mean_solar_azimuth": 150}
    scene = scene_from_item(make_item(**said), BANDS)
    assert (scene.sun_azimuth, scene.sun_elevation) == (150.0, 60.0)


def test_source_address_carries_no_secret():
    assert scene_from_item(make_item(), BANDS).self_href == "https://x.org/items/S2A_43SDA"


def test_token_of_an_asset_is_not_stored():
    item = make_item()
    item["assets"]["blue"]["href"] = "https://a.blob.core.windows.net/c/b.tif?sig=secret"
    scene = scene_from_item(item, BANDS)
    assert scene.assets["B02"] == "https://a.blob.core.windows.net/c/b.tif"


def test_finest_pixel_grid_is_kept():
    item = make_item()
    item["assets"]["blue"]["proj:transform"] = [20, 0, 1, 0, -20, 2]
    scene = scene_from_item(item, BANDS)
    assert scene.transform == (10.0, 0.0, 399960.0, 0.0, -10.0, 4100040.0)
    assert scene.shape == (10980, 10980)


def test_scenes_come_back_from_their_table_unchanged(tmp_path):
    full = scene_from_item(make_item(), BANDS)
    measured = dataclasses.replace(full, basin_cloud=1.25, basin_cover=99.5, cloud_cover=3.0)
    bare = dataclasses.replace(full, id="bare", transform=None, shape=None)
    write_scenes([measured, bare], tmp_path / "scenes.parquet")
    assert read_scenes(tmp_path / "scenes.parquet") == [measured, bare]


def test_dem_tiles_come_back_from_their_table_unchanged(tmp_path):
    tile = DemTile(id="N36", href="d.tif", collection="dem", geometry=SQUARE, self_href="")
    write_dem_tiles([tile], tmp_path / "dem.parquet")
    assert read_dem_tiles(tmp_path / "dem.parquet") == [tile]


def test_dem_item_without_data_is_refused():
    with pytest.raises(InputError, match="has no asset for data"):
        dem_from_item(make_item())
