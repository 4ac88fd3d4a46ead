"""Rasters of the user's own: pasted, warped, scaled, and refused with words that help."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from made_study import grid_of, write_raster
from rockglacier.cube.extra import ExtraLayer
from rockglacier.errors import InputError, RemoteError
from rockglacier.grid import Window

GRID = grid_of((120, 140))


@pytest.fixture
def layer(tmp_path):
    """A function that writes a raster and describes it."""

    def make(values, *, transform, crs="EPSG:32643", nodata=None, scale=None, **settings):
        path = tmp_path / "extra.tif"
        write_raster(path, values, crs=crs, transform=transform, nodata=nodata)
        if scale is not None:
            with rasterio.open(path, "r+") as file:
                file.scales, file.offsets = [scale[0]], [scale[1]]
        return ExtraLayer(name="coherence", href=str(path), license="CC-BY-4.0", **settings)

    return make


ON_GRID = Affine(20, 0, 500_000 - 40, 0, -20, 4_000_000 + 60)


def test_a_raster_on_the_grid_is_pasted_bit_for_bit(layer):
    values = np.arange(1, 60 * 70 + 1, dtype=np.float32).reshape(60, 70)
    extra = layer(values, transform=ON_GRID, resampling="nearest")
    extra.require(GRID)
    got = extra.read(GRID, GRID.whole)
    assert got.dtype == np.float32
    # its first pixel lies 6 rows above and 4 columns left of the grid's
    expected = values.repeat(2, 0).repeat(2, 1)[6:, 4:]
    np.testing.assert_array_equal(got[:114, :136], expected[:114, :136])
    assert np.isnan(got[114:]).all()
    assert np.isnan(got[:, 136:]).all()


def test_integers_keep_0_unless_it_is_no_data(layer):
    values = np.tile(np.array([0, 7], np.uint8), (80, 40))
    kept = layer(values, transform=ON_GRID, resampling="nearest").read(GRID, GRID.whole)
    assert set(np.unique(kept)) == {0, 7}
    lost = layer(values, transform=ON_GRID, resampling="nearest", nodata=0).read(GRID, GRID.whole)
    assert np.isnan(lost).any()
    assert set(np.unique(lost[np.isfinite(lost)])) == {7}
    told = ExtraLayer(
        name="x", href=layer(values, transform=ON_GRID).href, license="CC0-1.0", nodata=7
    )
    got = told.read(GRID, GRID.whole)
    assert set(np.unique(got[np.isfinite(got)])) == {0}


def test_a_file_tells_its_scale(layer):
    values = np.full((80, 80), 51, np.uint8)
    extra = layer(values, transform=ON_GRID, scale=(1 / 255, 0.5))
    assert extra.read(GRID, GRID.whole) == pytest.approx(0.7)


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_a_raster_in_degrees_is_warped_to_where_it_belongs(layer, kernel):
    step = 1 / 3600
    to_degrees = Transformer.from_crs(32643, 4326, always_xy=True)
    west, north = to_degrees.transform(499_800, 4_000_200)
    rows, cols = np.mgrid[:70, :90]
    x, y = west + (cols + 0.5) * step, north - (rows + 0.5) * step
    east, up = Transformer.from_crs(4326, 32643, always_xy=True).transform(x, y)
    plane = (3 * (east - 500_000) + 2 * (up - 4_000_000)).astype(np.float32)
    extra = layer(
        plane, transform=Affine(step, 0, west, 0, -step, north), crs="EPSG:4326", resampling=kernel
    )
    got = extra.read(GRID, GRID.whole)
    y, x = np.mgrid[:120, :140] + 0.5
    np.testing.assert_allclose(got, 30 * x - 20 * y, atol=0.05)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize("step", [3.7, 10.0, 47.0])
def test_any_window_has_the_same_bits(layer, kernel, step):
    rng = np.random.default_rng(4)
    size = round(2400 / step)
    values = rng.integers(0, 5, (size, size)).astype(np.uint8)
    transform = Affine(step, 0, 499_501.5, 0, -step, 4_000_401.5)
    extra = layer(values, transform=transform, resampling=kernel, nodata=0)
    whole = extra.read(GRID, GRID.whole)
    assert np.isfinite(whole).mean() > 0.5
    for _ in range(6):
        y, x = (int(value) for value in rng.integers(0, 90, 2))
        window = Window(y=y, x=x, height=int(rng.integers(1, 30)), width=31)
        np.testing.assert_array_equal(extra.read(GRID, window), whole[window.slices])


def test_no_data_does_not_leak_into_its_neighbours(layer):
    y, x = np.mgrid[:90, :90]
    values = np.where(x + y // 3 < 50, 0.8, -9999).astype(np.float32)
    for transform in (ON_GRID, Affine(23, 0, 499_912, 0, -23, 4_000_077)):
        got = layer(values, transform=transform, nodata=-9999).read(GRID, GRID.whole)
        known = np.isfinite(got)
        assert 0.1 < known.mean() < 1
        assert got[known] == pytest.approx(0.8)


def test_a_missing_file_is_named():
    extra = ExtraLayer(name="velocity", href="no/such.tif", license="CC0-1.0")
    with pytest.raises(InputError, match=r"no file 'no/such.tif' for the extra layer 'velocity'"):
        extra.require(GRID)


def test_a_file_that_is_no_raster_is_named_with_its_cause(tmp_path):
    path = tmp_path / "text.tif"
    path.write_text("no raster")
    with pytest.raises(RemoteError, match=r"text\.tif") as caught:
        ExtraLayer(name="velocity", href=str(path), license="CC0-1.0").read(GRID, GRID.whole)
    assert "cube.extra" in caught.value.todo


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_crs_is_refused(layer):
    extra = layer(np.ones((9, 9), np.float32), transform=ON_GRID, crs=None)
    with pytest.raises(RemoteError, match="does not say where on Earth it lies"):
        extra.require(GRID)


def test_a_raster_that_lies_elsewhere_is_refused(layer):
    far = Affine(10, 0, 700_000, 0, -10, 4_000_000)
    with pytest.raises(InputError, match="lies elsewhere") as caught:
        layer(np.ones((9, 9), np.float32), transform=far).read(GRID, GRID.whole)
    assert "EPSG:32643" in caught.value.expected


def test_several_bands_are_refused(layer):
    extra = layer(np.ones((2, 90, 90), np.float32), transform=ON_GRID)
    with pytest.raises(InputError, match="has 2 bands"):
        extra.require(GRID)
