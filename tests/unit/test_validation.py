"""What `validate` finds in rasters, tables, cubes and catalogs, and what it says to a person."""

import json
import shutil

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import zarr
from typer.testing import CliRunner

from made_products import make_products
from rockglacier.cli import app
from rockglacier.errors import InputError
from rockglacier.inventory.geoparquet import write_geoparquet
from rockglacier.publish import deposit, publish
from rockglacier.validation.cube import cube_findings
from rockglacier.validation.raster import raster_findings
from rockglacier.validation.table import table_findings
from rockglacier.validation.target import validate_target


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A published study, for reading only."""
    study = make_products(tmp_path_factory.mktemp("v"))
    publish(study)
    return study


@pytest.fixture
def copied(made, tmp_path):
    """A copy of its folder, to break."""
    return shutil.copytree(made.folder, tmp_path / "products")


def said(findings):
    return [finding.found for finding in findings]


def wrong(folder):
    return {
        verdict.what: said(verdict.findings)
        for verdict in validate_target(str(folder))
        if not verdict.is_valid
    }


def test_every_product_of_a_study_is_valid(made):
    verdicts = validate_target(str(made.folder))
    assert [verdict for verdict in verdicts if not verdict.is_valid] == []
    kinds = {verdict.what: verdict.kind for verdict in verdicts}
    assert kinds["catalog.json"] == "STAC catalog, 5 item(s)"
    assert kinds["items.parquet"] == "stac-geoparquet"
    assert kinds["../cube.zarr"] == "cube"
    assert kinds["../predictions/2024/probability.tif"] == "COG"
    assert kinds["../inventory/2024/inventory.parquet"] == "Parquet"


@pytest.mark.parametrize(
    "name",
    ["cube.zarr", "predictions/2024/classes.tif", "inventory/2024/inventory.parquet", "stac",
     "stac/catalog.json", ""],
)  # fmt: skip
def test_each_can_be_named_alone(made, name):
    assert all(verdict.is_valid for verdict in validate_target(str(made.folder / name)))


@pytest.mark.parametrize(
    "name", ["nowhere", "study.txt", "receipts", "https://x.example/cube.zarr"]
)
def test_what_cannot_be_checked_is_told(made, name):
    with pytest.raises(InputError, match=r"there is nothing at|cannot be checked over HTTP"):
        validate_target(name if "://" in name else str(made.folder / name))


def test_a_file_that_changed_is_found_by_its_checksum(copied):
    path = copied / "inventory/2024/hypsometry.csv"
    path.write_bytes(path.read_bytes()[::-1])
    (messages,) = wrong(copied).values()
    assert "its content has the checksum 1220" in messages[0]
    assert CliRunner().invoke(app, ["validate", str(copied)]).exit_code == 1
    # of the same size
    assert CliRunner().invoke(app, ["validate", "--quick", str(copied)]).exit_code == 0
    path.write_bytes(path.read_bytes()[:-1])
    assert CliRunner().invoke(app, ["validate", "--quick", str(copied)]).exit_code == 1


def test_an_item_that_describes_another_raster_is_told(copied):
    path = copied / "stac/predictions/hunza-2024-prediction.json"
    item = json.loads(path.read_text())
    item["properties"]["proj:shape"] = [5, 5]
    item["assets"]["classes"]["bands"][0]["nodata"] = 0
    path.write_text(json.dumps(item))
    found = wrong(copied)
    assert "proj:shape [5, 5], the file [192, 256]" in found["../predictions/2024/classes.tif"][0]
    assert "nodata 0, the file 255.0" in found["../predictions/2024/classes.tif"][1]


def test_a_table_of_other_items_is_told(copied):
    path = copied / "stac/items.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert wrong(copied)["items.parquet"] == [f"the table lacks {table.column('id')[0].as_py()}"]


def test_a_deposit_is_checked_by_its_sums(made, tmp_path):
    folder = deposit(made, tmp_path / "deposit")
    assert wrong(folder) == {}
    (folder / "methods.md").write_text("other")
    (folder / "fields.csv").unlink()
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../outside\n")
    found = sorted(message.partition(":")[0] for message in wrong(folder)["SHA256SUMS"])
    assert found == ["../outside", "fields.csv", "methods.md"]


# rasters


def write_raster(path, *, side=1100, **options):
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8"}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    profile |= {"crs": "EPSG:32643", "transform": transform, "nodata": 255, **options}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.arange(side * side, dtype="uint32").reshape(1, side, side) % 251)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": "COG"}, None),
        ({}, "is not tiled"),
        ({"driver": "COG", "overviews": "NONE"}, "recommended to include internal overviews"),
        ({"driver": "COG", "nodata": None}, "no nodata value"),
        ({"driver": "COG", "crs": None}, "no CRS"),
    ],
)
def test_faults_of_a_raster(tmp_path, options, message):
    found = said(raster_findings(str(write_raster(tmp_path / "a.tif", **options))))
    assert any(message in one for one in found) if message else not found


def test_a_raster_that_was_cut_short_is_found(tmp_path):
    path = write_raster(tmp_path / "a.tif", driver="COG")
    path.write_bytes(path.read_bytes()[:-20_000])
    assert "cannot be read" in said(raster_findings(str(path)))[-1]


def test_no_raster_at_all_is_told(tmp_path):
    (tmp_path / "a.tif").write_text("<html></html>")
    for name in ("a.tif", "b.tif"):
        assert "cannot be read" in said(raster_findings(str(tmp_path / name)))[0]


# tables


def places(**options):
    shapes = [shapely.box(x, 36, x + 0.1, 36.1) for x in (74.0, 74.5)]
    return gpd.GeoDataFrame({"id": ["a", "b"]}, geometry=shapes, crs=options.get("crs", 4326))


def rewritten(path, change=lambda geo: None, table=None):
    """Write the table anew with other metadata."""
    held = pq.read_table(path) if table is None else table
    geo = json.loads(held.schema.metadata[b"geo"])
    change(geo)
    pq.write_table(held.replace_schema_metadata({b"geo": json.dumps(geo)}), path)
    return said(table_findings(path))


def column(**fields):
    def change(geo):
        geo["columns"]["geometry"].update(fields)

    return change


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "a.parquet"
    write_geoparquet(places(), path)
    return path


def test_a_good_table_has_no_fault_here_or_as_bytes(table):
    assert said(table_findings(table, rows=2)) == []
    assert said(table_findings(table.read_bytes())) == []
    write_geoparquet(places().iloc[:0], table)
    assert said(table_findings(table)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda geo: geo.update(version="1.0.0"), "GeoParquet '1.0.0'"),
        (lambda geo: geo.update(primary_column="shape"), "cannot be read"),
        (lambda geo: geo.pop("columns"), "cannot be read: KeyError('columns')"),
        (column(crs=None), "its CRS is null"),
        (column(crs={"type": "Nothing"}), "its CRS cannot be read"),
        (column(encoding="point"), "encoding 'point'"),
        (column(covering={"bbox": {"xmin": ["box", "xmin"]}}), "bounding boxes 'box' has no xmin"),
        (column(covering=None), "no column of bounding boxes"),
        (column(geometry_types=["Point"]), "it holds Polygon"),
    ],
)
def test_faults_of_the_metadata(table, change, message):
    assert any(message in one for one in rewritten(table, change))


def test_boxes_of_other_rows_are_found(table):
    held = pq.read_table(table)
    place = held.schema.get_field_index("bbox")
    turned = held.column("bbox").take(pa.array([1, 0]))
    found = rewritten(table, table=held.set_column(place, held.schema.field(place), turned))
    assert found == ["the boxes of 2 of 2 rows do not hold their geometries"]


def test_geometries_that_are_none_are_found(table):
    held = pq.read_table(table)
    place = held.schema.get_field_index("geometry")
    for values, message in (
        ([b"\x01\x02", b""], "cannot be read"),
        ([shapely.Polygon([(74, 36), (75, 37), (75, 36), (74, 37)]).wkb] * 2, "2 of 2 geometries"),
    ):
        other = held.set_column(place, "geometry", pa.array(values))
        assert any(message in one for one in rewritten(table, table=other))


def test_rows_and_plain_files_are_told(table, tmp_path):
    assert said(table_findings(table, rows=3)) == ["the item says 3 row(s), the file has 2"]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    assert said(table_findings(tmp_path / "plain.parquet")) == ["it has no metadata `geo`"]
    assert said(table_findings(tmp_path / "plain.parquet", plain=True)) == []
    (tmp_path / "cut.parquet").write_bytes(table.read_bytes()[:-7])
    assert "cannot be read" in said(table_findings(tmp_path / "cut.parquet"))[0]


# cubes


def array(group, name, **attrs):
    group[name].attrs.update(attrs)


def recreated(group, name, **changed):
    old = group[name]
    options = {
        "shape": old.shape,
        "dtype": old.dtype,
        "fill_value": old.metadata.fill_value,
        "dimension_names": old.metadata.dimension_names,
        "attributes": dict(old.attrs),
        **changed,
    }
    group.create_array(name, overwrite=True, **options)


def other_times(group):
    group["time_bounds"][:] = group["time_bounds"][:][:, ::-1]


def other_x(group):
    group["x"][:] = group["x"][:] + 5


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda g: array(g, "slope", grid_mapping="crs"), "slope has grid_mapping 'crs'"),
        (lambda g: array(g, "spatial_ref", crs_wkt="UTM"), "no crs_wkt that can be read"),
        (lambda g: array(g, "spatial_ref", GeoTransform="1 2"), "has GeoTransform '1 2'"),
        (other_x, "the coordinate x is not that of GeoTransform"),
        (lambda g: array(g, "time", bounds="ends"), "time has bounds 'ends'"),
        (other_times, "time_bounds holds"),
        (lambda g: recreated(g, "slope", fill_value=0.0), "slope has the fill_value"),
        (lambda g: array(g, "reflectance", _FillValue=7), "reflectance has _FillValue 7"),
        (lambda g: recreated(g, "aspect", shape=(4, 4)), "its layers have the shapes"),
        (lambda g: g.attrs.update({"spatial:shape": [1, 1]}), "spatial:shape [1, 1]"),
    ],
)
def test_faults_of_a_cube(copied, break_, message):
    break_(zarr.open_group(str(copied / "cube.zarr"), mode="r+"))
    assert any(message in one for one in said(cube_findings(copied / "cube.zarr")))


def test_chunks_that_do_not_decode_are_found(copied):
    chunks = [path for path in (copied / "cube.zarr/elevation/c").rglob("*") if path.is_file()]
    for path in chunks:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert any("elevation" in one for one in said(cube_findings(copied / "cube.zarr")))


def test_what_is_no_cube_is_told(tmp_path):
    assert "it cannot be opened" in said(cube_findings(tmp_path))[0]
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    (found,) = said(cube_findings(tmp_path / "empty.zarr"))
    assert found == "no array has the dimensions (..., y, x)"


def test_an_item_of_another_cube_is_told(copied):
    path = copied / "stac/cubes/hunza-2024-cube.json"
    item = json.loads(path.read_text())
    del item["properties"]["cube:variables"]["slope"]
    item["properties"]["cube:variables"]["aspect"]["dimensions"] = ["x", "y"]
    item["properties"]["cube:dimensions"]["band"]["values"] = ["B02"]
    path.write_text(json.dumps(item))
    found = wrong(copied)["../cube.zarr"]
    assert [message.partition(" says ")[2].split(" ")[0] for message in found] == [
        "cube:variables", "aspect", "the",
    ]  # fmt: skip


# the command


def test_the_command_prints_a_table_and_what_to_do(copied):
    runner = CliRunner()
    answer = runner.invoke(app, ["validate", str(copied)])
    assert answer.exit_code == 0, answer.output
    assert "../cube.zarr" in answer.output
    (copied / "predictions/2024/classes.tif").write_bytes(b"no raster")
    answer = runner.invoke(app, ["validate", str(copied)])
    assert answer.exit_code == 1
    for word in ("problem(s)", "expected: a GeoTIFF that GDAL reads to its end", "to do:"):
        assert word in answer.output
