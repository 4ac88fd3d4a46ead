"""Seasons, reprocessed duplicates and the zone of the grid."""

from datetime import UTC, datetime, timedelta

import pytest
import shapely

from rockglacier.grid import projected
from rockglacier.scenes.choose import choose_epsg, in_season, season_of, without_duplicates
from rockglacier.scenes.record import Scene

AREA = shapely.box(75.0, 36.0, 76.0, 37.0)
WEST_HALF, EAST_HALF = shapely.box(74.5, 35.5, 75.5, 37.5), shapely.box(75.5, 35.5, 76.5, 37.5)
TIME = datetime(2024, 8, 1, 5, 50, tzinfo=UTC)


def make_scene(name, **values):
    settings = {
        "datetime": TIME,
        "tile": "43SDA",
        "platform": "sentinel-2a",
        "epsg": 32643,
        "baseline": "05.11",
        "sequence": 0,
        "geometry": AREA,
        "nodata_percent": None,
        **values,
    }
    return Scene(
        id=name,
        collection="c",
        cloud_cover=1.0,
        datatake="",
        offset_in_pixels=0,
        offset_reason="",
        assets={},
        self_href="",
        sun_azimuth=None,
        sun_elevation=None,
        bbox=settings["geometry"].bounds,
        **settings,
    )


def kept_of(*scenes):
    return [scene.id for scene in without_duplicates(scenes, AREA)[0]]


def test_season_follows_the_hemisphere_unless_it_is_given():
    assert season_of(None, latitude=36) == (7, 10)
    assert season_of(None, latitude=-33) == (1, 4)
    assert season_of((5, 6), latitude=36) == (5, 6)


@pytest.mark.parametrize(
    ("season", "months"),
    [
        ((7, 10), {7, 8, 9, 10}),
        ((11, 2), {11, 12, 1, 2}),
        ((3, 3), {3}),
        ((1, 12), {*range(1, 13)}),
    ],
)
def test_season_may_wrap_over_new_year(season, months):
    assert {month for month in range(1, 13) if in_season(month, season)} == months


def test_highest_baseline_wins_before_the_sequence():
    old = make_scene("old", baseline="02.14", sequence=3)
    new = make_scene("new", baseline="05.00", sequence=1, datetime=TIME + timedelta(seconds=1))
    kept, dropped = without_duplicates([old, new], AREA)
    assert [scene.id for scene in kept] == ["new"]
    assert dropped[0].rule == "reprocessed since"
    assert "in new, baseline 05.00 sequence 1 instead of 02.14" in dropped[0].reason


def test_highest_sequence_wins_within_a_baseline():
    assert kept_of(make_scene("a", sequence=0), make_scene("b", sequence=1)) == ["b"]


def test_baselines_are_compared_as_numbers():
    assert kept_of(make_scene("a", baseline="05.9"), make_scene("b", baseline="05.11")) == ["b"]


def test_complementary_halves_of_a_pass_are_both_kept():
    west, east = make_scene("w", geometry=WEST_HALF), make_scene("e", geometry=EAST_HALF)
    assert set(kept_of(west, east)) == {"w", "e"}


TILE = projected(shapely.box(399_960, 3_990_240, 509_760, 4_100_040), epsg=4326, source_epsg=32643)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"nodata_percent": 45.0}, {"nodata_percent": 55.0, "sequence": 1}, {"a", "b"}),
        ({"nodata_percent": 50.0}, {"nodata_percent": 50.0, "sequence": 1}, {"a", "b"}),
        ({"nodata_percent": 45.0, "baseline": "02.14"}, {"nodata_percent": 45.3}, {"b"}),
        ({"nodata_percent": 45.0, "baseline": "02.14"}, {"nodata_percent": 60.0}, {"a", "b"}),
        ({"nodata_percent": 0.0}, {"nodata_percent": 0.1, "sequence": 1}, {"b"}),
        ({}, {"sequence": 1}, {"b"}),
    ],
)
def test_footprint_of_the_whole_tile_does_not_hide_that_halves_complement(first, second, kept):
    """The footprint is the same; what is empty tells halves and processings apart."""
    one, two = make_scene("a", geometry=TILE, **first), make_scene("b", geometry=TILE, **second)
    assert {scene.id for scene in without_duplicates([one, two], TILE)[0]} == kept


def test_footprint_of_the_data_is_believed():
    """Two processings of the same half tile, whose footprints are of the half."""
    half = TILE.intersection(shapely.box(70, 30, 74.5, 40))
    old = make_scene("old", geometry=half, nodata_percent=50.0, baseline="05.10")
    new = make_scene("new", geometry=half, nodata_percent=53.0, baseline="05.11")
    assert [scene.id for scene in without_duplicates([old, new], TILE)[0]] == ["new"]


def test_older_whole_is_kept_beside_a_newer_half():
    half = make_scene("half", geometry=WEST_HALF, baseline="05.11")
    whole = make_scene("whole", baseline="05.00")
    assert set(kept_of(half, whole)) == {"half", "whole"}


@pytest.mark.parametrize(
    "other",
    [{"tile": "43SEA"}, {"platform": "sentinel-2b"}, {"datetime": TIME + timedelta(minutes=100)}],
)
def test_other_tile_satellite_or_pass_is_no_duplicate(other):
    assert set(kept_of(make_scene("a"), make_scene("b", **other))) == {"a", "b"}


def test_scenes_come_in_order_of_time():
    later = make_scene("a", datetime=TIME + timedelta(days=5))
    assert kept_of(later, make_scene("b")) == ["b", "a"]


def test_zone_that_shows_most_of_the_area_is_chosen():
    scenes = [make_scene("a", epsg=32644), make_scene("b", epsg=32643, geometry=WEST_HALF)]
    assert choose_epsg(scenes, AREA) == 32644


def test_home_zone_wins_where_both_show_the_area():
    scenes = [make_scene("a", epsg=32644), make_scene("b", epsg=32644), make_scene("c")]
    assert choose_epsg(scenes, AREA) == 32643


@pytest.mark.parametrize("epsg", [4326, 3857, 32601, 2263])  # degrees, stretched, far, feet
def test_zone_of_the_area_is_taken_where_no_scene_is_fit_for_measuring(epsg):
    assert choose_epsg([make_scene("a", epsg=epsg)], AREA) == 32643


def test_other_grids_of_metres_are_used():
    alps = shapely.box(10.0, 46.0, 10.2, 46.2)
    assert choose_epsg([make_scene("a", epsg=3035, geometry=alps)], alps) == 3035
