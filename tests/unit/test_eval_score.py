"""Maps from elsewhere on a benchmark: files of all kinds, the same scores, rules that hold."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

import made_study
from rockglacier.demo.benchmark import write_synthetic
from rockglacier.errors import InputError, NotFoundError
from rockglacier.evaluation.benchmark import (
    Benchmark,
    Rules,
    area_row,
    area_table,
    find_benchmark,
    read_benchmark,
    write_benchmark,
)
from rockglacier.evaluation.rogi import rogi_benchmark
from rockglacier.evaluation.score import score_map, write_score
from rockglacier.grid import projected
from rockglacier.model.metrics import confusion_matrix

EPSG, WEST, NORTH, PX = 32643, 500_000, 4_000_000, 10
SIZE = 120


def box(y0, x0, y1, x1):
    """Rows and columns of the toy ground as a box in EPSG:32643."""
    return shapely.box(WEST + PX * x0, NORTH - PX * y1, WEST + PX * x1, NORTH - PX * y0)


LANDFORMS = [box(10, 10, 40, 50), box(60, 10, 90, 40), box(60, 70, 100, 110)]
IGNORED = box(10, 80, 40, 110)


@pytest.fixture
def toy(tmp_path):
    def degrees(shape):
        return projected(shape, epsg=4326, source_epsg=EPSG)

    reference = gpd.GeoDataFrame(
        {
            "area": "toy",
            "id": [f"rg-{k}" for k in range(3)] + ["unsure"],
            "use": ["landform"] * 3 + ["ignore"],
        },
        geometry=[*LANDFORMS, IGNORED],
        crs=EPSG,
    ).to_crs(4326)
    benchmark = Benchmark(
        name="toy",
        version="1",
        title="a toy",
        protocol="held-out",
        resolution=PX,
        areas=area_table([area_row("toy", degrees(box(0, 0, SIZE, SIZE)), epsg=EPSG)]),
        reference=reference,
        rules=Rules(block_px=32),
    )
    write_benchmark(benchmark, tmp_path / "toy")
    return read_benchmark(tmp_path / "toy")


def write_raster(path, values, *, crs=EPSG, transform=None, **profile):
    transform = transform or Affine(PX, 0, WEST, 0, -PX, NORTH)
    made_study.write_raster(path, values, crs=f"EPSG:{crs}", transform=transform, **profile)
    return path


def burn(shapes):
    image = np.zeros((SIZE, SIZE), np.float32)
    for shape in shapes:
        west, south, east, north = shape.bounds
        rows = slice(round((NORTH - north) / PX), round((NORTH - south) / PX))
        image[rows, round((west - WEST) / PX) : round((east - WEST) / PX)] = 1
    return image


FOUND = [box(10, 10, 40, 50), box(62, 10, 92, 40), box(100, 10, 115, 30), IGNORED]
"""One exact, one shifted by two rows, one made up, one where nothing is judged; one missed."""


def expected_counts():
    truth = burn(LANDFORMS).astype(np.uint8)
    truth[burn([IGNORED]) == 1] = 255
    return confusion_matrix(truth, burn(FOUND).astype(np.uint8))


def test_a_raster_and_its_polygons_have_the_same_scores(toy, tmp_path):
    raster = write_raster(tmp_path / "map.tif", burn(FOUND).astype(np.uint8))
    table = gpd.GeoDataFrame(geometry=FOUND, crs=EPSG).to_crs(4326)
    table.to_file(tmp_path / "map.gpkg", engine="pyogrio")
    results = [score_map(path, toy) for path in (raster, tmp_path / "map.gpkg")]
    for result in results:
        part = result["areas"]["toy"]
        counted = np.array(part["confusion"])
        # the outline of the area, through degrees and back, may take a pixel at its rim
        assert np.abs(counted - expected_counts()).sum() <= 2 * SIZE
        assert counted[1].tolist() == expected_counts()[1].tolist()
        objects = part["objects"]
        assert (objects["n_a"], objects["n_b"]) == (3, 3)
        assert part["object_precision"] == pytest.approx(2 / 3)
        assert part["object_recall"] == pytest.approx(2 / 3)
        assert "calibration" not in part
    assert results[0]["areas"]["toy"]["boundary_f"] == pytest.approx(
        results[1]["areas"]["toy"]["boundary_f"]
    )


def test_probabilities_in_every_form_are_the_same_map(toy, tmp_path):
    probability = np.clip(burn(FOUND) * 0.8 + 0.1, 0, 1).astype(np.float32)
    as_float = write_raster(tmp_path / "float.tif", probability)
    as_percent = write_raster(
        tmp_path / "percent.tif", np.rint(100 * probability).astype(np.uint8), nodata=255
    )
    one, other = (score_map(path, toy)["areas"]["toy"] for path in (as_float, as_percent))
    assert one["confusion"] == other["confusion"]
    assert one["calibration"] == pytest.approx(other["calibration"], abs=1e-4)
    truth = burn(LANDFORMS)
    judged = burn([IGNORED]) == 0
    brier = ((probability - truth)[judged] ** 2).mean()
    assert one["calibration"]["brier"] == pytest.approx(brier, rel=0.02)


def test_another_grid_and_zone_is_warped(toy, tmp_path):
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    probability = np.clip(burn(FOUND) * 0.8 + 0.1, 0, 1).astype(np.float32)
    bounds = box(0, 0, SIZE, SIZE).bounds
    transform, width, height = calculate_default_transform(
        f"EPSG:{EPSG}", "EPSG:4326", SIZE, SIZE, *bounds, resolution=0.00005
    )
    moved = np.full((height, width), -1, np.float32)
    reproject(
        probability, moved, src_transform=Affine(PX, 0, WEST, 0, -PX, NORTH),
        src_crs=f"EPSG:{EPSG}", dst_transform=transform, dst_crs="EPSG:4326",
        dst_nodata=-1, resampling=Resampling.nearest,
    )  # fmt: skip
    path = write_raster(tmp_path / "degrees.tif", moved, crs=4326, transform=transform, nodata=-1)
    part = score_map(path, toy)["areas"]["toy"]
    assert np.array(part["confusion"])[1] == pytest.approx(expected_counts()[1], abs=40)
    assert part["object_f1"] == pytest.approx(2 / 3)


def test_ground_left_out_counts_as_background(toy, tmp_path):
    values = np.rint(100 * burn(FOUND)).astype(np.uint8)
    values[:50] = 255
    path = write_raster(tmp_path / "half.tif", values, nodata=255)
    part = score_map(path, toy)["areas"]["toy"]
    assert part["unmapped_pixels"] == pytest.approx(50 * SIZE - 900, abs=2 * SIZE)
    missed = burn(LANDFORMS)[:50].sum() + np.array(expected_counts())[1, 0]
    assert part["confusion"][1][0] == missed


def test_two_maps_are_compared_on_the_same_blocks(toy, tmp_path):
    one = write_raster(tmp_path / "one.tif", burn(LANDFORMS).astype(np.uint8))
    other = write_raster(tmp_path / "other.tif", burn(FOUND).astype(np.uint8))
    found = score_map(other, toy, against=one)["paired"]
    (row,) = found["differences"]
    assert (row["first"], row["second"]) == ("one", "other")
    assert found["networks"]["one"]["iou_rock_glacier"]["value"] == 1
    assert row["iou_rock_glacier"]["value"] == pytest.approx(
        1 - found["networks"]["other"]["iou_rock_glacier"]["value"], abs=2e-6
    )


def test_scores_are_written_as_tables(toy, tmp_path):
    path = write_raster(tmp_path / "map.tif", burn(FOUND).astype(np.uint8))
    result = score_map(path, toy, name="mine")
    files = write_score(result, tmp_path / "out")
    assert json.loads(files[0].read_text()) == json.loads(json.dumps(result))
    lines = files[1].read_text().splitlines()
    assert lines[0].startswith("benchmark,map,area,")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["toy", "mine", "toy"],
        ["toy", "mine", "all"],
    ]
    assert result["all"]["confusion"] == result["areas"]["toy"]["confusion"]
    assert result["all"]["object_f1"] == result["areas"]["toy"]["object_f1"]
    assert len(files[2].read_text().splitlines()) == 1 + 2 * 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [(np.full((9, 9), 7000, np.int16), "neither probabilities nor classes"),
     (np.full((9, 9), -2.5, np.float32), "neither probabilities nor classes")],
)  # fmt: skip
def test_other_numbers_are_refused(toy, tmp_path, values, expected):
    with pytest.raises(InputError, match=expected):
        score_map(write_raster(tmp_path / "odd.tif", values), toy)


def test_what_is_elsewhere_or_missing_is_refused(toy, tmp_path):
    away = write_raster(
        tmp_path / "away.tif", np.ones((9, 9), np.uint8), transform=Affine(10, 0, 7e5, 0, -10, 3e6)
    )
    with pytest.raises(InputError, match="says nothing of the area 'toy'"):
        score_map(away, toy)
    with pytest.raises(InputError, match="there is no file"):
        score_map(tmp_path / "none.tif", toy)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no file for the area 'toy'"):
        score_map(tmp_path / "folder", toy)
    with pytest.raises(InputError, match="0 areas 'elsewhere'"):
        score_map(away, toy, areas=["elsewhere"])


def test_outlines_that_lie_elsewhere_score_nothing_and_are_told(toy, tmp_path, caplog):
    swapped = gpd.GeoSeries([shapely.box(36.1, 75.0, 36.2, 75.1)], crs=4326)
    swapped.to_file(tmp_path / "swapped.gpkg")
    score_map(tmp_path / "swapped.gpkg", toy)
    assert "none of the 1 outlines of swapped.gpkg lies in the area" in caplog.text
    assert "are longitude and latitude swapped?" in caplog.text


def test_benchmarks_are_found_by_name_and_checked(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    write_benchmark(toy, tmp_path / "benchmarks" / "second")
    assert find_benchmark("second").name == "toy"
    assert find_benchmark("toy").rules == toy.rules
    with pytest.raises(NotFoundError, match="no benchmark in 'third'"):
        find_benchmark("third")
    path = tmp_path / "toy" / "benchmark.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "rules": {**facts["rules"], "tolerence": 3}}))
    with pytest.raises(InputError, match="unknown rules: tolerence"):
        find_benchmark("toy")
    path.write_text(json.dumps({**facts, "format": 9}))
    with pytest.raises(InputError, match="format 9"):
        find_benchmark("toy")


# RoGI CCI


def made_rogi(path):
    """The layers of the published file with two areas of our own."""
    places = {"Valley A": (11.0, 46.0), "Valley B": (75.0, 36.0)}
    layer = "ESACCI-PERMAFROST_ROGI_ALL-AREAS_{}_2025-fv02.0"
    grounds = [shapely.box(x, y, x + 0.02, y + 0.02) for x, y in places.values()]
    aoi = gpd.GeoDataFrame({"Area": list(places)}, geometry=grounds, crs=4326)
    rows, points = [], []
    for x, y in places.values():
        for k, kind in enumerate(("Extended", "Restricted", "Restricted")):
            name = f"RGU-{x}-{min(k, 1) if k < 2 else 2}"
            name = f"RGU-{x}-0" if k == 1 else name  # the second is that of the first landform
            spot = (x + 0.004 + 0.005 * k, y + 0.004)
            shape = shapely.box(*spot, spot[0] + 0.003, spot[1] + 0.003)
            rows.append({"PrimaryID": name, "OutType": kind, "geometry": shape})
        points.append({"PrimaryID": f"RGU-{x}-9", "geometry": shapely.Point(x + 0.01, y + 0.015)})
    aoi.to_file(path, layer=layer.format("AOI"), engine="pyogrio")
    gpd.GeoDataFrame(rows, crs=4326).to_file(path, layer=layer.format("GO"), engine="pyogrio")
    gpd.GeoDataFrame(points, crs=4326).to_file(path, layer=layer.format("PM"), engine="pyogrio")
    return path


def test_rogi_leaves_one_area_out_at_a_time(tmp_path):
    benchmark = rogi_benchmark(made_rogi(tmp_path / "rogi.gpkg"))
    assert benchmark.test_areas() == ["valley-a", "valley-b"]
    assert benchmark.areas["fold"].tolist() == [0, 1]
    assert benchmark.areas["epsg"].tolist() == [32632, 32643]
    assert benchmark.protocol == "leave-one-area-out"
    for area in benchmark.test_areas():
        assert len(benchmark.outlines(area, use="landform")) == 1
        # a landform without an extended outline, and a marker without any
        ignored = benchmark.outlines(area, use="ignore").to_crs(int(benchmark.grid(area).epsg))
        assert sorted(name[-1] for name in ignored["id"]) == ["2", "9"]
        circle = ignored[ignored["id"].str.endswith("9")].geometry.iloc[0]
        assert circle.area == pytest.approx(np.pi * 150**2, rel=0.01)


def test_a_file_an_area_is_scored_by_area_and_together(tmp_path):
    benchmark = rogi_benchmark(made_rogi(tmp_path / "rogi.gpkg"))
    maps = tmp_path / "maps"
    maps.mkdir()
    right = benchmark.outlines("valley-a", use="landform")
    right.to_file(maps / "valley-a.gpkg", engine="pyogrio")
    wrong = right.set_geometry(right.geometry.translate(64.0, -10.0 + 0.009))
    wrong.to_file(maps / "valley-b.gpkg", engine="pyogrio")
    found = score_map(maps, benchmark)
    assert found["areas"]["valley-a"]["object_f1"] == 1
    assert found["areas"]["valley-b"]["object_f1"] == 0
    assert found["all"]["object_f1"] == pytest.approx(0.5)
    total = sum(np.array(part["confusion"]) for part in found["areas"].values())
    assert found["all"]["confusion"] == total.tolist()
    assert found["paired"]["blocks"] > 20
    assert list(score_map(maps, benchmark, areas=["valley-a"])["areas"]) == ["valley-a"]


def test_a_file_without_the_layers_is_refused(tmp_path):
    path = tmp_path / "other.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(path, engine="pyogrio")
    with pytest.raises(InputError, match="no layer AOI"):
        rogi_benchmark(path)
    with pytest.raises(InputError, match=r"10\.5281/zenodo\.14501398"):
        rogi_benchmark(tmp_path / "none.gpkg")


# the synthetic pair


@pytest.mark.parametrize("size_km", [(0, 0), (1, -1), (float("nan"), 9)])
def test_a_pair_of_basins_too_small_for_landforms_is_refused(tmp_path, size_km):
    with pytest.raises(InputError, match=r"a basin of .* km"):
        write_synthetic(tmp_path / "pair", size_km=size_km, scenes=False)
    assert not (tmp_path / "pair").exists()


def test_the_truth_of_the_unseen_basin_scores_one_and_talus_is_known(tmp_path):
    made = write_synthetic(tmp_path / "pair", size_km=(4, 3), scenes=False)
    benchmark = read_benchmark(tmp_path / "pair")
    assert benchmark.test_areas() == ["unseen"]
    truth = made.outlines("unseen", use="landform")
    assert len(truth) > 0
    truth.to_file(tmp_path / "truth.gpkg", engine="pyogrio")
    found = score_map(tmp_path / "truth.gpkg", benchmark)["areas"]["unseen"]
    assert found["iou_rock_glacier"] > 0.99
    assert found["object_f1"] == 1
    everything = gpd.GeoDataFrame(geometry=[benchmark.ground("unseen")], crs=4326)
    everything.to_file(tmp_path / "all.gpkg", engine="pyogrio")
    rows = score_map(tmp_path / "all.gpkg", benchmark)["areas"]["unseen"]["errors_by_ground"]
    kinds = {row["ground"]: row for row in rows}
    assert kinds["talus"]["false_alarm_rate"] == 1
    assert kinds["rock glacier"]["landform"] > 0.9 * kinds["rock glacier"]["pixels"]
    shares = [row["share_of_false_alarms"] for name, row in kinds.items() if name != "all"]
    assert sum(share for share in shares if share) == pytest.approx(1, abs=1e-4)


def test_a_map_across_the_antimeridian_is_scored_as_anywhere(tmp_path):
    epsg, west, north = 32660, 636_050, 7_300_000  # 180 E, in the middle of a landform

    def ground(y0, x0, y1, x1):
        return shapely.box(west + PX * x0, north - PX * y1, west + PX * x1, north - PX * y0)

    def degrees(shape):
        return projected(shape, epsg=4326, source_epsg=epsg)

    area = ground(0, 0, SIZE, SIZE)
    crossing = degrees(area).bounds
    assert crossing[2] - crossing[0] > 359
    landform = ground(40, 10, 80, 110)
    table = {"area": ["a"], "id": ["rg"], "use": ["landform"]}
    benchmark = Benchmark(
        name="far",
        version="1",
        title="far east and far west",
        protocol="held-out",
        resolution=PX,
        areas=area_table([area_row("a", degrees(area), epsg=epsg)]),
        reference=gpd.GeoDataFrame(table, geometry=[degrees(landform)], crs=4326),
        rules=Rules(block_px=32),
    )
    write_benchmark(benchmark, tmp_path / "far")
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[40:80, 10:110] = 1
    at = Affine(PX, 0, west, 0, -PX, north)
    raster = write_raster(tmp_path / "map.tif", image, crs=epsg, transform=at)
    gpd.GeoDataFrame(geometry=[landform], crs=epsg).to_file(tmp_path / "map.gpkg")
    for path in (raster, tmp_path / "map.gpkg"):
        part = score_map(path, read_benchmark(tmp_path / "far"))["areas"]["a"]
        assert (part["object_precision"], part["object_recall"]) == (1, 1), path.name
        assert part["objects"]["n_a"] == 1
        assert np.diag(part["confusion"]).sum() > 0.95 * SIZE**2
