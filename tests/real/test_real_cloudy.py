"""Real cloudy neighbours: JPEG 2000 in files named .tif, no SWIR, items that contradict themselves.

Two overlapping tiles on a cloudy day, and one of them on a clear day, decimated to 120 m. Their
items claim 10 m pixels, that the offset was taken off, and that it is still there.
"""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio.windows import from_bounds

from rockglacier.config import parse_config
from rockglacier.errors import NotFoundError
from rockglacier.grid import projected
from rockglacier.plan import make_plan, plan_lines
from rockglacier.scenes.radiometry import harmonise
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
OVERLAP = shapely.box(15.4, 45.97, 15.6, 46.02)  # ground of both tiles
SOUTH = shapely.box(15.4, 45.5, 15.8, 45.9)  # of 33TWL alone
HIDDEN = shapely.box(
    15.48, 45.65, 15.57, 45.72
)  # wholly clear on one day, 86 % hidden on the other
BOTH = shapely.box(15.4, 45.9, 15.6, 46.2)  # beyond 33TWL


@pytest.fixture(scope="module")
def folder(neighbours):
    return neighbours


@pytest.fixture
def searched(folder, request):
    """A function that searches an area and returns the study and what was found."""

    def search(area, **settings):
        values = {
            "name": "cloudy",
            "output": f"products-{request.node.name}",
            "area": list(area.bounds),
            "search": {
                "catalog": "scenes.parquet",
                "collection": "sentinel-2-l2a",
                "dem_catalog": "dem.parquet",
                "start": "2023-08-01",
                "end": "2023-08-31",
                **settings,
            },
            "cube": {"bands": list(BANDS), "resolution": 120, "block": 256},
        }
        study = Study(config=parse_config(values, source="test"), base=folder)
        facts = search_scenes(study)
        return study, facts, {scene.id: scene for scene in read_scenes(study.scenes_path)}

    return search


def test_limits_of_cloud_leave_the_clear_day(searched):
    study, facts, scenes = searched(OVERLAP)
    assert list(scenes) == [CLEAR_DAY]
    assert facts["dropped"] == {"too cloudy": 2}
    assert facts["cloud_alone"] == 2
    assert facts["epsg"] == 32633
    text = "\n".join(plan_lines(make_plan(study)))
    assert f"2 too cloudy: {NORTH}, {CLOUDY}" in text


def test_area_of_the_cloudy_tile_alone_has_no_scene(searched):
    with pytest.raises(NotFoundError, match="none of the 1 scene") as caught:
        searched(shapely.box(15.4, 46.2, 15.6, 46.4))
    assert f"the best is {NORTH} with 43.9 %" in caught.value.expected


ANYTHING = {"scene_cloud_max": 100, "basin_cloud_max": 100}


def test_clear_day_is_enough_for_what_clouds_hide_on_the_other(searched):
    study, facts, scenes = searched(HIDDEN, **ANYTHING, min_clear=1)
    assert list(scenes) == [CLEAR_DAY]
    assert (facts["cover_percent"], facts["never_percent"]) == (100, 0)
    dropped = gpd.read_parquet(study.dropped_path).set_index("id")
    assert dropped["rule"].to_dict() == {CLOUDY: "not needed"}
    assert dropped["basin_cloud"].loc[CLOUDY] > 60


def test_cloudy_day_is_used_where_it_shows_more(searched):
    """Two looks where both days are clear; and ground beyond the tile of the clear day."""
    _, facts, scenes = searched(HIDDEN, **ANYTHING, min_clear=2)
    assert set(scenes) == {CLEAR_DAY, CLOUDY}
    assert 50 < facts["fewer_percent"] < 95
    assert facts["never_percent"] == 0
    _, facts, scenes = searched(BOTH, **ANYTHING, min_clear=1)
    assert {CLEAR_DAY, NORTH} <= set(scenes)
    assert 50 < facts["cover_percent"] < 100


def test_cloud_over_the_basin_is_what_rasterio_counts(searched, folder):
    _, facts, scenes = searched(SOUTH, **ANYTHING, min_clear=0)
    assert set(scenes) == {CLEAR_DAY, CLOUDY}
    outline = projected(SOUTH, epsg=32633)
    for name, scene in scenes.items():
        with rasterio.open(folder / name / "SCL.tif") as file:
            assert file.driver == "JP2OpenJPEG"
            scl = file.read(1)
            inside = rasterio.features.geometry_mask(
                [outline], scl.shape, file.transform, invert=True
            )
        classes = scl[inside]
        seen = (classes != 0).sum()
        assert scene.basin_cloud == pytest.approx(100 * np.isin(classes, (8, 9, 10)).sum() / seen)
        assert scene.basin_shadow == pytest.approx(100 * (classes == 2).sum() / seen)
        assert scene.basin_snow == pytest.approx(100 * (classes == 11).sum() / seen)
        assert scene.basin_cover == pytest.approx(100, abs=0.5)
    assert scenes[CLEAR_DAY].basin_cloud < 1 < 20 < scenes[CLOUDY].basin_cloud
    assert facts["noted"] == 2


def test_nothing_is_taken_off_twice(searched, folder):
    """Baseline-04.00 numbers are the stored ones plus 1000: vegetation keeps its reflectance."""
    study, _, scenes = searched(SOUTH)
    scene = scenes[CLEAR_DAY]
    assert (scene.offset_in_pixels, scene.offset_evidence) == (1000, "flag")
    assert "although the asset says -0.1" in scene.offset_reason
    assert scene.offset_pixels > 10_000
    assert scene.offset_dark_percent > 90
    with rasterio.open(folder / CLEAR_DAY / "SCL.tif") as file:
        scl = file.read(1)
    usual = {"B02": (0.02, 0.05), "B03": (0.03, 0.08), "B04": (0.02, 0.05), "B08": (0.2, 0.5)}
    for band, (low, high) in usual.items():
        with rasterio.open(scene.assets[band]) as file:
            found = harmonise(file.read(1), scene.offset_in_pixels)
        assert low < np.median(found[scl == 4]) * 1e-4 - 0.1 < high
    assert study.grid.epsg == 32633


def test_header_wins_over_the_pixels_that_the_item_claims(searched, folder):
    study, _, scenes = searched(SOUTH)
    scene = scenes[CLEAR_DAY]
    with rasterio.open(folder / CLEAR_DAY / "B02.tif") as file:
        assert scene.transform == tuple(file.transform)[:6]
        assert scene.shape == file.shape
        window = from_bounds(*study.grid.bounds, file.transform)
    assert [note.partition(":")[0] for note in scene.notes] == ["proj", "proj"]
    assert scene.notes[0].startswith("proj:transform: the item says [10, 0, 499980, 0, -10, 5.1e")
    assert "[10980, 10980], its file [915, 915]" in scene.notes[1]
    for edge in (window.col_off, window.row_off, window.width, window.height):
        assert edge == pytest.approx(round(edge), abs=1e-6)
