"""Attributes of one landform."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from rockglacier.inventory.attributes import (
    Layers,
    area_and_perimeter,
    area_uncertainty_km2,
    circular_mean,
    hypsometry,
    length_and_width,
    measure,
    sector_of,
    touches_nodata,
)


def layers(shape, **given):
    ground = {
        "probability": np.full(shape, 80, np.uint8),
        "elevation": np.full(shape, 4000.0, np.float32),
        "slope": np.full(shape, 20.0, np.float32),
        "aspect": np.full(shape, 180.0, np.float32),
        "n_snow": np.zeros(shape, np.uint8),
        "n_shadow": np.zeros(shape, np.uint8),
    }
    return Layers(**(ground | given))


def test_mean_of_350_and_10_degrees_is_north():
    mean, resultant = circular_mean(np.array([350.0, 10.0]))
    assert min(mean, 360 - mean) == pytest.approx(0, abs=1e-9)
    assert resultant == pytest.approx(np.cos(np.radians(10)))


def test_opposite_aspects_have_no_mean():
    mean, resultant = circular_mean(np.array([90.0, 270.0]))
    assert mean is None
    assert resultant == pytest.approx(0, abs=1e-9)


def test_flat_ground_has_no_aspect():
    assert circular_mean(np.array([np.nan, np.nan])) == (None, None)


@pytest.mark.parametrize(
    ("aspect", "sector"),
    [(0, 1), (22.4, 1), (22.5, 2), (90, 3), (225, 6), (337.4, 8), (337.5, 1), (None, 9)],
)
def test_sectors_are_those_of_the_randolph_glacier_inventory(aspect, sector):
    assert sector_of(aspect) == sector


def test_area_and_perimeter_are_geodesic():
    # one minute of arc at the equator: 1.855 km by 1.843 km on WGS 84
    area, perimeter = area_and_perimeter(shapely.box(0, 0, 1 / 60, 1 / 60))
    assert area == pytest.approx(1.8553 * 1.8429, rel=1e-3)
    assert perimeter == pytest.approx(2 * (1.8553 + 1.8429), rel=1e-3)


def test_a_hole_takes_from_the_area_and_adds_to_the_perimeter():
    outer, inner = shapely.box(0, 0, 0.03, 0.03), shapely.box(0.01, 0.01, 0.02, 0.02)
    area, perimeter = area_and_perimeter(outer.difference(inner))
    whole, hole = area_and_perimeter(outer), area_and_perimeter(inner)
    assert area == pytest.approx(whole[0] - hole[0])
    assert perimeter == pytest.approx(whole[1] + hole[1])


def test_half_a_pixel_is_nine_percent_of_a_small_square():
    side_km = 0.05**0.5
    assert area_uncertainty_km2(4 * side_km, resolution=10) / 0.05 == pytest.approx(
        0.0894, abs=1e-3
    )


def test_hypsometry_sums_to_a_thousand():
    bands = hypsometry(np.array([4010.0, 4060.0, 4110.0, np.nan]))
    assert bands == {4000: 334, 4050: 333, 4100: 333}
    assert hypsometry(np.array([-10.0, 10.0])) == {-50: 500, 0: 500}
    assert hypsometry(np.array([np.nan])) == {}


def test_length_is_along_the_fall_line_and_width_across():
    is_landform = np.ones((30, 10), dtype=bool)
    elevation = np.repeat(np.linspace(4500, 4200, 30)[:, None], 10, axis=1)
    length, width = length_and_width(is_landform, elevation, resolution=10)
    assert length == pytest.approx(300)
    assert width == pytest.approx(100)


def test_length_of_flat_ground_is_along_the_longest_axis():
    length, width = length_and_width(
        np.ones((4, 20), dtype=bool), np.full((4, 20), 4000.0), resolution=10
    )
    assert (length, width) == (pytest.approx(200), pytest.approx(40))


def test_only_pixels_of_the_landform_count():
    is_landform = np.zeros((4, 5), dtype=bool)
    is_landform[1:3, 1:4] = True
    elevation = np.full((4, 5), -999.0, np.float32)
    elevation[1:3, 1:4] = [[4000, 4010, 4020], [4030, 4040, np.nan]]
    snow = np.zeros((4, 5), np.uint8)
    snow[1, 1:4] = 2
    found = measure(is_landform, layers((4, 5), elevation=elevation, n_snow=snow), resolution=10)
    assert found["pixels"] == 6
    assert found["elevation_min_m"] == 4000
    assert found["elevation_median_m"] == found["elevation_mean_m"] == 4020
    assert found["elevation_max_m"] == 4040
    assert found["elevation_front_m"] == pytest.approx(4002)
    assert found["relief_m"] == 40
    assert found["slope_mean_deg"] == 20
    assert found["aspect_mean_deg"] == pytest.approx(180)
    assert found["aspect_sector"] == 5
    assert found["probability_mean"] == found["probability_p10"] == pytest.approx(0.8)
    assert (found["valid_share"], found["snow_share"], found["shadow_share"]) == (1, 0.5, 0)


def test_ground_without_elevation_has_no_statistics():
    nothing = np.full((2, 2), np.nan, np.float32)
    found = measure(
        np.ones((2, 2), dtype=bool),
        layers((2, 2), elevation=nothing, slope=nothing, aspect=nothing),
        resolution=10,
    )
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {
        "elevation_min_m",
        "elevation_front_m",
        "elevation_median_m",
        "elevation_mean_m",
        "elevation_max_m",
        "relief_m",
        "slope_mean_deg",
        "slope_p90_deg",
        "aspect_mean_deg",
        "aspect_resultant",
    }
    assert found["aspect_sector"] == 9


def test_hole_without_prediction_lowers_the_valid_share():
    is_landform = np.ones((5, 5), dtype=bool)
    is_landform[2, 2] = False
    probability = np.where(is_landform, 80, 255).astype(np.uint8)
    found = measure(is_landform, layers((5, 5), probability=probability), resolution=10)
    assert found["valid_share"] == 24 / 25


def test_landform_beside_nodata_is_seen():
    is_landform = np.zeros((4, 4), dtype=bool)
    is_landform[1:3, 1:3] = True
    probability = np.where(is_landform, 80, 0).astype(np.uint8)
    assert not touches_nodata(is_landform, probability)
    probability[0, 0] = 255
    assert not touches_nodata(is_landform, probability)
    probability[0, 1] = 255
    assert touches_nodata(is_landform, probability)
