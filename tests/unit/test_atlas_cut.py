"""A study a basin from a layer of polygons: names, pieces, both sides of the antimeridian."""

import geopandas as gpd
import pytest
import shapely
import yaml

from rockglacier.atlas.cut import file_name, read_basins, settings_like, write_studies
from rockglacier.atlas.queue import in_order
from rockglacier.errors import InputError
from rockglacier.study import open_study
from rockglacier_stac.globe import cut

AREA = shapely.box(74.0, 36.0, 75.0, 37.0)


@pytest.fixture
def layer(tmp_path):
    def write(names, shapes, *, crs=4326, **columns):
        table = gpd.GeoDataFrame({"name": names, **columns}, geometry=shapes, crs=crs)
        table.to_file(tmp_path / "basins.gpkg")
        return str(tmp_path / "basins.gpkg")

    return write


def test_basins_are_cut_to_the_area_and_those_beside_it_left_out(layer):
    path = layer(
        ["Hunza", "Gilgit", "far", "edge"],
        [
            shapely.box(74.1, 36.1, 74.5, 36.5),
            shapely.box(74.5, 36.1, 76.0, 36.5),
            shapely.box(80, 40, 81, 41),
            shapely.box(74.999, 36.6, 75.5, 36.605),
        ],
    )
    found = read_basins(path, AREA, name="name").set_index("basin")
    assert list(found.index) == ["gilgit", "hunza"]
    assert found.loc["gilgit"].geometry.equals(shapely.box(74.5, 36.1, 75.0, 36.5))
    assert found["area_km2"].between(1500, 2100).all()


def test_polygons_of_one_name_are_one_basin_and_numbers_are_names(layer):
    shapes = [shapely.box(74.1, 36.1, 74.3, 36.3), shapely.box(74.3, 36.1, 74.5, 36.3)]
    path = layer(["a", "b"], shapes, code=[7.0, 7.0], weight=[1, 3])
    found = read_basins(path, AREA, name="code", priority="weight")
    assert found[["basin", "priority"]].values.tolist() == [["7", 3]]
    assert found.geometry.iloc[0].equals(shapely.box(74.1, 36.1, 74.5, 36.3))


def test_basin_across_the_antimeridian_in_a_projected_layer(layer, tmp_path):
    epsg = 32601  # its western edge, at x = 374 km, is the antimeridian
    shape = shapely.box(340_000, 7_500_000, 410_000, 7_560_000)
    path = layer(["Chukotka"], [shape], crs=epsg)
    area = cut(shapely.box(175, 60, 190, 75))
    found = read_basins(path, area, name="name")
    assert found["area_km2"].iloc[0] == pytest.approx(70 * 60, rel=0.01)
    (file,) = write_studies(found, tmp_path / "atlas", {}, source="test")
    west, _, east, _ = open_study(file).area.bounds
    assert (west, east) == (-180.0, 180.0)


@pytest.mark.parametrize(
    ("names", "column", "message"),
    [
        (["Ala", "alá"], "name", "'Ala', 'alá' are all 'ala'"),
        (["a", None], "name", "1 polygon\\(s\\) .* have no name in 'name'"),
        (["a", "b"], "label", "no column 'label'"),
        (["a", "山"], "name", "no letter that a file name can hold"),
    ],
)
def test_names_that_cannot_be_used_are_told(layer, names, column, message):
    shapes = [shapely.box(74.1, 36.1, 74.3, 36.3), shapely.box(74.3, 36.1, 74.5, 36.3)]
    with pytest.raises(InputError, match=message):
        read_basins(layer(names, shapes), AREA, name=column)


def test_area_without_basins_and_layer_without_crs_are_told(layer, tmp_path):
    path = layer(["far"], [shapely.box(80, 40, 81, 41)])
    with pytest.raises(InputError, match="no basin of"):
        read_basins(path, AREA, name="name")
    (tmp_path / "plain.csv").write_text('name,WKT\na,"POLYGON((0 0,1 0,1 1,0 0))"\n')
    with pytest.raises(InputError, match=r"ha(s|ve) no|cannot be read"):
        read_basins(str(tmp_path / "plain.csv"), AREA, name="name")


def test_basins_that_are_too_small_or_share_ground_are_told(layer, caplog):
    shapes = [
        shapely.box(74.1, 36.1, 74.3, 36.3),
        shapely.box(74.2, 36.1, 74.4, 36.3),
        shapely.box(74.4, 36.1, 74.4001, 36.3),
        shapely.box(80, 40, 81, 41),
    ]
    found = read_basins(layer(["a", "b", "sliver", "far"], shapes), AREA, name="name")
    assert list(found["basin"]) == ["a", "b"]
    assert "1 basin(s) have less than 1 km² in the area, and are left out: sliver" in caplog.text
    assert "1 pair(s) of basins share ground, which each of them maps: a and b (20" in caplog.text
    caplog.clear()
    read_basins(
        layer(["a", "c"], [shapes[0], shapely.box(74.3, 36.1, 74.5, 36.3)]), AREA, name="name"
    )
    assert caplog.text == ""


def test_priorities_between_whole_numbers_count(layer, tmp_path):
    shapes = [shapely.box(74.1, 36.1, 74.3, 36.3), shapely.box(74.3, 36.1, 74.5, 36.3)]
    path = layer(["a", "b"], shapes, urgent=[0.2, 0.9])
    files = write_studies(
        read_basins(path, AREA, name="name", priority="urgent"), tmp_path, {}, source="test"
    )
    assert [study.config.name for study in in_order([open_study(file) for file in files])] == [
        "b",
        "a",
    ]


def test_names_as_long_as_no_file_name_can_be_are_cut(layer, tmp_path):
    shapes = [shapely.box(74.1, 36.1, 74.3, 36.3), shapely.box(74.3, 36.1, 74.5, 36.3)]
    found = read_basins(layer(["a" * 300, "b"], shapes), AREA, name="name")
    assert len(write_studies(found, tmp_path / "atlas", {}, source="test")) == 2
    with pytest.raises(InputError, match="are all 'aaa"):
        read_basins(layer(["a" * 300, "a" * 301], shapes), AREA, name="name")


def test_settings_that_files_do_not_take_over_are_told(layer, tmp_path, caplog):
    basins = read_basins(layer(["a"], [shapely.box(74.1, 36.1, 74.5, 36.5)]), AREA, name="name")
    settings = {"search": {"start": "2023-01-01"}}
    write_studies(basins, tmp_path / "atlas", settings, source="like.yaml")
    write_studies(basins, tmp_path / "atlas", settings, source="like.yaml")
    assert caplog.text == ""
    other = {"search": {"start": "2024-01-01"}, "cube": {"block": 512}}
    write_studies(basins, tmp_path / "atlas", other, source="like.yaml")
    assert "keep settings that differ from like.yaml" in caplog.text
    assert "a.yaml (search, cube)" in caplog.text


def test_file_names_never_leave_the_folder():
    assert file_name("../../etc/passwd") == "etc-passwd"
    assert file_name("Ötztal – Süd") == "otztal-sud"


def test_studies_hold_the_settings_and_are_kept(layer, tmp_path):
    path = layer(["Hunza"], [shapely.box(74.1, 36.1, 74.5, 36.5)], weight=[5])
    basins = read_basins(path, AREA, name="name", priority="weight")
    settings = {"search": {"start": "2023-01-01"}, "compute": {"workers": 3}}
    (file,) = write_studies(basins, tmp_path / "atlas", settings, source="test")
    study = open_study(file)
    assert (study.config.name, str(study.config.search.start)) == ("hunza", "2023-01-01")
    assert (study.config.compute.workers, study.config.compute.priority) == (3, 5)
    assert study.area.equals(basins.geometry.iloc[0])
    file.write_text(file.read_text() + "publish: {license: CC-BY-4.0}\n")
    edited = file.read_bytes()
    write_studies(basins, tmp_path / "atlas", {}, source="test")
    assert file.read_bytes() == edited
    moved = basins.set_geometry([shapely.box(74.1, 36.1, 74.5, 36.6)], crs=4326)
    with pytest.raises(InputError, match="holds another outline"):
        write_studies(moved, tmp_path / "atlas", {}, source="test")


def test_wrong_settings_are_told_before_anything_is_written(layer, tmp_path):
    basins = read_basins(layer(["a"], [shapely.box(74.1, 36.1, 74.5, 36.5)]), AREA, name="name")
    with pytest.raises(InputError, match=r"like\.yaml"):
        write_studies(basins, tmp_path / "atlas", {"serch": {}}, source="like.yaml")
    assert not (tmp_path / "atlas").exists()


def test_paths_of_a_model_study_are_meant_from_its_folder(tmp_path):
    values = {
        "name": "hunza",
        "area": "hunza.gpkg",
        "output": "there",
        "search": {"catalog": "planetary-computer", "dem_catalog": "dem/items.parquet"},
        "cube": {"extra": [{"name": "height", "href": "h.tif", "license": "CC0-1.0"}]},
        "labels": {"reference": "labels/all.gpkg"},
        "inventory": {"overlaps": {"glaciers": "https://example.org/rgi.gpkg", "roads": "r.shp"}},
        "compute": {"cluster": "local"},
    }
    (tmp_path / "hunza.yaml").write_text(yaml.safe_dump(values))
    found = settings_like(tmp_path / "hunza.yaml", tmp_path / "runs" / "atlas")
    assert found == {
        "search": {"catalog": "planetary-computer", "dem_catalog": "../../dem/items.parquet"},
        "cube": {"extra": [{"name": "height", "href": "../../h.tif", "license": "CC0-1.0"}]},
        "labels": {"reference": "../../labels/all.gpkg"},
        "inventory": {
            "overlaps": {"glaciers": "https://example.org/rgi.gpkg", "roads": "../../r.shp"}
        },
        "compute": {"cluster": "local"},
    }
    with pytest.raises(InputError, match="no file"):
        settings_like(tmp_path / "none.yaml", tmp_path)
