"""Small windows of the products at full resolution: what a network saw, was taught, and said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from rockglacier.evaluation.outputs import read_outputs
from rockglacier.features.fitted import NODATA, SCALE
from rockglacier.grid import Window, projected
from rockglacier.inventory.candidates import split_at
from rockglacier.report.layers import GAMMA, TRUE, Frame, Products, stretched, triple_of
from rockglacier.storage import open_array, open_group

AREAS: Final = 9
EDGE: Final = 256
"""Edge of a window, pixels; smaller where the ground is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A window with its name."""

    title: str
    window: Window


def frame_at(products: Products, window: Window) -> Frame:
    """Return the frame of a window."""
    grid = products.study.grid
    west, north = grid.transform * (window.x, window.y)
    east, south = grid.transform * (window.x + window.width, window.y + window.height)
    return Frame(epsg=grid.epsg, bounds=(west, south, east, north), pixel_m=grid.resolution)


def window_around(products: Products, shape: Any, *, edge: int = EDGE) -> Window:
    """Return a square window with the middle of a shape (CRS of the grid), moved into the grid."""
    grid = products.study.grid
    height, width = grid.shape
    x0, y0, x1, y1 = shape.bounds
    column, row = ~grid.transform * ((x0 + x1) / 2, (y0 + y1) / 2)
    rows, columns = min(edge, height), min(edge, width)
    return Window(
        y=int(np.clip(round(row) - rows // 2, 0, height - rows)),
        x=int(np.clip(round(column) - columns // 2, 0, width - columns)),
        height=rows,
        width=columns,
    )


def spread(table: gpd.GeoDataFrame, count: int) -> gpd.GeoDataFrame:
    """Return up to ``count`` rows from the largest to the smallest area, evenly by rank."""
    ordered = table.sort_values("area_km2", ascending=False, kind="stable")
    places = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round())
    return ordered.iloc[places.astype(int)]


def largest_found(products: Products, count: int) -> list[Example]:
    """Return windows on the largest outlines outside training ground."""
    found = products.inventory[products.inventory["ground"] != "train"]
    chosen = found.sort_values("area_km2", ascending=False, kind="stable").head(count)
    shapes = chosen.geometry.to_crs(products.frame.epsg)
    return [
        Example(title=f"{name}, {area:.2f} km²", window=window_around(products, shape))
        for name, area, shape in zip(
            chosen["candidate_id"], chosen["area_km2"], shapes, strict=True
        )
    ]


def taught(products: Products, count: int) -> list[Example]:
    """Return windows of a chip's size on landforms of training ground, large and small."""
    reference, edge = _on(products, "train"), products.study.config.train.chip
    if reference is None or reference.empty:
        return []
    chosen = spread(reference, count)
    return [
        Example(title=f"{area:.2f} km²", window=window_around(products, shape, edge=edge))
        for area, shape in zip(
            chosen["area_km2"], chosen.geometry.to_crs(products.frame.epsg), strict=True
        )
    ]


def areas(products: Products) -> list[Example]:
    """Return the areas of ``report.areas``, or test ground around landforms of all sizes."""
    given = products.study.config.report.areas
    if given:
        return [
            Example(title=f"area {number}", window=_window_of(products, box))
            for number, box in enumerate(given, start=1)
        ]
    reference = _on(products, "test")
    if reference is None or reference.empty:
        return []
    chosen = spread(reference, AREAS)
    edge = min(EDGE, products.study.config.train.chip)
    return [
        Example(title=f"{area:.2f} km²", window=window_around(products, shape, edge=edge))
        for area, shape in zip(
            chosen["area_km2"], chosen.geometry.to_crs(products.frame.epsg), strict=True
        )
    ]


def _on(products: Products, ground: str) -> gpd.GeoDataFrame | None:
    """Return the outlines of the reference on one kind of ground."""
    reference, splits = products.reference, products.splits
    if reference is None or splits is None:
        return None
    points = reference.geometry.representative_point().to_crs(products.frame.epsg)
    return reference[np.asarray(split_at(points, splits, products.study.grid) == ground)]


def _window_of(products: Products, box: tuple[float, float, float, float]) -> Window:
    grid = products.study.grid
    shape = projected(shapely.box(*box), epsg=grid.epsg)
    x0, y0, x1, y1 = shape.bounds
    edge = max(16, round(max(x1 - x0, y1 - y0) / grid.resolution))
    return window_around(products, shape, edge=min(edge, 1024))


class Windows:
    """Reads windows of a study's products, each of which is opened once."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._study = products.study

    def colours(self, window: Window, *, is_true: bool = False) -> NDArray[np.uint8] | None:
        """Return false or true colour (y, x, 3), or None where the cube lacks the bands."""
        if not self._study.cube_path.exists():
            return None
        group, names = self._cube
        bands, time = TRUE if is_true else triple_of(names), self._study.period.index
        if not set(bands) <= set(names):
            return None
        # all bands at once: a chunk holds them all, and is decoded once
        stack = np.asarray(group["reflectance"][(time, slice(None), *window.slices)])
        numbers = np.stack([stack[names.index(band)] for band in bands], axis=-1)
        return stretched(numbers, gamma=GAMMA if is_true else 1.0)

    def labels(self, window: Window) -> NDArray[np.uint8] | None:
        """Return labels (y, x): 0, 1, 255 ignored."""
        return None if self._labels is None else np.asarray(self._labels[window.slices])

    def features(self, window: Window) -> tuple[list[str], NDArray[np.float32]] | None:
        """Return channels and their values (channel, y, x), NaN where there are none."""
        path = self._study.features_path / "features"
        if not path.exists():
            return None
        array = open_array(path)
        stored = np.asarray(array[(slice(None), *window.slices)])
        values = np.where(stored == NODATA, np.nan, stored / np.float32(SCALE))
        fusion = self._products.json(self._study.fusion_path) or {}
        named = [str(name) for name in fusion.get("channels", [])]
        names = named if len(named) == len(values) else [f"{n}" for n in range(len(values))]
        return names, values.astype(np.float32)

    def percent(self, window: Window) -> NDArray[np.uint8] | None:
        """Return what the map says (y, x), percent, 255 none."""
        path = self._study.prediction_path / "prediction.zarr" / "probability"
        return np.asarray(open_array(path)[window.slices]) if path.exists() else None

    def outputs(self, window: Window) -> dict[str, tuple[NDArray[np.uint8], float]]:
        """Return what each network says of test ground, percent, 255 elsewhere; its threshold."""
        return {
            name: (np.asarray(array[window.slices]), threshold)
            for name, (array, threshold) in self._outputs.items()
        }

    @cached_property
    def _outputs(self) -> dict[str, tuple[Any, float]]:
        found = {}
        for name, row in (self._products.evaluation or {}).get("networks", {}).items():
            array = read_outputs(self._study, name, row["trial"])
            if array is not None:
                found[name] = array, float(row["threshold"])
        return found

    @cached_property
    def _cube(self) -> tuple[Any, list[str]]:
        """Group of the cube and its bands."""
        group: Any = open_group(self._study.cube_path)
        return group, [str(name) for name in np.asarray(group["band"][:])]

    @cached_property
    def _labels(self) -> Any | None:
        path = self._study.labels_path / "labels"
        return open_array(path) if path.exists() else None
