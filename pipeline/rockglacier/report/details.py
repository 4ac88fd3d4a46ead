"""The ground around every rock glacier in the pixels of the cube, for maps whose own are coarse."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np

from rockglacier.grid import Window
from rockglacier.report.layers import GAMMA, TRUE, Products, step_for, stretched
from rockglacier.report.webmap import Detail, colours_href
from rockglacier.storage import open_group

MOST_LETTERS: Final = 7_000_000
"""Of all pictures together, as they stand in the page."""
MARGIN: Final = 0.35
"""Ground shown around an outline, as a share of its longer side."""
LEAST_MARGIN_PX: Final = 12
LARGEST_PX: Final = 512
"""Longer side of a picture, pixels: larger ground is thinned."""


def details_of(products: Products, table: gpd.GeoDataFrame) -> dict[str, tuple[Detail, ...]]:
    """Return pictures of the ground around outlines, by ``true`` and ``composite``.

    Parameters
    ----------
    products
        With a cube.
    table
        Outlines, those first that are to have a picture if there is not room for all.

    Returns
    -------
    dict
        Nothing where the map's own pixels are those of the cube.
    """
    study, cube = products.study, products.cube
    if cube is None or step_for(study.grid.shape) == 1:
        return {}
    group: Any = open_group(study.cube_path)
    names = [str(name) for name in np.asarray(group["band"][:])]
    kinds = {"composite": cube.bands} | ({"true": TRUE} if cube.true is not None else {})
    found: dict[str, list[Detail]] = {kind: [] for kind in kinds}
    letters = 0
    for shape in table.geometry.to_crs(products.frame.epsg):
        window = _around(products, shape.bounds)
        step = max(1, -(-max(window.height, window.width) // LARGEST_PX))
        stack = np.asarray(group["reflectance"][(study.period.index, slice(None), *window.slices)])
        edge = study.grid.resolution
        box = (
            round(window.x * edge),
            round(window.y * edge),
            round(window.width * edge),
            round(window.height * edge),
        )
        for kind, bands in kinds.items():
            numbers = np.stack([stack[names.index(band)] for band in bands], axis=-1)
            gamma = GAMMA if kind == "true" else 1.0
            colours = stretched(numbers[::step, ::step], gamma=gamma, limits=cube.limits[kind])
            href = colours_href(colours)
            letters += len(href)
            found[kind].append(Detail(box=box, href=href))
        if letters > MOST_LETTERS:
            break
    # the first are drawn last: where two overlap, the larger landform's ground is on top
    return {kind: tuple(reversed(parts)) for kind, parts in found.items()}


def _around(products: Products, bounds: tuple[float, float, float, float]) -> Window:
    grid = products.study.grid
    x0, y0, x1, y1 = bounds
    left, top = ~grid.transform * (x0, y1)
    right, bottom = ~grid.transform * (x1, y0)
    margin = max(LEAST_MARGIN_PX, round(MARGIN * max(right - left, bottom - top)))
    rows, columns = grid.shape
    y, x = max(0, int(top) - margin), max(0, int(left) - margin)
    return Window(
        y=y,
        x=x,
        height=max(1, min(rows, int(bottom) + 1 + margin) - y),
        width=max(1, min(columns, int(right) + 1 + margin) - x),
    )
