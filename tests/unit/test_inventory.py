"""The inventory stage on a small basin."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
import zarr

from rockglacier.config import parse_config
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.grid import Grid, Window
from rockglacier.inventory.schema import COLUMNS
from rockglacier.inventory.tables import build_inventory
from rockglacier.run import require_files, run_stages, standings
from rockglacier.scenes.record import write_table
from rockglacier.stages import Context, stage_named
from rockglacier.storage import write_json
from rockglacier.study import Study

AREA = (74.500, 36.100, 74.520, 36.115)


class GivenModel:
    threshold = 0.5
    fingerprint = "abc123"


def square(y, x, height, width):
    return Window(y=y, x=x, height=height, width=width)


LARGE, SMALL = square(20, 20, 30, 40), square(80, 20, 5, 5)


def study_with(tmp_path, *landforms, **settings):
    """A study whose prediction holds rectangles of probability 0.9 on sloping ground."""
    values = {"name": "toy", "area": AREA, **settings}
    study = Study(config=parse_config(values, source="test"), base=tmp_path)
    grid = Grid.from_area(study.area, epsg=32643, resolution=10, block=64)
    write_json(study.grid_path, grid.to_dict())
    write_json(
        study.selection_path, {"network": "hrnet", "trial": 1, "threshold": 0.5, "path": "x"}
    )
    probability = np.full(grid.shape, 5, np.uint8)
    for window in landforms:
        probability[window.slices] = 90
    store(study.prediction_path / "prediction.zarr", probability=probability)
    rows = np.arange(grid.shape[0], dtype=np.float32)[:, None]
    ground = np.broadcast_to(5000 - 5 * rows, grid.shape)
    looks = np.zeros((1, *grid.shape), np.uint8)
    store(
        study.cube_path,
        elevation=ground,
        slope=np.full(grid.shape, 26.6, np.float32),
        aspect=np.full(grid.shape, 180, np.float32),
        n_snow=looks,
        n_shadow=looks,
    )
    return study


def store(path, **arrays):
    group = zarr.open_group(path, mode="w")
    for name, values in arrays.items():
        group.create_array(name, data=np.ascontiguousarray(values))


def store_into(path, **arrays):
    group = zarr.open_group(path, mode="r+")
    for name, values in arrays.items():
        group.create_array(name, data=values, overwrite=True)


def with_reference(study, *windows, actions=None):
    grid = study.grid
    boxes = [shapely.box(*grid.window_geobox(window).boundingbox.bbox) for window in windows]
    table = gpd.GeoDataFrame(
        {"label_id": [f"L{k}" for k in range(len(boxes))], "action": actions or "kept"},
        geometry=gpd.GeoSeries(boxes, crs=grid.epsg),
        crs=grid.epsg,
    )
    table["used"] = table["action"] == "kept"
    table.to_crs(4326).to_parquet(study.label_table_path)


def with_splits(study, column):
    """Train west of a pixel column, test east of it."""
    grid = study.grid
    height, width = grid.shape
    cells = [square(0, 0, height, column), square(0, column, height, width - column)]
    gpd.GeoDataFrame(
        {
            "split": ["train", "test"],
            "row0": 0,
            "col0": [0, column],
            "height": height,
            "width": [column, width - column],
        },
        geometry=[shapely.box(*grid.window_geobox(cell).boundingbox.bbox) for cell in cells],
        crs=grid.epsg,
    ).to_parquet(study.splits_path)


def read(study):
    return gpd.read_parquet(study.inventory_path / "inventory.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A study with one landform, its inventory made; to read, not to change."""
    publish = {"license": "CC-BY-4.0"}
    study = study_with(tmp_path_factory.mktemp("built"), LARGE, SMALL, publish=publish)
    return study, build_inventory(study)


def test_landforms_become_rows_with_every_column(built):
    study, facts = built
    table = read(study)
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert facts["objects"] == len(table) == 1
    assert facts["dropped_small"] == 1
    row = table.iloc[0]
    assert row["area_km2"] == pytest.approx(0.12, rel=0.01)
    assert row["pixels"] == 1200
    assert row["elevation_max_m"] == 4900
    assert row["elevation_min_m"] == 4755
    assert (row["length_m"], row["width_m"]) == (pytest.approx(300), pytest.approx(400))
    assert row["candidate_id"].startswith("RGC361")
    assert not row["truncated"]
    assert table.crs.to_epsg() == 4326
    assert table.geometry.is_valid.all()


def test_a_model_claims_no_more_than_it_knows(built):
    study, _ = built
    row = read(study).iloc[0]
    assert row["status"] == "candidate"
    assert (row["OutType"], row["ActiCl"], row["KinAtt"]) == ("Extended", "uncertain", "undefined")
    assert (row["UpslCon"], row["Complet"]) == ("unknown", "unclear")
    unknown = ["PrimaryID", "certainty", "reviewer", "review_date", "RelFr", "RelIndex", "ActiAss"]
    assert row[unknown].isna().all()
    assert row["model_id"] == "toy/hrnet/trial-1"
    assert (row["split"], row["train_share"]) == ("unseen", 0)


def test_landform_at_the_edge_or_beside_nodata_is_truncated(tmp_path):
    edge, beside, free = square(60, 0, 30, 20), square(100, 100, 20, 20), LARGE
    study = study_with(tmp_path, edge, beside, free)
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    group["probability"][100:120, 120:122] = 255
    build_inventory(study)
    table = read(study).sort_values("pixels")
    assert table["truncated"].tolist() == [True, True, False]
    assert table["truncated_by"].iloc[0] == "data"
    assert "grid" in table["truncated_by"].iloc[1]
    assert table["truncated_by"].isna().iloc[2]
    assert table["Complet"].tolist() == ["incomplete", "incomplete", "unclear"]


def test_landform_outside_the_area_is_dropped_and_counted(tmp_path):
    area = gpd.GeoDataFrame(
        geometry=[shapely.Polygon([(74.5, 36.1), (74.52, 36.1), (74.52, 36.115)])], crs=4326
    )
    area.to_file(tmp_path / "area.gpkg")
    study = study_with(tmp_path, square(10, 10, 20, 20), square(120, 120, 20, 20), area="area.gpkg")
    facts = build_inventory(study)
    assert (facts["objects"], facts["dropped_outside"]) == (1, 1)
    assert facts["read_bytes"] > 0
    files = [path for path in study.inventory_path.rglob("*") if path.is_file()]
    assert facts["written_bytes"] == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("reference", [False, True])
def test_no_landform_gives_empty_tables_with_every_column(built, tmp_path, reference):
    full, empty = built[0], study_with(tmp_path)
    if reference:
        with_reference(empty, LARGE)
    facts = build_inventory(empty)
    assert (facts["objects"], facts["area_km2"]) == (0, 0)
    assert facts.get("reference") == (1 if reference else None)
    files = [study.inventory_path / "inventory.parquet" for study in (full, empty)]
    schemas = [pq.read_schema(file).remove_metadata() for file in files]
    assert schemas[0] == schemas[1]
    package = empty.inventory_path / "inventory.gpkg"
    assert {name for name, _ in pyogrio.list_layers(package)} == {
        "outlines",
        "aoi",
        "markers",
        "moving_areas",
        "layer_styles",
        *(("reference", "matches") if reference else ()),
    }
    assert set(COLUMNS) < set(gpd.read_file(package, layer="outlines").columns)
    header = (empty.inventory_path / "hypsometry.csv").read_text()
    assert header == "candidate_id,band_from_m,band_to_m,thousandths\n"


def test_hypsometry_has_a_thousand_thousandths_a_landform(tmp_path):
    study = study_with(tmp_path, LARGE, square(90, 100, 20, 20))
    build_inventory(study)
    table = pd.read_csv(study.inventory_path / "hypsometry.csv")
    sums = table.groupby("candidate_id")["thousandths"].sum()
    assert sums.to_dict() == dict.fromkeys(read(study)["candidate_id"], 1000)


def test_threshold_of_the_settings_goes_before_that_of_the_model(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"threshold": 0.95})
    assert build_inventory(study)["objects"] == 0
    study = study_with(tmp_path / "b", LARGE)
    assert build_inventory(study, bundle=GivenModel())["threshold"] == 0.5
    assert read(study)["model_id"].tolist() == ["bundle-abc123"]


def test_reference_is_matched_on_all_and_on_held_out_ground(tmp_path):
    far = square(30, 110, 30, 30)
    study = study_with(tmp_path, LARGE, far)
    with_reference(study, LARGE, far, square(100, 110, 20, 20))
    with_splits(study, 80)
    facts = build_inventory(study)
    assert (facts["reference"], facts["matched"]) == (3, 2)
    assert (facts["test_reference"], facts["test_matched"], facts["test_objects"]) == (2, 1, 1)
    scores = json.loads((study.inventory_path / "matches.json").read_text())
    assert scores["test"]["iou_0.5"]["recall"] == 0.5
    assert scores["train"]["iou_0.5"]["recall"] == 1
    links = pd.read_parquet(study.inventory_path / "matches.parquet")
    assert sorted(links["relation"]) == ["matched", "matched", "only_in_b"]
    table = read(study).set_index("split")
    assert table["train_share"].to_dict() == {"train": 1.0, "test": 0.0}


def test_unused_reference_polygons_are_not_missed(tmp_path):
    study = study_with(tmp_path, LARGE)
    with_reference(study, LARGE, square(100, 110, 20, 20), actions=["kept", "duplicate"])
    assert build_inventory(study)["reference"] == 1


def test_candidate_on_a_filtered_reference_polygon_is_not_judged(tmp_path):
    far = square(100, 110, 20, 20)
    study = study_with(tmp_path, LARGE, far)
    with_reference(study, LARGE, far, actions=["kept", "filtered"])
    assert build_inventory(study)["objects"] == 2
    scores = json.loads((study.inventory_path / "matches.json").read_text())
    assert scores["left_out"]["ignored_a"] == 1
    assert scores["all"]["iou_0.5"]["precision"] == 1


def test_given_model_has_seen_no_ground(tmp_path):
    study = study_with(tmp_path, LARGE)
    with_splits(study, 80)
    build_inventory(study, bundle=GivenModel())
    assert read(study)["split"].tolist() == ["unseen"]


def test_second_run_keeps_the_ids(tmp_path):
    study = study_with(tmp_path, LARGE)
    build_inventory(study)
    before = read(study)["candidate_id"].tolist()
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    group["probability"][20:50, 60:70] = 90
    group["probability"][90:120, 100:130] = 90
    facts = build_inventory(study)
    assert (facts["objects"], facts["kept_ids"]) == (2, 1)
    assert before[0] in read(study)["candidate_id"].tolist()


def test_second_run_writes_the_same_table(tmp_path):
    study = study_with(tmp_path, LARGE, square(90, 100, 30, 30))
    build_inventory(study)
    before = (study.inventory_path / "inventory.parquet").read_bytes()
    facts = build_inventory(study)
    assert (study.inventory_path / "inventory.parquet").read_bytes() == before
    assert facts["edited_kept"] is None


def test_edited_geopackage_is_set_aside(tmp_path):
    study = study_with(tmp_path, LARGE)
    build_inventory(study)
    package = study.inventory_path / "inventory.gpkg"
    table = gpd.read_file(package, layer="outlines")
    table["status"] = "confirmed"
    table.to_file(package, layer="outlines", driver="GPKG")
    facts = build_inventory(study)
    assert facts["edited_kept"] == "inventory-edited-1.gpkg"
    kept = gpd.read_file(study.inventory_path / facts["edited_kept"], layer="outlines")
    assert kept["status"].tolist() == ["confirmed"]
    assert gpd.read_file(package, layer="outlines")["status"].tolist() == ["candidate"]


def test_geoparquet_says_its_version_crs_and_boxes(built):
    study, _ = built
    metadata = pq.read_metadata(study.inventory_path / "inventory.parquet")
    geo = json.loads(metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"]["geometry"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert set(column["covering"]["bbox"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.metadata[b"attribution"].startswith(b"Contains modified Copernicus Sentinel")
    assert metadata.metadata[b"title"] == f"Rock glaciers of toy, {study.period.name}".encode()
    assert metadata.metadata[b"license"] == b"CC-BY-4.0"
    assert b"with a tolerance of 10 m" in metadata.metadata[b"outlines"]
    assert len(gpd.read_parquet(study.inventory_path / "inventory.parquet"))


def test_rows_lie_along_a_hilbert_curve(tmp_path):
    squares = [square(y, x, 8, 8) for y in (8, 31, 47, 92) for x in (9, 33, 58, 91)]
    study = study_with(tmp_path, *squares, inventory={"min_area_km2": 0.001})
    build_inventory(study)
    distance = read(study).to_crs(study.grid.epsg).geometry.hilbert_distance()
    assert len(distance) == 16
    assert distance.is_monotonic_increasing


def test_geopackage_holds_the_layers_of_an_rgik_inventory(built):
    study, _ = built
    package = study.inventory_path / "inventory.gpkg"
    kinds = dict(pyogrio.list_layers(package).tolist())
    assert kinds == {
        "outlines": "MultiPolygon",
        "aoi": "MultiPolygon",
        "markers": "Point",
        "moving_areas": "MultiPolygon",
        "layer_styles": None,
    }
    outlines, markers = (gpd.read_file(package, layer=name) for name in ("outlines", "markers"))
    assert outlines.geometry.contains(markers.geometry).all()
    assert markers["candidate_id"].tolist() == outlines["candidate_id"].tolist()
    assert package.read_bytes()[60:64] == (10300).to_bytes(4, "big")
    told = pyogrio.read_info(package, layer="outlines")["dataset_metadata"]
    assert "Copernicus" in told["attribution"]
    assert "Candidates" in told["summary"]
    assert told["license"] == "CC-BY-4.0"
    assert "with a tolerance of 10 m" in told["outlines"]
    with closing(sqlite3.connect(package)) as data:
        (text,) = data.execute(
            "SELECT metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON md_file_id = id "
            "WHERE reference_scope = 'geopackage'"
        ).fetchone()
    assert "CC-BY-4.0" in text
    assert "Copernicus" in text


def test_duckdb_reads_the_inventory(built):
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install duckdb")
    study, _ = built
    path = study.inventory_path / "inventory.parquet"
    table = gpd.read_parquet(path)
    west = table.total_bounds[0]
    found = (
        duckdb.read_parquet(str(path))
        .filter(f"bbox.xmin <= {west}")
        .select("candidate_id, area_km2, geometry, typeof(geometry)")
        .fetchall()
    )
    expected = table[table.bounds["minx"] <= west]
    assert [row[:2] for row in found] == list(
        zip(expected["candidate_id"], expected["area_km2"], strict=True)
    )
    assert shapely.from_wkb([bytes(row[2]) for row in found]).tolist() == list(expected.geometry)
    assert "WGS 84" in found[0][3]
    told = duckdb.sql("select key, value from parquet_kv_metadata(?)", params=[str(path)])
    assert dict(told.fetchall())[b"license"] == b"CC-BY-4.0"


def test_missing_prediction_says_which_stage_makes_it(tmp_path):
    study = study_with(tmp_path, LARGE)
    shutil.rmtree(study.prediction_path)
    with pytest.raises(NotFoundError, match=r"(?s)no 'prediction.zarr'.*stage `predict`.*run"):
        build_inventory(study)


def test_no_threshold_anywhere_is_refused(tmp_path):
    study = study_with(tmp_path, LARGE)
    study.selection_path.unlink()
    with pytest.raises(NotFoundError, match=r"(?s)no threshold.*expected.*inventory.threshold"):
        build_inventory(study)


def test_prediction_of_another_type_is_refused(tmp_path):
    study = study_with(tmp_path, LARGE)
    store(study.prediction_path / "prediction.zarr", probability=np.zeros((4, 4), np.float32))
    with pytest.raises(ContractError, match=r"(?s)not an array of uint8.*uint8 percent"):
        build_inventory(study)


def test_outlines_reach_down_to_the_low_threshold_and_over_small_holes(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"threshold_low": 0.3, "fill_holes_km2": 0.001})
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    group["probability"][50:55, 20:60] = 35
    group["probability"][30:33, 30:33] = 255
    build_inventory(study)
    row = read(study).iloc[0]
    assert row["pixels"] == 1200 + 200
    assert row["area_km2"] == pytest.approx(0.14, rel=0.01)
    assert row["probability_mean"] == pytest.approx((1191 * 0.9 + 200 * 0.35) / 1391)
    assert row["valid_share"] == pytest.approx(1391 / 1400)


def test_changes_are_listed_by_version(tmp_path):
    study = study_with(tmp_path, LARGE)
    assert build_inventory(study)["version"] == 1
    assert build_inventory(study)["version"] == 1
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    group["probability"][20:50, 34:36] = 5
    assert build_inventory(study)["version"] == 2
    changes = pd.read_csv(study.inventory_path / "CHANGES.csv")
    assert changes.groupby("version")["change"].apply(list).to_dict() == {
        1: ["new"],
        2: ["split", "split"],
    }
    table = read(study).sort_values("pixels")
    first = changes["candidate_id"].iloc[0]
    assert table["candidate_id"].iloc[1] == first
    assert table["replaces"].iloc[0] == first
    assert pd.isna(table["replaces"].iloc[1])
    told = changes[changes["version"] == 2].set_index("candidate_id")["area_km2"]
    areas = table.set_index("candidate_id")["area_km2"].round(6)
    assert told.sort_index().to_dict() == areas.sort_index().to_dict()
    build_inventory(study)
    assert read(study).sort_values("pixels")["replaces"].iloc[0] == first


def test_run_stopped_before_its_inventory_was_written_adds_no_second_version(tmp_path):
    study = study_with(tmp_path, LARGE)
    build_inventory(study)
    before = (study.inventory_path / "inventory.parquet").read_bytes()
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    group["probability"][20:50, 34:36] = 5
    assert build_inventory(study)["version"] == 2
    changes = (study.inventory_path / "CHANGES.csv").read_text()
    (study.inventory_path / "inventory.parquet").write_bytes(before)
    assert build_inventory(study)["version"] == 2
    assert (study.inventory_path / "CHANGES.csv").read_text() == changes


def test_landform_of_two_periods_has_one_name_and_counts_both(tmp_path):
    one = study_with(tmp_path, LARGE, search={"start": "2021-01-01", "end": "2021-12-31"})
    build_inventory(one)
    far = square(100, 100, 20, 20)
    two = study_with(tmp_path, LARGE, far, search={"start": "2024-01-01", "end": "2024-12-31"})
    build_inventory(two)
    table = read(two).sort_values("pixels")
    assert table["n_periods_found"].tolist() == [1, 2]
    assert table["candidate_id"].iloc[1] == read(one)["candidate_id"].iloc[0]


def test_each_period_of_a_cube_has_an_inventory_that_counts_all(tmp_path):
    years = {"start": "2023-01-01", "end": "2024-12-31"}
    study = study_with(tmp_path, LARGE, search=years, cube={"periods": "years"})
    first, second = study.each_period()
    far = square(100, 100, 20, 20)
    probability = np.full(study.grid.shape, 5, np.uint8)
    for window in (LARGE, far):
        probability[window.slices] = 90
    store(second.prediction_path / "prediction.zarr", probability=probability)
    looks = np.zeros((2, *study.grid.shape), np.uint8)
    snow = looks.copy()
    snow[1] = 3
    store_into(study.cube_path, n_snow=snow, n_shadow=looks)
    facts = stage_named("inventory").work(study, Context())
    assert (facts["period"], facts["objects"]) == ("2023", 1)
    assert facts["periods"]["2024"]["objects"] == 2
    one, two = read(first), read(second).sort_values("pixels")
    assert (one["period"].tolist(), set(two["period"])) == (["2023"], {"2024"})
    assert one["n_periods_found"].tolist() == [2]
    assert two["n_periods_found"].tolist() == [1, 2]
    assert one["candidate_id"].iloc[0] == two["candidate_id"].iloc[1]
    assert (one["snow_share"].tolist(), two["snow_share"].tolist()) == ([0], [1, 1])
    package = gpd.read_file(first.inventory_path / "inventory.gpkg", layer="outlines")
    assert package["n_periods_found"].tolist() == [2]
    before = {p: p.read_bytes() for p in study.folder.glob("inventory/*/inventory.parquet")}
    again = stage_named("inventory").work(study, Context())
    assert {p: p.read_bytes() for p in before} == before
    assert [facts["edited_kept"] for facts in again["periods"].values()] == [None, None]


def test_overlaps_become_columns_and_reasons_to_review(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"overlaps": {"glaciers": "ice.gpkg"}})
    grid = study.grid
    ice = shapely.box(*grid.window_geobox(square(20, 20, 15, 40)).boundingbox.bbox)
    gpd.GeoDataFrame(geometry=[ice], crs=grid.epsg).to_file(tmp_path / "ice.gpkg")
    assert build_inventory(study)["to_review"] == 1
    row = read(study).iloc[0]
    assert row["glaciers_share"] == pytest.approx(0.5, abs=0.01)
    assert (row["review_reason"], row["review_rank"]) == ("glacier", 1)
    package = gpd.read_file(study.inventory_path / "inventory.gpkg", layer="outlines")
    assert package["glaciers_share"].iloc[0] == row["glaciers_share"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlaps": {"rivers": "lost.gpkg"}}, r"inventory.overlaps.rivers.*lost.gpkg"),
        ({"domains": "lost.yaml"}, r"no template of RGIK values .*lost.yaml"),
    ],
)
def test_files_that_are_not_there_are_told_before_anything_is_measured(tmp_path, settings, message):
    study = study_with(tmp_path, LARGE, inventory=settings)
    told = set()
    with pytest.raises(InputError, match=message):
        build_inventory(study, progress=lambda what, done, total: told.add(what))
    assert "outlines: measured" not in told
    with pytest.raises(InputError, match=r"no file '.*lost"):
        require_files(study, [stage_named("inventory")])


def test_overlap_with_the_name_of_a_column_is_refused(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"overlaps": {"snow": "ice.gpkg"}})
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(tmp_path / "ice.gpkg")
    with pytest.raises(InputError, match=r"(?s)column 'snow_share' of its own.*other names"):
        build_inventory(study)


def test_tables_say_where_landforms_sit_whatever_the_blocks(tmp_path):
    east = square(20, 100, 30, 40)
    study = study_with(tmp_path, LARGE, east)
    with_reference(study, LARGE, square(90, 100, 20, 20))
    with_splits(study, 80)
    light, shadow = np.full(study.grid.shape, 0.9, np.float32), np.zeros(study.grid.shape, np.uint8)
    shadow[east.slices] = 1
    store_into(study.cube_path, illumination=light, cast_shadow=shadow)
    build_inventory(study)
    folder = study.inventory_path / "tables"
    table = pd.read_csv(folder / "elevation.csv").set_index("from_m")
    # rows 20 to 49 fall from 4900 to 4755 m, 5 m a row: 20 rows are below 4800 m or more
    pixel = 1e-4
    assert table["found_km2"].sum() == pytest.approx(2400 * pixel, rel=2e-3)
    assert table.loc[4700, "found_km2"] == pytest.approx(9 * 80 * pixel, rel=2e-3)
    assert table["unseen_km2"].sum() == pytest.approx(1200 * pixel, rel=2e-3)
    assert table.loc[4500, "recall"] == 0
    assert table.loc[4800, "recall"] == 1
    aspects = pd.read_csv(folder / "aspect_area.csv").set_index("sector")
    assert aspects.loc["S", "found_percent"] == 100
    assert pd.read_csv(folder / "aspect_landforms.csv")["n"].tolist()[4] == 2
    lit = pd.read_csv(folder / "illumination.csv").set_index("light")
    assert lit["n"][lit["n"] > 0].to_dict() == {"cast shadow": 1, "0.8-1.0": 1}
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    names = {"elevation", "aspect_area", "aspect_landforms", "slope", "illumination"}
    assert set(texts) == {f"{name}.csv" for name in names}
    whole = study.grid.to_dict() | {"block": 2048}
    write_json(study.grid_path, whole)
    build_inventory(Study(config=study.config, base=study.base))
    assert {path.name: path.read_text() for path in folder.iterdir()} == texts


def test_tables_are_given_with_the_filter_of_elevations_too(tmp_path):
    study = study_with(tmp_path, LARGE, train={"elevation": [4800, 6000]})
    folder = study.inventory_path / "tables"
    build_inventory(study)
    inside = pd.read_csv(folder / "elevation_filtered.csv").set_index("from_m")
    whole = pd.read_csv(folder / "elevation.csv").set_index("from_m")
    assert whole.index.min() < inside.index.min() == 4800
    assert inside.loc[4800, "found_km2"] == whole.loc[4800, "found_km2"] > 0
    build_inventory(study_with(tmp_path, LARGE))
    assert not (folder / "elevation_filtered.csv").exists()


def test_water_is_estimated_only_where_it_is_asked_for(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"hydrology": {}})
    facts = build_inventory(study)
    table = pd.read_csv(study.inventory_path / "water.csv")
    assert table["candidate_id"].tolist() == read(study)["candidate_id"].tolist()
    assert table["water_low_m3"].iloc[0] < table["water_high_m3"].iloc[0]
    assert facts["water_at_most_km3"] == pytest.approx(table["water_high_m3"].sum() / 1e9, abs=1e-6)
    plain = study_with(tmp_path, LARGE)
    assert "water_at_most_km3" not in build_inventory(plain)
    assert not (study.inventory_path / "water.csv").exists()
    assert not (study.inventory_path / "water.json").exists()


def test_inventory_is_stale_when_a_file_that_it_lay_over_changes(tmp_path):
    study = study_with(tmp_path, LARGE, inventory={"overlaps": {"glaciers": "ice.gpkg"}})
    ice = gpd.GeoDataFrame(geometry=[shapely.box(74.5, 36.1, 74.51, 36.11)], crs=4326)
    ice.to_file(tmp_path / "ice.gpkg")
    (study.folder / "study.yaml").write_text("name: toy")
    stages = [stage_named("inventory")]
    run_stages(study, stages, Context())
    assert standings(study, stages, Context())[0].state == "done"
    pd.concat([ice, ice]).to_file(tmp_path / "ice.gpkg")
    standing = standings(study, stages, Context())[0]
    assert standing.state == "stale"
    assert "ice.gpkg" in standing.why


def test_doubts_of_an_ensemble_are_measured_and_reviewed_first(tmp_path):
    sure, doubted = square(20, 20, 30, 40), square(60, 20, 20, 40)
    study = study_with(tmp_path, sure, doubted)
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    shape = study.grid.shape
    spread, agreement = np.full(shape, 2, np.uint8), np.full(shape, 100, np.uint8)
    spread[doubted.slices], agreement[doubted.slices] = 18, 67
    spread[doubted.y, doubted.x], agreement[doubted.y, doubted.x] = 255, 255
    group.create_array("spread", data=spread)
    group.create_array("agreement", data=agreement)
    record = {"model_id": "toy/all", "threshold": 0.6, "out_of_fold": False}
    write_json(study.prediction_record_path, record)
    facts = build_inventory(study)
    table = read(study).sort_values("pixels")
    assert facts["threshold"] == 0.6
    assert set(table["model_id"]) == {"toy/all"}
    np.testing.assert_allclose(table["spread_mean"], [0.18, 0.02])
    np.testing.assert_allclose(table["agreement"], [0.67, 1])
    first, second = table["review_reason"].fillna("")
    assert "disagreement" in first
    assert "disagreement" not in second
    assert table["review_rank"].tolist() == [1, 2]


def test_one_network_alone_has_no_doubts(built):
    table = read(built[0])
    assert table["agreement"].isna().all()
    assert table["spread_mean"].isna().all()


def test_what_was_predicted_out_of_fold_counts_as_held_out(tmp_path):
    study = study_with(tmp_path, LARGE)
    with_splits(study, study.grid.shape[1])
    build_inventory(study)
    assert read(study)["split"].tolist() == ["train"]
    folds = gpd.read_parquet(study.splits_path).assign(fold=0)
    folds["split"] = ["test", "train"]
    write_table(folds, study.folder / "folds.parquet")
    record = {"model_id": "toy/out-of-fold", "threshold": 0.5, "out_of_fold": True}
    write_json(study.prediction_record_path, record)
    build_inventory(study)
    assert read(study)["split"].tolist() == ["test"]
    assert read(study)["train_share"].tolist() == [0]
