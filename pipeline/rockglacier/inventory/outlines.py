"""Outlines of landforms: traced along pixel edges, and simplified as one coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import Polygon, shape

from rockglacier.errors import ContractError

MAX_AREA_CHANGE = 0.1
"""Share of its area that an outline may gain or lose when it is simplified."""


def trace(is_landform: NDArray[np.bool_], transform: Affine) -> Polygon:
    """Return the exact outline of one landform, holes kept.

    Parameters
    ----------
    is_landform
        (y, x); one 4-connected component.
    transform
        Pixel corners to CRS metres.

    Returns
    -------
    Polygon
        Along pixel edges, valid; its area is the number of pixels times the area of a pixel.

    Raises
    ------
    ContractError
        The pixels are not one component, or the outline does not hold exactly their area.
    """
    pieces = [
        shape(geometry)
        for geometry, _ in shapes(
            is_landform.astype(np.uint8), mask=is_landform, connectivity=4, transform=transform
        )
    ]
    expected = int(is_landform.sum()) * abs(transform.determinant)
    if (
        len(pieces) != 1
        or not pieces[0].is_valid
        or not math.isclose(pieces[0].area, expected, rel_tol=1e-9)
    ):
        raise ContractError(
            f"{int(is_landform.sum())} pixels were traced as {len(pieces)} outline(s) of "
            f"{sum(piece.area for piece in pieces):.1f} m²",
            expected=f"one valid outline of {expected:.1f} m²",
        )
    return shapely.orient_polygons(pieces[0])


def simplify(outlines: Sequence[Polygon], *, tolerance_m: float) -> list[Polygon]:
    """Take the pixel stairs out of outlines, as one coverage: none comes to overlap another.

    Parameters
    ----------
    outlines
        Exact outlines in CRS metres; they may touch at corners.
    tolerance_m
        Visvalingam-Whyatt tolerance, metres: a corner goes where the triangle that it makes with
        its neighbours is smaller than the tolerance squared. One pixel takes a single step of the
        stairs (half a square pixel) and keeps larger shapes. 0 keeps the exact outlines.

    Returns
    -------
    list of Polygon
        In the same order, valid. An outline that would collapse, or change its area by more than a
        tenth, stays exact.
    """
    if tolerance_m == 0 or not outlines:
        return list(outlines)
    exact = np.array(outlines, dtype=object)
    simple = shapely.orient_polygons(shapely.coverage_simplify(exact, tolerance_m))
    is_kept = (
        shapely.is_valid(simple)
        & ~shapely.is_empty(simple)
        & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
        & (np.abs(shapely.area(simple) / shapely.area(exact) - 1) <= MAX_AREA_CHANGE)
    )
    return list(np.where(is_kept, simple, exact))
