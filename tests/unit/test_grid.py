"""The pixel grid and its blocks."""

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window, geodesic_area_km2, projected, utm_epsg

AREA = shapely.box(74.0, 36.0, 74.05, 36.04)


def make_grid(block: int = 128) -> Grid:
    return Grid.from_area(
        AREA, epsg=32643, resolution=10, block=block, origin=(399_960.0, 4_100_040.0)
    )


def test_grid_covers_the_area():
    grid = make_grid()
    west, south, east, north = grid.bounds
    inner = projected(AREA, epsg=32643).bounds
    assert west <= inner[0] < west + 10
    assert north - 10 < inner[3] <= north
    assert south <= inner[1]
    assert inner[2] <= east


@given(st.integers(-3000, 3000), st.integers(-3000, 3000), st.sampled_from([10.0, 20.0, 100.0]))
def test_grid_lines_up_with_the_origin_of_the_scenes(x, y, resolution):
    origin = (400_000.0 + x, 4_000_000.0 + y)
    grid = Grid.from_area(AREA, epsg=32643, resolution=resolution, block=128, origin=origin)
    assert (grid.bounds[0] - origin[0]) % resolution == pytest.approx(0)
    assert (grid.bounds[3] - origin[1]) % resolution == pytest.approx(0)


def test_grid_survives_the_trip_through_json():
    grid = make_grid()
    assert Grid.from_dict(grid.to_dict()) == grid


@given(st.integers(128, 700))
def test_blocks_cover_every_pixel_once(block):
    grid = make_grid(block)
    assert sum(b.window.height * b.window.width for b in grid.blocks()) == (
        grid.shape[0] * grid.shape[1]
    )


def test_window_geobox_reaches_beyond_the_grid():
    grid = make_grid()
    box = grid.window_geobox(Window(y=-2, x=-3, height=4, width=5))
    assert box.shape == (4, 5)
    assert box.affine.c == grid.transform.c - 30
    assert box.affine.f == grid.transform.f + 20


def test_window_of_bounds_on_the_grid_adds_no_pixel():
    grid = make_grid()
    window = Window(y=5, x=7, height=11, width=13)
    box = grid.window_geobox(window).boundingbox
    assert grid.window_of((box.left, box.bottom, box.right, box.top)) == window


def test_clipped_window_outside_is_empty():
    window = Window(y=50, x=50, height=4, width=4).clipped((10, 10))
    assert (window.height, window.width) == (0, 0)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"), [(74.6, 36.5, 32643), (-70.0, -33.0, 32719), (180.0, 10.0, 32660)]
)
def test_utm_zone_of_an_area(lon, lat, epsg):
    assert utm_epsg(shapely.box(lon - 0.1, lat - 0.1, lon, lat)) == epsg


def test_utm_zone_of_the_pole_is_refused():
    with pytest.raises(InputError, match="outside the UTM zones"):
        utm_epsg(shapely.box(0, 86, 1, 87))


def test_geodesic_area_of_a_degree_at_the_equator():
    # NIMA TR8350.2: a 1 x 1 degree cell at the equator of WGS 84 is 12,309 km2
    assert geodesic_area_km2(shapely.box(0, 0, 1, 1)) == pytest.approx(12_309, rel=1e-3)


def test_geodesic_area_does_not_depend_on_how_rings_run():
    shell, hole = shapely.box(74, 36, 74.1, 36.1), shapely.box(74.02, 36.02, 74.08, 36.08)
    expected = geodesic_area_km2(shell) - geodesic_area_km2(hole)
    for ring in (hole.exterior, hole.exterior.reverse()):
        assert geodesic_area_km2(shapely.Polygon(shell.exterior, [ring])) == pytest.approx(expected)
    two = shapely.MultiPolygon([shell, shapely.box(75, 36, 75.1, 36.1).reverse()])
    assert geodesic_area_km2(two) == pytest.approx(2 * geodesic_area_km2(shell))
