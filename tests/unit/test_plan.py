"""The plan of a searched basin: what was dropped and why, looks, distortion, and its warnings."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from made_study import changed
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import projected
from rockglacier.plan import make_plan, plan_lines
from rockglacier.run import run_stages
from rockglacier.scenes.record import read_scenes, write_scenes
from rockglacier.scenes.select import search_scenes
from rockglacier.stages import Context, stages_of

WEST, NORTH, SIZE = 499_980, 4_000_020, 2400
AREA = projected(
    shapely.box(WEST + 615, NORTH - 1805, WEST + 1785, NORTH - 595), epsg=4326, source_epsg=32643
).bounds


def plan_of(study):
    search_scenes(study)
    plan = make_plan(study)
    return plan, "\n".join(plan_lines(plan))


def test_plan_before_the_search_names_the_stage(basin):
    basin.scene("a")
    with pytest.raises(NotFoundError, match=r"scenes\.parquet"):
        make_plan(basin.study())


def test_what_was_dropped_is_listed_by_rule_and_name(basin):
    for day in range(1, 6):
        basin.scene(f"cloudy{day}", when=f"2024-08-{day:02d}T05:50:00Z", cloud=10.0 * day)
    basin.scene("winter", when="2024-01-01T05:50:00Z")
    for day in (10, 12, 14):
        basin.scene(f"used{day}", when=f"2024-08-{day}T05:50:00Z")
    basin.dem()
    plan, text = plan_of(basin.study(min_clear=2))
    assert {rule: len(ids) for rule, ids in plan.dropped.items()} == {
        "too cloudy": 5,
        "out of season": 1,
        "not needed": 1,
    }
    assert "dropped    7" in text
    assert "5 too cloudy: cloudy1, cloudy2, cloudy3 and 2 more" in text
    assert "1 out of season: winter\n" in text
    assert "1 not needed: used14\n" in text
    assert "scene_cloud_max alone keeps out 5 pass(es) over a tile" in text


def test_every_period_takes_its_own_place_on_the_disk(basin):
    for day in (10, 12):
        basin.scene(f"d{day}", when=f"2024-08-{day}T05:50:00Z")
    basin.dem()
    study = basin.study()
    plan, _ = plan_of(study)
    halves = [["2024-08-01", "2024-08-11"], ["2024-08-12", "2024-08-31"]]
    two = make_plan(changed(study, cube={"periods": halves}))
    height, width = study.grid.shape
    terrain = 17 * height * width  # four layers of float32 and one of bytes
    assert two.disk_bytes - terrain == 2 * (plan.disk_bytes - terrain) > 0


def test_cloud_snow_and_shadow_are_told_apart(basin):
    scl = np.full((SIZE // 20,) * 2, 5)
    scl[:, : SIZE // 40] = 11
    basin.scene("snowy", scl=scl)
    scl = np.full((SIZE // 20,) * 2, 5)
    scl[:, : SIZE // 40] = 2
    basin.scene("shady", scl=scl, when="2024-08-06T05:50:00Z")
    basin.dem()
    plan, text = plan_of(basin.study())
    assert plan.basin_cloud == (0, 0)
    assert plan.basin_snow == pytest.approx((0, 50), abs=1)
    assert plan.basin_shadow == pytest.approx((0, 50), abs=1)
    assert "topographic shadow 0.0 to " in text


def test_thin_cover_is_a_warning_and_enough_is_none(basin):
    basin.scene("d1")
    basin.dem()
    _, text = plan_of(basin.study())
    assert "looks      0.0 % of the basin has 8 or more; 0.0 % of the basin is never free" in text
    assert "warning    100.0 % of the basin has fewer than 3 looks free of cloud and snow" in text
    for day in range(3, 22, 2):
        basin.scene(f"d{day}", when=f"2024-08-{day:02d}T05:50:00Z")
    plan, text = plan_of(basin.study())
    assert plan.scenes == 8
    assert "looks      100.0 % of the basin has 8 or more" in text
    assert "warning" not in text
    _, text = plan_of(basin.study(min_clear=0))
    assert "looks      all there are; 0.0 % of the basin is never free of cloud and snow" in text


def test_place_that_is_never_free_is_a_warning(basin):
    scl = np.full((SIZE // 20,) * 2, 5)
    scl[:, : SIZE // 40] = 11
    basin.scene("a", scl=scl)
    basin.dem()
    plan, text = plan_of(basin.study())
    assert plan.never_percent == pytest.approx(50, abs=2)
    assert "of the basin is never free of cloud and snow: snow, or the least bad look" in text


def test_basin_over_two_zones_states_the_distortion_and_what_is_warped(basin):
    """A basin at 78 degrees east, seen by both zones; most of it lies in zone 43."""
    area = (77.965, 36.10, 78.01, 36.11)
    for name, epsg, tile in (("west", 32643, "MGRS-43SGV"), ("east", 32644, "MGRS-44SKE")):
        west, _, _, north = projected(shapely.box(*area), epsg=epsg).bounds
        shift = 0 if name == "west" else 2000
        corner = (round(west / 20) * 20 - 40 + shift, round(north / 20) * 20 + 640)
        day = "2024-08-01" if name == "west" else "2024-08-03"
        basin.scene(name, epsg=epsg, tile=tile, corner=corner, when=f"{day}T05:50:00Z")
    basin.dem(footprint=shapely.box(77, 36, 79, 37))
    study = basin.study(area=area, basin_cloud_max=100)
    plan, text = plan_of(study)
    assert plan.epsg in (32643, 32644)
    assert sum(plan.warped.values()) == 1
    low, high = plan.scale_error_ppm
    assert 100 < low < high < 1000
    assert f"lengths    +{low} to +{high} parts per million" in text
    other = 32644 if plan.epsg == 32643 else 32643
    assert f"warped     scenes of other zones: 1 of EPSG:{other}" in text
    assert "reaches beyond its UTM zone" not in text


def test_basin_far_outside_the_zone_of_its_scenes_is_a_warning(basin):
    area = (79.0, 36.10, 79.02, 36.11)
    west, _, _, north = projected(shapely.box(*area), epsg=32643).bounds
    corner = (round(west / 20) * 20 - 40, round(north / 20) * 20 + 640)
    basin.scene("far", corner=corner, tile="MGRS-43SHV")
    basin.dem(footprint=shapely.box(78, 36, 80, 37))
    plan, text = plan_of(basin.study(area=area))
    assert (plan.epsg, plan.warped) == (32643, {})
    assert plan.scale_error_ppm[1] > 1000
    assert "warning    the basin reaches beyond its UTM zone" in text


def test_items_that_disagree_with_their_files_are_counted(basin):
    basin.scene("a", **{"proj:epsg": 32644})
    basin.dem()
    _, text = plan_of(basin.study())
    assert "noted      1 scene(s) whose item and files disagree" in text


def test_cap_of_a_provider_is_told(basin):
    basin.scene("a")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    (scene,) = read_scenes(study.scenes_path)
    scene.assets["SCL"] = "s3://eodata/SCL.jp2"
    write_scenes([scene], study.scenes_path)
    assert "allows 4 reads at once for one user" in "\n".join(plan_lines(make_plan(study)))


def test_catalog_that_did_not_count_is_named(basin):
    basin.scene("a")
    basin.dem()
    study = basin.study()
    search_scenes(study)
    facts = json.loads(study.search_path.read_text())
    study.search_path.write_text(json.dumps({**facts, "cloud_alone": None}))
    text = "\n".join(plan_lines(make_plan(study)))
    assert "the catalog did not say how many scene_cloud_max keeps out" in text


def with_reference(basin, shapes, crs=32643):
    basin.scene("a")
    basin.dem()
    study = basin.study()
    gpd.GeoDataFrame(geometry=shapes, crs=crs).to_file(study.base / "outlines.gpkg")
    return changed(study, labels={"reference": "outlines.gpkg", "split": "train-only"})


def test_reference_is_told_polygon_by_polygon_and_the_split_of_the_ground(basin):
    there = shapely.box(WEST + 700, NORTH - 900, WEST + 800, NORTH - 800)
    far = shapely.box(WEST + 90_700, NORTH - 900, WEST + 90_800, NORTH - 800)
    plan, text = plan_of(with_reference(basin, [there, far]))
    assert plan.reference == {"kept": 1, "outside": 1}
    assert "reference  2 polygons (1 kept, 1 outside); 0.01 km² teach" in text
    assert "ground     train 100 %" in text
    assert "the reference covers" not in text


def test_reference_that_is_the_basin_itself_is_a_warning(basin):
    whole = shapely.box(WEST + 600, NORTH - 1900, WEST + 1800, NORTH - 500)
    _, text = plan_of(with_reference(basin, [whole]))
    assert "of the basin: is it the inventory, and the right layer" in text


def test_reference_that_cannot_be_used_is_told_before_the_cube_is_built(basin):
    study = with_reference(basin, [shapely.Point(WEST + 700, NORTH - 900)])
    with pytest.raises(InputError, match="no polygon"):
        run_stages(study, stages_of(study, mapping=False), Context())
    with pytest.raises(InputError, match="no polygon"):
        make_plan(study)
    assert not study.cube_path.exists()
