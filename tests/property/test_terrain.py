"""Terrain does not depend on the window in which it is computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rockglacier.cube.curvature import curvature
from rockglacier.cube.flat import STRIP
from rockglacier.cube.light import cast_shadow, illumination, shadow_window
from rockglacier.cube.roughness import roughness
from rockglacier.cube.terrain import slope_aspect
from rockglacier.grid import Window

FUNCTIONS = {
    "slope": (lambda z, turn: slope_aspect(z, 10, turn)[0], 1),
    "aspect": (lambda z, turn: slope_aspect(z, 10, turn)[1], 1),
    "illumination": (
        lambda z, turn: illumination(z, 10, turn, sun_azimuth=140, sun_elevation=40),
        1,
    ),
    "curvature": (lambda z, turn: curvature(z, 10), 1),
    "roughness": (lambda z, turn: roughness(z, 5), 5),
}
"""Each with its halo."""


def ground(seed, shape):
    """Rough ground with holes, level patches among it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 25, shape).cumsum(axis=1) + rng.normal(0, 25, shape).cumsum(axis=0) + 4000
    z[: shape[0] // 3, : shape[1] // 5] = 4100
    z[rng.random(shape) < 0.002] = np.nan
    return z.astype(np.float32), rng.uniform(-4, 4, shape).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_window_with_its_halo_equals_the_same_part_of_the_whole(name, data):
    function, halo = FUNCTIONS[name]
    z, turn = ground(data.draw(st.integers(0, 9)), (30, 2 * STRIP + 200))
    top = data.draw(st.integers(0, z.shape[0] - 2 * halo - 1))
    left = data.draw(st.integers(0, z.shape[1] - 2 * halo - 1))
    bottom = data.draw(st.integers(top + 2 * halo + 1, z.shape[0]))
    right = data.draw(st.integers(left + 2 * halo + 1, z.shape[1]))
    window = (slice(top, bottom), slice(left, right))
    inner = (slice(halo, -halo), slice(halo, -halo))
    whole = function(z, turn)[window][inner]
    np.testing.assert_array_equal(function(z[window], turn[window])[inner], whole)
    copied = function(z[window].copy(), turn[window].copy())[inner]
    np.testing.assert_array_equal(copied, whole)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bearing=st.floats(0, 360), height=st.floats(5, 80))
def test_shadows_of_a_window_equal_the_same_part_of_the_whole(data, bearing, height):
    z, _ = ground(data.draw(st.integers(0, 9)), (130, 170))
    reach = data.draw(st.integers(1, 40))
    window = Window(
        y=data.draw(st.integers(42, 80)),
        x=data.draw(st.integers(42, 120)),
        height=data.draw(st.integers(1, 8)),
        width=data.draw(st.integers(1, 8)),
    )
    sun = {"bearing": bearing, "sun_elevation": height, "reach": reach}
    whole = cast_shadow(z, 10, **sun)[window.slices]
    wide = shadow_window(window, bearing=bearing, reach=reach)
    part = cast_shadow(z[wide.slices], 10, **sun, inner=window.within(wide))
    np.testing.assert_array_equal(part, whole)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), bearing=st.integers(0, 359), height=st.floats(10, 70))
def test_shadows_equal_a_ray_followed_pixel_by_pixel(seed, bearing, height):
    z, _ = ground(seed, (80, 110))
    reach = 20
    got = cast_shadow(z, 10, bearing=bearing, sun_elevation=height, reach=reach)
    east, north = np.sin(np.radians(bearing)), np.cos(np.radians(bearing))
    longer = max(abs(east), abs(north))
    hidden = np.zeros(z.shape, bool)
    for k in range(1, int(reach * longer) + 1):
        down, right = -north / longer * k, east / longer * k
        row, col = np.floor(np.round([down, right], 9)).astype(int)
        if abs(east) == longer:
            shares, other = down - row, (row + 1, col)
        else:
            shares, other = right - col, (row, col + 1)
        under = (1 - shares) * moved(z, row, col) + shares * moved(z, *other)
        hidden |= under > z + k * 10 / longer * np.tan(np.radians(height))
    inner = (slice(reach + 2, -reach - 2), slice(reach + 2, -reach - 2))
    assert (got != hidden)[inner].mean() < 2e-3  # rays that graze the ground


def moved(z, row, col):
    """Return the pixel that lies ``row`` down and ``col`` right of each, NaN beyond the edges."""
    padded = np.pad(z.astype(float), 25, constant_values=np.nan)
    return padded[25 + row : 25 + row + z.shape[0], 25 + col : 25 + col + z.shape[1]]
