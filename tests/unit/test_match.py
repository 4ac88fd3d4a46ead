"""Two inventories of the same ground."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.inventory.match import IOU_CURVE, compare, size_class
from rockglacier.inventory.scores import summary


def inventory(*boxes, crs=32643, **columns):
    """Boxes as (west, south, width, height) in hundreds of metres."""
    polygons = [
        shapely.box(x, y, x + w, y + h)
        for x, y, w, h in (np.array(box) * 100 + [500_000, 4_000_000, 0, 0] for box in boxes)
    ]
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(polygons, crs=crs), crs=crs)


def relations(comparison):
    links = comparison.links
    return {
        tuple(row)
        for row in links[["id_a", "id_b", "relation"]].astype(object).fillna("-").to_numpy()
    }


def test_same_outline_is_matched_and_others_are_only_in_one():
    a = inventory((0, 0, 4, 4), (20, 0, 4, 4))
    b = inventory((1, 0, 4, 4), (40, 0, 4, 4))
    comparison = compare(a, b)
    assert relations(comparison) == {
        ("0", "0", "matched"),
        ("1", "-", "only_in_a"),
        ("-", "1", "only_in_b"),
    }
    link = comparison.links.iloc[0]
    assert link["iou"] == pytest.approx(3 / 5, abs=1e-3)
    assert link["overlap_area_km2"] == pytest.approx(0.12, rel=2e-3)
    assert link["area_fraction_a"] == pytest.approx(0.75, abs=1e-3)
    assert (link["n_a"], link["n_b"]) == (1, 1)


def test_too_little_in_common_is_an_overlap_and_no_match():
    comparison = compare(inventory((0, 0, 4, 4)), inventory((3, 0, 4, 4)))
    assert relations(comparison) == {("0", "0", "overlap")}
    assert summary(comparison)["iou_0.5"]["matched_b"] == 0


def test_one_reference_drawn_as_two_is_split():
    comparison = compare(inventory((0, 0, 3, 4), (3, 0, 2, 4)), inventory((0, 0, 5, 4)))
    assert relations(comparison) == {("0", "0", "matched"), ("1", "0", "split")}
    assert comparison.objects_a["relation"].tolist() == ["matched", "split"]
    assert set(comparison.links["n_a"]) == {2}


def test_two_references_drawn_as_one_are_merged():
    comparison = compare(inventory((0, 0, 5, 4)), inventory((0, 0, 3, 4), (3.1, 0, 1.9, 4)))
    assert relations(comparison) == {("0", "0", "matched"), ("0", "1", "merged")}


def test_slivers_are_no_links():
    comparison = compare(inventory((0, 0, 4, 4)), inventory((3.99, 3.9, 4, 4)))
    assert {relation for *_, relation in relations(comparison)} == {"only_in_a", "only_in_b"}


def test_pairs_are_as_many_as_possible_rather_than_the_single_best():
    # a0 overlaps b0 best, but only by taking b1 does a1 get a partner too
    a = inventory((0, 0, 10, 1), (0, 1, 10, 2))
    b = inventory((0, 0, 10, 2.2), (0, -0.9, 10, 1.9))
    comparison = compare(a, b)
    at_30 = IOU_CURVE.index(0.3)
    assert comparison.matched_a[at_30].all()
    assert comparison.matched_b[at_30].all()


def test_nobody_has_two_partners():
    rng = np.random.default_rng(0)
    boxes = [np.r_[rng.uniform(0, 12, 2), rng.uniform(1, 5, 2)] for _ in range(60)]
    comparison = compare(inventory(*boxes[:30]), inventory(*boxes[30:]))
    matched = comparison.links[comparison.links["relation"] == "matched"]
    assert len(matched)
    assert matched["id_a"].is_unique
    assert matched["id_b"].is_unique
    assert (comparison.matched_a.sum(axis=1) == comparison.matched_b.sum(axis=1)).all()


def test_cover_counts_the_union_of_pieces_once():
    a = inventory((0, 0, 3, 4), (2, 0, 2, 4))
    b = inventory((0, 0, 8, 4))
    comparison = compare(a, b)
    assert comparison.objects_b["cover"].iloc[0] == pytest.approx(0.5, abs=1e-4)
    assert comparison.objects_a["cover"].tolist() == pytest.approx([1, 1], abs=1e-4)


def test_curve_falls_with_iou():
    comparison = compare(inventory((0, 0, 4, 4)), inventory((1, 0, 4, 4)))
    recall = [point["recall"] for point in summary(comparison)["curve"]]
    assert recall == [1, 1, 1, 1, 1, 0 if comparison.links["iou"][0] < 0.6 else 1, 0, 0, 0]


def test_scores_count_each_side_by_itself():
    a = inventory((0, 0, 4, 4), (20, 0, 4, 4), (30, 0, 2, 2))
    b = inventory((0, 0, 4, 4))
    scores = summary(compare(a, b))
    assert (scores["n_a"], scores["n_b"], scores["count_ratio"]) == (3, 1, 3)
    assert scores["iou_0.5"]["precision"] == pytest.approx(1 / 3)
    assert scores["iou_0.5"]["recall"] == 1
    assert scores["iou_0.5"]["f1"] == pytest.approx(0.5)
    assert scores["area_bias"] == pytest.approx(20 / 16, rel=1e-3)
    by_class = {row["class_km2"]: (row["n_a"], row["n_b"]) for row in scores["size_classes"]}
    assert by_class == {
        "<0.1": (1, 0),
        "0.1-0.5": (2, 1),
        "0.5-1": (0, 0),
        "1-3": (0, 0),
        ">=3": (0, 0),
    }


def test_partner_across_the_border_of_held_out_ground_counts():
    a = inventory((0, 0, 4, 4), (20, 0, 4, 4))
    b = inventory((0.5, 0, 4, 4), (20, 0, 4, 4))
    comparison = compare(a, b)
    scores = summary(
        comparison, within_a=np.array([True, False]), within_b=np.array([False, False])
    )
    assert scores["iou_0.5"]["precision"] == 1
    assert scores["iou_0.5"]["recall"] is None
    assert scores["n_b"] == 0


def test_outlines_outside_the_area_take_no_part_and_those_on_its_edge_are_flagged():
    a = inventory((0, 0, 4, 4), (50, 0, 4, 4))
    b = inventory((0, 0, 4, 4))
    aoi = inventory((-3, -3, 6, 30)).to_crs(4326).geometry[0]
    comparison = compare(a, b, aoi)
    assert comparison.objects_a.index.tolist() == [0]
    assert comparison.objects_a["on_edge"].tolist() == [True]
    assert comparison.left_out["outside_a"] == 1


def test_inventories_in_different_projections_are_compared_on_the_ground():
    a = inventory((0, 0, 4, 4))
    assert compare(a, a.to_crs(4326)).links["iou"][0] == pytest.approx(1, abs=1e-6)


def test_invalid_outlines_are_repaired_and_lines_left_out_and_both_counted():
    bow = shapely.Polygon([(0, 0), (400, 400), (400, 0), (0, 400)])
    line = shapely.LineString([(0, 0), (1, 1)])
    a = gpd.GeoDataFrame(geometry=[bow, line, None], crs=32643)
    comparison = compare(a, inventory((0, 0, 4, 4)))
    assert comparison.left_out["repaired_a"] == 1
    assert comparison.left_out["skipped_a"] == 2
    assert len(comparison.objects_a) == 1


def test_empty_inventories_compare():
    full, empty = inventory((0, 0, 4, 4)), inventory()
    for a, b, counts in ((full, empty, (1, 0)), (empty, full, (0, 1)), (empty, empty, (0, 0))):
        comparison = compare(a, b)
        scores = summary(comparison)
        assert (scores["n_a"], scores["n_b"]) == counts
        assert len(comparison.links) == sum(counts)
        assert comparison.links.dtypes.equals(compare(full, full).links.dtypes)
        json.dumps(scores, allow_nan=False)


def test_ids_come_from_the_first_complete_known_column():
    a = inventory((0, 0, 4, 4), candidate_id=["RGC1"], PrimaryID=[None])
    b = inventory((0, 0, 4, 4), PrimaryID=[None], label_id=[7])
    assert relations(compare(a, b)) == {("RGC1", "7", "matched")}


def test_inventory_without_crs_is_refused():
    a = inventory((0, 0, 4, 4))
    b = gpd.GeoDataFrame(geometry=a.geometry.to_numpy())
    with pytest.raises(InputError, match=r"inventory b has no CRS\n.*expected.*\n.*QGIS"):
        compare(a, b)


def test_unknown_id_column_is_refused():
    a = inventory((0, 0, 4, 4), name=["x"])
    with pytest.raises(InputError, match=r"no column 'nme'\n.*name, geometry"):
        compare(a, a, id_a="nme")


def test_size_classes_include_their_lower_edge():
    areas = np.array([0.09, 0.1, 0.5, 1.0, 3.0])
    assert size_class(areas).tolist() == ["<0.1", "0.1-0.5", "0.5-1", "1-3", ">=3"]
