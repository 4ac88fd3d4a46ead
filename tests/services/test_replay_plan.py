"""`plan` with each provider: recorded items from a server with its manners, signed its way.

Only pixels are made up: a clear classification, and bands of which only the header is read.
"""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from rasterio.transform import Affine
from shapely.geometry import shape
from typer.testing import CliRunner

from rockglacier.cli import app
from rockglacier.errors import InputError
from rockglacier.scenes.record import read_dem_tiles, read_scenes
from rockglacier_stac.providers import PROVIDERS
from rockglacier_stac.sign import Tokens, sign, unsigned

spec = importlib.util.spec_from_file_location("replay", Path(__file__).with_name("replay.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

ROOT = Path(__file__).parents[2]
ES, PC = "earth-search-v1", "planetary-computer"
CASES = {
    "earth-search": (
        f"{ES}/sentinel-2-c1-l2a_13TDE_10items.json", f"{ES}/cop-dem-glo-30_10items.json",
        "2024-04-01", 32613, (module.QUERY,), 5,
    ),
    "planetary-computer": (
        f"{PC}/sentinel-2-l2a_4items.json", f"{PC}/cop-dem-glo-30_4items.json",
        "2024-04-01", 32647, (module.QUERY, module.FILTER), 5,
    ),
    "cdse": (
        "cdse-v1/sentinel-2-l2a_alps_32TNT_32TMT_2020_4items.json",
        f"{ES}/cop-dem-glo-30_10items.json", "2020-07-01", 32632, (module.FILTER,), 20,
    ),
}  # fmt: skip
"""Name: scenes, DEM tiles, first day, zone, how it is asked for cloud, and the most cloud."""


class Pixels:
    """Local files for the assets of items, made when they are opened."""

    def __init__(self, folder, items, epsg):
        self.folder, self.epsg, self.opened = folder, epsg, []
        self.assets = {
            unsigned(asset["href"]): asset for item in items for asset in item["assets"].values()
        }

    def path(self, href):
        """As `rockglacier.scenes.asset.gdal_path`; the real signature is kept in ``opened``."""
        self.opened.append(sign(href))
        asset = self.assets[unsigned(href)]
        name = unsigned(href).rpartition("/")[2].rpartition(".")[0]
        path = self.folder / f"{abs(hash(href))}-{name}.tif"
        if not path.exists():
            self._write(path, asset, is_classes="SCL" in name)
        return str(path)

    def _write(self, path, asset, *, is_classes):
        height, width = asset["proj:shape"]
        profile = {
            "driver": "GTiff", "width": width, "height": height, "count": 1, "nodata": 0,
            "dtype": "uint8" if is_classes else "uint16", "crs": f"EPSG:{self.epsg}",
            "transform": Affine(*asset["proj:transform"][:6]), "tiled": True,
            "compress": "deflate", "zlevel": 1, "sparse_ok": True,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as raster:
            if is_classes:
                raster.write(np.full((1, height, width), 5, "uint8"))


def dem_at(item, area, collection):
    """Return a recorded DEM item, moved to another place."""
    west, south = np.floor(area.bounds[:2])
    box = shapely.box(west, south, west + 1, south + 1)
    name = f"Copernicus_DSM_COG_10_N{int(south):02d}_00_E{int(abs(west)):03d}_00_DEM"
    moved = json.loads(json.dumps(item).replace(item["id"], name))
    place = {"geometry": json.loads(shapely.to_geojson(box)), "bbox": list(box.bounds)}
    return {**moved, **place, "collection": collection}


@pytest.fixture(params=CASES)
def planned(request, shared_data, tmp_path, monkeypatch):
    """A study's file, the server that its provider is, and the pixels."""
    name = request.param
    scenes, dems, start, epsg, conformance, cloud = CASES[name]
    items, tiles = (
        json.loads((shared_data / "stac" / file).read_text())["features"] for file in (scenes, dems)
    )
    items = [item for item in items if str(epsg % 100) in item["id"]]
    best = min(items, key=lambda item: item["properties"]["eo:cloud_cover"])
    area = shape(best["geometry"]).representative_point().buffer(0.005).envelope
    dem = dem_at(tiles[0], area, PROVIDERS[name].dem_collection)
    values = yaml.safe_load((ROOT / "pipeline" / "basins" / "hunza.yaml").read_text())
    labels = {"reference": "outlines.gpkg", "split": "strip", "guard": 2}
    values |= {"area": list(area.bounds), "labels": labels}
    values["search"] = {
        "catalog": name, "start": start, "end": f"{start[:4]}-07-31", "season": [1, 12],
        "scene_cloud_max": cloud,
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    outline = gpd.GeoDataFrame(geometry=[area.buffer(-0.002)], crs=4326)
    outline.to_file(tmp_path / "outlines.gpkg")
    (tmp_path / "pixels").mkdir()
    pixels = Pixels(tmp_path / "pixels", items, epsg)
    monkeypatch.setattr("rockglacier.scenes.asset.gdal_path", pixels.path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up-secret")
    with module.replay([*items, dem], conformance=conformance) as server:
        provider = replace(PROVIDERS[name], url=server.url)
        monkeypatch.setitem(PROVIDERS, name, provider)
        monkeypatch.setattr("rockglacier_stac.sign._TOKENS", Tokens(f"{server.url}/token"))
        yield name, tmp_path / "study.yaml", server, pixels, best


def test_plan_runs_with_every_provider(planned):
    name, study, server, pixels, best = planned
    answer = CliRunner().invoke(app, ["plan", str(study), "--steps", "0"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    scenes = read_scenes(study.parent / "hunza" / "scenes.parquet")
    assert best["id"] in {scene.id for scene in scenes}
    assert {scene.basin_clear for scene in scenes} == {100.0}
    assert len(read_dem_tiles(study.parent / "hunza" / "dem.parquet")) == 1
    for scene in scenes:
        assert not any("sig=" in href for href in scene.assets.values())
    if name == "planetary-computer":
        assert set(server.signed) == {"sentinel2l2a01/sentinel2-l2"}
        assert all(address.endswith("?sig=made-up") for address in pixels.opened)
    else:
        assert not server.signed
        scheme = "https://" if name == "earth-search" else "s3://eodata/"
        assert all(address.startswith(scheme) for address in pixels.opened)
    for path in (study.parent / "hunza").rglob("*"):
        if path.is_file():
            for secret in (b"sig=made-up", b"made-up-key", b"made-up-secret"):
                assert secret not in path.read_bytes(), path


@pytest.mark.parametrize("planned", ["cdse"], indirect=True)
def test_plan_without_the_keys_that_a_provider_wants_says_so(planned, monkeypatch, tmp_path):
    _, study, _, pixels, _ = planned
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    answer = CliRunner().invoke(app, ["plan", str(study), "--steps", "0"])
    assert isinstance(answer.exception, InputError)
    assert "need S3 keys" in str(answer.exception)
    assert not pixels.opened
