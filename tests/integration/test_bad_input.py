"""Bad input through the command line: exit code 1, one screen, what was found and what to do."""

import importlib.util
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from rasterio.transform import from_origin

from rockglacier.cli import main
from rockglacier.console import LOGGERS
from rockglacier.mapping import pack_model
from rockglacier.run import run_stages
from rockglacier.stages import Context, stage_named
from rockglacier.storage import lease
from rockglacier.study import open_study

MADE = Path(__file__).parents[1] / "made_catalog.py"
LINES, COLUMNS = 24, 80
"""A screen."""
LANDFORM = (0.35, 0.65)
"""Where the reference lies in the area, as shares of its width and height."""


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("made_catalog", MADE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Here:
    """A folder with a catalog of one good scene, a DEM, an inventory and ``here.yaml``."""

    def __init__(self, made, folder):
        self.made, self.folder = made, folder
        self.catalog = made.Basin(folder)
        cells = made.SIZE // 10
        rows, cols = np.indices((cells, cells))
        self.scene = self.catalog.scene("good", dn=1500 + 40 * (rows % 16) + 5 * (cols % 40))
        self.catalog.dem()
        write_dem(folder / "dem.tif", shapely.box(*made.AREA))
        west, south, east, north = made.AREA
        low, high = LANDFORM
        landform = shapely.box(
            west + low * (east - west),
            south + low * (north - south),
            west + high * (east - west),
            south + high * (north - south),
        )
        write_polygons(folder / "reference.gpkg", [landform])
        self.values = {
            "name": "here",
            "area": list(made.AREA),
            "search": {"catalog": "items.parquet"},
            "cube": {"bands": ["B02", "B04"], "block": 128},
            "labels": {
                "reference": "reference.gpkg",
                "split_block": 64,
                "guard": 0,
                "test_share": 0,
                "validation_share": 0.25,
            },
            "train": {
                "networks": ["unet"],
                "size": "small",
                "chip": 32,
                "batch": 2,
                "epochs": 1,
                "chips_per_epoch": 4,
            },
            "predict": {"window": 32},
        }
        self.write()

    def write(self, **changes):
        """Write items and study; a section's changes are merged into it."""
        self.catalog.write()
        for key, value in changes.items():
            held = self.values.get(key)
            self.values[key] = {**held, **value} if isinstance(value, dict) else value
        (self.folder / "here.yaml").write_text(yaml.safe_dump(self.values))


def write_polygons(path, shapes, crs=4326):
    path.unlink(missing_ok=True)
    gpd.GeoDataFrame(geometry=shapes, crs=crs).to_file(path, geometry_type="Polygon")


def write_dem(path, around):
    step = 1 / 3600
    west, south, east, north = around.buffer(0.03).bounds
    heights = np.add.outer(np.arange(0, 1 + int((north - south) / step)) * 7.0, np.arange(0, 1))
    heights = np.repeat(heights, 1 + int((east - west) / step), axis=1).astype("float32")
    profile = {
        "driver": "GTiff",
        "height": heights.shape[0],
        "width": heights.shape[1],
        "count": 1,
        "dtype": "float32",
        "crs": "EPSG:4326",
        "transform": from_origin(west, north, step, step),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(heights, 1)


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Here(made, tmp_path)


@pytest.fixture(autouse=True)
def logs_end_with_the_test():
    yield
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)


@pytest.fixture
def command(monkeypatch, capsys):
    """A function that runs a command line; returns exit code and what it wrote."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rockglacier", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        return end.value.code, told.out, told.err

    return run


@pytest.fixture
def done(command):
    """A function that runs a command line which has to succeed."""

    def run(*arguments):
        code, out, err = command(*arguments)
        assert code == 0, err
        return out

    return run


@pytest.fixture
def refused(command):
    """A function that runs a command line which has to fail, and returns its message."""

    def run(*arguments):
        code, _, err = command(*arguments)
        return checked(code, err)

    return run


def checked(code, err):
    assert code == 1, err
    err = err[err.index("error: ") :]  # what was warned of stands before it
    assert "  expected: " in err
    assert "  to do:    " in err
    assert "Traceback" not in err
    assert "this is a bug" not in err
    lines = sum(-(-max(len(line), 1) // COLUMNS) for line in err.splitlines())
    assert lines <= LINES, err
    return err


# the catalog


def test_basin_outside_the_catalog(here, refused):
    here.write(area=[10.0, 46.0, 10.1, 46.1])
    said = refused("plan", "here.yaml")
    assert "no scene of 'sentinel-2-c1-l2a' over the area [10.00, 46.00, 10.10, 46.10]" in said
    assert "its items lie within [7" in said
    assert "from 2024-08-01 to 2024-08-01" in said
    assert "check the area (west, south, east, north)" in said


def test_no_scene_under_the_cloud_limit_tells_how_many_and_the_best(here, refused):
    here.scene["properties"]["eo:cloud_cover"] = 71.0
    here.catalog.scene("hazy", cloud=12.3, when="2024-08-06T05:50:00Z")
    here.catalog.scene("winter", cloud=0.0, when="2024-01-15T05:50:00Z")
    here.write()
    said = refused("search", "here.yaml")
    assert "none of the 3 scene(s) over the area can be used: 2 too cloudy, 1 out of season" in said
    assert "less than 5 % cloud" in said
    assert "the best is hazy with 12.3 %" in said
    assert "raise search.scene_cloud_max" in said


def test_unknown_collection_is_answered_with_the_nearest(here, refused):
    here.write(search={"collection": "sentinel-2-l2a"})
    said = refused("search", "here.yaml")
    assert "no collection 'sentinel-2-l2a'" in said
    assert "one of: cop-dem-glo-30, sentinel-2-c1-l2a" in said
    assert "did you mean 'sentinel-2-c1-l2a'?" in said


def test_unknown_catalog(here, refused):
    here.write(search={"catalog": "lost.parquet"})
    assert "lost.parquet" in refused("search", "here.yaml")


def test_asset_missing_in_an_item(here, refused):
    del here.scene["assets"]["red"]
    here.write()
    said = refused("search", "here.yaml")
    assert "item 'good' has no asset for B04" in said
    assert "blue, scl" in said


def test_unreadable_classification(here, refused):
    (here.folder / "good" / "SCL.tif").write_bytes(b"II*\0 and no more")
    said = refused("search", "here.yaml")
    assert "item 'good', asset 'SCL' cannot be read" in said
    assert str(here.folder / "good" / "SCL.tif") in said
    assert "cause:" in said
    assert "on_unreadable: skip" in said


def test_unreadable_band(here, done, refused):
    done("search", "here.yaml")
    path = here.folder / "good" / "B04.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    said = refused("cube", "here.yaml")
    assert "item 'good', asset 'B04' cannot be read" in said
    assert str(path) in said
    assert "on_unreadable: skip" in said


def test_lost_dem_tile(here, done, refused):
    done("search", "here.yaml")
    (here.folder / "dem.tif").unlink()
    said = refused("cube", "here.yaml")
    assert "dem.tif" in said


# the area

BOW_TIE = shapely.Polygon([(75.0, 36.1), (75.1, 36.2), (75.1, 36.1), (75.0, 36.2)])
METRES = shapely.box(500_000, 3_900_000, 505_000, 3_905_000)


@pytest.mark.parametrize(
    ("shapes", "found", "todo"),
    [
        ([], "0 feature(s) and no polygon", "draw the outline"),
        ([shapely.Polygon()], "1 feature(s) and no polygon", "draw the outline"),
        ([BOW_TIE], "Self-intersection[75.05 36.15]", "Fix geometries"),
        ([METRES], "degrees (WGS 84), and lies within 500000", "set its CRS in QGIS"),
    ],
    ids=["no feature", "empty polygon", "crosses itself", "metres said to be degrees"],
)
def test_unusable_area(here, refused, shapes, found, todo):
    write_polygons(here.folder / "area.gpkg", shapes)
    here.write(area="area.gpkg")
    for said in (
        refused("search", "here.yaml"),
        refused("new", "there", "--area", "area.gpkg"),
    ):
        assert found in said
        assert todo in said
        assert "area.gpkg" in said
    assert not (here.folder / "there.yaml").exists()


def test_area_without_crs(here, refused):
    write_polygons(here.folder / "area.shp", [shapely.box(*here.made.AREA)])
    (here.folder / "area.prj").unlink()
    here.write(area="area.shp")
    said = refused("run", "here.yaml")
    assert "area.shp' has no CRS" in said
    assert "Layer > Set CRS" in said


def test_area_in_the_sea(here, refused):
    here.catalog.items[-1]["geometry"] = shapely.geometry.mapping(shapely.box(76, 36, 77, 37))
    here.catalog.items[-1]["bbox"] = [76, 36, 77, 37]
    here.write()
    said = refused("search", "here.yaml")
    assert "no DEM tile of 'cop-dem-glo-30' in the area [75.01, 36.13, 75.02, 36.14]" in said
    assert "an area on land: the sea has no tiles" in said
    assert "search.dem_catalog" in said


def test_missing_area_file(here, refused):
    here.write(area="lost.gpkg")
    said = refused("search", "here.yaml")
    assert "lost.gpkg" in said
    assert "vector file" in said


# the reference


def test_missing_reference_is_told_before_anything_is_built(here, refused):
    here.write(labels={"reference": "lost.gpkg"})
    for command in ("plan", "run"):
        assert "lost.gpkg" in refused(command, "here.yaml")
    assert not (here.folder / "here").exists()


def test_reference_without_overlap(here, done, refused):
    write_polygons(here.folder / "reference.gpkg", [shapely.box(36.1, 75.0, 36.2, 75.1)])
    done("search", "here.yaml")
    said = refused("label", "here.yaml")
    assert "none of the 1 polygons" in said
    assert "they lie within 36.100 75.000 36.200 75.100" in said
    assert "are longitude and latitude swapped?" in said


def test_empty_reference(here, done, refused):
    write_polygons(here.folder / "reference.gpkg", [])
    done("search", "here.yaml")
    assert "labels.complete_within" in refused("label", "here.yaml")


# the model


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """A study trained for one epoch and its packed model."""
    basin = Here(made, tmp_path_factory.mktemp("trained"))
    study = open_study(basin.folder / "here.yaml")
    stages = [stage_named(name) for name in ("search", "cube", "label", "fuse", "train")]
    run_stages(study, stages, Context())
    pack_model(study, basin.folder / "model.rgbundle.zip")
    return basin


def run(arguments, cwd):
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def learned(trained, tmp_path, monkeypatch):
    """A copy of the trained study, to break."""
    shutil.copytree(trained.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def changed(folder, section, **values):
    path = folder / "here.yaml"
    held = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**held, section: {**held.get(section, {}), **values}}))


def test_model_of_bands_that_the_catalog_lacks(made, here, trained, refused):
    del here.scene["assets"]["red"]
    here.write()
    write_polygons(here.folder / "area.gpkg", [shapely.box(*made.AREA)])
    model = trained.folder / "model.rgbundle.zip"
    said = refused("map", "area.gpkg", "--model", model, "--catalog", "items.parquet")
    assert "item 'good' has no asset for B04" in said


def test_model_of_other_bands(learned, done, refused):
    changed(learned, "cube", bands=["B02"])
    for stage in ("search", "cube", "fuse"):
        done(stage, "here.yaml")
    said = refused("predict", "here.yaml")
    assert "a model made for other bands or features" in said
    assert "set cube.bands and features.set to the model's" in said


def test_model_of_other_features(learned, done, refused):
    changed(learned, "features", set="paper-pc1")
    said = refused("fuse", "here.yaml")
    assert "B11" in said
    changed(learned, "features", set="stack")
    path = learned / "here" / "fusion.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "hash": "0123456789abcdef"}))
    said = refused("predict", "here.yaml")
    assert "0123456789abcdef" in said


def test_file_that_is_no_model(here, refused):
    said = refused("map", "reference.gpkg", "--model", "reference.gpkg")
    assert "is not a packed model" in said
    said = refused("map", "reference.gpkg", "--model", "lost.rgbundle.zip")
    assert "no packed model 'lost.rgbundle.zip'" in said
    assert "rockglacier pack" in said


# the output folder


def test_folder_of_another_basin(here, done, refused):
    done("search", "here.yaml")
    here.write(name="there", output="here")
    said = refused("search", "here.yaml")
    assert f"{str(here.folder / 'here')!r} holds the products of basin 'here'" in said
    assert "basin 'there'" in said
    assert "set `output` to another folder" in said


def test_folder_of_somebody_else(here, refused):
    (here.folder / "home").mkdir()
    (here.folder / "home" / "letter.txt").write_text("dear")
    here.write(output="home")
    said = refused("run", "here.yaml")
    assert "holds files that rockglacier did not write" in said
    assert [path.name for path in (here.folder / "home").iterdir()] == ["letter.txt"]


def test_folder_in_use(here, refused):
    with lease(here.folder / "here"):
        said = refused("search", "here.yaml")
    assert f"is in use by process {os.getpid()}" in said
    assert "one run at a time" in said
    assert str(here.folder / "here" / ".lease") in said


def test_folder_under_a_file(here, refused):
    here.write(output="reference.gpkg/products")
    said = refused("search", "here.yaml")
    assert "reference.gpkg" in said
    assert "set `output` to another folder" in said


def test_folder_that_may_not_be_written(here):
    (here.folder / "here").mkdir()
    (here.folder / "here").chmod(0o555)
    command = [str(Path(sys.executable).with_name("rockglacier")), "search", "here.yaml"]
    if os.geteuid() == 0:
        # root may write anywhere, unless it gives that up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("tests run as root, and there is no setpriv to drop its privileges")
        command = [setpriv, "--inh-caps=-all", "--bounding-set=-all", *command]
    answer = run(command, cwd=here.folder)
    said = checked(answer.returncode, answer.stderr)
    assert f"cannot write to {str(here.folder / 'here')!r}" in said or "Permission denied" in said
    assert "mend its permissions" in said


# the disk


@pytest.fixture
def full(here):
    """A function that makes a file of the study one on a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def fill(name):
        path = here.folder / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/full")

    return fill


@pytest.mark.parametrize(
    ("stage", "file"),
    [("search", ".study.yaml.partial"), ("search", ".grid.json.partial")],
)
def test_full_disk(here, done, refused, full, stage, file):
    done("search", "here.yaml")
    full(file)
    said = refused(stage, "here.yaml")
    assert f"the disk of {str(here.folder / 'here')!r} is full" in said
    assert "finished blocks are kept" in said


@pytest.fixture
def on_small_disk():
    """A function that runs a command with a folder on a small disk of its own."""
    unshare = shutil.which("unshare")
    if unshare is None or run([unshare, "-rm", "true"], "/").returncode:
        pytest.skip("this system lets nobody mount a small disk")

    def small(folder, *, size, first="true", arguments):
        script, place = Path(sys.executable).with_name("rockglacier"), shlex.quote(str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        mount = f"mount -t tmpfs -o size={size} none {place}"
        steps = f"{mount} && {first} && {shlex.quote(str(script))} {arguments}"
        answer = run([unshare, "-rm", "sh", "-c", steps], Path.cwd())
        # libtiff speaks of a full disk by itself
        lines = [line for line in answer.stderr.splitlines() if not line.startswith("_tiff")]
        return checked(answer.returncode, "\n".join(lines))

    return small


def test_disk_too_small_for_the_cube(here, done, on_small_disk):
    done("search", "here.yaml")
    here.write(output="small/here")
    said = on_small_disk(
        here.folder / "small", size="300k", first="cp -r here small/", arguments="cube here.yaml"
    )
    assert f"MB free at {str(here.folder / 'small' / 'here')!r}; the cube needs 0.3 MB" in said
    assert "a folder on a larger disk" in said


def test_disk_that_fills_while_rasters_are_written(learned, on_small_disk):
    said = on_small_disk(
        learned / "here" / "predictions", size="120k", arguments="predict here.yaml"
    )
    assert f"the disk of {str(learned / 'here' / 'predictions' / '2024')!r} is full" in said
    assert "finished blocks are kept" in said
