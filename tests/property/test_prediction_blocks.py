"""A basin's probabilities do not depend on its blocks, bit for bit."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from torch import nn

from rockglacier.config import PredictConfig
from rockglacier.grid import Grid, Window
from rockglacier.model.networks import make_network
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.forward import SHARED_BYTES, Inference
from rockglacier.prediction.infer import infer_window
from rockglacier.prediction.source import SourcesAhead
from rockglacier.prediction.views import PLAIN, Viewer

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = 3


def make_model(network):
    values = {
        "network": "tiny",
        "channels": [f"c{i}" for i in range(CHANNELS)],
        "fusion": "f1",
        "threshold": 0.5,
        "temperature": 1.3,
    }
    return TrainedModel(network=network.eval().requires_grad_(False), settings=values)


def tiny_network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(CHANNELS, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 5, padding=2)
    )


def make_features(shape, seed=0):
    values = np.random.default_rng(seed).normal(0, 1000, (CHANNELS, *shape)).astype(np.int16)
    values[:, : shape[0] // 3, : shape[1] // 4] = -32768
    return zarr.create_array({}, data=values, chunks=(CHANNELS, 128, 128))


def by_blocks(model, features, values, block, *, shared_bytes=SHARED_BYTES):
    """Probabilities as the stage makes them: block after block, shared windows kept."""
    shape = features.shape[-2:]
    grid = Grid(geobox=GeoBox(shape, Affine(10, 0, 0, 0, -10, 0), "EPSG:32643"), block=block)
    parts = [part.window for part in grid.blocks()]
    result = np.full(shape, -1, np.float32)
    with ThreadPoolExecutor(1) as executor:
        inference = Inference(
            viewer=Viewer(model, PLAIN),
            sources=SourcesAhead(features, settings=values, rectangles=parts),
            executor=executor,
            shared_bytes=shared_bytes,
        )
        for part in parts:
            result[part.slices] = inference.probability(part)
    assert not inference.known
    return result


@pytest.mark.parametrize("kind", ["tiny", "unet", "hrnet", "deeplabv3plus"])
def test_blocks_of_128_and_256_give_the_same_bits(kind):
    if kind == "tiny":
        network, shape = tiny_network(), (300, 420)
    else:
        torch.manual_seed(1)
        network, shape = make_network(kind, size="small", channels=CHANNELS), (170, 200)
    model, features = make_model(network), make_features(shape)
    values = PredictConfig.model_validate({"window": 64, "overlap": 0.5, "batch": 4})
    one = by_blocks(model, features, values, 128)
    other = by_blocks(model, features, values, 256)
    assert np.array_equal(one, other, equal_nan=True)
    assert np.isnan(one).sum() == (shape[0] // 3) * (shape[1] // 4)
    assert np.nanstd(one) > 1e-3


@given(
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(1, 60),
    st.sampled_from([0, 0.25, 0.5, 0.75]),
    st.integers(1, 5),
)
@settings(max_examples=15, deadline=None)
def test_any_block_gives_the_bits_of_the_whole(height, width, block, overlap, batch):
    model, features = make_model(tiny_network()), make_features((height, width))
    values = PredictConfig.model_validate({"window": 32, "overlap": overlap, "batch": batch})
    whole = Window(y=0, x=0, height=height, width=width)
    expected = infer_window(model, features, whole, settings=values)
    result = by_blocks(model, features, values, block)
    assert np.array_equal(result, expected, equal_nan=True)


def test_windows_that_do_not_fit_into_memory_are_computed_again_to_the_same_bits():
    model, features = make_model(tiny_network()), make_features((200, 300))
    values = PredictConfig.model_validate({"window": 64, "overlap": 0.75, "batch": 4})
    expected = by_blocks(model, features, values, 128)
    again = by_blocks(model, features, values, 128, shared_bytes=10 * 4 * 64**2)
    assert np.array_equal(again, expected, equal_nan=True)
