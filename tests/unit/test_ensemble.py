"""Networks and views together: their mean, spread and agreement, and what is stored of them."""

import math

import numpy as np
import pytest
import torch
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from torch import nn

from rockglacier.chips.augment import Augment, moved
from rockglacier.config import PredictConfig, parse_config
from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Grid
from rockglacier.model.trained import TrainedModel
from rockglacier.plan import PREDICT_SECONDS_PER_WINDOW_MPX, _pass_seconds
from rockglacier.prediction.caller import Caller
from rockglacier.prediction.ensemble import Ensemble, EnsembleInference
from rockglacier.prediction.views import VIEWS, View, Viewer

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW = 32
CHANNELS = ("brightness", "aspect_sin", "aspect_cos")


class Says(nn.Module):
    """The same probability everywhere."""

    def __init__(self, probability):
        super().__init__()
        logit = math.log(probability / (1 - probability))
        self.logits = nn.Parameter(torch.tensor([0.0, logit]).reshape(1, 2, 1, 1))

    def forward(self, image):
        return self.logits.expand(len(image), 2, *image.shape[-2:])


class Blurred(nn.Module):
    """Looks at its neighbours, and knows north from south."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)
        )

    def forward(self, image):
        return self.layers(image)


def model_of(network, name="hrnet", **settings):
    values = {
        "network": name, "channels": list(CHANNELS), "fusion": "f", "threshold": 0.5,
        "temperature": 1.0, "normalisation": {"mean": [0, 0.1, -0.2], "std": [1, 0.7, 0.6]},
        **settings,
    }  # fmt: skip
    return TrainedModel(network=network.eval().requires_grad_(False), settings=values)


def config_of(**values):
    return PredictConfig.model_validate({"window": WINDOW, "batch": 4, **values})


def made(shape, *, seed=0, holes=0.1):
    random = np.random.default_rng(seed)
    values = random.integers(-3000, 3000, (3, *shape)).astype(np.int16)
    values[:, random.random(shape) < holes] = -32768
    return values


def layers_of(models, values, *, block=None, **settings):
    config = config_of(**settings)
    features = zarr.create_array({}, data=values, chunks=(3, 64, 64))
    shape = values.shape[-2:]
    geobox = GeoBox(shape, Affine(10, 0, 0, 0, -10, 0), "EPSG:32643")
    blocks = [part.window for part in Grid(geobox=geobox, block=block or max(shape)).blocks()]
    network = Caller()
    inference = EnsembleInference(
        ensemble=Ensemble.of(models, config), features=features, settings=config,
        rectangles=blocks, executor=network,
    )  # fmt: skip
    found = {}
    for part, layers in network.serve((part, inference.layers(part)) for part in blocks):
        for name, held in layers.items():
            found.setdefault(name, np.full(shape, -1, np.float32))[part.slices] = held
    return found


def test_mean_spread_and_agreement_are_those_of_the_networks():
    models = [
        model_of(Says(0.9), "unet", threshold=0.95),
        model_of(Says(0.6), "hrnet", threshold=0.5),
        model_of(Says(0.2), "hrnet", threshold=0.2),
        model_of(Says(0.3), "deeplabv3plus", threshold=0.29),
    ]
    values = made((40, 50))
    found = layers_of(models, values)
    is_known = values[0] != -32768
    expected = {
        "probability": 0.5,
        "spread": np.std([0.9, 0.6, 0.2, 0.3]),
        "agreement": 2 / 3,  # the U-Net misses its threshold, the mean of the HRNets reaches 0.35
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][is_known], value, atol=1e-6)
        assert np.isnan(found[name][~is_known]).all()


def test_one_pass_has_neither_spread_nor_agreement():
    ensemble = Ensemble.of([model_of(Says(0.7))], config_of())
    assert (ensemble.layers, ensemble.passes) == (("probability",), 1)
    trials = Ensemble.of([model_of(Says(0.7)), model_of(Says(0.6))], config_of())
    assert trials.layers == ("probability", "spread")


SIZES = st.integers(1, 3 * WINDOW)


@settings(max_examples=12, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0.0, 0.5, 0.75]), st.sampled_from([1, 2, 4, 8]))
def test_networks_that_always_say_0_7_give_0_7_without_spread(rows, columns, overlap, views):
    values = made((rows, columns), seed=rows)
    models = [model_of(Says(0.7)), model_of(Says(0.7), "unet")]
    found = layers_of(models, values, overlap=overlap, views=views)
    is_known = values[0] != -32768
    assert np.abs(found["probability"][is_known] - 0.7).max(initial=0) <= 1e-6
    assert found["spread"][is_known].max(initial=0) <= 1e-6
    assert (found["agreement"][is_known] == 1).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64), st.sampled_from([1, 4, 8]))
def test_no_layer_depends_on_the_blocks_bit_for_bit(rows, columns, block, views):
    values = made((rows, columns), seed=7)
    models = [model_of(Blurred(1)), model_of(Blurred(2), "unet")]
    whole = layers_of(models, values, views=views)
    parts = layers_of(models, values, views=views, block=block)
    for name in whole:
        assert np.array_equal(whole[name], parts[name], equal_nan=True)


def test_a_pass_does_not_depend_on_what_else_is_in_its_batch():
    near, far = made((WINDOW, WINDOW), seed=1), made((4 * WINDOW, 4 * WINDOW), seed=2)
    other = made((4 * WINDOW, 4 * WINDOW), seed=3, holes=0.6)
    for values in (far, other):
        values[:, : 2 * WINDOW, : 2 * WINDOW] = np.tile(near, (1, 2, 2))
    models = [model_of(Blurred(1)), model_of(Blurred(2), "unet")]
    a, b = (layers_of(models, values, views=2, batch=5) for values in (far, other))
    for name in a:
        assert np.array_equal(a[name][:WINDOW, :WINDOW], b[name][:WINDOW, :WINDOW], equal_nan=True)
        assert not np.array_equal(a[name], b[name], equal_nan=True)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_undone_is_the_ground_as_it_lies(view):
    values = torch.arange(2 * 5 * 5).reshape(2, 5, 5)
    turned = moved(values, quarter_turns=view.quarter_turns, is_mirrored=view.is_mirrored)
    assert torch.equal(view.undone(turned), values)


@pytest.mark.parametrize("view", VIEWS)
def test_a_network_sees_the_ground_turned_with_its_aspect(view):
    seen = []

    class Sees(Says):
        def forward(self, image):
            seen.append(image.clone())
            return super().forward(image)

    model = model_of(Sees(0.7))
    image = torch.randn(2, 3, 8, 8)
    Viewer(model, view).probability(image)
    scales = model.settings["normalisation"]
    augment = Augment(CHANNELS, mean=scales["mean"], std=scales["std"])
    expected = augment.turned(
        image[0], quarter_turns=view.quarter_turns, is_mirrored=view.is_mirrored
    )
    assert torch.allclose(seen[0][0], expected)
    if view == View(quarter_turns=2):  # what faced north faces south
        mean, std = (torch.tensor(scales[k])[2] for k in ("mean", "std"))
        here, there = image[0, 2] * std + mean, seen[0][0, 2].flip(0, 1) * std + mean
        assert torch.allclose(there, -here, atol=1e-6)


def test_all_views_together_do_not_know_how_the_ground_lies():
    """Eight views of turned ground are the turned eight views, as far as windows match."""
    image = torch.randn(1, 3, WINDOW, WINDOW)
    model = model_of(Blurred(4))
    augment = Augment(CHANNELS, mean=[0, 0.1, -0.2], std=[1, 0.7, 0.6])
    turned = augment.turned(image[0], quarter_turns=1, is_mirrored=True)[None]

    def mean(shown):
        return torch.stack([Viewer(model, view).probability(shown) for view in VIEWS]).mean(0)

    expected = moved(mean(image), quarter_turns=1, is_mirrored=True)
    assert torch.allclose(mean(turned), expected, atol=1e-5)
    assert not torch.allclose(Viewer(model, VIEWS[0]).probability(turned), expected, atol=1e-2)


def test_views_of_a_model_that_cannot_turn_its_aspect_are_refused():
    plain = model_of(Says(0.7), channels=["brightness", "aspect", "slope"])
    with pytest.raises(ContractError, match="cannot be turned"):
        Viewer(plain, VIEWS[1])
    silent = model_of(Says(0.7), normalisation=None)
    with pytest.raises(ContractError, match="does not say how") as caught:
        Viewer(silent, VIEWS[1])
    assert "predict.views to 1" in caught.value.todo


def test_networks_of_other_features_are_refused():
    models = [model_of(Says(0.7)), model_of(Says(0.7), "unet", fusion="g")]
    with pytest.raises(InputError, match="hrnet and unet, which read other features"):
        Ensemble.of(models, config_of())


def test_a_temperature_changes_how_sure_it_sounds_and_not_what_it_finds():
    values = made((WINDOW, WINDOW), holes=0)
    model = model_of(Blurred(3), threshold=0.4, temperature=1.5)
    config = config_of(overlap=0, temperature=3)
    other = Ensemble.of([model], config)
    before = layers_of([model], values, overlap=0)["probability"]
    after = layers_of([model], values, overlap=0, temperature=3)["probability"]
    margin = np.log(before / (1 - before)) * 1.5
    np.testing.assert_allclose(after, 1 / (1 + np.exp(-margin / 3)), atol=1e-5)
    assert ((before >= 0.4) == (after >= other.models[0].threshold)).mean() > 0.999
    assert (before >= 0.4).any()
    assert not (before >= 0.4).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"predict": {"network": "unet", "ensemble": "all"}},
            "unet is one, ensemble all is several",
        ),
        ({"predict": {"out_of_fold": True}}, "out_of_fold needs labels.every_fold"),
        ({"labels": {"every_fold": True}}, "split blocks has no folds"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        parse_config({"name": "a", "area": [75, 36, 75.1, 36.1], **settings}, source="test")


def test_a_plan_counts_every_pass():
    def seconds(**predict):
        train = {"networks": ["unet", "hrnet"], "trials": 3}
        values = {"name": "a", "area": [75, 36, 75.1, 36.1], "train": train, "predict": predict}
        return _pass_seconds(parse_config(values, source="test"))

    unet, hrnet = (PREDICT_SECONDS_PER_WINDOW_MPX[name] for name in ("unet", "hrnet"))
    assert seconds() == unet
    assert seconds(views=4, network="hrnet") == 4 * hrnet
    assert seconds(ensemble="trials") == pytest.approx(3 * unet)
    assert seconds(ensemble="networks", views=8) == pytest.approx(8 * (unet + hrnet))
    assert seconds(ensemble="all") == pytest.approx(3 * (unet + hrnet))
