"""The search stage on a small catalog: what is used, what is not and why, and its messages."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rockglacier.errors import InputError, NotFoundError, RemoteError
from rockglacier.grid import Grid, projected
from rockglacier.scenes.record import read_dem_tiles, read_scenes
from rockglacier.scenes.select import search_scenes

WEST, NORTH, SIZE = 499_980, 4_000_020, 2400  # of a tile, as tests/made_catalog.py has it
AREA = projected(
    shapely.box(WEST + 615, NORTH - 1805, WEST + 1785, NORTH - 595), epsg=4326, source_epsg=32643
).bounds


def dropped_of(study):
    return gpd.read_parquet(study.dropped_path).set_index("id")["rule"].to_dict()


def test_every_rule_drops_its_scene_and_says_why(basin):
    half = np.full((SIZE // 20,) * 2, 5)
    half[:, : SIZE // 40] = 9
    basin.scene("used")
    basin.scene("winter", when="2024-01-15T05:50:00Z")
    basin.scene("cloudy", when="2024-08-06T05:50:00Z", cloud=5.0)
    basin.scene("older", baseline="05.00")
    basin.scene("cloud-here", when="2024-08-11T05:50:00Z", scl=half)
    basin.scene("empty", when="2024-08-16T05:50:00Z", scl=0)
    basin.dem()
    study = basin.study()
    facts = search_scenes(study)
    assert [scene.id for scene in read_scenes(study.scenes_path)] == ["used"]
    assert dropped_of(study) == {
        "winter": "out of season",
        "cloudy": "too cloudy",
        "older": "reprocessed since",
        "cloud-here": "cloudy over the basin",
        "empty": "without data over the basin",
    }
    assert (facts["found"], facts["used"], facts["cover_percent"]) == (6, 1, 100)
    assert (facts["epsg"], facts["dem_tiles"], facts["looks_median"]) == (32643, 1, 1)
    json.dumps(facts)


def test_measured_shares_are_recorded(basin):
    scl = np.full((SIZE // 20,) * 2, 5)
    scl[:, : SIZE // 40] = 11
    basin.scene("a", scl=scl)
    basin.dem()
    study = basin.study()
    search_scenes(study)
    scene = read_scenes(study.scenes_path)[0]
    assert scene.basin_cover == pytest.approx(100, abs=0.5)
    assert scene.basin_snow == pytest.approx(50, abs=1)
    assert scene.basin_clear == pytest.approx(50, abs=1)
    assert (scene.basin_cloud, scene.basin_shadow) == (0, 0)


@pytest.mark.parametrize("margin", [0, 500])
def test_grid_lines_up_with_the_pixels_of_the_scenes(basin, margin):
    basin.scene("a")
    basin.dem()
    study = basin.study(cube={"margin_m": margin})
    search_scenes(study)
    grid = Grid.from_dict(json.loads(study.grid_path.read_text()))
    left, top = grid.transform.c, grid.transform.f
    assert ((left - WEST) % 10, (top - NORTH) % 10) == (0, 0)
    around = projected(shapely.box(*AREA), epsg=32643).buffer(margin).bounds
    outwards = np.array(around) * (-1, -1, 1, 1)
    beyond = np.array(grid.bounds) * (-1, -1, 1, 1) - outwards
    assert np.all((beyond >= 0) & (beyond < 10))


def test_grid_starts_at_the_header_where_the_item_has_no_transform(basin):
    item = basin.scene("a")
    for asset in item["assets"].values():
        del asset["proj:transform"]
    basin.dem()
    study = basin.study(cube={"resolution": 60})
    search_scenes(study)
    grid = Grid.from_dict(json.loads(study.grid_path.read_text()))
    assert ((grid.transform.c - WEST) % 60, (grid.transform.f - NORTH) % 60) == (0, 0)


def test_pixels_overrule_an_item_that_says_the_offset_is_there(basin):
    basin.scene("lies", dn=400)
    basin.scene("honest", dn=1400, when="2024-08-06T05:50:00Z")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    add = {scene.id: scene.offset_in_pixels for scene in read_scenes(study.scenes_path)}
    assert add == {"lies": 1000, "honest": 0}


def test_nothing_dropped_still_writes_a_table(basin):
    basin.scene("a")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    table = gpd.read_parquet(study.dropped_path)
    assert len(table) == 0
    assert {"id", "rule", "reason", "geometry"} <= set(table.columns)


def test_dem_is_found_whatever_its_date_and_addressed_absolutely(basin):
    basin.scene("a")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    tile = read_dem_tiles(study.dem_path)[0]
    assert (tile.id, tile.href) == ("N36", str(basin.folder / "dem.tif"))


def test_progress_tells_what_and_how_much(basin):
    basin.scene("a")
    basin.scene("b", when="2024-08-06T05:50:00Z")
    basin.dem()
    told = []
    search_scenes(basin.study(), progress=lambda *values: told.append(values))
    assert told == [
        ("cloud over the basin", 1, 2),
        ("cloud over the basin", 2, 2),
        ("headers and offsets", 1, 2),
        ("headers and offsets", 2, 2),
    ]


def test_scenes_of_another_zone_are_used_and_the_grid_keeps_its_zone(basin):
    west, _, _, north = projected(shapely.box(*AREA), epsg=32644).bounds
    corner = (round(west) - 600, round(north) + 600)
    basin.scene("other", tile="MGRS-44SKF", epsg=32644, corner=corner)
    basin.scene("home", when="2024-08-06T05:50:00Z")
    basin.dem()
    study = basin.study()
    facts = search_scenes(study)
    assert (facts["used"], facts["epsg"], facts["looks_median"]) == (2, 32643, 2)
    assert facts["tiles"] == {"43SDA": 1, "44SKF": 1}
    covers = [scene.basin_cover for scene in read_scenes(study.scenes_path)]
    assert covers == pytest.approx([100, 100])


# bad input and its messages


def test_basin_outside_the_catalog_says_where_the_catalog_is(basin):
    basin.scene("a")
    basin.dem()
    with pytest.raises(
        NotFoundError, match=r"no scene of 'sentinel-2-c1-l2a' over the area"
    ) as bad:
        search_scenes(basin.study(area=(10, 46, 10.1, 46.1)))
    assert "[10.00, 46.00, 10.10, 46.10] from 2024-01-01 to 2024-12-31" in bad.value.found
    assert "its items lie within [75.00, " in bad.value.expected
    assert "west, south, east, north" in bad.value.todo


def test_no_scene_under_the_limit_names_how_many_there_were_and_the_best(basin):
    basin.scene("worst", cloud=80.0)
    basin.scene("best", cloud=12.3, when="2024-08-06T05:50:00Z")
    basin.scene("winter", cloud=0.0, when="2024-01-15T05:50:00Z")
    basin.dem()
    with pytest.raises(NotFoundError, match=r"none of the 3 scene\(s\)") as caught:
        search_scenes(basin.study())
    assert "2 too cloudy, 1 out of season" in caught.value.found
    assert "in July to October a scene with less than 5 % cloud" in caught.value.expected
    assert "the best is best with 12.3 %" in caught.value.expected
    assert caught.value.todo.startswith("raise search.scene_cloud_max")


def test_no_scene_clear_over_the_basin_names_the_best(basin):
    basin.scene("a", scl=9)
    basin.dem()
    with pytest.raises(NotFoundError, match="1 cloudy over the basin") as caught:
        search_scenes(basin.study())
    assert "the best is a with 100.0 % over the basin" in caught.value.expected
    assert caught.value.todo.startswith("raise search.basin_cloud_max")


def test_unknown_collection_names_those_that_exist(basin):
    basin.scene("a")
    with pytest.raises(NotFoundError, match="no collection 'sentinel-2-l2a'") as caught:
        search_scenes(basin.study(collection="sentinel-2-l2a"))
    assert caught.value.todo == "did you mean 'sentinel-2-c1-l2a'?"


def test_catalog_that_is_not_there_is_refused(basin):
    basin.scene("a")
    with pytest.raises(InputError, match="there is no catalog at"):
        search_scenes(basin.study(catalog="lost.parquet"))


def test_missing_asset_is_named(basin):
    del basin.scene("a")["assets"]["red"]
    basin.dem()
    with pytest.raises(InputError, match="item 'a' has no asset for B04"):
        search_scenes(basin.study())


def test_item_that_cannot_be_used_is_counted_if_asked(basin):
    del basin.scene("bad")["assets"]["red"]
    basin.scene("good", when="2024-08-06T05:50:00Z")
    basin.dem()
    study = basin.study(cube={"on_unreadable": "skip"})
    assert search_scenes(study)["dropped"] == {"incomplete": 1}


def test_unreadable_scene_is_named(basin):
    basin.scene("a")
    (basin.folder / "a" / "SCL.tif").write_bytes(b"")
    basin.dem()
    with pytest.raises(RemoteError, match="item 'a', asset 'SCL'") as caught:
        search_scenes(basin.study())
    assert caught.value.href == str(basin.folder / "a" / "SCL.tif")


def test_unreadable_scene_is_skipped_and_counted_if_asked(basin):
    basin.scene("good")
    basin.scene("bad", when="2024-08-06T05:50:00Z")
    (basin.folder / "bad" / "SCL.tif").unlink()
    basin.dem()
    study = basin.study(cube={"on_unreadable": "skip"})
    assert search_scenes(study)["dropped"] == {"unreadable": 1}
    assert dropped_of(study) == {"bad": "unreadable"}


def test_area_in_the_sea_has_no_dem(basin):
    basin.scene("a")
    basin.dem(footprint=shapely.box(10, 10, 11, 11))
    with pytest.raises(InputError, match="no DEM tile of 'cop-dem-glo-30' in the area") as caught:
        search_scenes(basin.study())
    assert "the sea has no tiles" in caught.value.expected
