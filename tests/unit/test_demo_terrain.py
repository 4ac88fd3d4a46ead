import numpy as np
import pytest
from affine import Affine
from rasterio.features import rasterize

from rockglacier.demo.ground import LARGEST_KM2, SMALLEST_KM2
from rockglacier.demo.landforms import Cover, descend
from rockglacier.demo.light import Sun, cast_shadow, incidence_cosine
from rockglacier.demo.noise import spectral, stream
from rockglacier.demo.scenes import BANDS, ground_reflectance
from rockglacier.demo.terrain import make_landscape

TRANSFORM = Affine(10, 0, 760_020, 0, -10, 4_000_020)
SHAPE = (480, 600)
DEBRIS = (Cover.TALUS, Cover.MORAINE, Cover.DEBRIS_COVERED_GLACIER)


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(SHAPE, transform=TRANSFORM, epsg=32643, seed=7)


def test_same_seed_makes_the_same_landscape(landscape):
    again = make_landscape(SHAPE, transform=TRANSFORM, epsg=32643, seed=7)
    for layer in ("elevation", "cover", "labels", "tint", "above_snowline_m"):
        np.testing.assert_array_equal(getattr(again, layer), getattr(landscape, layer))


def test_another_seed_makes_another_landscape(landscape):
    other = make_landscape(SHAPE, transform=TRANSFORM, epsg=32643, seed=8)
    assert (other.cover != landscape.cover).mean() > 0.3
    assert np.corrcoef(other.elevation.ravel(), landscape.elevation.ravel())[0, 1] < 0.9


def test_areas_of_rock_glaciers_are_in_range(landscape):
    areas = np.array([outline.area for outline in landscape.outlines]) / 1e6
    assert len(areas) >= 4
    assert areas.min() >= SMALLEST_KM2
    assert areas.max() <= LARGEST_KM2


def test_outlines_are_those_of_the_labels(landscape):
    assert all(outline.is_valid for outline in landscape.outlines)
    numbered = zip(landscape.outlines, range(1, len(landscape.outlines) + 1), strict=True)
    burnt = rasterize(numbered, SHAPE, transform=TRANSFORM, dtype="uint16")
    np.testing.assert_array_equal(burnt, landscape.labels)
    np.testing.assert_array_equal(landscape.labels > 0, landscape.cover == Cover.ROCK_GLACIER)


def test_every_kind_of_confuser_is_there(landscape):
    for cover in (*DEBRIS, Cover.BEDROCK, Cover.ROCK_GLACIER):
        assert (landscape.cover == cover).any(), cover.name


def test_rock_glaciers_have_the_colour_of_other_debris(landscape):
    reflectance = ground_reflectance(landscape, seed=7)
    rock_glacier = landscape.cover == Cover.ROCK_GLACIER
    debris = np.isin(landscape.cover, DEBRIS)
    for band in range(len(BANDS)):
        spread = reflectance[band][debris].std()
        apart = reflectance[band][rock_glacier].mean() - reflectance[band][debris].mean()
        assert abs(apart) < 0.75 * spread


def test_slopes_and_elevations_of_rock_glaciers_overlap_with_other_debris(landscape):
    down, across = np.gradient(landscape.elevation, 10.0)
    rock_glacier = landscape.cover == Cover.ROCK_GLACIER
    debris = np.isin(landscape.cover, DEBRIS)
    for values in (np.hypot(down, across), landscape.elevation):
        low, high = np.percentile(values[debris], [5, 95])
        inside = (values[rock_glacier] > low) & (values[rock_glacier] < high)
        assert inside.mean() > 0.7


def test_descent_goes_down_and_ends_where_it_is_flat():
    rows = np.arange(60, dtype=np.float32)[:, None] + np.zeros((1, 40), np.float32)
    height = np.where(rows < 30, 300 - 5 * rows, 150).astype(np.float32)
    down, across = (part.astype(np.float32) for part in np.gradient(height, 10.0))
    path = descend(down, across, 5.0, 20.0, 0.0, 100)
    assert (np.diff(path[:, 0]) > 0).all()
    np.testing.assert_allclose(path[:, 1], 20)
    assert 28 < path[-1, 0] < 33


@pytest.mark.parametrize(
    ("azimuth", "row", "column"), [(0, 5, 0), (90, 0, -5), (180, -5, 0), (270, 0, 5)]
)
def test_shadow_falls_away_from_the_sun(azimuth, row, column):
    height = np.zeros((60, 60), np.float32)
    height[30, 30] = 100
    shadow = cast_shadow(height, Sun(azimuth=azimuth, elevation=45), resolution=10.0)
    rows, columns = np.nonzero(shadow)
    assert (rows.mean() - 30, columns.mean() - 30) == (row, column)
    assert len(rows) == 9  # 100 m high, 45 degrees: just under 100 m long


@pytest.mark.parametrize("azimuth", [0, 45, 130, 200, 300])
def test_incidence_is_a_right_angle_on_ground_that_faces_the_sun(azimuth):
    sun = Sun(azimuth=azimuth, elevation=60)
    y, x = -np.mgrid[:9, :9][0] * 10.0, np.mgrid[:9, :9][1] * 10.0
    toward = x * np.sin(np.radians(azimuth)) + y * np.cos(np.radians(azimuth))
    facing = (-np.tan(np.radians(30)) * toward).astype(np.float32)
    np.testing.assert_allclose(incidence_cosine(facing, sun, resolution=10.0), 1, atol=1e-5)


def test_noise_keeps_its_band_of_wavelengths():
    field = spectral((256, 256), resolution=10, longest=400, shortest=100, rng=stream(0, "noise"))
    power = np.abs(np.fft.rfft2(field)) ** 2
    frequency = np.hypot(np.fft.fftfreq(256, 10)[:, None], np.fft.rfftfreq(256, 10)[None, :])
    in_band = (frequency > 1 / 600) & (frequency < 1 / 70)
    assert power[in_band].sum() > 0.97 * power.sum()
    assert abs(field.std() - 1) < 1e-4
