"""A study in an object store is published, checked, deposited, exported and looked at there."""

import threading
import zipfile

import geopandas as gpd
import pytest
import requests
import shapely

from rockglacier.cube.published import PublishedCube
from rockglacier.errors import InputError
from rockglacier.inventory.export import export_qgis
from rockglacier.labels.reference import read_reference
from rockglacier.publish import deposit, publish
from rockglacier.report.serve import serving
from rockglacier.storage import listing, local_copy, put, read_bytes, upload, write_text
from rockglacier.study import Study, read_area
from rockglacier.validation.target import validate_target
from rockglacier_stac.catalogs import open_catalog
from rockglacier_stac.search import Query


@pytest.fixture
def far(s3, make_products):
    """A study whose products lie in the store."""
    near = make_products(license="CC-BY-4.0")
    upload(near.folder, s3 / "far")
    config = near.config.model_copy(update={"output": str(s3 / "far")})
    return Study(config=config, base=near.base)


def assert_valid(place, number):
    verdicts = validate_target(str(place))
    assert [verdict for verdict in verdicts if not verdict.is_valid] == []
    assert len(verdicts) > number


def test_a_study_in_a_store_is_published_and_deposited_there(far):
    assert publish(far)["changed"] > 4
    assert publish(far)["changed"] == 0
    assert_valid(far.folder, 10)
    cube = PublishedCube.read(str(far.stac_path / "cubes/hunza-2024-cube.json"))
    assert cube.open()["elevation"].shape == far.grid.shape
    for name in ("catalog.json", "items.parquet"):
        found = open_catalog(str(far.stac_path / name)).search(Query("rock-glacier-inventories"))
        items = {item["id"]: item for item in found}
        assert set(items) == {"hunza-2024-inventory", "hunza-2024-labels"}
        address = items["hunza-2024-inventory"]["assets"]["inventory"]["href"]
        assert address == str(far.inventory_path / "inventory.parquet")
    folder = deposit(far)
    assert folder == far.folder / "deposit"
    assert_valid(folder, 8)
    assert "Outlines: " in (folder / "methods.md").read_text()
    assert not (folder / "cube.zarr").exists()


def test_a_large_study_in_a_store_is_published_with_every_part(s3, make_products, monkeypatch):
    monkeypatch.setattr("rockglacier.prediction.cog.LARGEST", 128)
    near = make_products(license="CC-BY-4.0")
    upload(near.folder, s3 / "large")
    config = near.config.model_copy(update={"output": str(s3 / "large")})
    study = Study(config=config, base=near.base)
    publish(study)
    assert_valid(study.folder, 10)
    folder = deposit(study)
    assert_valid(folder, 10)
    held = {path.name for path in listing(folder / "predictions" / "2024")}
    corners = [(y, x) for y in (0, 128) for x in (0, 128)]
    for name in ("probability", "classes"):
        assert held >= {f"{name}.vrt", *(f"{name}-{y}-{x}.tif" for y, x in corners)}
    files = {path.name: path for path in export_qgis(study, study.folder / "export" / "qgis")}
    with local_copy(files["hunza-2024.qgz"]) as copy, zipfile.ZipFile(copy) as archive:
        (name,) = archive.namelist()
        source = archive.read(name).decode()
    assert "predictions/2024/probability.vrt" in source


def test_an_inventory_in_a_store_becomes_a_project_there(far):
    package, project = export_qgis(far, far.folder / "export")
    with local_copy(package) as copy:
        assert len(gpd.read_file(copy, layer="outlines"))
    with local_copy(project) as copy, zipfile.ZipFile(copy) as archive:
        (name,) = archive.namelist()
        text = archive.read(name).decode()
    assert f"./{package.name}|layername=outlines" in text
    assert f"/vsis3/{far.folder.bucket}/{far.folder.object_name}/predictions" in text


def test_a_report_in_a_store_is_looked_at_here(far):
    write_text(far.report_path, "<!doctype html><p>ü")
    raster = far.prediction_path / "classes.tif"
    data = read_bytes(raster)
    with serving(far.folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            root = f"http://127.0.0.1:{server.server_port}/"
            page = requests.get(root, timeout=20)
            address = root + raster.relative_to(far.folder).as_posix()
            part = requests.get(address, headers={"Range": "bytes=100-299"}, timeout=20)
            missing = requests.get(f"{root}../secret", timeout=20)
        finally:
            server.shutdown()
    assert page.content.decode() == "<!doctype html><p>ü"
    assert (part.status_code, part.content) == (206, data[100:300])
    assert missing.status_code == 404


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".parquet", ".geojson"])
def test_outlines_that_people_bring_may_lie_in_a_store(s3, tmp_path, suffix):
    shape = shapely.box(74.0, 36.0, 74.1, 36.1)
    table = gpd.GeoDataFrame({"name": ["ü"]}, geometry=[shape], crs=4326)
    write = table.to_parquet if suffix == ".parquet" else table.to_file
    write(tmp_path / f"a{suffix}")
    for path in listing(tmp_path, ""):
        if path.stem == "a":
            put(path, s3 / "in" / path.name)
    address = str(s3 / "in" / f"a{suffix}")
    assert shapely.equals(read_area(address), shape)
    assert list(read_reference(address, area=shape)["name"]) == ["ü"]
    with pytest.raises(InputError, match="there is no file 's3://"):
        read_area(str(s3 / "in" / f"b{suffix}"))


def test_markers_beside_outlines_in_a_store_count(s3, tmp_path):
    shape = shapely.box(74.0, 36.0, 74.1, 36.1)
    marked = {"PrimaryID": ["a"]}
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(marked, geometry=[shape], crs=4326).to_file(path, layer="outlines")
    markers = gpd.GeoDataFrame(
        {**marked, "activity": ["active"]}, geometry=[shape.centroid], crs=4326
    )
    markers.to_file(path, layer="markers", mode="a")
    put(path, s3 / "a.gpkg")
    found = read_reference(str(s3 / "a.gpkg"), area=shape, where={"activity": ("active",)})
    assert list(found["used"]) == [True]
