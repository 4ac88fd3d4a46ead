"""Layers of a cube as files that GDAL opens."""

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from rockglacier.cube.build import build_cube
from rockglacier.cube.export import export_cube
from rockglacier.cube.store import LAYERS, open_arrays
from rockglacier.errors import InputError, NotFoundError


@pytest.fixture
def study(make_basin, monkeypatch):
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    return make_basin(block=128)


def test_every_layer_becomes_a_valid_cog_with_the_same_pixels(study, tmp_path):
    build_cube(study)
    told = []
    files = export_cube(
        study, tmp_path / "out", progress=lambda what, done, total: told.append((done, total))
    )
    start = study.config.search.start.isoformat()
    assert {path.name for path in files} == {
        f"{name}_{start}.tif" if "time" in dims else f"{name}.tif"
        for name, (_, dims, _) in LAYERS.items()
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in files
    )
    assert told[-1] == (9 * len(LAYERS), 9 * len(LAYERS))
    group = open_arrays(study.cube_path)
    for path in files:
        name = path.name.removesuffix(".tif").removesuffix(f"_{start}")
        assert cog_validate(path)[0]
        with rasterio.open(path) as file:
            values = file.read()
            stored = group[name][...]
            np.testing.assert_array_equal(values, stored.reshape(values.shape))
            assert file.crs.to_epsg() == study.grid.epsg
            assert file.transform == study.grid.transform


def test_reflectance_says_its_bands_scale_and_nodata(study, tmp_path):
    build_cube(study)
    (path,) = export_cube(study, tmp_path, layers=["reflectance"])
    with rasterio.open(path) as file:
        assert file.descriptions == ("B04", "B11")
        assert file.scales == (1e-4, 1e-4)
        assert file.offsets == (-0.1, -0.1)
        assert file.nodata == 0
        assert file.tags()["TIFFTAG_COPYRIGHT"]


def test_layers_that_are_not_there_are_refused(study, tmp_path):
    with pytest.raises(NotFoundError, match="rockglacier cube"):
        export_cube(study, tmp_path)
    build_cube(study)
    with pytest.raises(InputError, match="no layer 'height'") as caught:
        export_cube(study, tmp_path, layers=["height"])
    assert "elevation" in caught.value.expected
