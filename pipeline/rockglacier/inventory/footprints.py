"""The pixels of one landform, read once more in its own window, with its small holes filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rockglacier.errors import ContractError
from rockglacier.grid import Window
from rockglacier.inventory.landforms import Landform, Raster, Rule, is_above
from rockglacier.prediction.blend import threshold_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The pixels of one landform."""

    window: Window
    """The landform's rectangle and one pixel around it, where the grid has one."""
    is_landform: NDArray[np.bool_]
    """(y, x) of the window, filled holes included."""
    probability: NDArray[np.uint8]
    """(y, x) of the window; percent, 255 = nodata."""


def footprint_of(
    probability: Raster,
    landform: Landform,
    *,
    threshold: float,
    low: float | None = None,
    min_pixels: int = 1,
    fill_pixels: int = 0,
) -> Footprint:
    """Read the pixels of one landform; the same raster and thresholds as it was found with.

    Parameters
    ----------
    probability, landform, threshold, low
        As for and from :func:`find_landforms`.
    min_pixels
        Smaller landforms are none, and keep no hole open.
    fill_pixels
        Holes of up to so many pixels are filled.

    Raises
    ------
    ContractError
        The raster no longer holds the landform.
    """
    rows, columns = int(probability.shape[0]), int(probability.shape[1])
    window = landform.window.grown(1).clipped((rows, columns))
    values = np.asarray(probability[window.slices])
    extent = Rule(threshold=threshold, low=low).extent
    labels, _ = ndimage.label(is_above(values, threshold=extent))
    own = labels[landform.seed[0] - window.y, landform.seed[1] - window.x]
    is_landform = (labels == own) & (own > 0)
    if int(is_landform.sum()) != landform.pixels:
        raise ContractError(
            f"the landform at row {landform.seed[0]}, column {landform.seed[1]} has "
            f"{int(is_landform.sum())} pixels",
            expected=f"{landform.pixels} pixels, as when it was found",
            todo="leave the prediction alone while the inventory is being made, and run it again",
        )
    if fill_pixels:
        peak = threshold_percent(threshold)
        others = _others(labels, int(own), values, peak=peak, min_pixels=min_pixels)
        is_landform = is_landform | _small_holes(is_landform, others, fill_pixels)
    return Footprint(window=window, is_landform=is_landform, probability=values)


def _others(
    labels: NDArray[np.int32], own: int, values: NDArray[np.uint8], *, peak: int, min_pixels: int
) -> NDArray[np.bool_]:
    """Say which pixels of a window belong to other landforms."""
    every = np.arange(labels.max() + 1)
    sizes = np.bincount(labels.ravel())
    is_other = (sizes >= min_pixels) & (ndimage.maximum(values, labels, every) >= peak)
    is_other[[0, own]] = False
    return is_other[labels]


def _small_holes(
    is_landform: NDArray[np.bool_], is_other: NDArray[np.bool_], fill_pixels: int
) -> NDArray[np.bool_]:
    """Return the pixels of the holes to fill.

    Holes hang together by their edges, as the rings of a polygon do: one that only touches the
    outside at a corner of pixels is a hole.
    """
    holes, count = ndimage.label(~is_landform)
    is_filled = np.bincount(holes.ravel(), minlength=count + 1) <= fill_pixels
    rim = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    is_filled[np.concatenate([[0], rim, holes[is_other]])] = False
    return is_filled[holes]
