"""Length along the flow: straight, turned, bent, forked, and without heights."""

from __future__ import annotations

import numpy as np
import pytest

from rockglacier.inventory import flow
from rockglacier.inventory.flow import flow_length_m

ROWS, COLUMNS = np.mgrid[:200, :200].astype(np.float64)


def turned(angle_deg, length=100, width=24):
    """A rectangle in pixels, its fall line ``angle_deg`` clockwise from down."""
    angle = np.radians(angle_deg)
    along = (ROWS - 100) * np.cos(angle) + (COLUMNS - 100) * np.sin(angle)
    across = (COLUMNS - 100) * np.cos(angle) - (ROWS - 100) * np.sin(angle)
    return (np.abs(along) < length / 2) & (np.abs(across) < width / 2), 4500 - 3 * along


@pytest.mark.parametrize("angle_deg", [0, 10, 22.5, 45, 70, 90, 200])
def test_length_of_a_rectangle_does_not_depend_on_its_direction(angle_deg):
    is_landform, elevation = turned(angle_deg)
    assert flow_length_m(is_landform, elevation, resolution=10) == pytest.approx(1000, rel=0.03)


def test_length_of_a_bent_landform_is_along_the_bend():
    # three quarters of a ring around the middle, falling all the way
    radius, angle = np.hypot(ROWS - 100, COLUMNS - 100), np.arctan2(ROWS - 100, COLUMNS - 100)
    turn = np.mod(angle, 2 * np.pi)
    is_landform = (np.abs(radius - 60) < 8) & (turn < 1.5 * np.pi)
    elevation = 4500 - 100 * turn
    expected = 1.5 * np.pi * 60 * 10
    found = flow_length_m(is_landform, elevation, resolution=10)
    assert found == pytest.approx(expected, rel=0.04)
    # the straight line between its ends
    assert found > 3 * 10 * np.hypot(60, 60)


def test_of_two_heads_that_of_the_larger_counts():
    is_landform = np.zeros((200, 200), dtype=bool)
    is_landform[100:180, 90:110] = True
    is_landform[20:100, 60:80] = True
    is_landform[60:100, 120:130] = True
    is_landform[90:110, 60:130] = True
    elevation = np.where(is_landform, 4500 - 3 * np.maximum(ROWS, 20), np.nan)
    found = flow_length_m(is_landform, elevation, resolution=10)
    assert 1600 < found < 2100


def test_pixels_without_height_take_that_of_their_neighbours():
    is_landform, elevation = turned(30)
    holed = np.where((ROWS + COLUMNS) % 3 == 0, np.nan, elevation)
    plain = flow_length_m(is_landform, elevation, resolution=10)
    assert flow_length_m(is_landform, holed, resolution=10) == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("height", [np.nan, 4000.0])
def test_without_a_fall_the_longest_axis_counts(height):
    is_landform, _ = turned(45)
    elevation = np.full(is_landform.shape, height)
    assert flow_length_m(is_landform, elevation, resolution=10) == pytest.approx(1020, rel=0.05)


def test_large_landform_is_measured_at_a_coarser_resolution(monkeypatch):
    is_landform, elevation = turned(15)
    fine = flow_length_m(is_landform, elevation, resolution=10)
    monkeypatch.setattr(flow, "MAX_NODES", 400)
    assert flow_length_m(is_landform, elevation, resolution=10) == pytest.approx(fine, rel=0.05)


def test_smallest_landforms_have_a_length():
    elevation = np.array([[4000.0, 4010.0]])
    assert flow_length_m(np.ones((1, 1), dtype=bool), elevation[:, :1], resolution=10) == 10
    assert flow_length_m(np.ones((1, 2), dtype=bool), elevation, resolution=10) == 20


def test_path_leads_around_a_gap_and_not_across_it():
    is_landform = np.zeros((60, 60), dtype=bool)
    is_landform[5:55, 5:15] = is_landform[5:55, 35:45] = is_landform[45:55, 5:45] = True
    elevation = np.where(COLUMNS[:60, :60] < 25, 4500 - ROWS[:60, :60], 4400 + ROWS[:60, :60] - 60)
    # down the left leg, along the bottom, and up to where the right leg is lowest: at its far end
    found = flow_length_m(is_landform, elevation, resolution=10)
    assert found > 1000
