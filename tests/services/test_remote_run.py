"""The whole pipeline with everything remote equals the one on this disk, and tells no secret."""

import hashlib
import json
import logging
import socket
from datetime import timedelta

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from pystac_client import Client

from rockglacier.cluster import cluster_client
from rockglacier.console import log_to
from rockglacier.cube.published import PublishedCube
from rockglacier.cube.store import LAYERS, open_arrays
from rockglacier.mapping import model_file, study_for_bundle
from rockglacier.model.bundle import read_bundle
from rockglacier.run import run_stages, standings
from rockglacier.stages import STAGES, Context, stages_of
from rockglacier.storage import (
    listing,
    local_copy,
    open_array,
    open_place,
    read_json,
    readable,
    remote,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*not conform to")

ARRAYS = ("labels.zarr/labels", "features/stack.zarr/features")
TOKEN = "made-up-token"  # noqa: S105 - of nothing
SIGNATURE = ("X-Amz-Signature", "AWS4-HMAC-SHA256")
"""What a signed address or request holds."""
FAULTS = {"busy": 0.05, "reset": 0.05, "truncated": 0.04, "lost": 0.01}


@pytest.fixture
def quick(monkeypatch):
    """Little waiting before a request is tried again, and one thread for the network."""
    monkeypatch.setitem(remote.BACKOFF, "init_backoff", timedelta(milliseconds=20))
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_S", 0.01)
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_MAX_S", 0.2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def kept_handlers():
    """Loggers without the handlers that the test adds."""
    loggers = [logging.getLogger(name) for name in ("rockglacier", "rockglacier_stac")]
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


def make_hasten():
    """Return what makes a worker wait little; by value: workers cannot import this module."""

    def hasten():
        from datetime import timedelta

        from rockglacier.scenes import asset
        from rockglacier.storage import remote

        asset.WAIT_S, asset.WAIT_MAX_S = 0.01, 0.2
        remote.BACKOFF["init_backoff"] = timedelta(milliseconds=20)
        remote._open_store.cache_clear()

    return hasten


def table(path, **dropped):
    return gpd.read_parquet(readable(path)).drop(columns=list(dropped))


def pixels(path):
    with local_copy(path) as copy, rasterio.open(copy) as raster:
        return raster.read(), raster.tags(1), raster.colorinterp


def items_of(study):
    return {
        path.stem: read_json(path)
        for folder in listing(study.stac_path)
        if not folder.suffix
        for path in listing(folder, ".json")
        if path.name != "collection.json"
    }


def sources(item):
    return sorted(str(link.get("title")) for link in item["links"] if link["rel"] == "derived_from")


def files_below(folder):
    for name in folder.objects():
        yield open_place(f"s3://{folder.bucket}/{name}")


def assert_same_products(here, there):
    one, other = open_arrays(here.cube_path), open_arrays(there.cube_path)
    for name in LAYERS:
        np.testing.assert_array_equal(other[name][...], one[name][...], err_msg=name)
    for name in ARRAYS:
        first, second = (
            open_array(study.folder.joinpath(*name.split("/"))) for study in (here, there)
        )
        np.testing.assert_array_equal(second[...], first[...], err_msg=name)
    selected = read_json(here.selection_path)["path"]
    first, second = (
        read_json(study.models_path / selected / "model.json") for study in (here, there)
    )
    assert first["weights"] == second["weights"]
    weights = (there.models_path / selected / "model.ckpt").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == first["weights"]
    for name in ("probability.tif", "classes.tif"):
        first, second = (pixels(study.prediction_path / name) for study in (here, there))
        np.testing.assert_array_equal(second[0], first[0])
        assert first[1:] == second[1:]


def assert_same_tables(here, there):
    for name in ("labels.parquet", "splits.parquet", "dem.parquet"):
        first, second = (
            table(study.folder / name, **dict.fromkeys(("href", "self_href"), 1))
            if name == "dem.parquet"
            else table(study.folder / name)
            for study in (here, there)
        )
        pd.testing.assert_frame_equal(first, second)
    first, second = (
        table(study.inventory_path / "inventory.parquet", run_id=1) for study in (here, there)
    )
    assert len(first)
    pd.testing.assert_frame_equal(first, second)
    layers = []
    for study in (here, there):
        with local_copy(study.inventory_path / "inventory.gpkg") as package:
            layers.append(gpd.read_file(package, layer="outlines"))
    pd.testing.assert_frame_equal(*(layer.drop(columns="run_id") for layer in layers))
    names = [path.name for path in listing(here.inventory_path / "tables")]
    assert names
    for name in (*(f"tables/{name}" for name in names), "hypsometry.csv"):
        first, second = ((study.inventory_path / name).read_text() for study in (here, there))
        assert first == second, name


def assert_a_part_is_mapped_the_same(there, basin, collections):
    """Map a part of the basin with the published items of model and cube, as a stranger does."""
    whole = gpd.read_file(basin.area)
    part = whole.to_crs(32643).buffer(-300).to_crs(4326)
    gpd.GeoDataFrame(geometry=part).to_file("part.gpkg")
    bundle = read_bundle(
        model_file(f"{collections}/rock-glacier-models/items/everywhere-2024-unet")
    )
    cube = f"{collections}/rock-glacier-cubes/items/everywhere-2024-cube"
    start, end = PublishedCube.read(cube).days()
    # of a catalog that nobody reaches here: nothing is searched
    search = {"catalog": "earth-search", "start": start, "end": end}
    study = study_for_bundle("part.gpkg", bundle, search=search, cube={"item": cube})
    stages = [s for s in stages_of(study, mapping=True) if s.name not in ("report", "publish")]
    run_stages(study, stages, Context(bundle=bundle))
    (found, *_), (expected, *_) = (
        pixels(one.prediction_path / "probability.tif") for one in (study, there)
    )
    np.testing.assert_array_equal(found, expected)  # of the cube's whole grid
    outlines = table(study.inventory_path / "inventory.parquet")  # cut at the model's threshold
    assert len(outlines)
    assert outlines.intersects(part.union_all()).all()


def test_a_run_with_everything_remote_equals_one_on_this_disk(
    s3, s3_server, fault_proxy, api_proxy, stac_api, remote_run, tmp_path, monkeypatch,
    quick, kept_handlers, caplog,
):  # fmt: skip
    caplog.set_level("INFO")
    basin = remote_run.make_basin(tmp_path / "catalog", size_km=remote_run.SIZE_KM)
    here = remote_run.study_of(basin, catalog=str(basin.items), output="here", base=tmp_path)
    run_stages(here, STAGES, Context())

    remote_run.serve_scenes(basin, s3 / "scenes", stac_api)
    monkeypatch.setenv("STAC_API_TOKEN", TOKEN)
    there = remote_run.study_of(
        basin, catalog=api_proxy.url, output=str(s3 / "there"), base=tmp_path, api=api_proxy.url
    )
    log_to(there.folder / "logs")
    fault_proxy.set(**FAULTS)
    api_proxy.set(busy=0.2, reset=0.1)
    with cluster_client("local", workers=2, study=there) as client:
        client.run(make_hasten())
        run_stages(there, STAGES, Context(client=client))
        told = f"{client.get_worker_logs()}"
    assert sum(fault_proxy.faults.values()) > 50
    assert sum(api_proxy.faults.values()) > 0
    fault_proxy.set()
    api_proxy.set()

    assert {s.state for s in standings(there, STAGES, Context())} == {"done"}
    assert_same_products(here, there)
    assert_same_tables(here, there)
    assert there.report_path.read_text().startswith("<!")
    published, expected = items_of(there), items_of(here)
    assert set(published) == set(expected)
    served = {
        item["id"]: item
        for item in Client.open(stac_api).search(ids=list(expected)).items_as_dicts()
    }
    for name, item in expected.items():
        for other in (published[name], served[name]):
            same = [
                remote_run.without_places({**one, "links": sources(one)}) for one in (item, other)
            ]
            assert same[0] == same[1]

    monkeypatch.chdir(tmp_path)
    assert_a_part_is_mapped_the_same(there, basin, f"{stac_api}/collections")

    for handler in logging.getLogger("rockglacier").handlers:
        handler.flush()
    log = (there.folder / "logs" / "run.log").read_text()
    assert all(f"{stage.name}: done in" in log for stage in STAGES)
    told += caplog.text + json.dumps(served)
    environment = s3_server.environment()
    keys = [environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    secrets = (*keys, TOKEN, *SIGNATURE)
    assert not [secret for secret in secrets if secret in told]
    seen = set()
    for path in files_below(there.folder):
        seen.add(path.relative_to(there.folder).parts[0])
        # nor does what is published tell whose machine it was made on
        private = (str(tmp_path), socket.gethostname()) if "stac" in path.parts else ()
        for text in remote_run.texts_of(path):
            assert not [secret for secret in (*secrets, *private) if secret in text], path
    assert seen >= {"logs", "receipts", "report", "stac", "inventory", "models", "cube.zarr"}
