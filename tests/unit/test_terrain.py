"""Terrain derivatives on surfaces whose answer is known."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod, Transformer

from rockglacier.cube.convergence import convergence_of, meridian_convergence
from rockglacier.cube.curvature import curvature
from rockglacier.cube.light import cast_shadow, illumination
from rockglacier.cube.roughness import roughness
from rockglacier.cube.terrain import slope_aspect
from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Window

UTM43 = Affine(10, 0, 600_000, 0, -10, 4_100_000)


def plane(bearing, slope, shape=(9, 11), resolution=10.0):
    """Surface that falls toward ``bearing`` (degrees from grid north)."""
    y, x = np.mgrid[: shape[0], : shape[1]] * resolution
    fall = np.tan(np.radians(slope))
    toward = np.sin(np.radians(bearing)) * x - np.cos(np.radians(bearing)) * y
    return (3000 - fall * toward).astype(np.float32)


@pytest.mark.parametrize("bearing", [0, 45, 90, 135, 180, 225, 270, 315])
def test_slope_and_aspect_of_a_plane_in_eight_directions(bearing):
    slope, aspect = slope_aspect(plane(bearing, 30), 10, 0.0)
    assert slope[1:-1, 1:-1] == pytest.approx(30, abs=2e-3)
    off = (aspect[1:-1, 1:-1] - bearing + 180) % 360 - 180
    assert np.abs(off).max() < 5e-3
    assert aspect[1:-1, 1:-1].max() < 360


def test_flat_ground_has_a_slope_and_no_aspect():
    slope, aspect = slope_aspect(np.full((5, 5), 7, np.float32), 10, 0.0)
    assert (slope[1:-1, 1:-1] == 0).all()
    assert np.isnan(aspect).all()


def test_halo_and_neighbours_of_a_hole_are_nan():
    ground = plane(90, 20)
    ground[4, 5] = np.nan
    slope, _ = slope_aspect(ground, 10, 0.0)
    assert np.isnan(slope[3:6, 4:7]).all()
    assert np.isnan(slope[0]).all()
    assert np.isfinite(slope[1:-1, 1:4]).all()


def test_aspect_is_from_true_north():
    """The grid bearing of a short walk due north on the ellipsoid is minus the convergence."""
    crs = CRS.from_epsg(32643)
    window = Window(y=500, x=9_000, height=3, width=3)
    angle = meridian_convergence(UTM43, crs, window)[1, 1]
    x, y = UTM43 * (9_001.5, 501.5)
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    north = Geod(ellps="WGS84").fwd(lon, lat, 0, 100)[:2]
    x1, y1 = to_degrees.transform(*north, direction="INVERSE")
    true_north_on_grid = np.degrees(np.arctan2(x1 - x, y1 - y))
    assert angle == pytest.approx(-true_north_on_grid, abs=1e-3)
    assert angle > 1
    _, aspect = slope_aspect(plane(true_north_on_grid, 25), 10, angle)
    assert min(aspect[4, 4], 360 - aspect[4, 4]) < 5e-3


def test_convergence_of_a_pixel_does_not_depend_on_the_window():
    crs = CRS.from_epsg(32643)
    whole = meridian_convergence(UTM43, crs, Window(y=-300, x=-200, height=700, width=900))
    part = meridian_convergence(UTM43, crs, Window(y=77, x=131, height=50, width=140))
    np.testing.assert_array_equal(whole[377:427, 331:471], part)


def test_convergence_by_its_nodes_is_that_of_every_pixel():
    crs = CRS.from_epsg(32643)
    window = Window(y=-37, x=100, height=300, width=700)
    nodes = convergence_of(UTM43, crs, window)
    every = meridian_convergence(UTM43, crs, window)
    ground = np.random.default_rng(1).normal(4000, 9, every.shape).astype(np.float32)
    np.testing.assert_array_equal(slope_aspect(ground, 10, nodes), slope_aspect(ground, 10, every))
    sun = {"sun_azimuth": 150, "sun_elevation": 40}
    lit = illumination(ground, 10, nodes, **sun)
    np.testing.assert_array_equal(lit, illumination(ground, 10, every, **sun))
    with pytest.raises(ContractError, match="convergence of 300 x 700"):
        slope_aspect(ground[:-1], 10, nodes)


def test_a_grid_in_degrees_is_refused():
    window = Window(y=0, x=0, height=3, width=3)
    with pytest.raises(ContractError, match="WGS 84"):
        convergence_of(Affine(1e-4, 0, 74, 0, -1e-4, 36), CRS.from_epsg(4326), window)


@pytest.mark.parametrize(("east", "south"), [(0, -1), (1, -1), (1, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_plane_gives_exactly_its_slope_and_aspect_in_eight_directions(east, south, sign):
    """Heights that single precision holds leave no error but that of the last digit."""
    y, x = np.mgrid[:7, :9]
    ground = (3000 - 4.0 * sign * (east * x + south * y)).astype(np.float32)
    slope, aspect = slope_aspect(ground, 10, 0.0)
    bearing = np.degrees(np.arctan2(sign * east, -sign * south)) % 360
    assert (aspect[1:-1, 1:-1] == bearing).all()
    expected = np.degrees(np.arctan(0.4 * np.hypot(east, south)))
    np.testing.assert_allclose(slope[1:-1, 1:-1], expected, atol=1e-5)


def test_single_precision_loses_nothing_that_matters():
    rng = np.random.default_rng(2)
    ground = rng.normal(4500, 1, (200, 300)).cumsum(axis=1).astype(np.float32) % 700 + 4000
    turn = rng.uniform(-3, 3, ground.shape)
    slope, aspect = slope_aspect(ground, 10, turn)
    z = ground.astype(float)
    x = z[:, 2:] - z[:, :-2]
    east = (x[:-2] + 2 * x[1:-1] + x[2:]) / 80
    y = z[:-2] - z[2:]
    north = (y[:, :-2] + 2 * y[:, 1:-1] + y[:, 2:]) / 80
    steep = np.degrees(np.arctan(np.hypot(east, north)))
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(slope[inner], steep, atol=1e-5)
    bearing = np.degrees(np.arctan2(-east, -north)) + turn[inner]
    assert np.abs((aspect[inner] - bearing + 180) % 360 - 180).max() < 5e-5
    assert aspect[inner].min() >= 0
    assert aspect[inner].max() < 360
    lit = illumination(ground, 10, turn, sun_azimuth=140, sun_elevation=35)
    tilt = np.radians(35)
    cosine = np.sin(tilt) * np.cos(np.radians(steep))
    cosine += np.cos(tilt) * np.sin(np.radians(steep)) * np.cos(np.radians(140 - bearing))
    np.testing.assert_allclose(lit[inner], np.clip(cosine, 0, 1), atol=2e-6)


@pytest.mark.parametrize("turn", [-170.0, -100.0, -3.0, 0.0, 45.0, 135.0, 180.0])
def test_light_follows_the_convergence_however_large(turn):
    ground = plane(30, 25)
    lit = illumination(ground, 10, turn, sun_azimuth=30 + turn, sun_elevation=65)
    assert lit[1:-1, 1:-1] == pytest.approx(1, abs=1e-4)


def test_outputs_can_be_parts_of_larger_arrays():
    ground = plane(100, 30, (40, 50)) + np.random.default_rng(0).normal(0, 1, (40, 50))
    ground = ground.astype(np.float32)
    expected = slope_aspect(ground, 10, 1.5)
    out = np.zeros((2, 60, 70), np.float32)
    part = out[:, 3:41, 5:53]
    slope_aspect(ground, 10, 1.5, out=(part[0], part[1]))
    np.testing.assert_array_equal(part, np.stack(expected)[:, 1:-1, 1:-1])
    assert (out[:, 3:41, 53:] == 0).all()
    with pytest.raises(ContractError, match=r"\(40, 50\)"):
        slope_aspect(ground, 10, 0.0, out=expected)
    with pytest.raises(ContractError, match="convergence"):
        slope_aspect(ground, 10, np.zeros((3, 3)))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (3, 3), (5, 2), (0, 4)])
def test_arrays_smaller_than_the_halo_are_all_unknown(shape):
    ground = np.ones(shape, np.float32)
    for layer in (*slope_aspect(ground, 10, 0.0), curvature(ground, 10)):
        assert layer.shape == shape
        assert np.isfinite(layer).sum() <= 1
    assert np.isnan(roughness(ground, 3)).all()


def test_illumination_faces_the_sun():
    def lit(ground, elevation):
        return illumination(ground, 10, 0.0, sun_azimuth=135, sun_elevation=elevation)[4, 4]

    assert lit(plane(135, 40), 50) == pytest.approx(1, abs=1e-6)
    assert lit(plane(315, 40), 50) == pytest.approx(np.cos(np.radians(80)), abs=1e-4)
    flat = np.zeros((9, 9), np.float32)
    assert lit(flat, 50) == pytest.approx(np.sin(np.radians(50)), abs=1e-6)
    assert lit(plane(315, 40), 20) == 0


def test_illumination_of_a_hole_and_its_neighbours_is_nan():
    ground = plane(135, 40)
    ground[4, 5] = np.nan
    lit = illumination(ground, 10, 0.0, sun_azimuth=135, sun_elevation=50)
    assert np.isnan(lit[3:6, 4:7]).all()
    assert np.isfinite(lit[1:-1, 1:4]).all()


@pytest.mark.parametrize(
    ("bearing", "row", "col"), [(90, 0, -1), (270, 0, 1), (0, 1, 0), (180, -1, 0), (45, 1, -1)]
)
def test_a_tower_throws_its_shadow_away_from_the_sun(bearing, row, col):
    ground = np.zeros((41, 41), np.float32)
    ground[20, 20] = 75
    shadow = cast_shadow(ground, 10, bearing=bearing, sun_elevation=45, reach=20)
    length = 7 if 0 in (row, col) else 5  # 75 m at 45 degrees: 7.5 pixels, 5.3 along a diagonal
    rows, cols = np.nonzero(shadow)
    expected = {(20 + k * row, 20 + k * col) for k in range(1, length + 1)}
    assert set(zip(rows.tolist(), cols.tolist(), strict=True)) == expected


def test_shadow_ends_at_the_reach():
    ground = np.zeros((5, 60), np.float32)
    ground[:, 50] = 1000
    shadow = cast_shadow(ground, 10, bearing=90, sun_elevation=45, reach=10)
    assert np.nonzero(shadow[2])[0].tolist() == list(range(40, 50))


def test_holes_throw_no_shadow():
    ground = np.full((5, 9), np.nan, np.float32)
    assert not cast_shadow(ground, 10, bearing=90, sun_elevation=45, reach=3).any()
    ground[:, :4] = 0
    assert not cast_shadow(ground, 10, bearing=90, sun_elevation=45, reach=3).any()


def test_curvature_is_positive_on_a_ridge():
    x = np.arange(9) * 10.0
    ridge = np.broadcast_to(-0.005 * (x - 40) ** 2, (5, 9)).astype(np.float32)
    bent = curvature(ridge, 10)
    assert bent[1:-1, 1:-1] == pytest.approx(1.0, abs=1e-5)  # minus the second derivative, x 100
    assert np.isnan(bent[0]).all()


def test_a_hole_spreads_by_the_radius():
    ground = plane(70, 35, (15, 17))
    ground[7, 8] = np.nan
    layer = roughness(ground, 2)
    assert np.isnan(layer[5:10, 6:11]).all()
    assert np.isfinite(layer[2:5, 2:-2]).all()
    assert np.isfinite(layer[2:-2, 11:-2]).all()
    layer = curvature(ground, 10)
    assert np.isnan(layer[7, 7:10]).all()
    assert np.isfinite(layer[1:6, 1:-1]).all()


def test_a_sun_below_the_horizon_is_refused():
    for height in (0, -3, 91):
        with pytest.raises(InputError, match="sun at"):
            cast_shadow(plane(0, 10), 10, bearing=90, sun_elevation=height, reach=3)


def test_roughness_ignores_slope_and_sees_furrows():
    smooth = plane(70, 35)
    assert np.nanmax(roughness(smooth, 2)) < 1e-2
    furrowed = smooth + np.where(np.arange(11) % 2, 2, -2).astype(np.float32)
    rough = roughness(furrowed, 2)
    assert rough[4, 5] == pytest.approx(1.96, abs=0.05)
    assert np.isnan(rough[1]).all()


def test_derivatives_of_a_window_equal_those_of_the_whole():
    rng = np.random.default_rng(3)
    ground = rng.normal(3000, 30, (60, 70)).astype(np.float32)
    part = ground[17:50, 23:61]
    for function in (
        lambda z: slope_aspect(z, 10, 0.7)[1],
        lambda z: curvature(z, 10),
        lambda z: roughness(z, 1),
    ):
        np.testing.assert_array_equal(function(ground)[18:49, 24:60], function(part)[1:-1, 1:-1])
    whole = cast_shadow(ground, 10, bearing=133, sun_elevation=40, reach=9)
    inner = cast_shadow(part, 10, bearing=133, sun_elevation=40, reach=9)
    np.testing.assert_array_equal(whole[26:41, 32:52], inner[9:-9, 9:-9])
