"""Layers of the cube as cloud-optimized GeoTIFFs, for GDAL and QGIS, which read no sharded Zarr."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from rockglacier.cube.store import layers_of, open_arrays
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.scenes.notices import notices
from rockglacier.storage import require_space, uploaded
from rockglacier.study import Study

BLOCK = 512
"""Edge of a block of the GeoTIFFs, pixels: what a web map asks for at a time."""

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache; its default, a share of the machine's memory, fills as the basin grows."""


def export_cube(
    study: Study,
    folder: Path,
    *,
    layers: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write layers of the study's cube as COGs, a file a layer and period.

    Parameters
    ----------
    study
        Its cube is built.
    folder
        Where to write, here or in an object store; made if it is not there.
    layers
        Names of layers; default: all.
    progress
        Told after every block.

    Returns
    -------
    list of Path
        ``reflectance_2024-01-01.tif`` and so on, with bands, scale, offset and nodata named;
        DEFLATE, 512 px blocks, overviews. Terrain has no period in its name.

    Raises
    ------
    InputError
        There is no such layer, or the disk is full.
    NotFoundError
        There is no cube.
    """
    known = layers_of(study)
    names = list(known) if layers is None else list(layers)
    group: Any = open_arrays(study.require(study.cube_path, stage="cube"))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"the cube has no layer {', '.join(map(repr, unknown))}",
            expected=", ".join(known),
        )
    arrays: dict[str, Any] = {name: group[name] for name in names}
    size = sum(array.nbytes for array in arrays.values())
    require_space(study.folder, size, what="the exported layers")
    starts = np.asarray(group["time"][...]).astype("datetime64[D]")
    files = [
        (name, period, f"{name}_{start}.tif" if "time" in known[name][1] else f"{name}.tif")
        for name in names
        for period, start in enumerate(starts if "time" in known[name][1] else starts[:1])
    ]
    blocks = list(study.grid.blocks())
    written = []
    for index, (name, period, file_name) in enumerate(files):
        with uploaded(folder / file_name) as final, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            raw = final.with_name(f"raw-{file_name}")
            array = arrays[name]
            leading = (period,) if "time" in known[name][1] else ()
            with rasterio.open(raw, "w", **_profile(study, array)) as file:
                for done, block in enumerate(blocks, start=1):
                    values = np.asarray(array[(*leading, ..., *block.window.slices)])
                    window = block.window
                    place = RasterWindow(window.x, window.y, window.width, window.height)
                    file.write(values.reshape(file.count, *values.shape[-2:]), window=place)
                    progress("export", index * len(blocks) + done, len(files) * len(blocks))
                _describe(file, study, name)
            counts = array.dtype == np.uint8
            to_cog(
                raw,
                final,
                overviews="MODE" if counts else "AVERAGE",
                predictor="NO" if counts else "STANDARD",
            )
            raw.unlink()
        written.append(folder / file_name)
    return written


def _profile(study: Study, array: Any) -> dict[str, Any]:
    height, width = study.grid.shape
    nodata = {"uint16": 0, "float32": float("nan")}.get(array.dtype.name)
    return {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": array.shape[-3] if array.ndim == 4 else 1,
        "dtype": array.dtype.name,
        "nodata": nodata,
        "crs": f"EPSG:{study.grid.epsg}",
        "transform": study.grid.transform,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "IF_SAFER",
    }


def _describe(file: Any, study: Study, name: str) -> None:
    attrs = layers_of(study)[name][2]
    label = attrs.get("long_name") or attrs.get("standard_name") or name
    bands = study.config.cube.bands if file.count > 1 or name == "reflectance" else (name,)
    for index, band in enumerate(bands, start=1):
        file.set_band_description(index, band)
        file.set_band_unit(index, attrs.get("units", ""))
    if "scale_factor" in attrs:
        file.scales = [attrs["scale_factor"]] * file.count
        file.offsets = [attrs["add_offset"]] * file.count
    file.update_tags(
        TIFFTAG_IMAGEDESCRIPTION=label,
        TIFFTAG_SOFTWARE="rockglacier",
        TIFFTAG_COPYRIGHT="; ".join(notices(study)),
    )


def to_cog(raw: Path, final: Path, *, overviews: str, predictor: str) -> None:
    """Copy a plain GeoTIFF as a cloud-optimized one, whole or not at all.

    Parameters
    ----------
    raw
        A whole GeoTIFF.
    final
        The COG; replaced if it is there.
    overviews
        GDAL resampling of the overviews; leaves nodata out.
    predictor
        GDAL predictor, ``STANDARD`` or ``NO``.
    """
    partial = final.with_name(f".{final.stem}.partial.tif")
    try:
        rasterio.shutil.copy(
            raw,
            partial,
            driver="COG",
            blocksize=BLOCK,
            compress="DEFLATE",
            predictor=predictor,
            overview_resampling=overviews,
            bigtiff="IF_SAFER",
            num_threads="ALL_CPUS",
        )
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)
