"""One file of a DEM: its header, and the part of it that falls into a window."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.raster import Reading
from rockglacier.grid import Window
from rockglacier.scenes.asset import Again, open_raster, retried
from rockglacier.scenes.record import DemTile

REMEDY = "set search.dem_catalog and search.dem_collection to another DEM"
"""What to do where a tile cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The header of one DEM tile."""

    id: str
    href: str
    crs: str
    """WKT."""
    transform: tuple[float, ...]
    width: int
    height: int
    nodata: float | None


def read_header(tile: DemTile, *, again: Again) -> Tile:
    """Read the header of a tile; ``again`` is called before every further try.

    Raises
    ------
    RemoteError
        The tile cannot be opened.
    """

    def work() -> Tile:
        with ExitStack() as stack:
            raster = open_raster(tile.href, stack)
            return Tile(
                id=tile.id,
                href=tile.href,
                crs=raster.crs.to_wkt(),
                transform=tuple(raster.transform)[:6],
                width=raster.width,
                height=raster.height,
                nodata=raster.nodata,
            )

    return retried(work, item=tile.id, asset="data", href=tile.href, again=again, remedy=REMEDY)


def paste(
    tile: Tile, place: Window, held: Window, source: NDArray[np.float32], again: Again
) -> None:
    """Read the part of a tile, which lies at ``place``, that falls into ``held``, into ``source``.

    Raises
    ------
    RemoteError
        The tile cannot be read.
    """
    here = Window(y=held.y - place.y, x=held.x - place.x, height=held.height, width=held.width)
    inside = here.clipped((tile.height, tile.width))
    if not inside.height * inside.width:
        return

    values = np.empty((inside.height, inside.width), np.float32)
    reading = Reading(inside, values)

    def work() -> None:
        with ExitStack() as stack:
            reading.run(open_raster(tile.href, stack))

    retried(work, item=tile.id, asset="data", href=tile.href, again=again, remedy=REMEDY)
    known = ~np.isnan(values) if tile.nodata is None else values != np.float32(tile.nodata)
    np.copyto(source[inside.within(here)], values, where=known)
