"""Ids of candidates."""

from __future__ import annotations

import geopandas as gpd
import pytest
import shapely

from rockglacier.inventory.ids import candidate_id, place_ids, stable_ids


@pytest.mark.parametrize(
    ("longitude", "latitude", "expected"),
    [
        (74.52341, 36.10004, "RGC361000N0745234E"),
        (-109.2526, 38.4455, "RGC384455N1092526W"),
        (-70.0, -30.25, "RGC302500S0700000W"),
        (0.0, 0.0, "RGC000000N0000000E"),
    ],
)
def test_id_is_the_place(longitude, latitude, expected):
    assert candidate_id(longitude, latitude) == expected
    assert len(expected) == 18


def test_two_landforms_at_one_place_get_two_ids_whatever_their_order():
    south, north = (74.00001, 36.00001), (74.00001, 36.00002)
    assert place_ids([south, north]) == ["RGC360000N0740000E", "RGC360000N0740001E"]
    assert place_ids([north, south]) == ["RGC360000N0740001E", "RGC360000N0740000E"]


def test_taken_ids_are_left_alone():
    taken = frozenset({"RGC360000N0740000E"})
    assert place_ids([(74.0, 36.0)], taken=taken) == ["RGC360000N0740001E"]


def test_collision_at_the_date_line_goes_on_in_the_west():
    assert place_ids([(180.0, 10.0)] * 2) == ["RGC100000N1800000E", "RGC100000N1799999W"]


def series(*boxes):
    return gpd.GeoSeries([shapely.box(*box) for box in boxes], crs=4326)


def test_landform_keeps_its_id_and_a_new_one_does_not_inherit_a_lost_one():
    before = series((74.0, 36.0, 74.01, 36.01), (74.5, 36.0, 74.51, 36.01))
    previous = gpd.GeoDataFrame(
        {"candidate_id": ["RGCkept", "RGC360050N0746050E"]}, geometry=before
    )
    # the first is drawn a little larger; the second is gone; the third is new, at a taken place
    now = series((74.6, 36.0, 74.61, 36.01), (74.0, 36.0, 74.011, 36.011))
    ids = stable_ids(now, now.representative_point(), previous)
    assert ids == ["RGC360050N0746051E", "RGCkept"]


def test_first_inventory_is_named_by_place():
    now = series((74.0, 36.0, 74.01, 36.01))
    assert stable_ids(now, now.representative_point(), None) == ["RGC360050N0740050E"]
    assert stable_ids(now.iloc[:0], now.iloc[:0], None) == []
