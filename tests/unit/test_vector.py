"""Files that people bring are opened in one way, and refused in one, whoever reads them."""

import json
import zipfile

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely

from rockglacier.atlas.cut import read_basins
from rockglacier.errors import InputError
from rockglacier.inventory.compare_files import compare_files
from rockglacier.inventory.overlaps import overlap_columns
from rockglacier.labels.reference import read_reference
from rockglacier.storage.vector import read_features
from rockglacier.study import read_area

AREA = shapely.box(74.0, 36.0, 74.1, 36.1)
SQUARE = shapely.box(74.02, 36.02, 74.08, 36.08)


def write(path, *shapes, crs=4326, layer=None, **columns):
    table = gpd.GeoDataFrame(
        {"name": ["a"] * len(shapes), **columns}, geometry=list(shapes), crs=crs
    )
    table.to_file(path, **({"layer": layer} if layer else {}))
    return path


def zipped(folder):
    """Write ``outlines.zip`` with a Shapefile in it, and return its address."""
    write(folder / "inner.shp", SQUARE)
    with zipfile.ZipFile(folder / "outlines.zip", "w") as archive:
        for path in sorted(folder.glob("inner.*")):
            archive.write(path, path.name)
    return f"{folder / 'outlines.zip'}!inner.shp"


READERS = {
    "the area": read_area,
    "the file of basins": lambda uri: read_basins(uri, AREA, name="name"),
    "the reference": lambda uri: read_reference(uri, area=AREA),
    "inventory.overlaps.ice": lambda uri: overlap_columns(
        gpd.GeoSeries([SQUARE], crs=4326).to_crs(32643), {"ice": uri}
    ),
    "inventory A": lambda uri: compare_files(uri, uri),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Files that nobody can use, by what is said of them."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "text.gpkg").write_text("no GeoPackage")
    (folder / "text.parquet").write_text("no Parquet")
    pd.DataFrame({"a": [1]}).to_parquet(folder / "plain.parquet")
    pyogrio.write_dataframe(pd.DataFrame({"name": ["a"]}), folder / "table.gpkg", layer="t")
    with pytest.warns(UserWarning, match="crs"):
        write(folder / "bare.shp", SQUARE, crs=None)
    metres = gpd.GeoSeries([SQUARE], crs=4326).to_crs(32643)
    gpd.GeoDataFrame({"name": ["a"]}, geometry=metres.set_crs(4326, allow_override=True)).to_file(
        folder / "metres.gpkg"
    )
    geojson = json.loads(gpd.GeoSeries([SQUARE, SQUARE], crs=4326).to_json())
    geojson["features"][1]["geometry"]["coordinates"][0][1][0] = float("nan")
    (folder / "nan.geojson").write_text(json.dumps(geojson))
    zipped(folder)
    return folder


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.gpkg", "there is no file .*check the path"),
        ("none.parquet", "there is no file .*check the path"),
        ("text.gpkg", "cannot be read"),
        ("text.parquet", "cannot be read"),
        ("plain.parquet", "cannot be read"),
        ("table.gpkg", "is a table without geometry"),
        ("bare.shp", r"has no CRS.*\.prj"),
        ("metres.gpkg", "says that it is in degrees"),
        ("nan.geojson", r"has coordinates that are no numbers, in feature\(s\) 2\n"),
        ("outlines.zip!none.shp", "cannot be read"),
    ],
)
def test_a_file_that_nobody_can_use_is_refused_alike(faulty, what, name, message):
    with pytest.raises(InputError, match=f"(?s)^{what}.*{message}"):
        READERS[what](str(faulty / name))


@pytest.mark.parametrize("what", [name for name in READERS if "overlaps" not in name])
def test_what_is_no_polygon_is_named(tmp_path, what):
    path = write(tmp_path / "points.gpkg", shapely.Point(74, 36))
    with pytest.raises(InputError, match=rf"{what} .*1 feature\(s\) and no polygon: Point"):
        READERS[what](str(path))


def test_a_layer_that_is_missing_is_told_beside_those_that_are_there(tmp_path):
    path = write(tmp_path / "a.gpkg", SQUARE, layer="north")
    write(path, SQUARE, layer="south")
    with pytest.raises(InputError, match=r"(?s)no layer 'west'.*north, south"):
        read_features(str(path), what="the file", layer="west")
    with pytest.raises(InputError, match=r"(?s)no layer 'west'.*north, south"):
        read_basins(str(path), AREA, name="name", layer="west")


def test_a_shapefile_is_read_from_its_archive(tmp_path):
    address = zipped(tmp_path)
    for path in tmp_path.glob("inner.*"):
        path.unlink()
    assert read_reference(address, area=AREA)["action"].tolist() == ["kept"]
    assert read_area(str(tmp_path / "outlines.zip")).equals(read_area(address))


def test_layers_without_geometry_are_passed_over(tmp_path):
    path = tmp_path / "a.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"note": ["x"]}), path, layer="notes")
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"name": ["a"]}, geometry=[SQUARE], crs=4326), path, layer="b", append=True
    )
    assert read_area(str(path)).equals(SQUARE)


def test_polygons_are_read_though_a_layer_of_points_comes_first(tmp_path, caplog):
    path = write(tmp_path / "a.gpkg", shapely.Point(74.05, 36.05), layer="huts")
    write(path, SQUARE, layer="basin")
    assert read_area(str(path)).equals(SQUARE)
    assert not caplog.records
    write(path, AREA, layer="country")
    assert read_area(str(path)).equals(SQUARE)
    assert "has 2 layers of polygons (basin, country), and 'basin' is read" in caplog.text


@pytest.mark.parametrize(("code_page", "python"), [("UTF-8", "utf-8"), ("1252", "cp1252")])
def test_names_of_basins_are_read_in_the_code_page_of_a_shapefile(tmp_path, code_page, python):
    path = tmp_path / "b.shp"
    table = gpd.GeoDataFrame({"name": ["Größe"]}, geometry=[SQUARE], crs=4326)
    pyogrio.write_dataframe(table, path, encoding=python)
    path.with_suffix(".cpg").write_text(code_page)
    assert read_basins(str(path), AREA, name="name")["name"].tolist() == ["Größe"]


def test_of_a_published_inventory_outlines_are_compared_and_not_its_area(tmp_path):
    theirs = tmp_path / "rogi.gpkg"
    for layer, shape in (("ROGI_AOI_2025", AREA), ("ROGI_MA_2025", AREA), ("ROGI_GO_2025", SQUARE)):
        write(theirs, shape, layer=layer)
    scores = compare_files(str(write(tmp_path / "ours.geojson", SQUARE)), str(theirs)).summary
    assert scores["iou_0.5"]["matched_b"] == 1
    assert scores["area_bias"] == pytest.approx(0, abs=1e-9)
