"""A sample of clear ground: what is read of a band to check its offset, and the band's header."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio
from affine import Affine

from rockglacier.grid import Window
from rockglacier.scenes.asset import read_asset
from rockglacier.scenes.cloud import (
    BARE,
    VEGETATION,
    WATER,
    BasinClasses,
    pixels_at,
    raster_window,
    window_over,
)
from rockglacier.scenes.header import Header, header_of
from rockglacier.scenes.record import Scene

BLOCK, BLOCKS = 256, 2
"""Edge, in pixels of the classification, and number of the blocks that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Where the ground is clear in one block of a classification."""

    is_clear: np.ndarray
    """(y, x) bool: vegetation, bare ground and water. Shade is left out: terrain correction can
    push it below zero."""
    transform: Affine
    """Pixel (column, row) to CRS metres."""


def clear_ground(classes: BasinClasses) -> tuple[Patch, ...]:
    """Return the blocks with most water and vegetation, which is dark, then bare ground.

    Parameters
    ----------
    classes
        Of one scene over the basin.

    Returns
    -------
    tuple
        At most two patches, small enough to be kept for every scene.
    """
    height, width = classes.scl.shape
    ranked: list[tuple[int, Window]] = []
    for y in range(0, height, BLOCK):
        for x in range(0, width, BLOCK):
            block = Window(y=y, x=x, height=BLOCK, width=BLOCK).clipped((height, width))
            counts = np.bincount(classes.scl[block.slices].ravel(), minlength=256)
            score = 10 * int(counts[VEGETATION] + counts[WATER]) + int(counts[BARE])
            if score:
                ranked.append((score, block))
    ranked.sort(key=lambda pair: -pair[0])
    return tuple(
        Patch(
            is_clear=np.isin(classes.scl[block.slices], (VEGETATION, BARE, WATER)),
            transform=classes.transform @ Affine.translation(block.x, block.y),
        )
        for _, block in ranked[:BLOCKS]
    )


def read_ground(scene: Scene, band: str, patches: tuple[Patch, ...]) -> tuple[Header, np.ndarray]:
    """Read the header of a band, and its stored numbers over clear ground.

    Parameters
    ----------
    scene
        Its asset ``band`` is opened once.
    band
        A visible band, if the numbers are to tell something of the offset.
    patches
        Of the same scene, in the CRS of its files.

    Returns
    -------
    tuple
        The header, and (n,) stored numbers; they may be none.

    Raises
    ------
    RemoteError
        The asset cannot be read.
    """

    def read(dataset: rasterio.DatasetReader) -> tuple[Header, np.ndarray]:
        numbers = [np.zeros(0, np.uint16), *(_sample(dataset, patch) for patch in patches)]
        return header_of(dataset), np.concatenate(numbers)

    return read_asset(scene, band, read)


def _sample(dataset: rasterio.DatasetReader, patch: Patch) -> np.ndarray:
    """Read the band at the centres of a patch's clear pixels."""
    height, width = patch.is_clear.shape
    west, north = patch.transform @ (0, 0)
    east, south = patch.transform @ (width, height)
    window = window_over(dataset, (west, south, east, north))
    if not window.height or not window.width:
        return np.zeros(0, np.uint16)
    dn = dataset.read(1, window=raster_window(window))
    rows, columns = np.nonzero(patch.is_clear)
    to_band = ~(dataset.transform @ Affine.translation(window.x, window.y)) @ patch.transform
    rows, columns, inside = pixels_at(to_band, columns + 0.5, rows + 0.5, dn.shape)
    return dn[rows[inside], columns[inside]]
