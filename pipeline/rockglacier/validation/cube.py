"""Whether a cube opens in zarr and xarray, and says where and when its pixels are."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from pyproj import CRS
from pyproj.exceptions import CRSError
from zarr.errors import BaseZarrError

from rockglacier.engine import Progress, Receipts, silent
from rockglacier.storage import read_bytes, zarr_store
from rockglacier.validation.finding import Finding

PLANE = ("y", "x")
AGAIN = "build it again: rockglacier cube STUDY.yaml"
READS = 16
"""Objects that are read at once: an object store answers each after a while."""


def cube_findings(
    path: Path,
    *,
    said: Mapping[str, Any] | None = None,
    quick: bool = False,
    progress: Progress = silent,
) -> Iterator[Finding]:
    """Check a cube.

    Parameters
    ----------
    path
        Zarr group, here or in an object store.
    said
        Properties of its STAC item, to compare with.
    quick
        Whether objects are asked for their size alone.
    progress
        Told after every block whose objects were compared.

    Notes
    -----
    Metadata and coordinates are read, and the last chunk of every layer. Where the receipts of the
    cube's blocks lie beside it, every object that they name is read, and compared in size and
    checksum with what was written.
    """
    try:
        store = zarr_store(path, read_only=True)
        group = zarr.open_group(store, mode="r", zarr_format=3)
        arrays: dict[str, Any] = dict(group.arrays())
        yield from _group_findings(group, arrays)
        yield from _said_findings(arrays, said or {})
        yield from _dataset_findings(store)
        for name, array in sorted(arrays.items()):
            yield from _unreadable(name, array)
        yield from _block_findings(path, quick=quick, progress=progress)
    except (BaseZarrError, OSError, LookupError, TypeError, ValueError) as error:
        yield Finding(
            found=f"it cannot be opened: {type(error).__name__}: {error}",
            expected="a Zarr v3 group that zarr and xarray open",
            todo=AGAIN,
        )


def _layers(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if _dims(array)[-2:] == PLANE}


def _dims(array: Any) -> tuple[str, ...]:
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def _group_findings(group: Any, arrays: Mapping[str, Any]) -> Iterator[Finding]:
    layers = _layers(arrays)
    if not layers:
        yield _wrong("no array has the dimensions (..., y, x)", "layers of pixels")
    shapes = {array.shape[-2:] for array in layers.values()}
    if len(shapes) > 1:
        yield _wrong(f"its layers have the shapes {sorted(shapes)}", "one grid")
    for name, array in sorted(layers.items()):
        yield from _layer_findings(name, array, arrays)
    if "time" in arrays:
        yield from _time_findings(arrays)
    shape = group.attrs.get("spatial:shape")
    if shape is not None and shapes and tuple(shape) not in shapes:
        yield _wrong(f"spatial:shape {shape}, and layers of {sorted(shapes)}", "the layers' own")


def _layer_findings(name: str, array: Any, arrays: Mapping[str, Any]) -> Iterator[Finding]:
    mapping = array.attrs.get("grid_mapping")
    if mapping not in arrays:
        yield _wrong(f"{name} has grid_mapping {mapping!r}", "the name of an array with its CRS")
    else:
        yield from _crs_findings(mapping, arrays)
    said = array.attrs.get("_FillValue")
    fill = array.metadata.fill_value
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float and not math.isnan(float(fill)):
        yield _wrong(f"{name} has the fill_value {fill!r}", "NaN, where there is no value")
    if said is not None and not isinstance(said, str) and float(said) != float(fill):
        yield _wrong(f"{name} has _FillValue {said!r} and fill_value {fill!r}", "one value")


def _crs_findings(mapping: str, arrays: Mapping[str, Any]) -> Iterator[Finding]:
    attrs = dict(arrays[mapping].attrs)
    try:
        CRS.from_wkt(str(attrs.get("crs_wkt")))
    except CRSError:
        yield _wrong(f"{mapping} has no crs_wkt that can be read", "the CRS as WKT")
    try:
        west, width, _, north, _, height = map(float, str(attrs.get("GeoTransform")).split())
    except ValueError:
        yield _wrong(f"{mapping} has GeoTransform {attrs.get('GeoTransform')!r}", "six numbers")
        return
    for axis, start, step in (("x", west, width), ("y", north, height)):
        if axis not in arrays:
            yield _wrong(f"there is no coordinate {axis}", "centres of the pixels")
            continue
        places = np.asarray(arrays[axis][:], float)
        centres = start + step * (np.arange(len(places)) + 0.5)
        if not np.allclose(places, centres, rtol=0, atol=abs(step) / 1000):
            yield _wrong(
                f"the coordinate {axis} is not that of GeoTransform: it begins at {places[:1]}",
                f"centres of the pixels from {centres[0]:.3f} in steps of {step:g}",
            )


def _time_findings(arrays: Mapping[str, Any]) -> Iterator[Finding]:
    bounds = arrays["time"].attrs.get("bounds")
    if bounds not in arrays:
        yield _wrong(f"time has bounds {bounds!r}", "the name of an array: time_bounds")
        return
    times, ends = np.asarray(arrays["time"][:]), np.asarray(arrays[bounds][:])
    if ends.shape != (len(times), 2):
        yield _wrong(f"{bounds} has the shape {ends.shape}", f"{(len(times), 2)}")
    elif not (ends[:, 0] < ends[:, 1]).all() or not (ends[:, 0] == times).all():
        yield _wrong(f"{bounds} holds {ends.tolist()}", "start and later end of each time")
    elif not (np.diff(times) > 0).all():
        yield _wrong(f"the times are {times.tolist()}", "times that rise")


def _said_findings(arrays: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Finding]:
    told = said.get("cube:variables")
    if told is None:
        return
    layers = _layers(arrays)
    if set(told) != set(layers):
        yield _item(f"cube:variables {sorted(told)}, the cube {sorted(layers)}")
    for name in sorted(set(told) & set(layers)):
        if list(told[name].get("dimensions", [])) != list(_dims(layers[name])):
            yield _item(f"{name} of {told[name].get('dimensions')}, not {_dims(layers[name])}")
    bands = (said.get("cube:dimensions") or {}).get("band", {}).get("values")
    if bands is not None and "band" in arrays and list(bands) != [*map(str, arrays["band"][:])]:
        yield _item(f"the bands {bands}, the cube {list(arrays['band'][:])}")
    shape = said.get("proj:shape")
    if shape and any(tuple(shape) != array.shape[-2:] for array in layers.values()):
        yield _item(f"proj:shape {shape}")


def _dataset_findings(store: Any) -> Iterator[Finding]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dataset = xr.open_zarr(store, consolidated=False, decode_coords="all")
    for warning in told:
        yield _wrong(f"xarray warns: {warning.message}", "a cube that it opens without a word")
    for name, layer in dataset.data_vars.items():
        if tuple(layer.dims[-2:]) != PLANE and name not in dataset.coords:
            yield _wrong(f"xarray sees {name} with the dimensions {layer.dims}", "(..., y, x)")


def _unreadable(name: str, array: Any) -> Iterator[Finding]:
    try:
        array[tuple(slice(-1, None) for _ in array.shape) or ...]
    except (BaseZarrError, OSError, RuntimeError, TypeError, ValueError) as error:
        yield _wrong(f"the last chunk of {name} cannot be read: {error}", "chunks that decode")


def _block_findings(path: Path, *, quick: bool, progress: Progress) -> Iterator[Finding]:
    receipts = dict(Receipts(path.parent / "receipts" / "cube").all())
    damage = partial(_damage, path, quick=quick)
    with ThreadPoolExecutor(READS) as pool:
        for done, (name, receipt) in enumerate(receipts.items(), 1):
            written = receipt.get("objects", {}).items()
            wrong = [told for told in pool.map(lambda one: damage(*one), written) if told]
            progress("validate: blocks of the cube", done, len(receipts))
            if wrong:
                yield Finding(
                    found=f"block {name}: {', '.join(wrong)}",
                    expected="objects as its receipt says they were written",
                    todo=f"delete receipts/cube/{name}.json, then rockglacier cube STUDY.yaml",
                )


def _damage(path: Path, key: str, noted: Sequence[int], *, quick: bool) -> str:
    """Return what an object of a cube is not as it was written, or nothing."""
    place, (size, checksum) = path.joinpath(*key.split("/")), noted
    if not place.is_file():
        return f"{key} is missing"
    data = b"" if quick else read_bytes(place)
    held = place.stat().st_size if quick else len(data)
    if held != size:
        return f"{key} has {held} bytes; {size} were written"
    return (
        "" if quick or zlib.crc32(data) == checksum else f"{key} has other content than was written"
    )


def _item(what: str) -> Finding:
    return Finding(
        found=f"the item says {what}",
        expected="an item that describes its cube",
        todo="rockglacier publish STUDY.yaml",
    )


def _wrong(found: str, expected: str) -> Finding:
    return Finding(found=found, expected=expected, todo=AGAIN)
