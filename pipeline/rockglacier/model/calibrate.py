"""After training: what the logits of the validation ground say about temperature and threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from rockglacier.model.metrics import IGNORE, best_threshold
from rockglacier.model.reliability import Reliability

FIT_PIXELS = 2_000_000
"""Pixels that the temperature is fitted on, evenly spaced: more change nothing."""
TEMPERATURES = (0.1, 10.0)
"""Range of the temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How logits become probabilities and classes."""

    temperature: float
    threshold: float
    """Probability, after the temperature, from which a pixel is a rock glacier."""
    ece_before: float | None = None
    """Calibration error on the validation ground at temperature 1; None without both classes."""
    ece: float | None = None
    """The same at this temperature."""


def calibrate(margin: NDArray[np.float32], truth: NDArray[np.uint8]) -> Calibration:
    """Choose temperature and threshold on validation pixels.

    Parameters
    ----------
    margin
        Logit of rock glacier minus logit of background, any shape.
    truth
        0, 1, or 255 (not counted), same shape.

    Returns
    -------
    Calibration
        Temperature 1 and threshold 0.5 where the validation ground holds one class only.
    """
    counted = truth != IGNORE
    margin, truth = margin[counted], truth[counted]
    if not (truth == 1).any() or not (truth == 0).any():
        return Calibration(temperature=1.0, threshold=0.5)
    temperature = fit_temperature(margin, truth)
    probability = 1 / (1 + np.exp(-margin.astype(np.float64) / temperature))
    threshold, _ = best_threshold(probability, truth)
    raw = 1 / (1 + np.exp(-margin.astype(np.float64)))
    return Calibration(
        temperature=temperature,
        threshold=threshold,
        ece_before=calibration_error(raw, truth),
        ece=calibration_error(probability, truth),
    )


def calibration_error(probability: NDArray[np.floating], truth: NDArray[np.uint8]) -> float:
    """Return the expected calibration error of pixels, 0 to 1, to six decimals.

    ``probability`` (0 to 1) and ``truth`` (0, 1, or 255: not counted) are of one shape.
    """
    counted = Reliability()
    counted.add(probability, truth)
    return round(counted.scores()["ece"], 6)


def fit_temperature(margin: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Return the temperature under which the logits are the most likely, 0.1 to 10.

    Parameters
    ----------
    margin
        Logit of class 1 minus logit of class 0, (N,).
    truth
        0 or 1, (N,).

    References
    ----------
    Guo et al. 2017, On calibration of modern neural networks, arXiv:1706.04599, section 4.2.
    """
    step = max(1, margin.size // FIT_PIXELS)
    logits = torch.from_numpy(margin[::step].astype(np.float64))
    target = torch.from_numpy(truth[::step].astype(np.float64))
    # the logarithm keeps the temperature positive
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scaled = logits / log_temperature.exp()
        value = functional.binary_cross_entropy_with_logits(scaled, target)
        value.backward()
        return value

    optimizer.step(loss)
    temperature = math.exp(float(log_temperature.detach()))
    return float(np.clip(temperature, *TEMPERATURES))
