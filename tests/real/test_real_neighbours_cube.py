"""A cube of real cloudy neighbours: JPEG 2000 in files named .tif, no SWIR, both offsets claimed.

Two overlapping tiles on a cloudy day and one of them on a clear day, decimated to 120 m. The test
makes what they come without: an area, a catalog, and a DEM, which is a tilted plane.
"""

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

from rockglacier.config import parse_config
from rockglacier.cube.build import build_cube
from rockglacier.cube.store import open_arrays, open_cube
from rockglacier.engine import Receipts
from rockglacier.errors import InputError
from rockglacier.scenes.record import read_scenes
from rockglacier.scenes.select import search_scenes
from rockglacier.study import Study

pytestmark = pytest.mark.real

CLEAR_DAY, CLOUDY, NORTH = (
    "S2A_33TWL_20230815_0_L2A",
    "S2A_33TWL_20230818_0_L2A",
    "S2A_33TWM_20230818_0_L2A",
)
BANDS = ("B02", "B03", "B04", "B08")
AREA = (15.4, 45.65, 15.6, 46.15)  # of 33TWL, of both tiles, and beyond 33TWL
CLEAR, SNOW, SHADOW = (4, 5, 6, 7), (11,), (2,)
NONE = 9


def elevation(lon, lat):
    return 300 + 900 * (lon - 15) + 500 * (lat - 45)


@pytest.fixture(scope="module")
def folder(neighbours):
    write_dem(neighbours / "dem.tif")
    return neighbours


def write_dem(path):
    pixels, step = 1200, 1 / 600
    centres = (np.arange(pixels) + 0.5) * step
    values = elevation(*np.meshgrid(15 + centres, 47 - centres)).astype(np.float32)
    place = {"crs": "EPSG:4326", "transform": from_origin(15, 47, step, step)}
    with rasterio.open(
        path, "w", driver="GTiff", height=pixels, width=pixels, count=1, dtype="float32", **place
    ) as file:
        file.write(values, 1)


@pytest.fixture
def built(folder, request):
    """A function that searches and builds; returns the study."""

    def build(name="cube", **cube):
        values = {
            "name": "neighbours",
            "output": f"{request.node.name}-{name}",
            "area": list(AREA),
            "search": {
                "catalog": "scenes.parquet",
                "collection": "sentinel-2-l2a",
                "dem_catalog": "dem.parquet",
                "start": "2023-08-01",
                "end": "2023-08-31",
                "scene_cloud_max": 100,
                "basin_cloud_max": 100,
                "min_clear": 0,
            },
            "cube": {"bands": list(BANDS), "resolution": 120, "block": 128, **cube},
        }
        study = Study(config=parse_config(values, source="test"), base=folder)
        search_scenes(study)
        build_cube(study)
        return study

    return build


def file_on_grid(study, path):
    """Return a file's pixels on the grid, 0 beyond them.

    Pixels of the northern tile lie half a pixel south or north of the grid's: bands are the mean of
    the rows above and below, of those that hold data; classes are those of the row below.
    """
    height, width = study.grid.shape
    west, _, _, north = study.grid.bounds
    with rasterio.open(path) as file:
        assert file.driver == "JP2OpenJPEG"
        values, place = np.pad(file.read(1), 1), file.transform
    above, is_between = divmod((place.f - north) / 120, 1)
    col, off = divmod((west - place.c) / 120, 1)
    assert off == 0
    assert is_between in (0, 0.5)
    y = (np.arange(height) + int(above) + 1).clip(0, 916)
    x = (np.arange(width) + int(col) + 1).clip(0, 916)
    upper = values[np.ix_(y, x)]
    if not is_between:
        return upper
    lower = values[np.ix_((y + 1).clip(0, 916), x)]
    if path.name == "SCL.tif":
        return lower
    mean = (upper.astype(int) + lower + 1) // 2
    return np.where((upper > 0) & (lower > 0), mean, np.maximum(upper, lower))


def day(study, folder, names, bands=BANDS):
    """Return stored numbers and classes of a day; the first tile that is whole wins."""
    dn, scl = 0, 0
    for name in reversed(names):
        new = np.array([file_on_grid(study, folder / name / f"{band}.tif") for band in bands])
        classes = file_on_grid(study, folder / name / "SCL.tif")
        whole = (new > 0).all(axis=0) & (classes > 0)
        dn, scl = np.where(whole, new, dn), np.where(whole, classes, scl)
    return dn, scl


def tiers(scl):
    """Return how good a class is, the least the best."""
    kinds = [np.isin(scl, kind) for kind in (CLEAR, SNOW, SHADOW)]
    return np.select(kinds, [0, 1, 2], NONE)


def layers(study):
    group = open_arrays(study.cube_path)
    return {name: group[name][...] for name in group.array_keys()}


def composite(study, folder, bands=BANDS):
    """Return the median of both days, how many looks it is of, and their tier."""
    (dn1, scl1), (dn2, scl2) = (
        day(study, folder, names, bands) for names in ([CLEAR_DAY], [CLOUDY, NORTH])
    )
    tier1, tier2 = tiers(scl1), tiers(scl2)
    best = np.minimum(tier1, tier2)
    use1, use2 = ((tier == best) & (best != NONE) for tier in (tier1, tier2))
    count = use1.astype(int) + use2
    total = dn1 * use1.astype(int) + dn2 * use2.astype(int)
    median = np.floor(total / np.maximum(count, 1) + 0.5)  # of two it is their mean
    return np.where(count, median + 1000, 0), count, best


def test_composite_equals_that_of_rasterio_and_numpy(built, folder):
    study = built()
    assert {scene.id for scene in read_scenes(study.scenes_path)} == {CLEAR_DAY, CLOUDY, NORTH}
    expected, count, best = composite(study, folder)
    found = layers(study)
    np.testing.assert_array_equal(found["n_clear"][0], count * (best < 2))
    np.testing.assert_array_equal(found["n_snow"][0], count * (best == 1))
    np.testing.assert_array_equal(found["n_shadow"][0], count * (best == 2))
    np.testing.assert_array_equal(found["reflectance"][0], expected)
    # every case has ground of its own
    assert all((count == number).sum() > 1000 for number in (0, 1, 2))
    assert all((best == tier).any() for tier in (0, 1, 2))


def test_clear_day_fills_what_clouds_hide_on_the_other(built, folder):
    study = built()
    (dn1, scl1), (_, scl2) = (day(study, folder, names) for names in ([CLEAR_DAY], [CLOUDY, NORTH]))
    hidden = np.isin(scl2, (3, 8, 9, 10)) & np.isin(scl1, CLEAR)
    assert hidden.sum() > 10_000
    found = layers(study)
    np.testing.assert_array_equal(
        found["reflectance"][0][:, hidden], dn1[:, hidden].astype(int) + 1000
    )
    assert (found["n_clear"][0][hidden] == 1).all()
    # and where there is no clear day, clouds stay holes
    alone = (scl1 == 0) & np.isin(scl2, (3, 8, 9, 10))
    assert alone.sum() > 1000
    assert not found["reflectance"][0][:, alone].any()


def test_nothing_is_subtracted_twice(built, folder):
    """Either day alone gives vegetation its usual reflectance, and so does their composite."""
    study = built()
    usual = {"B02": (0.02, 0.06), "B03": (0.03, 0.09), "B04": (0.02, 0.07), "B08": (0.2, 0.5)}
    cube = open_cube(study.cube_path)
    green = [day(study, folder, names)[1] == 4 for names in ([CLEAR_DAY], [CLOUDY, NORTH])]
    grounds = {
        "clear": green[0] & ~green[1],
        "cloudy": green[1] & ~green[0],
        "both": np.logical_and(*green),
    }
    for ground in grounds.values():
        assert ground.sum() > 500
        for band, (low, high) in usual.items():
            values = cube.reflectance.sel(band=band).values[0][ground]
            assert low < np.nanmedian(values) < high
    stated = {scene["id"]: scene for scene in cube.attrs["scenes"]}
    assert {scene["offset_added"] for scene in stated.values()} == {1000}
    assert all("-0.1" in scene["offset_reason"] for scene in stated.values())


def test_bands_are_those_that_are_asked_for_in_their_order(built, folder):
    study = built(bands=["B08", "B03"])
    found = layers(study)
    assert [str(name) for name in found["band"]] == ["B08", "B03"]
    expected, _, _ = composite(study, folder, ["B08", "B03"])
    np.testing.assert_array_equal(found["reflectance"][0], expected)


def test_band_that_the_items_lack_is_named(built):
    with pytest.raises(InputError, match=f"item '{CLEAR_DAY}' has no asset for B11") as caught:
        built(bands=["B02", "B11"])
    assert "leave the band out of cube.bands" in caught.value.todo


@pytest.mark.parametrize("method", ["least-cloudy", "first-clear"])
def test_one_look_a_pixel_is_that_of_the_clear_day(built, folder, method):
    """It is the earlier one, too."""
    study = built(composite=method)
    dn, scl = day(study, folder, [CLEAR_DAY])
    clear = np.isin(scl, CLEAR)
    found = layers(study)
    np.testing.assert_array_equal(found["reflectance"][0][:, clear], dn[:, clear] + np.uint16(1000))
    assert found["n_clear"].max() == 1


def test_receipts_and_terrain_tell_what_the_blocks_are_made_of(built):
    study = built()
    receipts = dict(Receipts(study.receipts_path / "cube").all())
    assert len(receipts) == len(list(study.grid.blocks())) >= 6
    assert {item for one in receipts.values() for item in one["items"]} == {
        CLEAR_DAY, CLOUDY, NORTH,
    }  # fmt: skip
    assert all(one["skipped"] == [] and one["no_elevation_share"] == 0 for one in receipts.values())
    height, width = study.grid.shape
    x, y = study.grid.transform @ (np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    place = Transformer.from_crs(study.grid.epsg, 4326, always_xy=True)
    plane = elevation(*place.transform(x, y))
    np.testing.assert_allclose(layers(study)["elevation"], plane, atol=0.05)
