"""The candidates of a basin: drawn from its probabilities, measured on its terrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import geopandas as gpd
import numpy as np
import rasterio
import zarr
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from rockglacier.engine import Progress, silent
from rockglacier.grid import Grid, Window, projected
from rockglacier.inventory.attributes import (
    Layers,
    area_and_perimeter,
    area_uncertainty_km2,
    hypsometry,
    measure,
    measure_doubts,
    touches_nodata,
)
from rockglacier.inventory.footprints import Footprint, footprint_of
from rockglacier.inventory.geoparquet import hilbert_order
from rockglacier.inventory.landforms import Landform, Raster, Rule, find_landforms
from rockglacier.inventory.outlines import simplify, trace
from rockglacier.inventory.patches import Held, Patch, held, patches_of
from rockglacier.inventory.pool import in_order, threads
from rockglacier.storage import in_one_pass
from rockglacier.study import Study

CUBE_LAYERS: Final = ("elevation", "slope", "aspect", "n_snow", "n_shadow")

UNSEEN: Final = "unseen"
"""Ground of a basin on which nothing was trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The landforms of a basin with their outlines, an entry each, in the order of the file."""

    landforms: list[Landform]
    rule: Rule
    """What they were drawn by."""
    exact: gpd.GeoSeries
    """Outlines along pixel edges, CRS of the grid."""
    outlines: gpd.GeoSeries
    """Published outlines, CRS of the grid."""
    points: gpd.GeoSeries
    """A point inside each, CRS of the grid."""
    small: int
    """Left out: under the minimum area."""
    outside: int
    """Left out: their point lies outside the area."""
    footprints: list[Footprint | None]
    """Their pixels; None of an outline that a person drew or kept: they are those inside it."""
    across: Drawn | None = None
    """Of those outside, the ones that reach into the area: a basin beside it may not draw them."""

    def at(self, places: NDArray[Any]) -> Drawn:
        """Return some of the landforms along a Hilbert curve, of the places where they are here."""
        order = places[hilbert_order(self.outlines.iloc[places])]
        return replace(
            self,
            landforms=[self.landforms[place] for place in order],
            exact=self.exact.iloc[order].reset_index(drop=True),
            outlines=self.outlines.iloc[order].reset_index(drop=True),
            points=self.points.iloc[order].reset_index(drop=True),
            footprints=[self.footprints[place] for place in order],
        )

    def in_file_order[Value](self, values: Sequence[Value]) -> tuple[Drawn, list[Value]]:
        """Return it along a Hilbert curve, with what belongs to each landform."""
        order = hilbert_order(self.outlines)
        return self.at(np.arange(len(values))), [values[place] for place in order]


def draw(study: Study, probability: Any, *, threshold: float, progress: Progress = silent) -> Drawn:
    """Find, trace and simplify the landforms of the area.

    Parameters
    ----------
    study
        Its grid, area and inventory settings are used.
    probability
        (y, x) uint8 percent, nodata 255; NumPy or Zarr.
    threshold
        Probability (0 to 1) from which a pixel belongs to a landform.
    progress
        Told after every block and every outline.
    """
    grid, settings = study.grid, study.config.inventory
    rule = Rule.of(
        threshold,
        low=settings.threshold_low,
        min_area_km2=settings.min_area_km2,
        fill_holes_km2=settings.fill_holes_km2,
        resolution=grid.resolution,
    )
    probability = in_one_pass(probability)
    found = find_landforms(
        probability, grid, threshold=rule.threshold, low=rule.low, progress=progress
    )
    landforms = [landform for landform in found if landform.pixels >= rule.min_pixels]

    def outlines_in(patch: Patch) -> list[tuple[Footprint, Polygon]]:
        values = held(probability, patch.window)
        footprints = [_footprint(values, landforms[place], rule) for place in patch.places]
        with rasterio.Env():  # one for all of them: each would set up its own
            return [
                (
                    footprint,
                    trace(footprint.is_landform, grid.window_geobox(footprint.window).affine),
                )
                for footprint in footprints
            ]

    traced: dict[int, tuple[Footprint, Polygon]] = {}
    patches = patches_of(landforms, grid.shape)
    done = in_order(outlines_in, patches, threads=threads(study.folder))
    for patch, found_there in zip(patches, done, strict=True):
        traced |= dict(zip(patch.places, found_there, strict=True))
        progress("outlines: traced", len(traced), len(landforms))
    footprints: list[Footprint | None] = [traced[place][0] for place in range(len(landforms))]
    exact = [traced[place][1] for place in range(len(landforms))]
    outlines = gpd.GeoSeries(simplify(exact, tolerance_m=settings.simplify_m), crs=grid.epsg)
    points = outlines.representative_point()
    area = projected(study.area, epsg=grid.epsg)
    inside = points.within(area).to_numpy(bool)
    every = Drawn(
        landforms=landforms,
        rule=rule,
        exact=gpd.GeoSeries(exact, crs=grid.epsg),
        outlines=outlines,
        points=points,
        small=len(found) - len(landforms),
        outside=int((~inside).sum()),
        footprints=footprints,
    )
    across = ~inside & outlines.intersects(area).to_numpy(bool)
    return replace(every.at(np.flatnonzero(inside)), across=every.at(np.flatnonzero(across)))


def _footprint(probability: Raster, landform: Landform, rule: Rule) -> Footprint:
    found = footprint_of(
        probability,
        landform,
        threshold=rule.threshold,
        low=rule.low,
        min_pixels=rule.min_pixels,
        fill_pixels=rule.fill_pixels,
    )
    # lest one that is kept hold all that was read with it in memory
    return replace(found, probability=found.probability.copy())


def _inside(outline: BaseGeometry, probability: Raster, window: Window, grid: Grid) -> Footprint:
    """Return the pixels whose centre lies in an outline; those that it touches if there is none."""
    to = {
        "out_shape": (window.height, window.width),
        "transform": grid.window_geobox(window).affine,
        "dtype": np.uint8,
    }
    burnt = rasterize([outline], **to)
    if not burnt.any():
        burnt = rasterize([outline], all_touched=True, **to)
    return Footprint(
        window=window, is_landform=burnt.astype(bool), probability=probability[window.slices]
    )


def measured(
    study: Study,
    drawn: Drawn,
    probability: Any,
    cube: zarr.Group,
    *,
    doubts: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> tuple[list[dict[str, Any]], list[dict[int, int]]]:
    """Return the attributes and the hypsometry of every landform, in order.

    Parameters
    ----------
    study, drawn
        The study, and what was drawn of it.
    probability
        (y, x) uint8 percent, nodata 255: the raster that it was drawn from.
    cube
        With ``elevation, slope, aspect`` (y, x) and ``n_snow, n_shadow`` (time, y, x), of which the
        study's period is used.
    doubts
        Of an ensemble: ``spread`` and ``agreement``, (y, x) uint8 percent, nodata 255.
    progress
        Told after every landform.
    """
    grid = study.grid
    within = drawn.outlines.within(projected(study.area, epsg=grid.epsg).buffer(1e-6))
    outlines = drawn.outlines.to_crs(4326)
    # opened once: metadata is slow to parse
    arrays = {**{name: cube[name] for name in CUBE_LAYERS}, **(doubts or {})}
    arrays = {name: in_one_pass(array) for name, array in arrays.items()}
    probability = in_one_pass(probability)

    def row_of(place: int, layers: Mapping[str, Held]) -> tuple[dict[str, Any], dict[int, int]]:
        landform = drawn.landforms[place]
        footprint = drawn.footprints[place]
        if footprint is None:
            footprint = _inside(drawn.exact.iloc[place], probability, landform.window, grid)
        ground = _layers(layers, footprint)
        area, perimeter = area_and_perimeter(outlines.iloc[place])
        cut = {
            "grid": _at_edge(landform.window, grid),
            "data": touches_nodata(footprint.is_landform, footprint.probability),
            "area": not within.iloc[place],
        }
        truncated = any(cut.values())
        row = {
            **measure(footprint.is_landform, ground, resolution=grid.resolution),
            **measure_doubts(
                footprint.is_landform,
                {name: layers[name][footprint.window.slices] for name in doubts or {}},
            ),
            "area_km2": area,
            "area_uncertainty_km2": area_uncertainty_km2(perimeter, resolution=grid.resolution),
            "perimeter_km": perimeter,
            "truncated": truncated,
            "truncated_by": "; ".join(name for name, is_cut in cut.items() if is_cut) or None,
            "Complet": "incomplete" if truncated else "unclear",
        }
        return row, hypsometry(ground.elevation[footprint.is_landform])

    def rows_in(patch: Patch) -> list[tuple[dict[str, Any], dict[int, int]]]:
        time = study.period.index
        layers = {name: held(array, patch.window, time=time) for name, array in arrays.items()}
        return [row_of(place, layers) for place in patch.places]

    known: dict[int, tuple[dict[str, Any], dict[int, int]]] = {}
    patches = patches_of(drawn.landforms, grid.shape)
    done = in_order(rows_in, patches, threads=threads(study.folder))
    for patch, found in zip(patches, done, strict=True):
        known |= dict(zip(patch.places, found, strict=True))
        progress("outlines: measured", len(known), len(outlines))
    ordered = [known[place] for place in range(len(outlines))]
    return [row for row, _ in ordered], [bands for _, bands in ordered]


def _layers(layers: Mapping[str, Held], footprint: Footprint) -> Layers:
    read = {name: layers[name][footprint.window.slices] for name in CUBE_LAYERS}
    return Layers(probability=footprint.probability, **read)


def _at_edge(window: Window, grid: Grid) -> bool:
    rows, columns = grid.shape
    return (
        window.y == 0
        or window.x == 0
        or window.y + window.height == rows
        or window.x + window.width == columns
    )


def ground_of(
    drawn: Drawn, splits: gpd.GeoDataFrame | None, grid: Grid
) -> list[dict[str, str | float]]:
    """Return the split of every landform's point, and the share of it that was trained on.

    Parameters
    ----------
    drawn, grid
        What was drawn, and its grid.
    splits
        As for :func:`split_at`, with a geometry in the grid's CRS; None: nothing was trained here.
    """
    if splits is None:
        return [{"split": UNSEEN, "train_share": 0.0} for _ in drawn.landforms]
    train = splits.geometry[splits["split"] == "train"].union_all()
    share = drawn.outlines.intersection(train).area / drawn.outlines.area
    return [
        {"split": str(name), "train_share": float(part)}
        for name, part in zip(split_at(drawn.points, splits, grid), share, strict=True)
    ]


def split_at(points: gpd.GeoSeries, splits: gpd.GeoDataFrame, grid: Grid) -> NDArray[Any]:
    """Return the split of the cell in which each point lies; ``unseen`` outside every cell.

    Parameters
    ----------
    points
        CRS of the grid.
    splits
        Columns ``split, row0, col0, height, width`` in pixels of the grid.
    """
    columns, rows = ~grid.transform * (points.x.to_numpy(), points.y.to_numpy())
    found = np.full(len(points), UNSEEN, dtype=object)
    for cell in splits.itertuples():
        is_in = (rows >= cell.row0) & (rows < cell.row0 + cell.height)
        is_in &= (columns >= cell.col0) & (columns < cell.col0 + cell.width)
        found[is_in] = cell.split
    return found
