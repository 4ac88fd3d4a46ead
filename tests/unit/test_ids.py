"""Ids of candidates."""

from __future__ import annotations

import geopandas as gpd
import pytest
import shapely

from rockglacier.inventory.ids import names_of, place_ids, stable_ids


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
    assert place_ids([(longitude, latitude)]) == [expected]
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


def before_and_now(before, now):
    """Names of outlines ``now`` after an inventory of ``before``, id to box."""
    previous = gpd.GeoDataFrame(
        {"candidate_id": list(before)}, geometry=series(*before.values()), crs=4326
    )
    outlines = series(*now)
    return names_of(outlines, outlines.representative_point(), previous)


def box(west, width, south=36.0, height=0.01):
    return (west, south, west + width, south + height)


def kinds(names):
    return {change["candidate_id"]: change["change"] for change in names.changes}


def test_larger_part_of_a_split_landform_keeps_the_id_and_the_other_replaces_it():
    names = before_and_now({"RGCone": box(74.0, 0.01)}, [box(74.0, 0.007), box(74.0075, 0.0025)])
    assert names.ids[0] == "RGCone"
    assert names.ids[1] != "RGCone"
    assert names.replaces == [None, "RGCone"]
    assert set(kinds(names).values()) == {"split"}


def test_halves_of_a_split_landform_both_replace_it():
    names = before_and_now({"RGCone": box(74.0, 0.01)}, [box(74.0, 0.0049), box(74.0051, 0.0049)])
    assert "RGCone" not in names.ids
    assert names.replaces == ["RGCone", "RGCone"]
    assert set(kinds(names).values()) == {"split"}


def test_merged_landform_keeps_one_id_and_replaces_the_other():
    before = {"RGCbig": box(74.0, 0.007), "RGCsmall": box(74.007, 0.003)}
    names = before_and_now(before, [box(74.0, 0.01)])
    assert names.ids == ["RGCbig"]
    assert names.replaces == ["RGCsmall"]
    assert kinds(names) == {"RGCbig": "merged"}
    (change,) = names.changes
    assert change["iou"] == pytest.approx(0.7, abs=1e-3)
    assert change["area_before_km2"] == pytest.approx(0.7 * change["area_km2"], rel=1e-3)


def test_changes_name_what_is_new_changed_redrawn_and_gone():
    before = {
        "RGCsame": box(74.0, 0.01),
        "RGCmoved": box(74.1, 0.01),
        "RGCgone": box(74.2, 0.01),
        "RGClarge": box(74.3, 0.01),
    }
    now = [box(74.0, 0.01), box(74.1, 0.009), box(74.3, 0.004), box(74.4, 0.01)]
    names = before_and_now(before, now)
    assert names.ids[:2] == ["RGCsame", "RGCmoved"]
    assert kinds(names) == {
        "RGCmoved": "changed",
        names.ids[2]: "redrawn",
        names.ids[3]: "new",
        "RGCgone": "gone",
    }
    assert names.replaces == [None, None, "RGClarge", None]


def test_what_a_landform_replaced_stays_with_it():
    before = series(box(74.0, 0.01))
    previous = gpd.GeoDataFrame(
        {"candidate_id": ["RGCone"], "replaces": ["RGCold"]}, geometry=before, crs=4326
    )
    names = names_of(before, before.representative_point(), previous)
    assert names.replaces == ["RGCold"]
    assert names.changes == []


def test_landform_takes_the_name_that_it_has_in_another_period():
    other = gpd.GeoDataFrame(
        {"candidate_id": ["RGCthere", "RGCboth"]},
        geometry=series(box(74.0, 0.01), box(74.1, 0.01)),
        crs=4326,
    )
    previous = gpd.GeoDataFrame(
        {"candidate_id": ["RGChere"]}, geometry=series(box(74.1, 0.01)), crs=4326
    )
    now = series(box(74.0, 0.009), box(74.1, 0.01))
    names = names_of(now, now.representative_point(), previous, others=[other])
    assert names.ids == ["RGCthere", "RGChere"]


def test_ids_that_were_given_once_are_not_given_again():
    now = series((74.0, 36.0, 74.01, 36.01))
    retired = frozenset({"RGC360050N0740050E"})
    names = names_of(now, now.representative_point(), None, retired=retired)
    assert names.ids == ["RGC360050N0740051E"]
    assert kinds(names) == {"RGC360050N0740051E": "new"}
