"""The cube on disk: a sharded Zarr v3 group that xarray opens and stages read by windows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from rockglacier.config import fingerprint
from rockglacier.errors import InputError
from rockglacier.grid import Grid
from rockglacier.periods import periods_of
from rockglacier.scenes import radiometry
from rockglacier.storage import Traffic, disk_errors, open_group, open_place, remove, zarr_store
from rockglacier.study import Study

CHUNK = 128
"""Edge of an inner chunk, pixels: the unit of reading. A block is the unit of writing."""

LAYOUT = 2
"""Counts the changes of what the store looks like."""

SPATIAL_REF = "spatial_ref"

LAYERS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "reflectance": (
        "uint16",
        ("time", "band", "y", "x"),
        {
            "long_name": "surface reflectance",
            "units": "1",
            "scale_factor": radiometry.SCALE,
            "add_offset": radiometry.ADD_OFFSET,
            "_FillValue": 0,
        },
    ),
    "n_clear": ("uint8", ("time", "y", "x"), {"long_name": "looks used, snow included"}),
    "n_snow": ("uint8", ("time", "y", "x"), {"long_name": "of the looks used, covered by snow"}),
    "n_shadow": (
        "uint8",
        ("time", "y", "x"),
        {"long_name": "looks in shadow, used because there was nothing else"},
    ),
    "elevation": (
        "float32",
        ("y", "x"),
        {"standard_name": "height_above_mean_sea_level", "units": "m"},
    ),
    "slope": ("float32", ("y", "x"), {"long_name": "slope", "units": "degree"}),
    "aspect": (
        "float32",
        ("y", "x"),
        {"long_name": "aspect, clockwise from true north", "units": "degree"},
    ),
    "illumination": (
        "float32",
        ("y", "x"),
        {"long_name": "cosine of the sun's mean angle of incidence", "units": "1"},
    ),
    "cast_shadow": (
        "uint8",
        ("y", "x"),
        {
            "long_name": "shadow of other terrain at the mean sun",
            "flag_values": [0, 1],
            "flag_meanings": "lit shadow",
        },
    ),
}
"""Name: dtype, dimensions, attributes."""


def layers_of(study: Study) -> dict[str, tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Return the layers of a study's cube: those of every cube, and its rasters of ``extra``.

    Each is its dtype, its dimensions and its attributes.

    Raises
    ------
    InputError
        A raster of ``extra`` has a name that every cube uses.
    """
    extra: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
        layer.name: (
            "float32",
            ("y", "x"),
            {"long_name": layer.name, "units": layer.unit, "license": layer.license},
        )
        for layer in study.config.cube.extra
    }
    taken = sorted(extra.keys() & (LAYERS.keys() | {"time", "band", "y", "x", SPATIAL_REF}))
    if taken:
        raise InputError(
            f"the layer {taken[0]!r} of cube.extra has a name that the cube uses itself",
            expected="a name of its own",
            todo="rename it",
        )
    return {**LAYERS, **extra}


def create_cube(study: Study, *, attrs: Mapping[str, Any] | None = None) -> bool:
    """Create the study's cube, or keep the one that is there if it is laid out the same.

    Parameters
    ----------
    study
        Its grid, bands, block and period say what the store looks like.
    attrs
        More attributes of the group, JSON-able; written to a kept store too.

    Returns
    -------
    bool
        Whether the store is new and empty: receipts of an older one mean nothing any more.

    Raises
    ------
    InputError
        The disk is full or not writable.
    """
    layout = fingerprint(_layout(study))
    with disk_errors(study.folder):
        held = _held_layout(study.cube_path)
        if held != layout:
            remove(study.cube_path)
            store = zarr_store(study.cube_path, read_only=False)
            group = zarr.open_group(store, mode="w", zarr_format=3)
            _create_coordinates(group, study)
            for name, (dtype, dims, values) in layers_of(study).items():
                _create_layer(group, name, dtype, dims, values, study)
        else:
            group = zarr.open_group(zarr_store(study.cube_path, read_only=False), mode="r+")
        group.attrs.update({**_group_attrs(study.grid), **(attrs or {}), "layout": layout})
    return held != layout


def kept_attrs(study: Study) -> dict[str, Any] | None:
    """Return the attributes of the study's cube, or None if there is none of its layout."""
    if _held_layout(study.cube_path) != fingerprint(_layout(study)):
        return None
    return dict(open_arrays(study.cube_path).attrs)


def _layout(study: Study) -> dict[str, Any]:
    return {
        "layout": LAYOUT,
        "grid": study.grid.to_dict(),
        "bands": study.config.cube.bands,
        "periods": [[period.start, period.end] for period in periods_of(study.config)],
        "layers": layers_of(study),
    }


def _held_layout(path: Path) -> str | None:
    if not (path / "zarr.json").is_file():
        return None
    held = open_arrays(path).attrs.get("layout")
    return held if isinstance(held, str) else None


def _create_layer(
    group: zarr.Group,
    name: str,
    dtype: str,
    dims: tuple[str, ...],
    attrs: dict[str, Any],
    study: Study,
) -> None:
    grid = study.grid
    leading = {"time": len(periods_of(study.config)), "band": len(study.config.cube.bands)}
    before = tuple(leading[dim] for dim in dims[:-2])
    each = tuple(1 if dim == "time" else leading[dim] for dim in dims[:-2])
    group.create_array(
        name,
        shape=(*before, *grid.shape),
        dtype=dtype,
        shards=(*each, grid.block, grid.block),
        chunks=(*each, CHUNK, CHUNK),
        compressors=BloscCodec(cname="lz4", clevel=9, shuffle="bitshuffle"),
        fill_value=float("nan") if dtype == "float32" else 0,
        dimension_names=dims,
        attributes={**attrs, "grid_mapping": SPATIAL_REF},
    )


def _create_coordinates(group: zarr.Group, study: Study) -> None:
    grid = study.grid
    height, width = grid.shape
    west, _, _, north = grid.bounds
    step = grid.resolution
    bounds = np.array(
        [[_days(p.start), _days(p.end) + 1] for p in periods_of(study.config)], np.int64
    )
    time = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}
    axis = {"units": "metre", "long_name": "centre of the pixel"}
    wkt = grid.crs.to_wkt()
    transform = f"{west!r} {step!r} 0.0 {north!r} 0.0 {-step!r}"
    spatial_ref: dict[str, Any] = {
        **grid.crs.to_cf(),
        "crs_wkt": wkt,
        "spatial_ref": wkt,
        "GeoTransform": transform,
    }
    coordinates: tuple[tuple[str, NDArray[Any], tuple[str, ...], dict[str, Any]], ...] = (
        ("time", bounds[:, 0], ("time",), {**time, "bounds": "time_bounds"}),
        ("time_bounds", bounds, ("time", "bound"), time),
        (
            "y",
            north - (np.arange(height) + 0.5) * step,
            ("y",),
            {**axis, "standard_name": "projection_y_coordinate", "axis": "Y"},
        ),
        (
            "x",
            west + (np.arange(width) + 0.5) * step,
            ("x",),
            {**axis, "standard_name": "projection_x_coordinate", "axis": "X"},
        ),
        (SPATIAL_REF, np.array(grid.epsg), (), spatial_ref),
    )
    for name, values, dims, attrs in coordinates:
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape or "auto",
            dimension_names=dims,
            attributes=attrs,
        )
        array[...] = values
    bands = study.config.cube.bands
    names = group.create_array(
        "band", shape=(len(bands),), dtype="str", chunks=(len(bands),), dimension_names=("band",)
    )
    names[:] = np.array(bands, dtype=object)


def _days(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _group_attrs(grid: Grid) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(grid.transform)[:6],
        "spatial:shape": list(grid.shape),
        "spatial:bbox": list(grid.bounds),
    }


def open_arrays(path: str | Path, *, traffic: Traffic | None = None) -> zarr.Group:
    """Open a cube for reading by integer windows: stored numbers, nothing decoded."""
    return open_group(open_place(path), traffic=traffic)


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a cube as a lazy dataset with its CRS: reflectance as float32, NaN where there is none.

    Parameters
    ----------
    path
        ``cube.zarr``, here or in an object store.

    Returns
    -------
    xarray.Dataset
        ``reflectance`` (time, band, y, x), counts (time, y, x), terrain (y, x); one dask chunk a
        block. ``.odc.crs`` and ``.odc.geobox`` work.
    """
    store = zarr_store(open_place(path), read_only=True)
    dataset = xr.open_zarr(store, consolidated=False, decode_coords="all", chunks={})
    dataset["reflectance"] = dataset["reflectance"].astype("float32")
    return dataset
