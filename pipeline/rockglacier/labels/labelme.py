"""LabelMe's files: drawn shapes as polygons in pixels, and polygons as shapes to go on drawing.

Both the current form and that of LabelMe 3.16.7 are read; what is written opens in both. Pixel
coordinates are LabelMe's: (0, 0) is the upper left corner of the first pixel, y runs down.

LabelMe knows no holes and no parts: a shape with the label ``hole`` is cut out of what it lies in,
and landforms of one group are one landform.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from shapely.geometry.base import BaseGeometry

from rockglacier.labels.reference import repaired_shape
from rockglacier.storage.vector import areal

LANDFORM: Final = "rock_glacier"
HOLE: Final = "hole"
UNSURE: Final = "ignore"
"""Ground that shall count neither way."""

LOOKED_AT: Final = "looked_at"
"""Flag of an image. LabelMe saves a picture without shapes only when something about it changes."""

VERSION: Final = "5.5.0"
"""Form that is written, with the keys that 3.16.7 wants beside."""

DECIMALS: Final = 3
GRAIN: Final = 10.0**-DECIMALS
"""Points are written to so many pixels: rounded one by one, they could make a ring cross itself."""

FARTHEST: Final = 1e9
"""Pixels from the corner of an image: far beyond any, and far from where numbers overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One landform, or ground to ignore."""

    label: str
    polygon: BaseGeometry
    """In pixels, y down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What was drawn on one image."""

    outlines: tuple[Outline, ...]
    """None: somebody looked, and there is nothing."""
    problems: tuple[str, ...]
    """Shapes that cannot be used, and why."""
    unknown: tuple[str, ...]
    """Labels that mean nothing here, one a shape."""
    repaired: int
    """Shapes that crossed themselves."""
    is_open: bool = False
    """Nothing is drawn, and the flag says that nobody has looked."""


def same_label(label: object) -> str:
    """Return a label in one spelling: lower case, ``_`` between words."""
    return re.sub(r"[\s_-]+", "_", str(label).strip().casefold())


def read_drawing(
    values: Mapping[str, Any], *, size: tuple[int, int], landforms: Iterable[str] = (LANDFORM,)
) -> Drawing:
    """Read one LabelMe file.

    Parameters
    ----------
    values
        The parsed JSON.
    size
        Height and width of the image as it was written, pixels.
    landforms
        Labels of landforms; ``hole`` and ``ignore`` are known beside them. Case, blanks and hyphens
        do not matter.

    Returns
    -------
    Drawing
        Valid polygons, clipped to the image; polygons, rectangles, circles and masks are read.
        Problems are collected, so that all of them can be told at once.
    """
    shapes = values.get("shapes") if isinstance(values, Mapping) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
        return Drawing(outlines=(), problems=("no list of shapes",), unknown=(), repaired=0)
    problems = list(_size_problems(values, size))
    known = {same_label(label): label for label in landforms} | {HOLE: HOLE, UNSURE: UNSURE}
    unknown: list[str] = []
    drawn: list[_Drawn] = []
    repaired = 0
    frame = shapely.box(0, 0, size[1], size[0])
    for number, shape in enumerate(shapes, start=1):
        label = known.get(same_label(shape.get("label")))
        if label is None:
            unknown.append(str(shape.get("label")))
            continue
        try:
            polygon = _polygon(shape)
        except ValueError as error:
            problems.append(f"shape {number} ({shape.get('label')}): {error}")
            continue
        repaired += not polygon.is_valid
        inside = areal(repaired_shape(polygon).intersection(frame))
        if inside.is_empty:
            problems.append(f"shape {number} ({shape.get('label')}): it covers no ground")
            continue
        said = shape.get("group_id")
        group = None if said is None else str(said)
        drawn.append(_Drawn(number=number, label=label, group=group, polygon=inside))
    holes = [shape for shape in drawn if shape.label == HOLE]
    landforms_drawn = _landforms(drawn)
    problems += _idle(holes, landforms_drawn)
    return Drawing(
        outlines=tuple(_cut(landforms_drawn, holes)),
        problems=tuple(problems),
        unknown=tuple(unknown),
        repaired=repaired,
        is_open=not shapes and (values.get("flags") or {}).get(LOOKED_AT) is False,
    )


def drawing_of(outlines: Sequence[Outline], *, image: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return the LabelMe file of an image with outlines already on it.

    Parameters
    ----------
    outlines
        In pixels. Holes become shapes of their own; parts and holes of one outline share a group.
    image
        Name of the image, in the folder of the file.
    size
        Height and width of the image, pixels.
    """
    shapes: list[dict[str, Any]] = []
    groups = 0
    for outline in outlines:
        whole = shapely.set_precision(outline.polygon, GRAIN)
        parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
        rings = [(outline.label, part.exterior) for part in parts]
        rings += [(HOLE, ring) for part in parts for ring in part.interiors]
        is_group = len(rings) > 1
        groups += is_group
        shapes += [_shape(label, ring, groups if is_group else None) for label, ring in rings]
    return {
        "version": VERSION,
        "flags": {LOOKED_AT: False},
        "shapes": shapes,
        "lineColor": [0, 255, 0, 128],
        "fillColor": [255, 0, 0, 128],
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def _shape(label: str, ring: shapely.LinearRing, group: int | None) -> dict[str, Any]:
    return {
        "label": label,
        "points": shapely.get_coordinates(ring)[:-1].round(DECIMALS).tolist(),
        "group_id": group,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
        "line_color": None,
        "fill_color": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    number: int
    label: str
    group: str | None
    polygon: BaseGeometry


def _landforms(drawn: Sequence[_Drawn]) -> list[_Drawn]:
    """Join the parts that share a group."""
    parts: dict[object, list[_Drawn]] = {}
    for shape in drawn:
        if shape.label != HOLE:
            alone = shape.group is None
            key = ("alone", shape.number) if alone else (shape.label, shape.group)
            parts.setdefault(key, []).append(shape)
    return [
        replace(members[0], polygon=shapely.union_all([member.polygon for member in members]))
        for members in parts.values()
    ]


def _cut(landforms: Sequence[_Drawn], holes: Sequence[_Drawn]) -> list[Outline]:
    groups = {landform.group for landform in landforms}
    found = []
    for landform in landforms:
        gone = [hole.polygon for hole in holes if _is_in(hole, landform, groups)]
        ground = areal(landform.polygon.difference(shapely.union_all(gone)))
        if not ground.is_empty:
            found.append(Outline(label=landform.label, polygon=ground))
    return found


def _is_in(hole: _Drawn, landform: _Drawn, groups: Container[Any]) -> bool:
    """Say whether a hole belongs to a landform: by its group, else by where most of it lies.

    What was drawn inside a hole keeps its ground: it does not hold the hole.
    """
    if hole.group is not None and hole.group in groups:
        return bool(hole.group == landform.group)
    held = landform.polygon.intersection(hole.polygon).area
    return bool(held > 0.5 * hole.polygon.area)


def _idle(holes: Sequence[_Drawn], landforms: Sequence[_Drawn]) -> list[str]:
    groups = {landform.group for landform in landforms}
    return [
        f"shape {hole.number} (hole): it lies in no landform"
        for hole in holes
        if not any(_is_in(hole, landform, groups) for landform in landforms)
    ]


def _size_problems(values: Mapping[str, Any], size: tuple[int, int]) -> Iterable[str]:
    found = values.get("imageHeight"), values.get("imageWidth")
    if found != (None, None) and found != size:
        yield (
            f"drawn on an image of {found[0]} x {found[1]} pixels, "
            f"and the chip has {size[0]} x {size[1]}"
        )


def _polygon(shape: Mapping[str, Any]) -> BaseGeometry:
    kind = str(shape.get("shape_type") or "polygon")
    if kind not in _KINDS:
        raise ValueError(f"a {kind} is no area")
    try:
        points = np.asarray(shape.get("points"), float).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("its points are no pairs of numbers") from None
    if not (np.abs(points) <= FARTHEST).all():
        raise ValueError("its points are no pixels")
    return _KINDS[kind](points, shape)


def _of_polygon(points: np.ndarray, _: Mapping[str, Any]) -> BaseGeometry:
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} point(s)")
    return shapely.Polygon(points)


def _of_rectangle(points: np.ndarray, _: Mapping[str, Any]) -> BaseGeometry:
    if len(points) not in (2, 4):
        raise ValueError(f"a rectangle of {len(points)} point(s)")
    return shapely.box(*points.min(axis=0), *points.max(axis=0))


def _of_circle(points: np.ndarray, _: Mapping[str, Any]) -> BaseGeometry:
    if len(points) != 2:
        raise ValueError(f"a circle of {len(points)} point(s)")
    centre, rim = points
    return shapely.Point(centre).buffer(float(np.hypot(*(rim - centre))), quad_segs=32)


def _of_mask(points: np.ndarray, shape: Mapping[str, Any]) -> BaseGeometry:
    """Trace the pixels of a mask, a PNG whose first pixel is the first point."""
    if not len(points):
        raise ValueError("a mask without a point")
    try:
        with MemoryFile(base64.b64decode(shape.get("mask") or "")) as file, file.open() as image:
            pixels = (image.read(1) > 0).astype(np.uint8)
    except (RasterioError, binascii.Error, TypeError, ValueError):
        raise ValueError("its mask is no image") from None
    shift = Affine.translation(*np.floor(points[0]))
    traced = rasterio.features.shapes(pixels, mask=pixels > 0, transform=shift)
    return shapely.union_all([shapely.geometry.shape(part) for part, _ in traced])


_KINDS: Final[dict[str, Callable[[np.ndarray, Mapping[str, Any]], BaseGeometry]]] = {
    "polygon": _of_polygon,
    "rectangle": _of_rectangle,
    "circle": _of_circle,
    "mask": _of_mask,
}
