"""Prediction by workers in processes of their own: same bits, models read once, none sent."""

import pickle

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
import zarr

from made_study import grid_of, study_in
from rockglacier.errors import InputError
from rockglacier.model.networks import make_network
from rockglacier.prediction.ground import prediction_of
from rockglacier.prediction.infer import predict
from rockglacier.prediction.store import store_path
from rockglacier.prediction.work import PredictWork
from rockglacier.scenes.record import write_table
from rockglacier.storage import write_json

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (260, 300)
CHANNELS = ("brightness", "slope")


def make_study(folder, *, gpu=0):
    grid = grid_of(SHAPE)
    study = study_in(
        folder,
        grid,
        train={"networks": ["unet"], "size": "small", "trials": 2},
        predict={"window": 64, "batch": 4, "ensemble": "trials"},
        compute={"gpu": gpu},
    )
    write_json(study.fusion_path, {"channels": CHANNELS, "hash": "f1"})
    values = np.random.default_rng(0).normal(0, 1000, (2, *SHAPE)).astype(np.int16)
    values[:, :40, :30] = -32768
    group = zarr.open_group(study.features_path, mode="w", attributes={"fusion": "f1"})
    group.create_array("features", data=values, chunks=(2, 128, 128))
    for trial in range(2):
        torch.manual_seed(trial)
        network = make_network("unet", size="small", channels=2)
        place = study.models_path / "unet" / f"trial-{trial}"
        settings = {
            "network": "unet", "size": "small", "channels": list(CHANNELS), "fusion": "f1",
            "threshold": 0.5, "temperature": 1.0, "trial": trial,
        }  # fmt: skip
        write_json(place / "model.json", settings)
        torch.save(network.state_dict(), place / "model.ckpt")
    write_json(study.selection_path, {"network": "unet", "trial": 0, "path": "unet/trial-0"})
    labels = zarr.create_group(study.labels_path)
    labels.create_array("labels", data=(values[0] > 500).astype(np.uint8), chunks=(128, 128))
    cell = {"split": "validation", "row0": 64, "col0": 0, "height": 64, "width": SHAPE[1]}
    ground = gpd.GeoDataFrame([cell], geometry=[shapely.box(*grid.bounds)], crs=32643)
    write_table(ground, study.splits_path)
    return study


def held(study):
    group = zarr.open_group(store_path(study), mode="r")
    return {name: array[:] for name, array in group.arrays()}


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, resources={"GPU": 1},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


def test_workers_predict_the_same_bits_and_read_the_models_once(tmp_path, client):
    def models_read():  # by value: workers cannot import the module of a test
        from rockglacier.prediction import members

        return members._model.cache_info().misses

    here, there = make_study(tmp_path / "here"), make_study(tmp_path / "there", gpu=1)
    predict(here)
    facts = predict(there, client=client)
    assert (facts["built"], facts["passes"], facts["network"]) == (9, 2, "unet")
    ours, theirs = held(here), held(there)
    assert set(theirs) == {"probability", "spread"}
    for name, values in ours.items():
        assert np.array_equal(values, theirs[name])
    assert ours["spread"][ours["spread"] != 255].max() > 0
    assert list(client.run(models_read).values()) == [2]  # four groups, two threads
    assert predict(there, client=client)["kept"] == 9


def test_workers_without_a_gpu_are_refused_where_one_is_asked_for(tmp_path):
    class Client:
        def scheduler_info(self, n_workers):
            return {"workers": {"tcp://a:1": {"resources": {}}, "tcp://b:1": {"resources": {}}}}

    with pytest.raises(InputError, match=r"none of 2 worker\(s\) declares a GPU") as caught:
        predict(make_study(tmp_path, gpu=1), client=Client())
    assert "--resources GPU=1" in caught.value.todo


def test_a_task_holds_no_weights(tmp_path):
    study = make_study(tmp_path)
    plan = prediction_of(study, None, stay_here=False)
    work = PredictWork(parts=plan.parts, settings=study.config.predict, target=store_path(study))
    assert len(pickle.dumps(work)) < 10_000
    assert (study.models_path / "unet" / "trial-0" / "model.ckpt").stat().st_size > 1_000_000
