"""Enough scenes, not all: which are left out, what stays thin, and what is said of it."""

import geopandas as gpd
import numpy as np
import pytest

from rockglacier.scenes.record import read_scenes
from rockglacier.scenes.select import search_scenes

SIZE = 2400
CELLS = SIZE // 20
DAYS = [f"2024-08-{day:02d}T05:50:00Z" for day in range(1, 30, 2)]


def used_of(study):
    return [scene.id for scene in read_scenes(study.scenes_path)]


def reasons_of(study):
    return gpd.read_parquet(study.dropped_path).set_index("id")["reason"].to_dict()


def test_no_more_passes_than_asked_for_are_used_the_clearest_first(basin):
    for index, day in enumerate(DAYS[:6]):
        scl = np.full((CELLS, CELLS), 5)
        scl[:, : 2 * index] = 3  # some cloud shadow outside the basin's middle, more every day
        basin.scene(f"d{index}", when=day, scl=scl)
    basin.dem()
    study = basin.study(min_clear=3)
    facts = search_scenes(study)
    assert used_of(study) == ["d0", "d1", "d2"]
    assert facts["dropped"] == {"not needed": 3}
    assert facts["fewer_percent"] == facts["never_percent"] == 0
    assert reasons_of(study)["d5"] == "3 clear looks, or all there are, come from others"


def test_zero_takes_all(basin):
    for index, day in enumerate(DAYS[:4]):
        basin.scene(f"d{index}", when=day)
    basin.dem()
    study = basin.study(min_clear=0)
    facts = search_scenes(study)
    assert (facts["used"], facts["dropped"], facts["min_clear"]) == (4, {}, 0)


def test_scene_that_alone_shows_a_corner_is_kept(basin):
    shadow = np.full((CELLS, CELLS), 5)
    shadow[:, : CELLS // 2] = 3
    for index, day in enumerate(DAYS[:4]):
        basin.scene(f"half{index}", when=day, scl=shadow)
    snowy = np.full((CELLS, CELLS), 11)
    basin.scene("snow", when=DAYS[5], scl=snowy)
    basin.dem()
    study = basin.study(min_clear=2)
    facts = search_scenes(study)
    assert used_of(study) == ["half0", "half1", "snow"]
    assert facts["cover_percent"] == 100
    assert facts["never_percent"] == pytest.approx(50, abs=2)


def test_place_under_snow_in_every_scene_needs_looks_as_well(basin):
    for index, day in enumerate(DAYS[:4]):
        basin.scene(f"d{index}", when=day, scl=11)
    basin.dem()
    study = basin.study(min_clear=2)
    facts = search_scenes(study)
    assert (facts["used"], facts["never_percent"], facts["looks_median"]) == (2, 100, 2)


def test_tiles_of_one_overpass_are_one_look(basin):
    for index in range(3):
        basin.scene(f"a{index}", when=DAYS[index], tile="MGRS-43SDA")
        basin.scene(f"b{index}", when=DAYS[index], tile="MGRS-43SDV")
    basin.dem()
    study = basin.study(min_clear=3)
    facts = search_scenes(study)
    assert (facts["used"], facts["looks_median"], facts["thin_percent"]) == (3, 3, 0)
    assert {scene.datetime.day for scene in read_scenes(study.scenes_path)} == {1, 3, 5}


def test_what_stays_thin_is_said(basin):
    half = np.full((CELLS, CELLS), 5)
    half[:, : CELLS // 2] = 3
    basin.scene("whole")
    basin.scene("half", when=DAYS[3], scl=half)
    basin.dem()
    facts = search_scenes(basin.study(min_clear=2))
    assert facts["fewer_percent"] == pytest.approx(50, abs=2)
    assert (facts["thin_percent"], facts["never_percent"]) == (100, 0)


def test_scene_whose_band_cannot_be_read_is_replaced_by_another(basin):
    for index, day in enumerate(DAYS[:3]):
        basin.scene(f"d{index}", when=day)
    (basin.folder / "d0" / "B02.tif").write_bytes(b"no raster")
    basin.dem()
    study = basin.study(min_clear=2, cube={"on_unreadable": "skip"})
    facts = search_scenes(study)
    assert used_of(study) == ["d1", "d2"]
    assert facts["dropped"] == {"unreadable": 1}


def test_evidence_of_the_offset_is_kept_with_its_numbers(basin):
    lying = np.full((SIZE // 10,) * 2, 1500)
    lying[:, : SIZE // 20] = 400
    basin.scene("lies", dn=lying)
    basin.scene("honest", when=DAYS[2])
    basin.scene("old", when=DAYS[4], baseline="02.14", dn=400)
    basin.dem()
    study = basin.study()
    search_scenes(study)
    found = {scene.id: scene for scene in read_scenes(study.scenes_path)}
    kept = {
        name: (one.offset_in_pixels, one.offset_evidence, one.offset_dark_percent)
        for name, one in found.items()
    }
    assert kept["honest"] == (0, "asset", 0)
    assert kept["old"] == (1000, "baseline", 100)
    assert kept["lies"][:2] == (1000, "pixels")
    assert kept["lies"][2] == pytest.approx(50, abs=2)
    assert all(one.offset_pixels == pytest.approx(58 * 60, rel=0.1) for one in found.values())
    assert "against the metadata" in found["lies"].offset_reason
