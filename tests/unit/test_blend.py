"""Blending of overlapping windows."""

import numpy as np
import pytest

from rockglacier.grid import Window
from rockglacier.prediction.blend import blend, blend_weights, threshold_percent, to_percent
from rockglacier.prediction.windows import Lattice, windows_over


@pytest.mark.parametrize("window", [1, 2, 32, 33, 256])
def test_weights_are_never_zero_and_symmetric(window):
    weights = blend_weights(window)
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-12)


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (31, 33), (96, 64)])
def test_a_constant_stays_exactly_constant(shape, overlap):
    lattice = Lattice(shape=shape, window=32, stride=round(32 * (1 - overlap)))
    whole = Window(y=0, x=0, height=shape[0], width=shape[1])
    constant = np.full((32, 32), 0.7, np.float32)
    parts = ((w, constant) for w in windows_over(whole, lattice=lattice))
    result = blend(whole, parts, weights=blend_weights(32))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 0.7, atol=1e-6, rtol=0)


def test_pixels_that_no_window_reaches_are_nan():
    part = (Window(y=0, x=0, height=4, width=4), np.ones((4, 4), np.float32))
    result = blend(Window(y=2, x=2, height=4, width=4), [part], weights=blend_weights(4))
    assert np.isnan(result).sum() == 12
    assert (result[:2, :2] == 1).all()


def test_the_middle_of_a_window_outweighs_the_rim_of_its_neighbour():
    parts = [
        (Window(y=0, x=0, height=32, width=32), np.zeros((32, 32), np.float32)),
        (Window(y=0, x=16, height=32, width=32), np.ones((32, 32), np.float32)),
    ]
    result = blend(Window(y=0, x=0, height=32, width=48), parts, weights=blend_weights(32))
    assert result[16, 17] < 0.05
    assert result[16, 30] > 0.95


def test_percent_rounds_and_marks_what_is_unknown():
    probability = np.array([0, 0.004, 0.5, 0.996, 1, np.nan], np.float32)
    assert to_percent(probability).tolist() == [0, 0, 50, 100, 100, 255]


@pytest.mark.parametrize(("threshold", "percent"), [(0.5, 50), (0.07, 7), (0.29, 29), (0.501, 51)])
def test_threshold_in_percent_reaches_the_threshold(threshold, percent):
    assert threshold_percent(threshold) == percent
