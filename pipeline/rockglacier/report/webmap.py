"""The map that a reader moves: pictures and outlines in metres, drawn by the browser as one SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from rockglacier.report.layers import Frame, hillshade

QUALITY: Final = 82
"""Of the pictures, WebP."""

MOST_CORNERS: Final = 200_000
"""Of the outlines of one layer: some 2 MB in the page."""

COARSEST_M: Final = 200.0
"""Largest tolerance of a simpler outline, metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A picture of a piece of ground, in finer pixels."""

    box: tuple[int, int, int, int]
    """x, y, width, height, metres from the upper left corner."""
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A picture of all the ground."""

    key: str
    label: str
    href: str
    """Data URL."""
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An outline."""

    id: str
    path: str
    """SVG path, metres."""
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Outlines that are switched on and off together."""

    key: str
    label: str
    shapes: tuple[Shape, ...]
    is_shown: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebMap:
    """All that the map shows."""

    width: int
    """Metres."""
    height: int
    pixel_m: float
    """Edge of a pixel of the pictures, metres."""
    finest_m: float
    """The same of the details."""
    bases: tuple[Raster, ...]
    """One of them is seen at a time."""
    overlays: tuple[Raster, ...]
    lines: tuple[Lines, ...]

    @property
    def detailed(self) -> int:
        """Rock glaciers that are shown in finer pixels."""
        return max((len(base.details) for base in self.bases), default=0)


def colours_href(colours: NDArray[np.uint8]) -> str:
    """Return colours (y, x, 3) as the data URL of a picture."""
    return _href(Image.fromarray(colours), quality=QUALITY, method=4)


def grey_href(shade: NDArray[np.floating]) -> str:
    """Return shades (y, x) of 0 to 1 as the data URL of a picture."""
    grey = np.nan_to_num(255 * np.clip(0.15 + 0.8 * shade, 0, 1)).astype(np.uint8)
    return colours_href(np.repeat(grey[..., None], 3, axis=-1))


def percent_href(percent: NDArray[np.uint8]) -> str:
    """Return percent (y, x), 255 = none, as the data URL of a picture, clearer where it is low."""
    share = np.minimum(percent, 100) / 100
    pixels = (255 * colormaps["magma"](share)).astype(np.uint8)
    pixels[..., 3] = np.where(percent == 255, 0, 40 + 190 * share).astype(np.uint8)
    return _href(Image.fromarray(pixels), lossless=True, method=4)


def _href(picture: Image.Image, **settings: Any) -> str:
    data = io.BytesIO()
    picture.save(data, format="webp", **settings)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def shade_of(elevation: NDArray[np.floating], *, pixel_m: float) -> str:
    """Return the hillshade of a terrain (y, x) as the data URL of a picture."""
    return grey_href(hillshade(elevation, pixel_m=pixel_m))


def _simple(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return shapes (CRS metres) with so few corners that a page can hold them."""
    kept, tolerance_m = shapes, 1.0
    while shapely.get_num_coordinates(kept).sum() > max(MOST_CORNERS, 5 * len(shapes)):
        kept = shapely.simplify(shapes, tolerance_m, preserve_topology=True)
        tolerance_m *= 2
        if tolerance_m > COARSEST_M:
            break
    return kept


def paths_of(shapes: gpd.GeoSeries, frame: Frame) -> list[str]:
    """Return polygons as SVG paths, whole metres from the upper left corner of the frame.

    Of very many corners those are left out that change the outlines least.
    """
    west, _, _, north = frame.bounds
    corner = np.array([west, north])
    found = []
    for shape in _simple(shapes.to_crs(frame.epsg).to_numpy()):
        rings = [
            np.rint((shapely.get_coordinates(ring) - corner) * (1, -1)).astype(int)
            for ring in shapely.get_rings(shape)
        ]
        found.append("".join(f"M{' '.join(f'{x} {y}' for x, y in ring[:-1])}Z" for ring in rings))
    return found


def boxes_of(shapes: gpd.GeoSeries, frame: Frame) -> list[tuple[int, int, int, int]]:
    """Return x, y, width and height of polygons, whole metres as of :func:`paths_of`."""
    west, _, _, north = frame.bounds
    bounds = shapes.to_crs(frame.epsg).bounds.to_numpy()
    return [
        (round(x0 - west), round(north - y1), max(1, round(x1 - x0)), max(1, round(y1 - y0)))
        for x0, y0, x1, y1 in bounds
    ]


def lines_of(
    key: str,
    label: str,
    shapes: gpd.GeoSeries,
    frame: Frame,
    *,
    ids: Sequence[str],
    titles: Sequence[str],
    is_shown: bool = True,
) -> Lines:
    """Return polygons as a layer of the map; its label tells how many there are."""
    drawn = tuple(
        Shape(id=i, path=path, title=title)
        for i, path, title in zip(ids, paths_of(shapes, frame), titles, strict=True)
    )
    return Lines(key=key, label=f"{label} ({len(drawn)})", shapes=drawn, is_shown=is_shown)
