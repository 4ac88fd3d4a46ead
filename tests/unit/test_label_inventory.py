"""Inventories as others write them: formats, code pages, spellings, overlaps."""

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely

from made_reference import label_study
from rockglacier.errors import InputError
from rockglacier.grid import geodesic_area_km2
from rockglacier.labels.burn import label_basin
from rockglacier.labels.columns import named_columns
from rockglacier.labels.reference import read_ground, read_reference

AREA = shapely.box(74.0, 36.0, 74.1, 36.06)
LANDFORM = shapely.box(74.02, 36.02, 74.03, 36.03)
OTHER = shapely.box(74.05, 36.02, 74.06, 36.03)


def write(path, shapes, crs=4326, **columns):
    table = gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    return str(path)


def shifted(shape, dx, dy=0.0):
    return shapely.affinity.translate(shape, dx, dy)


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson", "shp"])
@pytest.mark.parametrize("epsg", [4326, 32643, 3857])
def test_every_format_and_crs_is_the_same_ground(tmp_path, suffix, epsg):
    solid = shapely.force_3d(shapely.MultiPolygon([LANDFORM, OTHER]), 4200.0)
    shapes = gpd.GeoSeries([solid], crs=4326).to_crs(epsg)
    path = write(tmp_path / f"r.{suffix}", list(shapes), crs=epsg, name=["a"])
    table = read_reference(path, area=AREA)
    assert table.crs.to_epsg() == 4326
    assert not table.geometry.has_z.any()
    assert len(shapely.get_parts(table.geometry[0])) == 2
    expected = shapely.union(LANDFORM, OTHER)
    assert table.geometry[0].symmetric_difference(expected).area < 1e-3 * expected.area


@pytest.mark.parametrize(("code_page", "python"), [("UTF-8", "utf-8"), ("1252", "cp1252")])
def test_a_shapefile_is_read_in_the_code_page_of_its_cpg(tmp_path, code_page, python):
    path = tmp_path / "r.shp"
    table = gpd.GeoDataFrame({"Typ": ["Größe", "other"]}, geometry=[LANDFORM, OTHER], crs=4326)
    pyogrio.write_dataframe(table, path, encoding=python)
    path.with_suffix(".cpg").write_text(code_page)
    read = read_reference(str(path), area=AREA, where={"Typ": ("Größe",)})
    assert read["action"].tolist() == ["kept", "filtered"]


@pytest.mark.parametrize("spelling", ["OutType", "Out.Type", "OUT_TYPE", "Out. Type"])
def test_a_filter_finds_every_spelling_of_an_rgik_column(tmp_path, spelling):
    path = write(tmp_path / "r.gpkg", [LANDFORM, OTHER], **{spelling: ["Extended", "Restricted"]})
    table = read_reference(path, area=AREA, where={"OutType": ("Extended",)})
    assert table["action"].tolist() == ["kept", "filtered"]
    assert "OutType" in table.columns


def test_columns_of_another_name_are_told_by_the_settings(tmp_path):
    path = write(tmp_path / "r.gpkg", [LANDFORM, OTHER], sure=["certain", "uncertain"])
    columns, where = {"certainty": "sure"}, {"certainty": ("certain",)}
    table = read_reference(path, area=AREA, where=where, columns=columns)
    assert table["action"].tolist() == ["kept", "filtered"]
    with pytest.raises(InputError, match=r"no column 'shure'(.|\n)*did you mean 'sure'"):
        read_reference(path, area=AREA, where=where, columns={"certainty": "shure"})


def test_two_columns_that_could_be_one_are_left_as_they_are():
    table = gpd.GeoDataFrame(
        {"Out.Type": ["a"], "out_type": ["b"], "Acti.Cl.": ["Active"]}, geometry=[LANDFORM]
    )
    named = named_columns(table, {}, uri="r.gpkg")
    assert list(named.columns) == ["Out.Type", "out_type", "ActiCl", "geometry"]


def test_a_name_of_ours_that_is_another_column_is_refused():
    table = gpd.GeoDataFrame({"OutType": ["a"], "kind": ["b"]}, geometry=[LANDFORM])
    with pytest.raises(InputError, match="is there too"):
        named_columns(table, {"OutType": "kind"}, uri="r.gpkg")


def test_shared_ground_belongs_to_the_larger_one(tmp_path):
    small = shapely.box(74.028, 36.022, 74.034, 36.028)
    path = write(tmp_path / "r.gpkg", [small, LANDFORM, OTHER])
    table = read_reference(path, area=AREA)
    assert table["used"].all()
    assert table.geometry[1].equals(LANDFORM)
    assert table.geometry[0].intersection(LANDFORM).area == 0
    shared = geodesic_area_km2(small.intersection(LANDFORM))
    assert table["overlap_km2"].tolist() == pytest.approx([shared, 0, 0], rel=1e-6)
    ground = geodesic_area_km2(shapely.union_all([small, LANDFORM, OTHER]))
    assert table["area_km2"].sum() == pytest.approx(ground, rel=1e-6)


def test_a_chain_of_overlaps_counts_no_ground_twice(tmp_path):
    chain = [shifted(shapely.box(74.02, 36.02, 74.03 - step * 1e-4, 36.03), step * 8e-3)
             for step in range(4)]  # fmt: skip
    table = read_reference(write(tmp_path / "r.gpkg", chain), area=AREA)
    assert table["used"].all()
    ground = geodesic_area_km2(shapely.union_all(chain))
    assert table["area_km2"].sum() == pytest.approx(ground, rel=1e-5)


def test_a_restricted_outline_within_the_extended_one_teaches_nothing_of_its_own(tmp_path):
    inner = LANDFORM.buffer(-1e-3)
    path = write(tmp_path / "r.gpkg", [inner, LANDFORM], OutType=["Restricted", "Extended"])
    table = read_reference(path, area=AREA)
    assert table["action"].tolist() == ["contained", "kept"]
    assert table["used"].tolist() == [False, True]


def test_neighbours_that_touch_keep_their_shape(tmp_path):
    neighbour = shifted(LANDFORM, 0.01)
    table = read_reference(write(tmp_path / "r.gpkg", [LANDFORM, neighbour]), area=AREA)
    assert table["overlap_km2"].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert table["action"].tolist() == ["kept", "kept"]


def test_the_area_that_a_repair_added_or_took_is_told(tmp_path):
    bow_tie = shapely.Polygon([(74.07, 36.02), (74.08, 36.03), (74.08, 36.02), (74.07, 36.03)])
    twice = shapely.MultiPolygon([LANDFORM, shifted(LANDFORM, 5e-3)])
    table = read_reference(write(tmp_path / "r.gpkg", [twice, bow_tie, OTHER]), area=AREA)
    assert table["action"].tolist() == ["repaired", "repaired", "kept"]
    half = geodesic_area_km2(LANDFORM) / 2
    assert table["area_change_km2"].tolist() == pytest.approx(
        [-half, geodesic_area_km2(table.geometry[1]), 0], rel=1e-2
    )


def test_a_ring_without_ground_is_counted(tmp_path):
    line = shapely.Polygon([(74.04, 36.02), (74.045, 36.02), (74.04, 36.02)])
    table = read_reference(write(tmp_path / "r.gpkg", [LANDFORM, line]), area=AREA)
    assert table["action"].tolist() == ["kept", "collapsed"]


def test_polygons_of_a_collection_are_used_and_other_features_are_told(tmp_path, caplog):
    mixed = shapely.GeometryCollection([LANDFORM, shapely.LineString([(74.0, 36.0), (74.1, 36.1)])])
    path = write(tmp_path / "r.geojson", [mixed, OTHER, shapely.Point(74.01, 36.01)])
    table = read_reference(path, area=AREA)
    assert table["used"].tolist() == [True, True]
    assert table.geometry[0].equals(LANDFORM)
    assert "1 of 3 features are no polygon" in caplog.text


def test_ground_of_other_things_is_read_where_it_touches_the_area(tmp_path, caplog):
    path = write(tmp_path / "g.gpkg", [LANDFORM, shifted(LANDFORM, 10)])
    assert len(read_ground(path, area=AREA, what="glaciers")) == 1
    far = write(tmp_path / "f.gpkg", [shifted(LANDFORM, 10)])
    assert not read_ground(far, area=AREA, what="glaciers")
    assert "touches the area" in caplog.text


def rgik(path, *, markers=("Active", "Relict")):
    """Write a file with the layers of a published inventory."""
    name = "PERMAFROST_ROGI_ALL-AREAS_{}_2025"
    ids = ["RGU360250N0740250E", "RGU360250N0740550E"]
    layers = {
        "AOI": ([AREA], {"name": ["here"]}),
        "PM": ([LANDFORM.centroid, OTHER.centroid], {"PrimaryID": ids, "Acti.Cl.": markers}),
        "MA": ([LANDFORM.buffer(-2e-3)], {"PrimaryID": ids[:1], "VelClass": ["dm"]}),
        "GO": ([LANDFORM, OTHER], {"PrimaryID": ids, "Out.Type": ["Extended", "Extended"]}),
    }
    for layer, (shapes, columns) in layers.items():
        table = gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)
        table.to_file(path, layer=name.format(layer))
    return str(path)


def test_the_outlines_of_a_published_inventory_are_read_and_not_its_area(tmp_path, caplog):
    table = read_reference(rgik(tmp_path / "r.gpkg"), area=AREA)
    assert table["OutType"].tolist() == ["Extended", "Extended"]
    assert table.geometry[0].equals(LANDFORM)
    assert "layers of polygons" not in caplog.text


def test_outlines_are_filtered_by_what_their_markers_say(tmp_path):
    path = rgik(tmp_path / "r.gpkg")
    where = {"OutType": ("Extended",), "ActiCl": ("Active", "Transitional")}
    table = read_reference(path, area=AREA, where=where)
    assert table["action"].tolist() == ["kept", "filtered"]
    assert table["ActiCl"].tolist() == ["Active", "Relict"]
    with pytest.raises(InputError, match=r"no column 'Certainty'"):
        read_reference(path, area=AREA, where={"Certainty": ("certain",)})


def test_markers_that_disagree_say_nothing(tmp_path):
    path = rgik(tmp_path / "r.gpkg")
    again = gpd.GeoDataFrame(
        {"PrimaryID": ["RGU360250N0740250E"], "ActiCl": ["Relict"]},
        geometry=[LANDFORM.centroid],
        crs=4326,
    )
    layer = "PERMAFROST_ROGI_ALL-AREAS_PM_2025"
    markers = gpd.read_file(path, layer=layer).rename(columns={"Acti.Cl.": "ActiCl"})
    gpd.GeoDataFrame(pd.concat([markers, again])).to_file(path, layer=layer)
    table = read_reference(path, area=AREA, where={"ActiCl": ("Active", "Relict")})
    assert table["action"].tolist() == ["filtered", "kept"]


def test_a_layer_can_be_named_and_a_choice_is_told(tmp_path, caplog):
    path = tmp_path / "r.gpkg"
    gpd.GeoDataFrame(geometry=[LANDFORM], crs=4326).to_file(path, layer="north")
    gpd.GeoDataFrame(geometry=[OTHER], crs=4326).to_file(path, layer="south")
    assert read_reference(str(path), area=AREA).geometry[0].equals(LANDFORM)
    assert "'north' is read; labels.layer names another one" in caplog.text
    assert read_reference(str(path), area=AREA, layer="south").geometry[0].equals(OTHER)
    with pytest.raises(InputError, match=r"no layer 'west'(.|\n)*north, south"):
        read_reference(str(path), area=AREA, layer="west")


def test_the_layer_of_the_settings_is_burnt(tmp_path):
    path = tmp_path / "r.gpkg"
    gpd.GeoDataFrame(geometry=[LANDFORM], crs=4326).to_file(path, layer="north")
    gpd.GeoDataFrame(geometry=[OTHER], crs=4326).to_file(path, layer="south")
    study = label_study(tmp_path, reference=str(path), layer="south", columns={})
    label_basin(study)
    assert gpd.read_parquet(study.label_table_path).geometry[0].equals(OTHER)


@pytest.mark.real
@pytest.mark.parametrize("name", ["rgi_oetztal.shp", "everest_15_rgi60_glacier_outlines.gpkg"])
def test_real_outlines_are_read_whole(shared_data, name):
    path = next(shared_data.rglob(name))
    table = gpd.read_file(path)
    area = shapely.box(*table.to_crs(4326).total_bounds)
    read = read_reference(str(path), area=area)
    assert len(read) == len(table)
    assert read["used"].sum() > 0.9 * len(table)
    assert read.geometry.is_valid.all()
    used = read[read["used"]]
    ground = geodesic_area_km2(shapely.union_all(used.geometry.to_numpy()))
    assert used["area_km2"].sum() == pytest.approx(ground, rel=1e-6)
