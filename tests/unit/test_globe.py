"""Geometries and searches across the antimeridian."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rockglacier.errors import InputError
from rockglacier.grid import (
    Grid,
    geodesic_area_km2,
    projected,
    scale_error_ppm,
    utm_epsg,
    utm_shares,
)
from rockglacier.scenes.measure import lattice
from rockglacier.scenes.record import read_dem_tiles, read_scenes
from rockglacier.scenes.select import search_scenes
from rockglacier.study import area_of_bbox, read_area
from rockglacier_stac.globe import bbox_of, box_of, cut, footprint_of, joined, sides

EAST, WEST = shapely.box(179.5, 66.0, 180, 66.4), shapely.box(-180, 66.0, -179.8, 66.4)
CUT = shapely.MultiPolygon([EAST, WEST])
JUMPING = shapely.Polygon([(179.5, 66), (-179.8, 66), (-179.8, 66.4), (179.5, 66.4)])
BEYOND = shapely.box(179.5, 66, 180.2, 66.4)
BEFORE = shapely.box(-180.5, 66, -179.8, 66.4)
BBOX = (179.5, 66.0, -179.8, 66.4)


def same(one, other):
    return one.symmetric_difference(other).area < 1e-6 * other.area


@pytest.mark.parametrize("geometry", [CUT, JUMPING, JUMPING.reverse(), BEYOND, BEFORE])
def test_every_way_to_write_it_is_brought_to_one(geometry):
    assert same(cut(geometry), CUT)
    assert same(joined(geometry), BEYOND)
    assert bbox_of(geometry) == pytest.approx(BBOX)
    assert [part.bounds for part in sides(geometry)] == [EAST.bounds, WEST.bounds]


@pytest.mark.parametrize("geometry", [EAST, WEST, shapely.box(-1, 60, 1, 61), shapely.Point(3, 4)])
def test_geometry_on_one_side_stays_as_it_is(geometry):
    assert cut(geometry) is geometry
    assert joined(geometry) is geometry
    assert sides(geometry) == [geometry]
    assert bbox_of(geometry) == geometry.bounds


def test_hole_across_the_antimeridian_stays_a_hole():
    shell, hole = shapely.box(179, 60, 181, 61), shapely.box(179.8, 60.4, 180.2, 60.6)
    holed = shapely.Polygon(shell.exterior, [hole.exterior])
    jumping = shapely.transform(holed, lambda at: np.where(at > 180, at - 360, at))
    assert same(joined(jumping), holed)
    assert cut(jumping).area == pytest.approx(holed.area)


@given(
    st.floats(-179.99, 179.99),
    st.floats(0.01, 20),
    st.floats(-60, 60),
    st.sampled_from([-360.0, 0.0, 360.0]),
)
def test_cut_and_joined_are_inverse(west, width, south, turn):
    whole = shapely.box(west + turn, south, west + width + turn, south + 1)
    parts = cut(whole)
    assert parts.area == pytest.approx(whole.area, rel=1e-6)
    assert -180 <= parts.bounds[0] <= parts.bounds[2] <= 180
    assert joined(parts).area == pytest.approx(whole.area, rel=1e-6)
    assert same(cut(joined(parts)), parts)
    assert same(box_of(bbox_of(parts)), parts)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"geometry": JUMPING.__geo_interface__, "bbox": [-180, 66, 180, 66.4]}, CUT),
        ({"geometry": None, "bbox": list(BBOX)}, CUT),
        ({"geometry": None, "bbox": [179.5, 66, 0, -179.8, 66.4, 9000]}, CUT),
        ({"bbox": [1, 2, 3, 4]}, shapely.box(1, 2, 3, 4)),
    ],
)
def test_footprint_of_an_item(item, expected):
    assert same(footprint_of(item), expected)


@pytest.mark.parametrize("item", [{}, {"geometry": None, "bbox": [None] * 4}])
def test_item_that_is_nowhere_has_no_footprint(item):
    assert footprint_of(item) is None


# areas


def write(path, geometry, crs=4326):
    gpd.GeoDataFrame(geometry=[geometry], crs=crs).to_file(path)
    return str(path)


@pytest.mark.parametrize("geometry", [CUT, JUMPING, BEYOND, BEFORE])
def test_area_of_a_file_is_cut(tmp_path, geometry):
    assert same(read_area(write(tmp_path / "a.gpkg", geometry)), CUT)


def test_projected_area_of_a_file_is_cut(tmp_path):
    outline = projected(CUT, epsg=32601)
    assert outline.geom_type == "Polygon"
    area = read_area(write(tmp_path / "a.gpkg", outline, crs=32601))
    assert area.symmetric_difference(CUT).area < 1e-3 * CUT.area
    assert bbox_of(area) == pytest.approx(BBOX, abs=1e-3)


def test_area_of_a_bbox_may_cross():
    assert same(area_of_bbox(BBOX), CUT)


@pytest.mark.parametrize("bbox", [(10, 66, -169, 67), (179, 66, 179, 67), (-179, 66, 2, 67)])
def test_bbox_wider_than_half_the_globe_is_refused(bbox):
    with pytest.raises(InputError, match="is not a box on the globe"):
        area_of_bbox(bbox)


def test_ground_is_measured_without_the_cut():
    east = shapely.box(100, 66, 100.7, 66.4)
    assert geodesic_area_km2(CUT) == pytest.approx(geodesic_area_km2(east), rel=1e-4)
    points = lattice(CUT)
    assert len(points) > 15_000
    assert shapely.contains_xy(CUT.buffer(1e-9), points[:, 0], points[:, 1]).all()
    assert (points[:, 0] > 0).mean() == pytest.approx(5 / 7, abs=0.01)


def test_grid_across_the_antimeridian_is_as_small_as_the_area():
    for epsg in (32660, 32601):
        grid = Grid.from_area(CUT, epsg=epsg, resolution=100, block=128)
        assert grid.shape[0] < 600
        assert grid.shape[1] < 420
        back = projected(shapely.box(*grid.bounds), epsg=4326, source_epsg=epsg)
        assert back.bounds[0] == -180
        assert back.bounds[2] == 180
        assert back.buffer(1e-6).covers(CUT)


# zones


def test_zone_that_holds_most_of_an_area_is_chosen():
    area = shapely.box(77.2, 36, 79, 37)
    assert utm_shares(area) == pytest.approx({32643: 0.8 / 1.8, 32644: 1 / 1.8}, abs=1e-3)
    assert utm_epsg(area) == 32644
    assert utm_epsg(shapely.box(76, 36, 78.5, 37)) == 32643


def test_zones_of_both_hemispheres_and_sides_are_told():
    assert set(utm_shares(shapely.box(-66.5, -1, -65.5, 2))) == {32619, 32620, 32719, 32720}
    assert utm_shares(CUT) == pytest.approx({32660: 5 / 7, 32601: 2 / 7}, abs=1e-3)


def test_zone_whose_edge_is_only_touched_is_not_told():
    assert set(utm_shares(shapely.box(72, 36, 78, 37))) == {32643}


def test_scale_error_is_that_of_utm():
    """k0 is 0.9996; 3 degrees off the central meridian at the equator k is about 1.00098."""
    low, high = scale_error_ppm(shapely.box(72, -0.1, 78, 0.1), epsg=32643)
    assert low == pytest.approx(-400, abs=1)
    assert high == pytest.approx(980, abs=15)
    east = scale_error_ppm(shapely.box(78, 36, 80, 37), epsg=32643)
    assert east[1] > 1800
    assert scale_error_ppm(CUT, epsg=32660)[1] == pytest.approx(-140, abs=10)


# search


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("parquet", "cut"),
        ("parquet", "jumping"),
        ("parquet", "beyond"),
        ("static", "jumping"),
        ("static", "no geometry"),  # a stac-geoparquet table cannot hold such an item
    ],
)
def test_basin_across_the_antimeridian_is_searched(basin, kind, written):
    epsg, size, half = 32660, 2400, 0.012
    x, y = shapely.get_coordinates(projected(shapely.Point(180, 66.2), epsg=epsg))[0]
    corner = (round(x / 20) * 20 - size / 2, round(y / 20) * 20 + size / 2)
    raster = shapely.box(corner[0], corner[1] - size, corner[0] + size, corner[1])
    ground = projected(raster, epsg=4326, source_epsg=epsg)
    assert ground.geom_type == "MultiPolygon"
    footprints = {
        "cut": ground,
        "jumping": shapely.transform(joined(ground), lambda at: np.where(at > 180, at - 360, at)),
        "beyond": joined(ground),
        "no geometry": None,
    }
    bbox = list(bbox_of(ground)) if written == "no geometry" else [-180, 66, 180, 67]
    basin.scene(
        "a", corner=corner, epsg=epsg, tile="MGRS-60WXV", footprint=footprints[written], bbox=bbox
    )
    basin.dem("W180", shapely.box(-180, 66, -179, 67))
    basin.dem("E179", shapely.box(179, 66, 180, 67))
    basin.dem("E010", shapely.box(10, 66, 11, 67))
    south = joined(ground).centroid.y
    area = (180 - half, south - half / 3, -180 + half, south + half / 3)
    study = basin.study(area=area, kind=kind)
    facts = search_scenes(study)
    (scene,) = read_scenes(study.scenes_path)
    assert [tile.id for tile in read_dem_tiles(study.dem_path)] == ["E179", "W180"]
    assert (facts["epsg"], facts["cover_percent"], facts["never_percent"]) == (32660, 100, 0)
    assert scene.basin_cover == pytest.approx(100)
    assert scene.bbox[0] > 179.9
    assert scene.bbox[2] < -179.9
    assert max(study.grid.shape) < 150
