"""Two inventories side by side: what is said of them, and from which files."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.inventory.compare import compare, lines_of
from rockglacier.inventory.compare_files import compare_files, write_comparison


def inventory(*boxes, crs=32643, **columns):
    """Boxes as (west, south, width, height) in hundreds of metres."""
    polygons = [
        shapely.box(x, y, x + w, y + h)
        for x, y, w, h in (np.array(box) * 100 + [500_000, 4_000_000, 0, 0] for box in boxes)
    ]
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(polygons, crs=crs), crs=crs)


FOUND = inventory((0, 0, 4, 4), (20, 0, 4, 4), (40, 0, 4, 2), (40, 2, 4, 2.5))
KNOWN = inventory((0.2, 0, 4, 4), (30, 0, 4, 4), (40, 0, 4, 4.5))


def test_link_table_says_what_became_of_every_outline():
    links = compare(FOUND, KNOWN).links
    found = {
        (row.id_a, row.id_b): row.relation
        for row in links.astype({"id_a": object, "id_b": object}).fillna({"id_a": "-", "id_b": "-"})
        .itertuples()
    }  # fmt: skip
    assert found == {
        ("0", "0"): "matched",
        ("3", "2"): "matched",
        ("2", "2"): "split",
        ("1", "-"): "only_in_a",
        ("-", "1"): "only_in_b",
    }
    assert links.crs.to_epsg() == 4326
    ground = links.to_crs(32643).area / 1e6
    overlapping = links["overlap_area_km2"].notna()
    # UTM areas are up to 0.08 % small at its central meridian
    assert ground[overlapping].to_numpy() == pytest.approx(
        links.loc[overlapping, "overlap_area_km2"].to_numpy(), rel=1e-3
    )
    assert ground[~overlapping].to_numpy() == pytest.approx([0.16, 0.16], rel=1e-3)


def test_heading_and_words_follow_what_the_reference_is():
    agreed = compare(FOUND, KNOWN, names=("mine", "theirs")).summary
    assert agreed["heading"].startswith("Agreement of mine (A) and theirs (B)")
    assert agreed["iou_0.5"]["share_of_a"] == 0.5
    assert "precision" not in json.dumps(agreed)
    scored = compare(FOUND, KNOWN, reference_kind="accuracy", names=("mine", "theirs")).summary
    assert scored["heading"] == "Accuracy of mine (A) against the reference theirs (B)"
    assert scored["iou_0.5"]["precision"] == 0.5
    assert scored["iou_0.5"]["recall"] == pytest.approx(2 / 3)
    assert "share_of" not in json.dumps(scored)
    for scores, word in ((agreed, "share_of_b"), (scored, "recall")):
        text = "\n".join(lines_of(scores))
        assert word in text
        assert "count_ratio 1.333" in text


def test_numbers_are_those_of_both_rules_by_size_and_of_the_area():
    scores = compare(FOUND, KNOWN).summary
    assert scores["area_bias"] == pytest.approx(50 / 50 - 1, abs=1e-6)
    assert [point["iou"] for point in scores["curve"]] == [k / 10 for k in range(1, 10)]
    by_class = {row["class_km2"]: row for row in scores["size_classes"]}
    # the two halves are small ones: either lies in the other inventory, one has a partner
    assert by_class["<0.1"]["n_a"] == 1
    assert by_class["<0.1"]["share_of_a"] == 0
    assert by_class["<0.1"]["cover_0.5"]["share_of_a"] == 1
    assert by_class["0.1-0.5"]["share_of_b"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("zone", "north"), [(32643, 0), (32643, 4_000_000), (32613, 6_500_000)])
@pytest.mark.parametrize(("width", "height"), [(3_000, 300), (300, 3_000)])
def test_boundaries_lie_as_far_apart_on_the_ground_at_any_latitude(zone, north, width, height):
    ground = shapely.box(500_000, north, 500_000 + width, north + height)
    inner = ground.buffer(-20, join_style="mitre")
    a, b = (gpd.GeoDataFrame(geometry=[shape], crs=zone) for shape in (ground, inner))
    sides = compare(a, b)
    assert sides.summary["boundary_distance_m"] == pytest.approx(20, rel=5e-3)
    assert sides.links["boundary_distance_m"].tolist() == pytest.approx([20], rel=5e-3)


def test_outlines_without_a_partner_have_no_distance():
    sides = compare(inventory((0, 0, 4, 4)), inventory((3, 0, 4, 4)))
    assert sides.summary["boundary_distance_m"] is None
    assert sides.links["boundary_distance_m"].isna().all()
    assert "- apart" in "\n".join(lines_of(sides.summary))


def test_missing_common_area_and_other_periods_are_told():
    a, b = (FOUND.assign(period=period) for period in ("2021", "2024"))
    notes = " ".join(compare(a, b).summary["notes"])
    assert "no common area" in notes
    assert "2021 and 2024" in notes
    assert "seldom resolve real change" in notes
    area = inventory((-50, -50, 200, 200)).to_crs(4326).geometry[0]
    assert compare(a, a, within=area).summary["notes"] == []


@pytest.mark.parametrize("spelling", ["OutType", "Out.Type", "OUT_TYPE"])
def test_of_two_types_of_outline_the_extended_ones_are_compared(spelling):
    b = inventory((0, 0, 4, 4), (0.5, 0.5, 3, 3), **{spelling: ["Extended", "Restricted"]})
    sides = compare(inventory((0, 0, 4, 4)), b)
    assert sides.summary["n_b"] == 1
    assert "1 extended ones of 2" in sides.summary["notes"][0]


def test_inventories_that_lie_apart_are_refused():
    with pytest.raises(InputError, match=r"(?s)lie apart: A within.*B within.*swapped"):
        compare(FOUND, inventory((9_000, 9_000, 4, 4)))


def test_outlines_of_one_basin_may_lie_beside_each_other():
    found = compare(inventory((0, 0, 4, 4)), inventory((40, 30, 4, 4))).summary
    assert (found["n_a"], found["n_b"], found["iou_0.5"]["matched_a"]) == (1, 1, 0)


def test_common_area_without_outlines_is_refused():
    area = inventory((500, 500, 4, 4)).to_crs(4326).geometry[0]
    with pytest.raises(InputError, match=r"(?s)no outline of A or B lies in the common area"):
        compare(FOUND, KNOWN, within=area)


def test_empty_inventory_compares():
    sides = compare(FOUND.iloc[:0], KNOWN)
    assert sides.links["relation"].tolist() == ["only_in_b"] * 3
    assert sides.summary["iou_0.5"]["share_of_a"] is None
    lines_of(sides.summary)


@pytest.fixture
def files(tmp_path):
    """The two inventories as a GeoPackage of ours, Shapefile and GeoParquet, in three CRSs."""
    package = tmp_path / "mine.gpkg"
    area = inventory((-5, -5, 30, 30)).to_crs(4326)
    area.to_file(package, layer="aoi")
    FOUND.to_crs(4326).to_file(package, layer="outlines")
    KNOWN.to_file(tmp_path / "theirs.shp")
    KNOWN.to_crs(3857).to_parquet(tmp_path / "theirs.parquet")
    area.to_file(tmp_path / "area.geojson")
    return tmp_path


@pytest.mark.parametrize("theirs", ["theirs.shp", "theirs.parquet"])
def test_any_polygon_file_in_any_crs_is_compared_within_our_own_area(files, theirs):
    scores = compare_files(str(files / "mine.gpkg"), str(files / theirs)).summary
    assert (scores["n_a"], scores["n_b"]) == (2, 1)
    assert (scores["left_out"]["outside_a"], scores["left_out"]["outside_b"]) == (2, 2)
    given = compare_files(
        str(files / theirs), str(files / "mine.gpkg"), within=str(files / "area.geojson")
    ).summary
    assert (given["n_a"], given["n_b"]) == (1, 2)


def test_files_of_a_comparison_read_back(files, tmp_path):
    sides = compare_files(str(files / "mine.gpkg"), str(files / "theirs.shp"))
    written = write_comparison(sides, tmp_path / "out")
    assert all(path.is_file() for path in written)
    links = gpd.read_parquet(tmp_path / "out" / "links.parquet")
    table = pd.read_csv(tmp_path / "out" / "links.csv")
    assert table["relation"].tolist() == links["relation"].tolist()
    assert links.geometry.is_valid.all()
    scores = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert scores == sides.summary
    assert pd.read_csv(tmp_path / "out" / "size_classes.csv")["n_b"].sum() == scores["n_b"]
    assert len(pd.read_csv(tmp_path / "out" / "outlines_a.csv")) == scores["n_a"]
