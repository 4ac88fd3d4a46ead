"""A study and its area: bad input and its messages."""

import geopandas as gpd
import pytest
import shapely

from made_study import study_in
from rockglacier.config import parse_config
from rockglacier.errors import InputError, NotFoundError
from rockglacier.study import Study, area_of_bbox, open_study, read_area

SQUARE = shapely.box(74.0, 36.0, 74.1, 36.1)
BOW_TIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


def write(path, geometry, crs="EPSG:4326"):
    gpd.GeoDataFrame(geometry=geometry, crs=crs).to_file(path)
    return str(path)


def test_area_in_another_crs_is_transformed(tmp_path):
    projected = gpd.GeoSeries([SQUARE], crs=4326).to_crs(32643)
    area = read_area(write(tmp_path / "a.gpkg", list(projected), crs=32643))
    assert area.symmetric_difference(SQUARE).area < 1e-4 * SQUARE.area


def test_area_of_nothing_but_empty_polygons_is_refused(tmp_path):
    path = write(tmp_path / "a.gpkg", [shapely.Polygon()])
    with pytest.raises(InputError, match=r"1 feature\(s\) and no polygon"):
        read_area(path)
    path = write(tmp_path / "b.gpkg", [SQUARE, shapely.Polygon()])
    assert read_area(path).equals(SQUARE)


def test_area_that_crosses_itself_is_refused(tmp_path):
    path = write(tmp_path / "a.gpkg", [BOW_TIE])
    with pytest.raises(InputError, match="Self-intersection"):
        read_area(path)


@pytest.mark.parametrize("bbox", [(75, 36, 74, 37), (74, 37, 75, 36), (74, 36, 275, 37)])
def test_bbox_that_is_no_box_on_the_globe_is_refused(bbox):
    with pytest.raises(InputError, match="west, south, east, north"):
        area_of_bbox(bbox)


def test_folder_of_another_basin_is_refused(tmp_path):
    first = study_in(tmp_path)
    first.claim()
    config = first.config.model_copy(update={"name": "there", "output": "here"})
    with pytest.raises(InputError, match="products of basin 'here'"):
        Study(config=config, base=tmp_path).claim()


def test_folder_with_foreign_files_is_refused(tmp_path):
    study = study_in(tmp_path)
    study.folder.mkdir()
    (study.folder / "thesis.docx").touch()
    with pytest.raises(InputError, match="did not write"):
        study.claim()
    assert [path.name for path in study.folder.iterdir()] == ["thesis.docx"]


def test_missing_product_names_the_stage_that_makes_it(tmp_path):
    study = study_in(tmp_path)
    with pytest.raises(NotFoundError, match="rockglacier cube"):
        study.require(study.cube_path, stage="cube")
    with pytest.raises(NotFoundError, match="rockglacier search"):
        _ = study.grid


def test_relative_paths_are_meant_from_the_file(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\narea: sub/area.gpkg\n")
    study = open_study(tmp_path / "x.yaml")
    assert study.resolve("sub/area.gpkg") == str(tmp_path / "sub" / "area.gpkg")
    assert study.resolve("https://host/a.gpkg") == "https://host/a.gpkg"
    assert study.folder == tmp_path / "x"


def test_output_may_be_in_an_object_store(tmp_path):
    config = parse_config(
        {
            "name": "there",
            "area": [74.0, 36.0, 74.1, 36.1],
            "output": f"memory://{tmp_path.name}/x",
        },
        source="test",
    )
    study = Study(config=config, base=tmp_path)
    assert str(study.cube_path) == f"memory://{tmp_path.name}/x/cube.zarr"
    study.claim()
    study.claim()
    assert (study.folder / "study.yaml").is_file()
    with pytest.raises(NotFoundError, match="rockglacier cube"):
        study.require(study.cube_path, stage="cube")
    with pytest.raises(InputError, match="products of basin 'there'"):
        Study(config=config.model_copy(update={"name": "elsewhere"}), base=tmp_path).claim()


@pytest.mark.parametrize("output", [None, "deep/products", "{here}/products"])
def test_the_record_beside_products_opens_the_study_that_left_it(tmp_path, output):
    given = output and output.format(here=tmp_path)
    study = study_in(tmp_path, output=given)
    study.claim()
    (study.folder / "receipts").mkdir()
    again = open_study(study.folder / "study.yaml")
    assert again.folder == study.folder
    if output != "{here}/products":
        assert again.base == tmp_path
    moved = study.folder.rename(tmp_path / "moved")
    assert open_study(moved / "study.yaml").folder == moved


def test_a_studys_own_file_may_have_the_name_of_a_record(tmp_path):
    study = study_in(tmp_path)
    study.claim()
    (study.folder / "receipts").mkdir()
    (tmp_path / "study.yaml").write_text((study.folder / "study.yaml").read_text())
    assert open_study(tmp_path / "study.yaml").folder == study.folder
