"""What networks say of any rectangle of a basin, in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.grid import Window
from rockglacier.model.trained import TrainedModel
from rockglacier.prediction.caller import Caller
from rockglacier.prediction.ensemble import Ensemble, EnsembleInference
from rockglacier.prediction.ground import check_channels
from rockglacier.prediction.store import PROBABILITY

READ = 1024
"""Edge of what is read at a time, pixels."""


def infer_window(
    model: TrainedModel | Ensemble,
    features: zarr.Array[Any],
    window: Window,
    *,
    settings: PredictConfig | None = None,
) -> NDArray[np.float32]:
    """Return the blended probability of a rock glacier in any rectangle of a basin.

    Parameters
    ----------
    model
        One, or several together; its channels are those of ``features``.
    features
        (channel, y, x) int16, thousandths of a standard deviation, -32768 nodata.
    window
        The rectangle; may reach beyond the raster.
    settings
        Window, overlap and batch of the prediction, of one model the views too; default: those of
        an empty config. The temperature is the model's.

    Returns
    -------
    ndarray
        (height, width) float32, 0..1; NaN without features and beyond the raster. The same numbers
        as ``predict`` stores for these pixels, before they become whole percent.
    """
    settings = settings or PredictConfig.model_validate({})
    own = settings.model_copy(update={"temperature": None})
    ensemble = model if isinstance(model, Ensemble) else Ensemble.of([model], own)
    check_channels(ensemble.models[0], features)
    result = np.full((window.height, window.width), np.nan, np.float32)
    parts = _parts(window.clipped((features.shape[1], features.shape[2])))
    network = Caller()
    inference = EnsembleInference(
        ensemble=ensemble,
        features=features,
        settings=settings,
        rectangles=parts,
        executor=network,
    )
    for part, layers in network.serve((part, inference.layers(part)) for part in parts):
        result[part.within(window)] = layers[PROBABILITY]
    return result


def _parts(window: Window) -> list[Window]:
    """Cut a window into squares that are read at a time, row by row."""
    bottom, right = window.y + window.height, window.x + window.width
    return [
        Window(y=y, x=x, height=min(READ, bottom - y), width=min(READ, right - x))
        for y in range(window.y, bottom, READ)
        for x in range(window.x, right, READ)
    ]
