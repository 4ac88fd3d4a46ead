"""What a config may choose of the cube: ground around clouds, masks, coarse bands, more rasters."""

import dataclasses
import os

import numpy as np
import pytest
import rasterio
from scipy.ndimage import distance_transform_edt

from made_study import write_raster
from rockglacier.cube.build import build_cube
from rockglacier.cube.lazy import open_scenes
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import looks_of
from rockglacier.cube.store import open_arrays, open_cube
from rockglacier.cube.upsample import upsample
from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.origin import provenance
from rockglacier.scenes.record import read_dem_tiles, read_scenes, write_dem_tiles

COMPOSED = ("reflectance", "n_clear", "n_snow", "n_shadow")


@pytest.fixture(autouse=True)
def short_shadows(monkeypatch):
    """Shadows of 500 m keep the halo, and the tests, small."""
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)


def pixels(study, names=COMPOSED):
    group = open_arrays(study.cube_path)
    return {name: group[name][...] for name in names}


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def expected_counts(study, dn, scl):
    """Return the count of clear looks by numpy."""
    held = (dn > 0).all(axis=1)
    clear, snowy = held & np.isin(scl, [4, 5, 6, 7]), held & (scl == 11)
    return np.where(clear.any(axis=0), clear, snowy).sum(axis=0)


@pytest.mark.parametrize("block", [128, 512])
def test_ground_around_clouds_is_left_out(make_basin, block):
    study = make_basin(block=block, cloud_buffer_m=65)
    build_cube(study)
    looks = looks_of(read_scenes(study.scenes_path), epsg=study.grid.epsg)
    wide = study.grid.whole.grown(20)
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, scl = reader.read(looks, wide)
    for look in scl:
        cloudy = np.isin(look, [3, 8, 9, 10])
        if cloudy.any():
            look[distance_transform_edt(~cloudy) <= 6.5] = 9
    inner = study.grid.whole.within(wide)
    expected = expected_counts(study, dn[:, :, *inner], scl[:, *inner])
    np.testing.assert_array_equal(pixels(study)["n_clear"][0], expected)
    plain = make_basin("plain", block=512)
    build_cube(plain)
    assert pixels(plain)["n_clear"].sum() > expected.sum()


@pytest.fixture
def with_masks(tmp_path):
    """Return a change of scenes: each gets a 10 m mask, 2 in stripes and 1 elsewhere."""

    def change(scenes):
        changed = []
        for scene in scenes:
            with rasterio.open(scene.assets["B04"]) as raster:
                profile, shape = raster.profile, raster.shape
            values = np.ones(shape, np.uint8)
            values[:, ::7] = 2
            path = tmp_path / f"{scene.id}_mask.tif"
            with rasterio.open(path, "w", **{**profile, "dtype": "uint8"}) as raster:
                raster.write(values, 1)
            changed.append(dataclasses.replace(scene, assets={**scene.assets, "MASK": str(path)}))
        return changed

    return change


@pytest.mark.parametrize("block", [128, 512])
def test_mask_that_comes_with_the_scenes_counts_as_cloud(make_basin, with_masks, block):
    study = make_basin(scenes=with_masks, block=block, mask_values=[2])
    search = study.config.search.model_copy(update={"assets": {"MASK": "mask"}})
    study = dataclasses.replace(study, config=study.config.model_copy(update={"search": search}))
    build_cube(study)
    scenes = read_scenes(study.scenes_path)
    looks = looks_of(scenes, epsg=study.grid.epsg)
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, scl = reader.read(looks, study.grid.whole)
    # stripes of a scene, where it is the one that was used
    for look, classes, stored in zip(looks, scl, dn, strict=True):
        left = (stored > 0).all(axis=0) & (classes > 0)
        for scene in look.scenes:
            with SceneReader(study.grid, study.config.cube.bands) as reader:
                alone = dataclasses.replace(look, scenes=(scene,))
                dn_alone, scl_alone = reader.read([alone], study.grid.whole)
            with (
                rasterio.open(scene.assets["MASK"]) as raster,
                rasterio.vrt.WarpedVRT(
                    raster,
                    crs=f"EPSG:{study.grid.epsg}",
                    transform=study.grid.transform,
                    width=study.grid.shape[1],
                    height=study.grid.shape[0],
                    tolerance=1e-30,
                ) as placed,
            ):
                stripes = placed.read(1) == 2
            mine = left & (dn_alone[0] > 0).all(axis=0) & (scl_alone[0] > 0)
            classes[mine & stripes] = 9
            left &= ~mine
    np.testing.assert_array_equal(pixels(study)["n_clear"][0], expected_counts(study, dn, scl))
    assert (scl == 9).mean() > 0.1


def test_coarse_bands_are_interpolated_the_same_in_every_block(make_basin):
    small = make_basin("small", block=128, coarse_bands="interpolate")
    large = make_basin("large", block=512, coarse_bands="interpolate")
    plain = make_basin("plain", block=512)
    for study in (small, large, plain):
        build_cube(study)
    assert_same(pixels(small), pixels(large))
    smooth, stepped = (pixels(s)["reflectance"][0, 1].astype(float) for s in (large, plain))
    assert (smooth > 0).sum() == (stepped > 0).sum()
    assert (smooth != stepped).mean() > 0.3
    fine = [pixels(s)["reflectance"][0, 0] for s in (large, plain)]
    np.testing.assert_array_equal(*fine)


def test_interpolated_band_equals_the_whole_scene_interpolated(make_basin):
    study = make_basin(coarse_bands="interpolate")
    scene = next(s for s in read_scenes(study.scenes_path) if s.id == "a2")
    look = looks_of([scene], epsg=study.grid.epsg)
    window = Window(y=37, x=61, height=150, width=143)
    with SceneReader(study.grid, ["B11"], smooth=True) as reader:
        strips = [Window(y=y, x=61, height=50, width=143) for y in (37, 87, 137)]
        parts = [dn[0, 0].copy() for dn, _ in reader.strips(look, strips)]
    with rasterio.open(scene.assets["B11"]) as raster:
        whole = upsample(raster.read(1), 2, nodata=0)
        col = round((study.grid.transform.c - raster.transform.c) / 10)
        row = round((raster.transform.f - study.grid.transform.f) / 10)
    rows, cols = slice(row + 37, row + 187), slice(col + 61, col + 204)
    np.testing.assert_array_equal(np.concatenate(parts), whole[rows, cols])
    lazy = open_scenes(study, engine="window")
    at = int(np.flatnonzero(lazy["scene"].values == "a2")[0])
    got = lazy["B11"].isel(time=at).values[window.slices].astype(int)
    stored = whole[rows, cols].astype(int)
    np.testing.assert_array_equal(got, np.where(stored > 0, stored + 1000, 0))


def test_loaders_of_the_field_do_not_pretend_to_interpolate(make_basin):
    with pytest.raises(InputError, match="repeats coarse bands"):
        open_scenes(make_basin(coarse_bands="interpolate"), engine="odc-stac")


def write_coherence(study, path, add=0.0):
    height, width = study.grid.shape
    values = (np.arange(height * width).reshape(height, width) % 97 / 97 + add).astype(np.float32)
    write_raster(path, values, transform=study.grid.transform, nodata=-1)
    return values


def test_a_raster_of_ones_own_joins_the_cube(make_basin, tmp_path):
    layer = {
        "name": "coherence",
        "href": str(tmp_path / "coherence.tif"),
        "license": "CC-BY-4.0",
        "unit": "1",
    }
    study = make_basin(block=128, extra=[layer])
    values = write_coherence(study, tmp_path / "coherence.tif")
    assert build_cube(study)["built"] == 9
    np.testing.assert_array_equal(pixels(study, ["coherence"])["coherence"], values)
    cube = open_cube(study.cube_path)
    assert cube["coherence"].attrs["license"] == "CC-BY-4.0"
    assert cube["coherence"].odc.crs.epsg == 32643
    assert cube.attrs["extra"][0]["name"] == "coherence"
    assert (
        "Layer coherence of the cube: CC-BY-4.0"
        in provenance(study, level="L3", how="made", software=()).attribution
    )
    assert build_cube(study)["kept"] == 9
    write_coherence(study, tmp_path / "coherence.tif", add=0.5)
    os.utime(tmp_path / "coherence.tif", ns=(1, 1))
    assert build_cube(study)["built"] == 9


def test_extra_rasters_that_cannot_join_are_refused_before_any_work(make_basin, tmp_path):
    layer = {"name": "coherence", "href": str(tmp_path / "no.tif"), "license": "CC-BY-4.0"}
    with pytest.raises(InputError, match=r"no file .* for the extra layer 'coherence'"):
        build_cube(make_basin("missing", extra=[layer]))
    write_coherence(make_basin("here"), tmp_path / "no.tif")
    with pytest.raises(InputError, match=r"'slope' of cube\.extra has a name that the cube uses"):
        build_cube(make_basin("taken", extra=[{**layer, "name": "slope"}]))
    with pytest.raises(InputError, match="two layers of one name"):
        make_basin("twice", extra=[layer, layer])


@pytest.mark.parametrize(("gaps", "height"), [("none", np.nan), ("sea", 0.0)])
def test_ground_without_a_dem_tile_may_be_the_sea(make_basin, gaps, height):
    study = make_basin(block=512, dem_gaps=gaps)
    write_dem_tiles(read_dem_tiles(study.dem_path)[:1], study.dem_path)
    facts = build_cube(study)
    elevation = pixels(study, ["elevation"])["elevation"]
    np.testing.assert_array_equal(elevation[150, -20:], height)
    assert (elevation[150, :100] > 3000).all()
    assert (facts["no_elevation_share"] > 0.3) == (gaps == "none")
