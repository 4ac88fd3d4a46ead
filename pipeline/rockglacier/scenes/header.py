"""What the file of a scene says of itself wins over what its item says, and that is noted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import rasterio
import shapely

from rockglacier.errors import InputError
from rockglacier.grid import projected
from rockglacier.scenes.record import Scene
from rockglacier_stac.globe import bbox_of

FOOTPRINT_TOLERANCE = 0.02
"""Share of an item's footprint that may lie outside its file: footprints are simplified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the pixels of a file lie."""

    epsg: int
    """0 if its CRS has no code, or it has none."""
    transform: tuple[float, ...]
    """Affine coefficients a, b, c, d, e, f."""
    shape: tuple[int, int]
    """Rows and columns."""


def header_of(dataset: rasterio.DatasetReader) -> Header:
    """Return the header of an open raster; EPSG 0 where it names no CRS."""
    return Header(
        epsg=int(dataset.crs.to_epsg() or 0) if dataset.crs else 0,
        transform=tuple(float(value) for value in list(dataset.transform)[:6]),
        shape=(int(dataset.height), int(dataset.width)),
    )


def with_crs(scene: Scene, header: Header) -> Scene:
    """Return a scene in the CRS of its file.

    Raises
    ------
    InputError
        The file has no CRS, or one without EPSG code.
    """
    if header.epsg == 0:
        raise InputError(
            f"the files of item {scene.id!r} are in no CRS that has an EPSG code",
            expected="files that say where they lie, as UTM does",
            todo="take another collection, or the item out of the catalog",
        )
    if header.epsg == scene.epsg:
        return scene
    said = f"EPSG:{scene.epsg}" if scene.epsg else "none"
    note = f"CRS: the item says {said}, its file EPSG:{header.epsg}"
    return replace(scene, epsg=header.epsg, notes=_noted(scene, note))


def with_header(scene: Scene, header: Header) -> Scene:
    """Return a scene whose CRS, pixel grid and footprint are those of its file.

    Parameters
    ----------
    scene
        As its item describes it.
    header
        Of the file of its finest band.
    """
    scene = with_crs(scene, header)
    if scene.transform is not None and not _same(scene.transform, header.transform):
        note = f"proj:transform: the item says {_shown(scene.transform)}, its file "
        scene = replace(scene, notes=_noted(scene, note + _shown(header.transform)))
    if scene.shape is not None and scene.shape != header.shape:
        note = f"proj:shape: the item says {list(scene.shape)}, its file {list(header.shape)}"
        scene = replace(scene, notes=_noted(scene, note))
    return _with_footprint(replace(scene, transform=header.transform, shape=header.shape), header)


def _with_footprint(scene: Scene, header: Header) -> Scene:
    """Cut a footprint to the ground of its file, which it replaces if they do not meet."""
    a, b, c, d, e, f = header.transform
    height, width = header.shape
    corners = [
        (c + a * x + b * y, f + d * x + e * y)
        for x, y in ((0, 0), (width, 0), (width, height), (0, height))
    ]
    raster = shapely.Polygon(corners)
    footprint = projected(scene.geometry, epsg=scene.epsg)
    outside = footprint.difference(raster.buffer(abs(a))).area
    if outside <= FOOTPRINT_TOLERANCE * footprint.area:
        return scene
    inside = footprint.intersection(raster)
    ground = projected(inside if inside.area else raster, epsg=4326, source_epsg=scene.epsg)
    share = 100 * outside / footprint.area
    note = f"geometry: {share:.0f} % of the item's footprint lies outside its file, which was used"
    return replace(scene, geometry=ground, bbox=bbox_of(ground), notes=_noted(scene, note))


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 1e-6 * max(1.0, abs(b)) for a, b in zip(one, other, strict=True))


def _shown(transform: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in transform) + "]"


def _noted(scene: Scene, note: str) -> tuple[str, ...]:
    return (*scene.notes, note)
