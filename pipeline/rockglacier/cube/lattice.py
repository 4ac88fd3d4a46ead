"""Where the pixels of DEM tiles lie, and tiles on one lattice read as one raster."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from rockglacier.cube.resample import TAPS, cubic_along
from rockglacier.cube.tile import Tile, paste
from rockglacier.grid import Window
from rockglacier.scenes.asset import Again

ON_PIXEL = 0.05
"""Tiles whose pixels miss those of the others by less than this share are moved onto them."""


def phase(position: float) -> float:
    """Return the part of a pixel by which an edge misses whole pixels, in steps of `ON_PIXEL`."""
    steps = round(1 / ON_PIXEL)
    return round(position % 1 * steps) % steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Where pixels of one size lie in a CRS, and the tiles that are on them."""

    west: float
    north: float
    step_x: float
    step_y: float
    shape: tuple[int, int]
    tiles: tuple[Tile, ...]

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) to the CRS."""
        return Affine(self.step_x, 0, self.west, 0, -self.step_y, self.north)

    def row_of(self, tile: Tile) -> int:
        """Return the row of a tile's first pixel."""
        return round((self.north - tile.transform[5]) / self.step_y)

    def read(self, held: Window, whole: Lattice, again: Again) -> NDArray[np.float32]:
        """Return heights in a window of a lattice of the same pixels, (y, x), NaN beside tiles."""
        source = np.full((held.height, held.width), np.nan, np.float32)
        for tile in self.tiles:
            place = Window(
                y=whole.row_of(tile),
                x=round((tile.transform[2] - whole.west) / whole.step_x),
                height=tile.height,
                width=tile.width,
            )
            paste(tile, place, held, source, again)
        return source

    def read_narrowed(self, held: Window, whole: Lattice, again: Again) -> NDArray[np.float32]:
        """Return the same in a window of a lattice of narrower pixels on the same rows."""
        centres = whole.west + (held.x + np.arange(held.width) + 0.5) * whole.step_x
        cols = (centres - self.west) / self.step_x
        left = math.floor(cols[0]) - TAPS
        wide = replace(held, x=left, width=math.ceil(cols[-1]) + TAPS - left)
        # rows as in the other lattice, columns as in this one
        own = replace(self, north=whole.north)
        return cubic_along(self.read(wide, own, again), cols - left)


def lattices_of(tiles: tuple[Tile, ...]) -> list[Lattice]:
    """Return tiles by the width and place of their columns, the narrowest first."""
    groups: dict[tuple[float, float], list[Tile]] = {}
    for tile in tiles:
        step_x = tile.transform[0]
        groups.setdefault((round(step_x, 12), phase(tile.transform[2] / step_x)), []).append(tile)
    return [_lattice(tuple(groups[key])) for key in sorted(groups)]


def _lattice(tiles: tuple[Tile, ...]) -> Lattice:
    step_x, step_y = tiles[0].transform[0], -tiles[0].transform[4]
    west = min(tile.transform[2] for tile in tiles)
    north = max(tile.transform[5] for tile in tiles)
    east = max(tile.transform[2] + tile.width * step_x for tile in tiles)
    south = min(tile.transform[5] - tile.height * step_y for tile in tiles)
    shape = round((north - south) / step_y), round((east - west) / step_x)
    return Lattice(west=west, north=north, step_x=step_x, step_y=step_y, shape=shape, tiles=tiles)


def joined(lattices: list[Lattice]) -> Lattice:
    """Return the first lattice, as large as all together."""
    first = lattices[0]
    west = min(lattice.west for lattice in lattices)
    east = max(lattice.west + lattice.shape[1] * lattice.step_x for lattice in lattices)
    north = max(lattice.north for lattice in lattices)
    south = min(lattice.north - lattice.shape[0] * lattice.step_y for lattice in lattices)
    more = math.ceil((first.west - west) / first.step_x - ON_PIXEL)
    up = round((north - first.north) / first.step_y)
    west = first.west - more * first.step_x
    return replace(
        first,
        west=west,
        north=first.north + up * first.step_y,
        shape=(
            round((first.north - south) / first.step_y) + up,
            math.ceil((east - west) / first.step_x - ON_PIXEL),
        ),
    )
