"""Products thinned for figures: at most 1200 pixels along an edge, whatever the basin's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from rockglacier.cube.light import illumination
from rockglacier.grid import Grid, Window
from rockglacier.storage import open_group, read_json, readable
from rockglacier.study import Study

STRIP: Final = 4
"""Chunks, from north to south, that are read at once."""

LARGEST: Final = 1200
"""Pixels along the longer edge of a figure's raster."""

TRIPLES: Final = (
    ("B11", "B08", "B04"),
    ("B12", "B08", "B04"),
    ("B08", "B04", "B03"),
)
"""Bands shown as red, green and blue in false colour, the first triple that the cube has."""

TRUE: Final = ("B04", "B03", "B02")
"""Bands of true colour."""

GAMMA: Final = 0.65
"""Of true colour: snow would leave all other ground dark."""

type Limits = tuple[NDArray[np.float64], NDArray[np.float64]]

DOUBTS: Final = ("spread", "agreement")
"""Layers of the prediction of an ensemble."""

SEEN: Final = frozenset({"train"})
GROUNDS: Final = ("test", "unseen", "guard", "validation", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The ground that a map shows."""

    epsg: int
    bounds: tuple[float, float, float, float]
    """West, south, east, north, CRS metres."""
    pixel_m: float
    """Edge of a thinned pixel, metres."""

    @property
    def extent_km(self) -> tuple[float, float, float, float]:
        """West, east, south, north in km from the lower left corner, as matplotlib wants them."""
        west, south, east, north = self.bounds
        return 0.0, (east - west) / 1e3, 0.0, (north - south) / 1e3

    def to_km(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return CRS metres (n, 2) as km from the lower left corner."""
        return (coordinates - np.array(self.bounds[:2])) / 1e3


@dataclass(frozen=True, kw_only=True)
class Cube:
    """Thinned layers of a cube, all (y, x)."""

    composite: NDArray[np.uint8]
    """(y, x, 3), false colour; black where there is no look."""
    bands: tuple[str, str, str]
    """Of the composite."""
    true: NDArray[np.uint8] | None
    """(y, x, 3), true colour, if the cube has its bands."""
    limits: Mapping[str, Limits]
    """What is dark and what is bright in either, by ``composite`` and ``true``."""
    n_clear: NDArray[np.uint8]
    """Clear looks of the period, as those below."""
    n_snow: NDArray[np.uint8]
    n_shadow: NDArray[np.uint8]
    elevation: NDArray[np.float32]
    aspect: NDArray[np.float32]


def step_for(shape: Sequence[int], *, largest: int = LARGEST) -> int:
    """Return the step that thins rows and columns to at most ``largest``."""
    return max(1, -(-max(shape) // largest))


def frame_of(grid: Grid) -> Frame:
    """Return the frame of the maps of a grid."""
    step = step_for(grid.shape)
    return Frame(epsg=grid.epsg, bounds=grid.bounds, pixel_m=grid.resolution * step)


def thinned(
    array: Any, *, step: int, index: tuple[int | slice, ...] = (), window: Window | None = None
) -> NDArray[Any]:
    """Return every ``step``-th pixel of a raster (..., y, x), the middle one of each square.

    Parameters
    ----------
    array
        Zarr array (..., y, x).
    step
        Pixels from one to the next.
    index
        Position along each dimension before y, or all of it.
    window
        Pixels that are meant, its corner a multiple of ``step``; default: all.

    Notes
    -----
    Read in strips of whole chunks, so that memory holds one strip and the result.
    """
    rows, columns = array.shape[-2:]
    window = window or Window(y=0, x=0, height=rows, width=columns)
    first, strip = step // 2, max(STRIP * array.chunks[-2], step)
    across = slice(window.x + first, window.x + window.width, step)
    parts = []
    for top in range(window.y, window.y + window.height, strip):
        below = min(top + strip, window.y + window.height)
        start = top + (first - top) % step
        if start < below:
            values = np.asarray(array[(*index, slice(top, below), slice(0, across.stop))])
            parts.append(values[..., start - top :: step, across])
    return np.concatenate(parts, axis=-2)


def read_cube(study: Study) -> Cube:
    """Read the layers of a study's cube that figures show."""
    group: Any = open_group(study.cube_path)
    step, time = step_for(study.grid.shape), study.period.index
    names = [str(name) for name in np.asarray(group["band"][:])]
    bands = triple_of(names)
    # all bands at once: a chunk holds them all, and is decoded once
    reflectance = thinned(group["reflectance"], step=step, index=(time, slice(None)))
    limits: dict[str, Limits] = {}

    def composed(kind: str, chosen: Sequence[str], *, gamma: float = 1.0) -> NDArray[np.uint8]:
        numbers = np.stack([reflectance[names.index(name)] for name in chosen], axis=-1)
        limits[kind] = limits_of(numbers)
        return stretched(numbers, gamma=gamma, limits=limits[kind])

    return Cube(
        composite=composed("composite", bands),
        bands=bands,
        true=composed("true", TRUE, gamma=GAMMA) if set(TRUE) <= set(names) else None,
        limits=limits,
        n_clear=thinned(group["n_clear"], step=step, index=(time,)),
        n_snow=thinned(group["n_snow"], step=step, index=(time,)),
        n_shadow=thinned(group["n_shadow"], step=step, index=(time,)),
        elevation=thinned(group["elevation"], step=step),
        aspect=thinned(group["aspect"], step=step),
    )


def triple_of(names: Sequence[str]) -> tuple[str, str, str]:
    """Return the bands of false colour of a cube that has the bands ``names``."""
    for triple in TRIPLES:
        if set(triple) <= set(names):
            return triple
    few = [*names, *[names[-1]] * 3]
    return few[0], few[1], few[2]


def limits_of(numbers: NDArray[np.uint16]) -> Limits:
    """Return the 2nd and the 98th percentile of each of three bands (y, x, 3), 0 = no data."""
    is_known = (numbers > 0).all(axis=-1)
    if not is_known.any():
        return np.zeros(3), np.ones(3)
    low, high = np.percentile(numbers[is_known], [2, 98], axis=0)
    return low, high


def stretched(
    numbers: NDArray[np.uint16], *, gamma: float = 1.0, limits: Limits | None = None
) -> NDArray[np.uint8]:
    """Return three bands (y, x, 3) as colours, black where there is no data.

    Parameters
    ----------
    numbers
        0 = no data.
    gamma
        Below 1 it brightens what is dark.
    limits
        What is dark and what is bright; default: the percentiles of :func:`limits_of`.
    """
    low, high = limits_of(numbers) if limits is None else limits
    share = np.clip((numbers - low) / np.maximum(high - low, 1.0), 0, 1)
    colours = (255 * share**gamma).astype(np.uint8)
    colours[~(numbers > 0).all(axis=-1)] = 0
    return colours


def hillshade(elevation: NDArray[np.floating], *, pixel_m: float) -> NDArray[np.float32]:
    """Return light from the north-west on a terrain (y, x), 0 to 1; NaN beside a hole too."""
    if min(elevation.shape) < 2:
        return np.full(elevation.shape, 0.5, np.float32)
    rimmed = np.pad(elevation.astype(np.float32), 1, mode="reflect", reflect_type="odd")
    return illumination(rimmed, pixel_m, 0.0, sun_azimuth=315, sun_elevation=45)[1:-1, 1:-1]


def read_percent(study: Study, name: str = "probability") -> NDArray[np.uint8]:
    """Read a layer of the prediction (y, x), percent, 255 where there is none."""
    group: Any = open_group(study.prediction_path / "prediction.zarr")
    return thinned(group[name], step=step_for(study.grid.shape))


def read_inventory(study: Study) -> gpd.GeoDataFrame:
    """Read the inventory with its ``ground``: what the model knew of the place of each outline.

    An outline of which any part lies on training ground counts as seen, whatever its middle says.
    """
    table = gpd.read_parquet(readable(study.inventory_path / "inventory.parquet"))
    ground = table["split"].astype(object).where(table["split"].notna(), "unseen")
    if "train_share" in table:
        ground = ground.where(~(table["train_share"].fillna(0) > 0), "train")
    return table.assign(ground=ground.astype(str))


def burnt(outlines: gpd.GeoDataFrame, frame: Frame, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which thinned pixels (y, x) have their centre inside an outline."""
    west, _, _, north = frame.bounds
    if outlines.empty:
        return np.zeros(shape, bool)
    return geometry_mask(
        outlines.geometry.to_crs(frame.epsg),
        out_shape=shape,
        transform=Affine(frame.pixel_m, 0, west, 0, -frame.pixel_m, north),
        invert=True,
    )


def read_reference(study: Study) -> gpd.GeoDataFrame | None:
    """Read the outlines of the reference that were used, or None where there is no reference."""
    if not study.label_table_path.is_file():
        return None
    table = gpd.read_parquet(readable(study.label_table_path))
    return table[table["used"]]


def read_splits(study: Study) -> gpd.GeoDataFrame | None:
    """Read the split of the ground, or None where nothing was trained here."""
    path = study.splits_path
    return gpd.read_parquet(readable(path)) if path.is_file() else None


def read_hypsometry(study: Study) -> pd.DataFrame | None:
    """Read the elevation bands of the landforms, or None where there are none."""
    path = study.inventory_path / "hypsometry.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(readable(path))
    return table if "thousandths" in table and len(table) else None


def read_days(study: Study) -> pd.Series[Any]:
    """Read the day of every scene of the study's period."""
    scenes = pd.read_parquet(readable(study.scenes_path), columns=["datetime"])
    days = scenes["datetime"].dt.date
    return days[days.between(study.period.start, study.period.end)]


class Products:
    """A study's products as the sections share them; each is read once, or is None if absent."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.frame = frame_of(study.grid)

    @cached_property
    def inventory(self) -> gpd.GeoDataFrame:
        """Outlines with their ``ground``."""
        return read_inventory(self.study)

    @cached_property
    def cube(self) -> Cube | None:
        """Thinned layers of the cube."""
        return read_cube(self.study) if self.study.cube_path.exists() else None

    @cached_property
    def percent(self) -> NDArray[np.uint8] | None:
        """Thinned probability."""
        path = self.study.prediction_path / "prediction.zarr"
        return read_percent(self.study) if path.exists() else None

    @cached_property
    def doubts(self) -> dict[str, NDArray[np.uint8]]:
        """Thinned spread and agreement of the networks, of those that an ensemble has."""
        folder = self.study.prediction_path / "prediction.zarr"
        held = [name for name in DOUBTS if (folder / name / "zarr.json").is_file()]
        return {name: read_percent(self.study, name) for name in held}

    @cached_property
    def splits(self) -> gpd.GeoDataFrame | None:
        """Cells of the split."""
        return read_splits(self.study)

    @cached_property
    def reference(self) -> gpd.GeoDataFrame | None:
        """Outlines of the reference."""
        return read_reference(self.study)

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """Scores on held-out ground."""
        return self.json(self.study.evaluation_path)

    @cached_property
    def links(self) -> pd.DataFrame | None:
        """Links between outlines and reference."""
        path = self.study.inventory_path / "matches.parquet"
        return pd.read_parquet(readable(path)) if path.is_file() else None

    @cached_property
    def matches(self) -> dict[str, Any] | None:
        """Agreement of outlines, by ground."""
        return self.json(self.study.inventory_path / "matches.json")

    @cached_property
    def periods(self) -> list[Products]:
        """The products of every period that has an inventory, the earliest first."""
        every = sorted(self.study.each_period(), key=lambda one: one.period.index)
        return [
            self if one.period == self.study.period else Products(one)
            for one in every
            if (one.inventory_path / "inventory.parquet").is_file()
        ]

    def json(self, path: Path) -> Any | None:
        """Return the content of a JSON file, or None where there is none."""
        return read_json(path) if path.is_file() else None

    def csv(self, path: Path) -> pd.DataFrame | None:
        """Return a table, or None where there is none or it has no row."""
        if not path.is_file():
            return None
        table = pd.read_csv(readable(path))
        return table if len(table) else None
