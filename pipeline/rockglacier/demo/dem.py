"""GLO-30-like elevation tiles: one arc second, EPSG:4326, one tile a degree, cut to the basin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine
from pyproj import Transformer
from rasterio.transform import array_bounds
from scipy import ndimage

from rockglacier.demo.noise import Field, enlarge, smooth, stream
from rockglacier.demo.relief import PIXEL_M
from rockglacier.demo.terrain import Landscape

PER_DEGREE = 3600
"""Rows, and below 50 degrees latitude columns, of a tile."""
BLUR_M = 11.0
"""Deviation of the blur of the radar, metres; with the sampling it hides most ridges."""
NOISE_M = 0.5
"""Standard deviation of the height of a cell, metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemTile:
    """The part of one tile that the demo keeps."""

    name: str
    """Item id, e.g. ``Copernicus_DSM_COG_10_N36_00_E077_00_DEM``."""
    grid_code: str
    transform: Affine
    """Cell (column, row) to degrees; cells are centred on whole arc seconds."""
    elevation: Field
    """(y, x) metres, no nodata."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees."""
        return array_bounds(*self.elevation.shape, self.transform)


def make_dem(
    landscape: Landscape, bounds: tuple[float, float, float, float], *, seed: int
) -> Iterator[DemTile]:
    """Yield the DEM tiles over a box.

    Parameters
    ----------
    landscape
        The truth.
    bounds
        West, south, east, north in degrees; must lie within the landscape.
    seed
        Seed of the basin.
    """
    west, south, east, north = bounds
    blurred = smooth(landscape.elevation, BLUR_M, resolution=PIXEL_M)
    for lat in range(math.floor(south), math.floor(north) + 1):
        for lon in range(math.floor(west), math.floor(east) + 1):
            # a tile holds the cells centred from its western edge on, and up to its northern one
            columns = _cells(west, east, lon, first=0)
            rows = _cells(south, north, lat, first=1)
            if len(columns) < 2 or len(rows) < 2:
                continue
            name = f"{_letter(lat, 'NS')}{abs(lat):02d}_00_{_letter(lon, 'EW')}{abs(lon):03d}_00"
            rng = stream(seed, "dem", name)
            elevation = _sampled(blurred, landscape, rows[::-1], columns)
            elevation += NOISE_M * rng.standard_normal(elevation.shape, dtype=np.float32)
            step = 1 / PER_DEGREE
            yield DemTile(
                name=f"Copernicus_DSM_COG_10_{name}_DEM",
                grid_code=f"CDEM-{name.replace('_00', '').replace('_', '')}",
                transform=Affine(
                    step, 0, (columns[0] - 0.5) * step, 0, -step, (rows[-1] + 0.5) * step
                ),
                elevation=elevation,
            )


def _letter(degrees: int, letters: str) -> str:
    return letters[0] if degrees >= 0 else letters[1]


def _cells(low: float, high: float, degree: int, *, first: int) -> range:
    """Arc seconds of the cell centres of one tile that are needed for a span of degrees."""
    start = max(math.floor(low * PER_DEGREE), degree * PER_DEGREE + first)
    stop = min(math.ceil(high * PER_DEGREE), degree * PER_DEGREE + PER_DEGREE - 1 + first)
    return range(start, stop + 1)


def _sampled(elevation: Field, landscape: Landscape, rows: range, columns: range) -> Field:
    """Elevation at the cell centres (arc seconds), linear between pixels."""
    every = 16  # degrees to metres is smooth enough for linear interpolation between these
    shape = (len(rows), len(columns))
    coarse_y, coarse_x = np.mgrid[0 : shape[0] + every : every, 0 : shape[1] + every : every]
    transformer = Transformer.from_crs(4326, landscape.epsg, always_xy=True)
    x, y = transformer.transform(
        (columns[0] + coarse_x) / PER_DEGREE, (rows[0] - coarse_y) / PER_DEGREE
    )
    column, row = ~landscape.transform * (x, y)
    at = (enlarge(row - 0.5, every, shape), enlarge(column - 0.5, every, shape))
    sampled: Field = ndimage.map_coordinates(elevation, at, order=1, mode="nearest")
    return sampled
