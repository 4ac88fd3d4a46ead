"""Temperature and threshold from validation pixels."""

import numpy as np
import pytest

from rockglacier.model.calibrate import calibrate, fit_temperature


def pixels(temperature, n=200_000):
    rng = np.random.default_rng(3)
    true_margin = rng.normal(-1, 2, n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-true_margin))).astype(np.uint8)
    return (true_margin * temperature).astype(np.float32), truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_logits_is_found(temperature):
    assert fit_temperature(*pixels(temperature)) == pytest.approx(temperature, rel=0.03)


def test_ignored_pixels_do_not_calibrate():
    margin, truth = pixels(2.0)
    spoilt = np.concatenate([margin, np.full(1000, 50, np.float32)])
    ignored = np.concatenate([truth, np.full(1000, 255, np.uint8)])
    assert calibrate(spoilt, ignored) == calibrate(margin, truth)


def test_one_class_alone_cannot_calibrate():
    found = calibrate(np.ones(10, np.float32), np.zeros(10, np.uint8))
    assert (found.temperature, found.threshold) == (1.0, 0.5)


def test_the_temperature_makes_the_calibration_error_small():
    found = calibrate(*pixels(3.0))
    assert found.ece_before == pytest.approx(error_by_hand(*pixels(3.0), 1.0), abs=1e-6)
    assert found.ece == pytest.approx(error_by_hand(*pixels(3.0), found.temperature), abs=1e-6)
    assert found.ece < 0.01 < 0.05 < found.ece_before


def error_by_hand(margin, truth, temperature):
    probability = 1 / (1 + np.exp(-margin.astype(float) / temperature))
    error = 0.0
    for k in range(15):
        inside = (probability >= k / 15) & (probability < (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(probability[inside].mean() - truth[inside].mean())
    return error
