"""Prediction of any raster: a constant stays constant, and a window knows nothing of its batch."""

import math

import numpy as np
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.infer import infer_window

WINDOW = 32


class Always(nn.Module):
    def __init__(self):
        super().__init__()
        logits = torch.tensor([0.0, math.log(0.7 / 0.3)])
        self.logits = nn.Parameter(logits.reshape(1, 2, 1, 1))

    def forward(self, image):
        return self.logits.expand(len(image), 2, *image.shape[-2:])


class Blurred(nn.Module):
    """Looks at its neighbours, as networks do, through two layers of fixed weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)
        )

    def forward(self, image):
        return self.layers(image)


def probability(network, values, *, overlap, batch):
    model = TrainedModel(
        network=network.eval().requires_grad_(False),
        settings={
            "network": "tiny", "channels": ["a", "b"], "fusion": "f", "threshold": 0.5,
            "temperature": 1.0,
        },
    )  # fmt: skip
    features = zarr.create_array({}, data=values, chunks=(2, 128, 128))
    config = PredictConfig.model_validate({"window": WINDOW, "overlap": overlap, "batch": batch})
    whole = Window(y=0, x=0, height=values.shape[1], width=values.shape[2])
    return infer_window(model, features, whole, settings=config)


def made(shape, seed, holes=0.0):
    random = np.random.default_rng(seed)
    values = random.integers(-3000, 3000, (2, *shape)).astype(np.int16)
    values[:, random.random(shape) < holes] = -32768
    return values


SIZES = st.integers(1, 3 * WINDOW)


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0.0, 0.25, 0.5, 0.75]), st.floats(0, 0.9), st.integers(1, 5))
def test_a_network_that_always_says_0_7_gives_0_7_everywhere(rows, columns, overlap, holes, batch):
    values = made((rows, columns), rows * 1000 + columns, holes)
    found = probability(Always(), values, overlap=overlap, batch=batch)
    is_known = values[0] != -32768
    assert np.array_equal(np.isfinite(found), is_known)
    assert np.abs(found[is_known] - 0.7).max(initial=0) <= 1e-6


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 2 * WINDOW), st.integers(1, 2 * WINDOW), st.integers(1, 9))
def test_a_pixel_does_not_depend_on_what_lies_beyond_the_windows_over_it(rows, columns, batch):
    """What lies far away fills batches in another way, and changes nothing."""
    near = made((WINDOW, WINDOW), 1)
    large = made((rows + 3 * WINDOW, columns + 3 * WINDOW), 2)
    other = made((rows + 3 * WINDOW, columns + 3 * WINDOW), 3, holes=0.4)
    reach = 2 * WINDOW
    for values in (large, other):
        values[:, :reach, :reach] = np.tile(near, (1, 2, 2))
    a, b = (probability(Blurred(), v, overlap=0.5, batch=batch) for v in (large, other))
    assert np.array_equal(a[:WINDOW, :WINDOW], b[:WINDOW, :WINDOW])
    assert not np.array_equal(a[reach:, reach:], b[reach:, reach:])
