"""Prediction of a basin: what a network is shown, what is stored, what is kept on resumption."""

import math
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
import zarr
from torch import nn

from made_study import grid_of, study_in
from rockglacier.config import PredictConfig
from rockglacier.engine import Failure, Receipts, Selection
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.model.networks import make_network
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.blend import to_percent
from rockglacier.prediction.infer import infer_window, predict
from rockglacier.run import Standing, block_counts
from rockglacier.stages import Context, stage_named
from rockglacier.storage import write_json

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = ("brightness", "slope")
SETTINGS = PredictConfig.model_validate({"window": 32, "overlap": 0.5, "batch": 4})
NODATA = -32768


class Constant(nn.Module):
    """The same logits everywhere; keeps the batches that it was shown."""

    def __init__(self, probability):
        super().__init__()
        logit = math.log(probability / (1 - probability))
        self.logits = nn.Parameter(torch.tensor([0.0, logit]).reshape(1, 2, 1, 1))
        self.batches = []

    def forward(self, image):
        self.batches.append(image.clone())
        return self.logits.expand(len(image), 2, *image.shape[-2:])


class Brightness(Constant):
    """The logit of a pixel is its first feature."""

    def __init__(self):
        super().__init__(0.5)

    def forward(self, image):
        self.batches.append(image.clone())
        return torch.stack([torch.zeros_like(image[:, 0]), image[:, 0]], 1) + self.logits


def make_model(network, **settings):
    settings = {
        "network": "tiny",
        "channels": list(CHANNELS),
        "fusion": "f1",
        "threshold": 0.4,
        "temperature": 1.0,
        **settings,
    }
    return TrainedModel(network=network.eval().requires_grad_(False), settings=settings)


def make_features(shape, *, seed=0):
    values = np.random.default_rng(seed).normal(0, 1000, (2, *shape))
    return np.clip(np.rint(values), -32000, 32000).astype(np.int16)


def stored(values):
    return zarr.create_array({}, data=values, chunks=(2, 128, 128))


def make_study(folder, values, *, block=128, **config):
    grid = grid_of(values.shape[-2:], block=block)
    study = study_in(folder, grid, **{"predict": SETTINGS.model_dump(), **config})
    write_json(study.fusion_path, {"channels": CHANNELS, "hash": "f1"})
    group = zarr.open_group(study.features_path, mode="w", attributes={"fusion": "f1"})
    group.create_array("features", data=values, chunks=(2, 128, 128))
    return study


class Packed:
    """Stands for a packed model, which `predict` only asks for its model."""

    fingerprint = "p1"

    def __init__(self, model):
        self.model = model


def run(study, model, **options):
    return predict(study, bundle=Packed(model), **options)


def held(study):
    return zarr.open_array(study.prediction_path / "prediction.zarr" / "probability")[:]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (31, 33), (32, 32), (70, 96)])
def test_a_constant_network_gives_its_constant_everywhere(shape):
    features = stored(make_features(shape))
    whole = Window(y=0, x=0, height=shape[0], width=shape[1])
    result = infer_window(make_model(Constant(0.7)), features, whole, settings=SETTINGS)
    assert (result.shape, result.dtype) == (shape, np.float32)
    np.testing.assert_allclose(result, 0.7, atol=1e-6, rtol=0)


def test_a_pixelwise_network_gives_the_sigmoid_of_its_pixel():
    values = make_features((50, 70))
    whole = Window(y=0, x=0, height=50, width=70)
    result = infer_window(make_model(Brightness()), stored(values), whole, settings=SETTINGS)
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-values[0] / 1000)), atol=1e-6)


def test_temperature_divides_the_logits():
    values = make_features((20, 20))
    whole = Window(y=0, x=0, height=20, width=20)
    model = make_model(Brightness(), temperature=2.0)
    result = infer_window(model, stored(values), whole, settings=SETTINGS)
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-values[0] / 2000)), atol=1e-6)


def test_any_rectangle_holds_the_pixels_of_the_whole():
    features, model = stored(make_features((90, 110))), make_model(Brightness())
    whole = infer_window(model, features, Window(y=0, x=0, height=90, width=110), settings=SETTINGS)
    part = Window(y=17, x=40, height=33, width=51)
    assert np.array_equal(
        infer_window(model, features, part, settings=SETTINGS), whole[part.slices]
    )


def test_pixels_beyond_the_raster_are_nan():
    features = stored(make_features((20, 20)))
    beyond = Window(y=-5, x=10, height=20, width=20)
    result = infer_window(make_model(Constant(0.7)), features, beyond, settings=SETTINGS)
    assert np.isnan(result[:5]).all()
    assert np.isnan(result[:, 10:]).all()
    np.testing.assert_allclose(result[5:, :10], 0.7, atol=1e-6)


def test_pixels_without_features_are_shown_as_the_mean_and_stay_unknown():
    values = make_features((40, 40))
    values[:, 10:20, 5:9] = NODATA
    network = Constant(0.7)
    whole = Window(y=0, x=0, height=40, width=40)
    result = infer_window(make_model(network), stored(values), whole, settings=SETTINGS)
    assert np.array_equal(np.isnan(result), values[0] == NODATA)
    shown = torch.cat(network.batches)
    assert shown.abs().max() < 10
    assert (shown[0, :, 18:28, 13:17] == 0).all()  # window 0 starts 8 px before the raster


def test_windows_without_any_features_are_not_computed():
    values = make_features((96, 96))
    values[:, :, 40:] = NODATA
    network = Constant(0.7)
    whole = Window(y=0, x=0, height=96, width=96)
    infer_window(make_model(network), stored(values), whole, settings=SETTINGS)
    assert len(network.batches) == math.ceil(6 * 3 / 4)


def test_the_network_is_shown_mirror_images_beyond_the_border():
    values = make_features((50, 50))
    network = Constant(0.7)
    whole = Window(y=0, x=0, height=50, width=50)
    infer_window(make_model(network), stored(values), whole, settings=SETTINGS)
    padded = np.pad(values, ((0, 0), (8, 40), (8, 40)), "reflect")[:, :32, :32]
    np.testing.assert_allclose(network.batches[0][0].numpy(), padded / 1000, rtol=1e-6)


def test_every_batch_has_the_same_shape():
    network = Constant(0.7)
    features, whole = stored(make_features((50, 50))), Window(y=0, x=0, height=50, width=50)
    infer_window(make_model(network), features, whole, settings=SETTINGS)
    assert {tuple(batch.shape) for batch in network.batches} == {(4, 2, 32, 32)}


def test_predict_stores_what_infer_window_returns(tmp_path):
    values = make_features((150, 200))
    values[:, :40, :30] = NODATA
    study, model = make_study(tmp_path, values), make_model(Brightness())
    facts = run(study, model)
    whole = Window(y=0, x=0, height=150, width=200)
    expected = to_percent(infer_window(model, stored(values), whole, settings=SETTINGS))
    assert np.array_equal(held(study), expected)
    assert (facts["built"], facts["kept"], facts["threshold"]) == (4, 0, 0.4)
    assert facts["valid_percent"] == 96
    shards = (study.prediction_path / "prediction.zarr").rglob("c/*/*")
    assert facts["written_bytes"] == sum(shard.stat().st_size for shard in shards)
    assert facts["read_bytes"] > 0
    with rasterio.open(study.prediction_path / "classes.tif") as file:
        assert np.array_equal(file.read(1) == 1, (expected >= 40) & (expected < 255))


def test_each_window_is_computed_once_whatever_the_blocks(tmp_path):
    network = Constant(0.7)
    run(make_study(tmp_path, make_features((256, 256))), make_model(network))
    assert len(network.batches) == (256 // 16) ** 2 / 4


def test_threshold_of_the_config_wins(tmp_path):
    study = make_study(tmp_path, make_features((20, 20)), inventory={"threshold": 0.75})
    assert run(study, make_model(Constant(0.7)))["threshold"] == 0.75
    with rasterio.open(study.prediction_path / "classes.tif") as file:
        assert (file.read(1) == 0).all()


def test_second_run_keeps_every_block_and_computes_nothing(tmp_path):
    study, network = make_study(tmp_path, make_features((150, 150))), Constant(0.7)
    run(study, make_model(network))
    network.batches.clear()
    facts = run(study, make_model(network))
    assert (facts["built"], facts["kept"], network.batches) == (0, 4, [])


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    values, model = make_features((300, 260)), make_model(Brightness())
    whole = make_study(tmp_path / "whole", values)
    run(whole, model)

    def stop_after_three(what, done, total):
        if done == 3:
            raise KeyboardInterrupt

    study = make_study(tmp_path / "killed", values)
    with pytest.raises(KeyboardInterrupt):
        run(study, model, progress=stop_after_three)
    facts = run(study, model)
    assert facts["kept"] >= 3  # and what was finished while the run heard of it
    assert facts["built"] + facts["kept"] == 9
    assert np.array_equal(held(study), held(whole))
    for name in ("probability.tif", "classes.tif"):
        assert (study.prediction_path / name).read_bytes() == (
            whole.prediction_path / name
        ).read_bytes()


@pytest.mark.parametrize("change", [{"temperature": 3.0}, {"weights": "other"}])
def test_another_model_builds_every_block_again(tmp_path, change):
    study = make_study(tmp_path, make_features((150, 150)))
    run(study, make_model(Brightness()))
    assert run(study, make_model(Brightness(), **change))["built"] == 4


def test_changed_features_rebuild_the_blocks_that_see_them(tmp_path):
    study, model = make_study(tmp_path, make_features((128, 512))), make_model(Brightness())
    made = Receipts(study.receipts_path / "fuse")
    for block in study.grid.blocks():
        write_json(made.path(block.name), {"inputs": "a"})
    run(study, model)
    write_json(made.path("r0000c0000"), {"inputs": "b"})
    assert run(study, model)["built"] == 2


def test_another_threshold_computes_nothing(tmp_path):
    study = make_study(tmp_path, make_features((60, 60)))
    run(study, make_model(Constant(0.7)))
    changed = make_study(tmp_path, make_features((60, 60)), inventory={"threshold": 0.75})
    assert run(changed, make_model(Constant(0.7)))["built"] == 0


def test_a_lost_store_is_built_again(tmp_path):
    study, model = make_study(tmp_path, make_features((150, 150))), make_model(Constant(0.7))
    run(study, model)
    (study.prediction_path / "prediction.zarr" / "probability" / "zarr.json").unlink()
    assert run(study, model)["built"] == 4
    assert (held(study) == 70).all()


def test_a_model_for_other_features_is_refused_by_name(tmp_path):
    study = make_study(tmp_path, make_features((20, 20)))
    model = make_model(Constant(0.7), channels=["brightness", "curvature"])
    with pytest.raises(InputError, match="made for other bands or features") as caught:
        run(study, model)
    message = str(caught.value)
    assert "brightness, curvature" in message
    assert "expected: the 2 of this basin (brightness, slope)" in message
    assert "to do:    choose another model" in message


def test_a_model_for_another_fusion_is_refused(tmp_path):
    study = make_study(tmp_path, make_features((20, 20)))
    with pytest.raises(InputError, match="fusion 'f2'") as caught:
        run(study, make_model(Constant(0.7), fusion="f2"))
    assert "'f1'" in caught.value.expected


def test_features_that_lack_a_channel_are_a_broken_contract():
    features = zarr.create_array({}, data=make_features((9, 9))[:1], chunks=(1, 128, 128))
    with pytest.raises(ContractError, match="features with 1 channels"):
        infer_window(make_model(Constant(0.7)), features, Window(y=0, x=0, height=9, width=9))


def test_without_a_trained_model_the_message_names_the_stage(tmp_path):
    study = make_study(tmp_path, make_features((20, 20)))
    with pytest.raises(NotFoundError, match=r"no 'selection.json'") as caught:
        predict(study)
    assert "rockglacier train" in caught.value.todo


def test_a_selection_of_another_network_than_the_config_names_is_refused(tmp_path):
    study = make_study(
        tmp_path, make_features((20, 20)), predict={**SETTINGS.model_dump(), "network": "unet"}
    )
    write_json(study.selection_path, {"network": "hrnet", "path": "hrnet/trial-0"})
    with pytest.raises(InputError, match=r"a hrnet, and predict.network is 'unet'") as caught:
        predict(study)
    assert "rockglacier train" in caught.value.todo


def test_features_older_than_their_fusion_are_a_broken_contract(tmp_path):
    study = make_study(tmp_path, make_features((20, 20)))
    write_json(study.fusion_path, {"channels": CHANNELS, "hash": "f2"})
    with pytest.raises(ContractError, match=r"features of fusion 'f1'.*\n.*'f2'\n.*fuse STUDY"):
        run(study, make_model(Constant(0.7), fusion="f2"))


def test_a_selected_model_is_read_from_its_folder(tmp_path):
    study = make_study(tmp_path, make_features((70, 70)))
    network = make_network("unet", size="small", channels=2)
    folder = study.models_path / "unet" / "trial-0"
    settings = {**make_model(network).settings, "network": "unet", "size": "small"}
    write_json(folder / "model.json", settings)
    torch.save(network.state_dict(), folder / "model.ckpt")
    write_json(study.selection_path, {"network": "unet", "trial": 0, "path": "unet/trial-0"})
    assert predict(study)["network"] == "unet"
    assert (held(study) <= 100).all()


def test_some_blocks_then_the_rest(tmp_path):
    values, model = make_features((300, 260)), make_model(Brightness())
    whole, study = make_study(tmp_path / "whole", values), make_study(tmp_path / "some", values)
    run(whole, model)
    facts = run(study, model, selection=Selection.parse("1:3,0:2"))
    assert (facts["built"], facts["kept"], facts["left"]) == (4, 0, 5)
    assert not (study.prediction_path / "probability.tif").exists()
    facts = run(study, model)
    assert (facts["built"], facts["kept"]) == (5, 4)
    assert np.array_equal(held(study), held(whole))


def test_each_period_is_predicted_from_its_own_features(tmp_path):
    years = {
        "search": {"start": "2023-01-01", "end": "2024-12-31"},
        "cube": {"periods": "years"},
    }
    study = make_study(tmp_path, make_features((60, 200)), **years)
    first, second = study.each_period()
    other = make_features((60, 200), seed=1)
    group = zarr.open_group(second.features_path, mode="w", attributes={"fusion": "f1"})
    group.create_array("features", data=other, chunks=(2, 128, 128))
    network = Brightness()
    context = Context(bundle=Packed(make_model(network)))
    facts = stage_named("predict").work(study, context)
    assert (facts["period"], facts["built"]) == ("2023", 4)
    assert facts["periods"]["2024"]["built"] == 2
    for one, features in ((first, make_features((60, 200))), (second, other)):
        whole = Window(y=0, x=0, height=60, width=200)
        expected = infer_window(make_model(network), stored(features), whole, settings=SETTINGS)
        assert np.array_equal(held(one), to_percent(expected))
        assert (one.prediction_path / "classes.tif").is_file()
    Receipts(second.receipts_path / "predict").drop("r0000c0001")
    failed = Failure(name="r0000c0001", error="OSError", message="no luck")
    Receipts(first.receipts_path / "predict").fail(failed)
    only_failed = replace(context, selection=Selection(only_failed=True))
    facts = stage_named("predict").work(study, only_failed)
    assert (facts["kept"], facts["left"]) == (3, 1)  # the first period alone is done
    assert stage_named("predict").work(study, context)["kept"] == 3
    done = Standing(stage=stage_named("predict"), state="done", why="", facts=facts, seconds=1.0)
    counts = block_counts(study, done)
    assert (counts.done, counts.stale, counts.missing) == (4, 0, 0)
    Receipts(second.receipts_path / "predict").drop("r0000c0001")
    counts = block_counts(study, replace(done, state="stale"))
    assert (counts.done, counts.stale, counts.missing) == (3, 0, 1)
