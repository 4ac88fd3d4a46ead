"""The fewest scenes: overpasses, looks, and the greedy cover by its properties."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rockglacier.scenes.cover import fewest, looks_at, overpasses
from rockglacier.scenes.record import Scene

TIME = datetime(2024, 8, 1, 5, 50, tzinfo=UTC)


def make_scene(minutes, *, platform="sentinel-2a", datatake=""):
    return Scene(
        id=f"s{minutes}",
        collection="c",
        datetime=TIME + timedelta(minutes=minutes),
        tile="43SDA",
        platform=platform,
        epsg=32643,
        cloud_cover=1.0,
        baseline="05.11",
        sequence=0,
        datatake=datatake,
        nodata_percent=None,
        offset_in_pixels=0,
        offset_reason="",
        assets={},
        self_href="",
        sun_azimuth=None,
        sun_elevation=None,
        geometry=shapely.box(0, 0, 1, 1),
        bbox=(0, 0, 1, 1),
    )


@pytest.mark.parametrize(
    ("scenes", "numbers"),
    [
        ([make_scene(0), make_scene(0.5), make_scene(100)], [0, 0, 1]),
        ([make_scene(100), make_scene(0)], [1, 0]),
        ([make_scene(0), make_scene(0, platform="sentinel-2b")], [0, 1]),
        ([make_scene(0, datatake="a"), make_scene(1, datatake="b")], [0, 1]),
        ([make_scene(0, datatake="a"), make_scene(11, datatake="a")], [0, 0]),
        ([], []),
    ],
)
def test_scenes_of_one_overpass_share_a_number(scenes, numbers):
    assert overpasses(scenes).tolist() == numbers


def test_place_that_two_tiles_of_an_overpass_show_is_seen_once():
    seen = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0]], bool)
    assert looks_at(seen, np.array([0, 0, 1])).tolist() == [2, 1, 1]


def test_nothing_seen_needs_no_scene():
    assert fewest(np.zeros((3, 5), bool), np.arange(3), least=4) == []
    assert fewest(np.zeros((0, 5), bool), np.zeros(0, int), least=4) == []


def test_of_equal_scenes_the_preferred_are_taken():
    assert fewest(np.ones((5, 4), bool), np.arange(5), least=2) == [0, 1]


def test_scene_made_superfluous_by_later_ones_is_left_out():
    """The first sees most, but the two that the edges need see all of it."""
    seen = np.zeros((3, 10), bool)
    seen[0, 2:8] = True
    seen[1, :5] = True
    seen[2, 5:] = True
    assert fewest(seen, np.arange(3), least=1) == [1, 2]


@st.composite
def catalogs(draw):
    scenes = draw(st.integers(1, 12))
    points = draw(st.integers(1, 30))
    seen = draw(arrays(bool, (scenes, points)))
    passes = draw(arrays(np.int64, scenes, elements=st.integers(0, 6)))
    return seen, passes, draw(st.integers(1, 5))


@given(catalogs())
def test_every_place_is_seen_as_often_as_asked_or_as_all_scenes_do(catalog):
    seen, passes, least = catalog
    chosen = fewest(seen, passes, least=least)
    wanted = np.minimum(looks_at(seen, passes), least)
    assert (looks_at(seen[chosen], passes[chosen]) >= wanted).all()
    assert chosen == sorted(set(chosen))


@given(catalogs())
def test_no_chosen_scene_can_be_left_out(catalog):
    seen, passes, least = catalog
    chosen = fewest(seen, passes, least=least)
    wanted = np.minimum(looks_at(seen, passes), least)
    for index in chosen:
        others = [other for other in chosen if other != index]
        assert (looks_at(seen[others], passes[others]) < wanted).any()


@given(catalogs(), st.permutations(range(30)))
def test_order_of_the_places_does_not_matter(catalog, order):
    seen, passes, least = catalog
    order = [index for index in order if index < seen.shape[1]]
    assert fewest(seen[:, order], passes, least=least) == fewest(seen, passes, least=least)


@given(catalogs())
def test_more_looks_are_never_met_by_fewer_overpasses(catalog):
    seen, passes, least = catalog
    few = looks_at(seen[(c := fewest(seen, passes, least=least))], passes[c])
    many = looks_at(seen[(c := fewest(seen, passes, least=least + 1))], passes[c])
    assert (np.minimum(few, least) <= many).all()
