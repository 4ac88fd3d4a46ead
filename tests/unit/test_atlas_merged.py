"""One inventory of several basins: what crosses a border counts once, on any part of the globe."""

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import zarr

from rockglacier.atlas.merged import merge_inventories, write_merged
from rockglacier.config import parse_config
from rockglacier.grid import Grid, Window, geodesic_area_km2, projected
from rockglacier.inventory.reviews import review_table, write_reviews
from rockglacier.inventory.tables import build_inventory
from rockglacier.storage import write_json
from rockglacier.study import Study
from rockglacier_stac.globe import bbox_of, cut

PLACES = {
    "Hunza": (32643, 500_000, 4_000_000),
    "the Andes": (32719, 400_000, 6_300_000),
    "Svalbard": (32633, 500_000, 8_700_000),
    "the antimeridian": (32601, 377_000, 7_600_000),
}
"""EPSG code, and a point of the border between two basins, which runs north."""


class World:
    """Two basins of 20 km, west and east of a border through x; metres around it."""

    def __init__(self, epsg, x, y):
        self.epsg, self.x, self.y = epsg, x, y
        self.areas = {"west": self.shape(-20_000, -10_000, 0, 10_000),
                      "east": self.shape(0, -10_000, 20_000, 10_000)}  # fmt: skip

    def shape(self, left, bottom, right, top):
        box = shapely.box(self.x + left, self.y + bottom, self.x + right, self.y + top)
        return cut(projected(box.segmentize(500), epsg=4326, source_epsg=self.epsg))

    def table(self, **outlines):
        rows = [
            {
                "candidate_id": name,
                "status": "candidate",
                "truncated": False,
                **(values[4] if len(values) > 4 else {}),
            }
            for name, values in outlines.items()
        ]
        columns = pd.DataFrame(rows, columns=["candidate_id", "status", "truncated"])
        shapes = [self.shape(*values[:4]) for values in outlines.values()]
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)


@pytest.fixture(params=PLACES, ids=str)
def world(request):
    return World(*PLACES[request.param])


def kept(merged):
    return set(zip(merged.table["basin"], merged.table["candidate_id"], strict=True))


def test_landform_across_the_border_counts_once_where_most_of_it_lies(world):
    west = world.table(alone=(-5000, 0, -4600, 400), cross=(-300, 0, 100, 400))
    east = world.table(other=(-310, 10, 110, 400), far=(6000, 0, 6400, 400))
    merged = merge_inventories({"west": west, "east": east}, world.areas)
    assert kept(merged) == {("west", "alone"), ("west", "cross"), ("east", "far")}
    (double,) = merged.doubles.to_dict("records")
    assert (double["candidate_id"], double["same_as"]) == ("other", "cross")
    assert double["share"] == pytest.approx(0.975, abs=0.01)
    assert merged.outlines_km2 == pytest.approx(3 * 0.16, rel=5e-3)
    assert merged.basins["doubles"].tolist() == [1, 0]  # east, west


def test_order_of_the_basins_does_not_matter(world):
    tables = {
        "west": world.table(a=(-300, 0, 100, 400), b=(-200, 600, 200, 900)),
        "east": world.table(c=(-280, 0, 120, 400), d=(-200, 600, 200, 900)),
    }
    found = [
        merge_inventories(dict(order), world.areas)
        for order in itertools.permutations(tables.items())
    ]
    assert found[0].table.equals(found[1].table)
    assert len(found[0].table) == 2


def test_neighbours_that_touch_or_share_a_little_ground_are_two(world):
    west = world.table(left=(-400, 0, 0, 400))
    east = world.table(right=(-100, 0, 400, 400), next=(-400, 400, 100, 800))
    merged = merge_inventories({"west": west, "east": east}, world.areas)
    assert len(merged.table) == 3
    assert merged.doubles.empty
    # shared ground is counted once
    assert merged.outlines_km2 == pytest.approx(0.16 + 0.2 + 0.2 - 0.04, rel=5e-3)


@pytest.mark.parametrize(
    ("codes", "lon", "lat", "areas"),
    [
        ((32643, 32644), 78.0, 36.0, [(77.8, 35.9, 78.0, 36.1), (78.0, 35.9, 78.2, 36.1)]),
        ((32718, 32618), -75.0, 0.0, [(-75.1, -0.2, -74.9, 0.0), (-75.1, 0.0, -74.9, 0.2)]),
    ],
    ids=["two zones", "two hemispheres"],
)
def test_a_landform_that_two_grids_draw_counts_once(codes, lon, lat, areas):
    tables = {}
    for name, code in zip(("first", "other"), codes, strict=True):
        point = projected(shapely.Point(lon, lat), epsg=code, source_epsg=4326)
        square = shapely.box(point.x - 200, point.y - 150, point.x + 200, point.y + 150)
        shape = projected(square, epsg=4326, source_epsg=code)
        rows = [{"candidate_id": name, "status": "candidate", "truncated": False}]
        tables[name] = gpd.GeoDataFrame(rows, geometry=[shape], crs=4326)
    whole = dict(zip(tables, (shapely.box(*area) for area in areas), strict=True))
    merged = merge_inventories(tables, whole)
    assert (len(merged.table), len(merged.doubles)) == (1, 1)
    assert merged.doubles["share"].iloc[0] > 0.95  # the grids of two zones are turned a little
    assert merged.outlines_km2 == pytest.approx(0.12, rel=5e-3)


def test_halves_of_one_landform_make_way_for_it_or_it_for_them(world):
    whole = world.table(whole=(-500, 0, 300, 400))
    halves = world.table(lower=(-500, 0, 300, 190), upper=(-500, 210, 300, 400))
    merged = merge_inventories({"west": whole, "east": halves}, world.areas)
    assert kept(merged) == {("west", "whole")}
    assert len(merged.doubles) == 2
    merged = merge_inventories({"east": whole, "west": halves}, world.areas)
    assert kept(merged) == {("west", "lower"), ("west", "upper")}


def test_what_a_person_decided_on_stays_and_what_is_cut_off_goes(world):
    west = world.table(drawn=(-300, 0, 100, 400), cut=(-200, 600, 200, 900, {"truncated": True}))
    east = world.table(seen=(-300, 0, 100, 400, {"status": "confirmed"}), all=(-200, 600, 200, 900))
    merged = merge_inventories({"west": west, "east": east}, world.areas)
    assert kept(merged) == {("east", "seen"), ("east", "all")}


def test_what_a_person_rejected_does_not_come_back_through_a_neighbour(world):
    row = {"a": (-300, 0, 100, 400), "b": (-300, 600, 100, 900), "c": (-300, 1100, 100, 1400)}
    reviews = world.table(
        **{f"no-{name}": (*shape, {"status": "rejected"}) for name, shape in row.items()}
    )
    east = world.table(
        again=(-290, 0, 110, 400),
        seen=(-300, 600, 100, 900, {"status": "confirmed"}),
        larger=(-300, 1100, 700, 1400),
    )
    across = world.table(over=(-310, 10, 90, 400))
    merged = merge_inventories(
        {"west": world.table(), "east": east},
        world.areas,
        {"east": across},
        {"west": reviews, "east": world.table()},
    )
    assert kept(merged) == {("east", "seen"), ("east", "larger")}
    found = merged.rejected.set_index("candidate_id")
    assert found["same_as"].to_dict() == {"again": "no-a", "over": "no-a"}
    assert set(found["rejected_in"]) == {"west"}
    assert merged.doubles.empty


def test_two_landforms_of_one_id_get_two(world):
    west = world.table(RGC361000N0745234E=(-900, 0, -500, 400))
    east = world.table(RGC361000N0745234E=(900, 0, 1300, 400))
    merged = merge_inventories({"west": west, "east": east}, world.areas)
    assert merged.table["candidate_id"].is_unique
    ((new, old),) = merged.renamed.items()
    assert old == "west/RGC361000N0745234E"
    assert new in set(merged.table["candidate_id"])


def test_basin_without_landforms_is_there():
    world = World(*PLACES["Hunza"])
    empty = world.table()
    merged = merge_inventories(
        {"west": empty, "east": world.table(a=(100, 0, 500, 400))}, world.areas
    )
    assert merged.basins.set_index("basin")["outlines"].to_dict() == {"east": 1, "west": 0}
    assert isinstance(merged.table, gpd.GeoDataFrame)
    nothing = merge_inventories({"west": empty}, world.areas)
    assert (len(nothing.table), nothing.outlines_km2) == (0, 0.0)


def test_three_basins_that_meet_hold_a_landform_once():
    world = World(*PLACES["Hunza"])
    corner = (-200, -200, 200, 250)
    areas = {
        "a": world.shape(-9000, -9000, 0, 0),
        "b": world.shape(0, -9000, 9000, 0),
        "c": world.shape(-9000, 0, 9000, 9000),
    }
    tables = {name: world.table(**{f"in-{name}": corner}) for name in areas}
    merged = merge_inventories(tables, areas)
    assert kept(merged) == {("c", "in-c")}
    assert merged.outlines_km2 == pytest.approx(geodesic_area_km2(world.shape(*corner)), rel=5e-3)


class Given:
    """What is used of a given model."""

    threshold = 0.5
    fingerprint = "abc123"


def mapped(folder, name, area, *drawn, place=PLACES["Hunza"]):
    """A basin with its inventory, in which rectangles of metres around the border are mapped."""
    epsg, x, y = place
    values = {"name": name, "area": list(bbox_of(area)), "cube": {"margin_m": 500}}
    study = Study(config=parse_config(values, source="test"), base=folder)
    grid = Grid.from_area(study.area, epsg=epsg, resolution=10, block=256, margin_m=500)
    write_json(study.grid_path, grid.to_dict())
    probability = np.full(grid.shape, 5, np.uint8)
    for left, bottom, right, top in drawn:
        column, row = ~grid.transform * (x + left, y + top)
        window = Window(
            y=round(row), x=round(column), height=(top - bottom) // 10, width=(right - left) // 10
        )
        probability[window.slices] = 90
    looks = np.zeros((1, *grid.shape), np.uint8)
    flat = np.full(grid.shape, 20, np.float32)
    layers = {"elevation": flat, "slope": flat, "aspect": flat, "n_snow": looks, "n_shadow": looks}
    for path, arrays in (
        (study.prediction_path / "prediction.zarr", {"probability": probability}),
        (study.cube_path, layers),
    ):
        group = zarr.open_group(path, mode="w")
        for key, values in arrays.items():
            group.create_array(key, data=values)
    build_inventory(study, bundle=Given())
    return study


ALONE = (-800, -600, -600, -400)
SEAM = {
    "each draws it over there": ([(-100, 0, 200, 200)], [(-200, 0, 100, 200)], 1),
    "only one draws it, over there": ([(-100, 0, 200, 200)], [], 1),
    "both draw it on one side": ([(-300, 0, 100, 200)], [(-310, 0, 90, 200)], 1),
    "it is larger over there": ([(-50, 0, 200, 100)], [(-50, 0, 200, 300)], 1),
    "two that touch the border": ([(-200, 0, 0, 200)], [(0, 0, 200, 200)], 2),
    "beyond all basins": ([(-300, 900, -100, 1300)], [], 0),
}


@pytest.mark.parametrize("case", SEAM)
def test_landform_on_the_seam_is_in_the_inventory_of_all_exactly_once(case, tmp_path):
    in_west, in_east, expected = SEAM[case]
    place = World(*PLACES["Hunza"])
    west = mapped(tmp_path, "west", place.shape(-1000, -1000, 0, 1000), ALONE, *in_west)
    east = mapped(tmp_path, "east", place.shape(0, -1000, 1000, 1000), *in_east)
    facts = write_merged([west, east], tmp_path)
    merged = gpd.read_parquet(tmp_path / "inventory.parquet")
    assert len(merged) == facts["outlines"] == 1 + expected
    assert merged["candidate_id"].is_unique
    assert merged["area_km2"].notna().all()
    assert write_merged([east, west], tmp_path) == facts


def test_landform_across_the_antimeridian_is_cut_there_and_stays_what_it_is(tmp_path):
    """Uncut, it goes around the globe: the area of all was 10,000 km² instead of 7."""
    place = World(*PLACES["the antimeridian"])
    over, beside = (-300, 0, 700, 400), (-900, -900, -700, -700)
    study = mapped(
        tmp_path, "over", place.shape(-1500, -1500, 1500, 1500), over, beside,
        place=PLACES["the antimeridian"],
    )  # fmt: skip
    held = gpd.read_parquet(study.inventory_path / "inventory.parquet")
    assert held.geometry.is_valid.all()
    (cut_one,) = held[held.geom_type == "MultiPolygon"].to_dict("records")
    east, west = sorted(cut_one["geometry"].geoms, key=lambda part: -part.bounds[0])
    assert (east.bounds[2], west.bounds[0]) == (180.0, -180.0)
    assert geodesic_area_km2(cut_one["geometry"]) == pytest.approx(0.4, rel=0.01)
    assert cut_one["perimeter_km"] == pytest.approx(2.8, rel=0.02)  # the cut is no edge
    facts = write_merged([study], tmp_path)
    assert facts["area_km2"] == pytest.approx(0.44, rel=0.01)
    assert build_inventory(study, bundle=Given())["kept_ids"] == 2


def test_a_temperature_moves_the_threshold_of_a_given_model_in_the_inventory_too(tmp_path):
    place = World(*PLACES["Hunza"])
    study = mapped(tmp_path, "west", place.shape(-1000, -1000, 0, 1000), ALONE)
    assert build_inventory(study, bundle=Given())["threshold"] == 0.5
    record = {"model_id": "bundle-abc123", "threshold": 0.92, "out_of_fold": False}
    write_json(study.prediction_record_path, record)
    facts = build_inventory(study, bundle=Given())
    assert (facts["threshold"], facts["objects"]) == (0.92, 0)  # what is mapped has 90 %


def test_an_outline_rejected_in_a_basin_stays_away_when_its_neighbour_draws_it(tmp_path):
    place = World(*PLACES["Hunza"])
    cross = (-300, 0, 100, 200)
    west = mapped(tmp_path, "west", place.shape(-1000, -1000, 0, 1000), ALONE, cross)
    east = mapped(tmp_path, "east", place.shape(0, -1000, 1000, 1000), cross)
    assert write_merged([west, east], tmp_path)["outlines"] == 2
    held = gpd.read_parquet(west.inventory_path / "inventory.parquet")
    (row,) = held[held.intersects(place.shape(*cross))].to_dict("records")
    write_reviews(west, review_table([{**row, "status": "rejected", "origin": "model"}]))
    build_inventory(west, bundle=Given())
    assert len(gpd.read_parquet(east.inventory_path / "across.parquet")) == 1
    facts = write_merged([west, east], tmp_path)
    assert (facts["outlines"], facts["rejected"]) == (1, 1)
    assert pd.read_csv(tmp_path / "rejected.csv")["rejected_in"].tolist() == ["west"]
