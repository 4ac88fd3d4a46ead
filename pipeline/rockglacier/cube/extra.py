"""Rasters of the user's own on the study's grid: coherence, velocity, another DEM."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds

from rockglacier.cube.raster import Placed, place, read_window, warp
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import Again, nothing, open_raster, retried
from rockglacier.storage import redact
from rockglacier.study import Study


def extra_layers(study: Study) -> tuple[ExtraLayer, ...]:
    """Return the rasters that the study's config lets join its cube."""
    return tuple(
        ExtraLayer(**{**layer.model_dump(), "href": study.resolve(layer.href)})
        for layer in study.config.cube.extra
    )


Kernel = Literal["nearest", "bilinear", "cubic", "average", "mode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraLayer:
    """A raster that joins the cube as a layer."""

    name: str
    """Of the layer."""
    href: str
    """A path or an address; one band."""
    resampling: Kernel = "bilinear"
    """``nearest`` or ``mode`` for classes, ``average`` for what is much finer than the grid."""
    nodata: float | None = None
    """What is no data, whatever the file says; default: what the file says."""
    license: str
    """SPDX identifier, or the words of its owner: it concerns all that is made with the layer."""
    unit: str = "1"

    def identity(self) -> dict[str, Any]:
        """Return what its pixels depend on, JSON-able; a local file is as it was last written."""
        path = Path(self.href)
        is_file = "://" not in self.href and path.is_file()
        written = [path.stat().st_size, path.stat().st_mtime_ns] if is_file else None
        return {"name": self.name, "href": redact(self.href), "written": written}

    def require(self, grid: Grid, *, again: Again = nothing) -> None:
        """Check, by its header, that the raster can be put on a grid.

        ``again`` is called before every further try.

        Raises
        ------
        InputError
            The file is missing, has several bands, or lies elsewhere.
        RemoteError
            It cannot be read, or does not say where it lies.
        """
        self._opened(lambda raster: self._require(raster, grid), again)

    def read(self, grid: Grid, window: Window, *, again: Again = nothing) -> NDArray[np.float32]:
        """Return the raster in a window of the grid, scaled as its file says.

        ``again`` is called before every further try.

        A raster whose pixels are a whole number of pixels of the grid is pasted (``bilinear`` and
        ``cubic`` are then both bilinear); any other is warped once, pixel by pixel exactly.

        Returns
        -------
        NDArray
            (y, x) float32, NaN where there is none; the same whatever the window.

        Raises
        ------
        InputError
            The file is missing, has several bands, or lies elsewhere.
        RemoteError
            It cannot be read, or does not say where it lies.
        """

        def work(raster: Any) -> NDArray[np.float32]:
            self._require(raster, grid)
            with ExitStack() as stack:
                placed = self._placed(raster, grid, stack)
                smooth = self.resampling in ("bilinear", "cubic")
                values = read_window(placed, window, fill=math.nan, smooth=smooth, dtype="float32")
            scale, offset = raster.scales[0], raster.offsets[0]
            if (scale, offset) != (1.0, 0.0):
                values = (values * scale + offset).astype(np.float32)
            return values

        return self._opened(work, again)

    def _opened[T](self, work: Callable[[Any], T], again: Again = nothing) -> T:
        """Return what ``work`` makes of the open raster."""
        is_local = "://" not in self.href and not self.href.startswith("/vsi")
        if is_local and not Path(self.href).is_file():
            raise InputError(
                f"no file {self.href!r} for the extra layer {self.name!r}",
                expected="a raster that GDAL can open",
                todo="mend its address in cube.extra",
            )

        def attempt() -> T:
            with ExitStack() as stack:
                return work(open_raster(self.href, stack))

        return retried(
            attempt,
            item=self.name,
            asset="extra",
            href=self.href,
            again=again,
            remedy=f"mend the address of the layer {self.name!r} in cube.extra, or take it out",
        )

    def _require(self, raster: Any, grid: Grid) -> None:
        where = f"{redact(self.href)!r}, the extra layer {self.name!r},"
        if raster.count != 1:
            raise InputError(
                f"{where} has {raster.count} bands",
                expected="one",
                todo="gdal_translate -b NUMBER FILE ONE_BAND.tif",
            )
        west, south, east, north = transform_bounds(raster.crs, f"EPSG:{grid.epsg}", *raster.bounds)
        left, bottom, right, top = grid.bounds
        if not (west < right and left < east and south < top and bottom < north):
            raise InputError(
                f"{where} lies elsewhere: {west:.0f} {south:.0f} to {east:.0f} {north:.0f} m",
                expected=f"some of {left:.0f} {bottom:.0f} to {right:.0f} {top:.0f} m "
                f"in EPSG:{grid.epsg}",
                todo="take another raster, or the layer out of cube.extra",
            )

    def _placed(self, raster: Any, grid: Grid, stack: ExitStack) -> Placed:
        nodata = raster.nodata if self.nodata is None else self.nodata
        placed = place(raster, grid)
        if placed is not None:
            return replace(placed, nodata=math.nan if nodata is None else nodata)
        placed = warp(
            raster,
            grid.geobox,
            resampling=Resampling[self.resampling],
            nodata=math.nan,
            dtype="float32",
            source_nodata=nodata,
        )
        stack.enter_context(placed.raster)
        return placed
