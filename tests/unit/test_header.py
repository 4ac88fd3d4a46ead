"""Items that lie about their files: the file's header wins, the scene is used, and it is noted."""

import numpy as np
import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.grid import Grid
from rockglacier.scenes.record import read_scenes
from rockglacier.scenes.select import search_scenes
from rockglacier.storage import read_json

WEST, NORTH, SIZE = 499_980, 4_000_020, 2400
TRUTH = (10.0, 0.0, float(WEST), 0.0, -10.0, float(NORTH))


def only_scene(study):
    facts = search_scenes(study)
    (scene,) = read_scenes(study.scenes_path)
    return scene, facts


def test_honest_item_has_no_notes(basin):
    basin.scene("a")
    basin.dem()
    scene, facts = only_scene(basin.study())
    assert (scene.notes, facts["noted"]) == ((), 0)
    assert (scene.transform, scene.shape) == (TRUTH, (SIZE // 10, SIZE // 10))


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ({"proj:epsg": 32644}, "CRS: the item says EPSG:32644, its file EPSG:32643"),
        ({"proj:epsg": 4326}, "CRS: the item says EPSG:4326, its file EPSG:32643"),
        ({"proj:epsg": None}, "CRS: the item says none; EPSG:32643 is that of tile 43SDA"),
        ({"proj:epsg": None, "tile": None}, "CRS: the item says none, its file EPSG:32643"),
        ({"proj:epsg": None, "tile": "MGRS-44SKF"}, "the item says EPSG:32644, its file"),
    ],
)
def test_wrong_or_missing_crs_is_replaced(basin, said, note):
    basin.scene("a", **said)
    basin.dem()
    study = basin.study()
    scene, facts = only_scene(study)
    assert (scene.epsg, facts["epsg"], study.grid.epsg, facts["noted"]) == (32643, 32643, 32643, 1)
    assert note in scene.notes[-1]
    assert scene.basin_cover == pytest.approx(100)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (
            {"proj:transform": [10, 0, WEST + 4, 0, -10, NORTH]},
            "proj:transform: the item says [10, 0, 499984, 0, -10, 4.00002e+06], its file",
        ),
        (
            {"proj:transform": [10, 0, WEST, 0, -10, NORTH - 1e5]},
            "proj:transform: the item says",
        ),
        ({"proj:shape": [10980, 10980]}, "proj:shape: the item says [10980, 10980], its file [240"),
    ],
)
def test_wrong_pixel_grid_is_replaced(basin, said, note):
    basin.scene("a", assets=said)
    basin.dem()
    study = basin.study()
    scene, _ = only_scene(study)
    assert (scene.transform, scene.shape) == (TRUTH, (SIZE // 10, SIZE // 10))
    assert len(scene.notes) == 1
    assert scene.notes[0].startswith(note)
    grid = Grid.from_dict(read_json(study.grid_path))
    assert ((grid.transform.c - WEST) % 10, (grid.transform.f - NORTH) % 10) == (0, 0)


def test_missing_pixel_grid_is_filled_in_without_a_note(basin):
    basin.scene("a", assets={"proj:transform": None, "proj:shape": None})
    basin.dem()
    scene, _ = only_scene(basin.study())
    assert (scene.transform, scene.shape, scene.notes) == (TRUTH, (240, 240), ())


def test_footprint_beyond_the_file_is_cut_to_it(basin):
    whole = shapely.box(74.9, 36.0, 75.1, 36.3)
    basin.scene("a", footprint=whole)
    basin.dem()
    scene, _ = only_scene(basin.study())
    assert scene.notes[0].endswith(
        "% of the item's footprint lies outside its file, which was used"
    )
    west, south, east, north = scene.bbox
    assert (east - west, north - south) == pytest.approx((0.0267, 0.0217), abs=2e-3)
    assert scene.geometry.area < 0.02 * whole.area


def test_missing_geometry_is_replaced_by_the_bbox_then_by_the_file(basin):
    basin.scene("a", footprint=None, bbox=[74.9, 36.0, 75.1, 36.3])
    basin.dem()
    scene, _ = only_scene(basin.study(kind="static"))
    assert scene.notes[0].startswith("geometry: the item has none; its bbox")
    assert "lies outside its file" in scene.notes[1]


def test_wrong_bbox_hides_no_scene_and_is_noted(basin):
    basin.scene("a", bbox=[10.0, 46.0, 10.1, 46.1])
    basin.dem()
    for kind in ("parquet", "static"):
        scene, _ = only_scene(basin.study(kind=kind))
        assert scene.notes[0].startswith("bbox: the item says [10.0, 46.0, 10.1, 46.1], its geom")
        assert scene.bbox[0] == pytest.approx(75.0, abs=0.01)


def test_lying_item_is_composed_where_its_pixels_are(basin):
    """The offset of the pixels is looked for on the ground of the file."""
    dark = np.full((SIZE // 10,) * 2, 350)
    basin.scene(
        "a", dn=dark, **{"proj:epsg": 32644}, assets={"proj:transform": [10, 0, 0, 0, -10, 0]}
    )
    basin.dem()
    scene, _ = only_scene(basin.study())
    assert (scene.offset_in_pixels, scene.offset_evidence) == (1000, "pixels")
    assert len(scene.notes) == 2


def test_files_in_a_crs_without_code_are_refused_or_counted(basin):
    basin.scene("bad", crs="+proj=tmerc +lon_0=75.1 +x_0=500000 +datum=WGS84")
    basin.scene("good", when="2024-08-06T05:50:00Z")
    basin.dem()
    with pytest.raises(InputError, match="files of item 'bad' are in no CRS that has an EPSG code"):
        search_scenes(basin.study())
    study = basin.study(cube={"on_unreadable": "skip"})
    assert search_scenes(study)["dropped"] == {"unreadable": 1}
