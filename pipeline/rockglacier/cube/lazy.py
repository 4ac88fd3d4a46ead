"""The recorded scenes as a lazy dataset, by any of three engines that give the same pixels.

All engines put the scenes on the study's grid: those whose pixels lie on it are not resampled, the
others are warped (bilinear; the scene classification by nearest neighbour). ``window`` is what the
cube is built with; ``odc-stac`` and ``stackstac`` are the field's own loaders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
import pystac
import xarray as xr
from dask.delayed import delayed
from odc.geo.xr import xr_coords

from rockglacier.cube.rows import SCL, read_asset
from rockglacier.errors import InputError
from rockglacier.grid import Grid
from rockglacier.scenes.asset import options_for
from rockglacier.scenes.radiometry import harmonise
from rockglacier.scenes.record import Scene, read_scenes
from rockglacier.study import Study
from rockglacier_stac.sign import sign

Engine = Literal["odc-stac", "stackstac", "window"]


def open_scenes(study: Study, *, engine: Engine = "odc-stac") -> xr.Dataset:
    """Open the scenes that the search recorded, lazily, on the study's grid.

    Parameters
    ----------
    study
        Searched already.
    engine
        Who reads: ``odc-stac``, ``stackstac`` or ``window``.

    Returns
    -------
    xarray.Dataset
        A variable a band, (time, y, x) uint16, harmonised to baseline 04.00: reflectance = DN *
        1e-4 - 0.1, 0 = nodata; and ``SCL``, uint8. One time a scene, in order of time, with its id
        in the coordinate ``scene``; one dask chunk a block.

    Raises
    ------
    NotFoundError
        The search has not run.
    InputError
        There is no such engine.
    """
    if engine not in ENGINES:
        raise InputError(f"no engine {engine!r}", expected=", ".join(ENGINES))
    smooth = study.config.cube.coarse_bands == "interpolate"
    if smooth and engine != "window":
        raise InputError(
            f"the engine {engine!r} repeats coarse bands, but cube.coarse_bands is interpolate",
            expected="engine 'window'",
        )
    scenes = read_scenes(study.require(study.scenes_path, stage="search"))
    scenes.sort(key=lambda scene: (scene.datetime, scene.id))
    grid, names = study.grid, (*study.config.cube.bands, SCL)
    loader = partial(_window_engine, smooth=True) if smooth else ENGINES[engine]
    groups: dict[tuple[bool, int], list[int]] = {}
    for index, scene in enumerate(scenes):
        groups.setdefault((_on_grid(scene, grid), scene.offset_in_pixels), []).append(index)
    parts = []
    for (on_grid, add), members in groups.items():
        chosen = [scenes[index] for index in members]
        stacks = loader(chosen, grid, names, on_grid)
        parts.append({name: _harmonised(stacks[name], name, add) for name in names})
    order = np.argsort([index for members in groups.values() for index in members])
    times = [scene.datetime.replace(tzinfo=None) for scene in scenes]
    return xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                da.concatenate([part[name] for part in parts])[order],
                {"grid_mapping": "spatial_ref", **({} if name == SCL else {"harmonised": True})},
            )
            for name in names
        },
        coords={
            "time": np.array(times, "datetime64[ns]"),
            "scene": ("time", np.array([scene.id for scene in scenes], object)),
            **xr_coords(grid.geobox),
        },
        attrs={"engine": engine},
    )


def _harmonised(stack: da.Array, name: str, add: int) -> da.Array:
    if name == SCL or not add:
        return stack
    moved: da.Array = da.map_blocks(harmonise, stack, add=add, dtype=np.uint16)
    return moved


def _on_grid(scene: Scene, grid: Grid) -> bool:
    """Say whether a scene's pixels fall on the grid, as far as its item tells."""
    if scene.epsg != grid.epsg or scene.transform is None:
        return scene.epsg == grid.epsg
    a, _, c, _, _, f = scene.transform
    across, down = (
        (c - grid.transform.c) / grid.resolution,
        (f - grid.transform.f) / grid.resolution,
    )
    factor = a / grid.resolution
    return all(abs(value - round(value)) < 1e-3 for value in (across, down, factor))


def _dtype(name: str) -> Any:
    return np.uint8 if name == SCL else np.uint16


def _window_engine(
    scenes: Sequence[Scene],
    grid: Grid,
    names: Sequence[str],
    on_grid: bool,
    *,
    smooth: bool = False,
) -> dict[str, da.Array]:
    """Read by our own windows; ``on_grid`` is found out from the files themselves."""
    read = delayed(read_asset, pure=False)

    def stack(scene: Scene, name: str) -> da.Array:
        rows: dict[int, list[da.Array]] = {}
        for block in grid.blocks():
            shape = (block.window.height, block.window.width)
            pixels = read(scene, name, grid, block.window, smooth=smooth)
            part = da.from_delayed(pixels, shape=shape, dtype=_dtype(name))
            rows.setdefault(block.row, []).append(part)
        return da.block(list(rows.values()))

    return {name: da.stack([stack(scene, name) for scene in scenes]) for name in names}


def _odc_engine(
    scenes: Sequence[Scene], grid: Grid, names: Sequence[str], on_grid: bool
) -> dict[str, da.Array]:
    import odc.stac

    bands = {name: {"data_type": np.dtype(_dtype(name)).name, "nodata": 0} for name in names}
    kernel = "nearest" if on_grid else "bilinear"
    options = _gdal_options(scenes)
    if options:
        odc.stac.configure_rio(**options)
    collections = {scene.collection or "scenes" for scene in scenes}
    loaded = odc.stac.load(
        [pystac.Item.from_dict(_item(scene, "proj:code")) for scene in scenes],
        bands=list(names),
        geobox=grid.geobox,
        chunks={"y": grid.block, "x": grid.block},
        groupby="id",
        resampling={name: "nearest" if name == SCL else kernel for name in names},
        stac_cfg={collection: {"assets": bands} for collection in collections},
        patch_url=sign,
    )
    # odc-stac sorts by time and then as given, as these are
    return {name: loaded[name].data for name in names}


def _stackstac_engine(
    scenes: Sequence[Scene], grid: Grid, names: Sequence[str], on_grid: bool
) -> dict[str, da.Array]:
    import stackstac
    from rasterio.enums import Resampling

    kernel = Resampling.nearest if on_grid else Resampling.bilinear
    items = [_item(scene, "proj:epsg") for scene in scenes]

    def stack(name: str) -> da.Array:
        return stackstac.stack(
            items,
            assets=[name],
            epsg=grid.epsg,
            resolution=grid.resolution,
            bounds=grid.bounds,
            snap_bounds=False,
            resampling=Resampling.nearest if name == SCL else kernel,
            chunksize=grid.block,
            dtype=np.dtype(_dtype(name)),
            fill_value=_dtype(name)(0),
            rescale=False,
            sortby_date=False,
            xy_coords="center",
            gdal_env=stackstac.DEFAULT_GDAL_ENV.updated(always=_gdal_options(scenes)),
        ).data[:, 0]

    return {name: stack(name) for name in names}


def _gdal_options(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Return how GDAL reads these scenes: nothing special for local ones."""
    return options_for([href for scene in scenes for href in scene.assets.values()])


def _item(scene: Scene, crs_field: str) -> dict[str, Any]:
    """Return a scene as the smallest STAC item that a loader reads."""
    crs: Any = scene.epsg if crs_field == "proj:epsg" else f"EPSG:{scene.epsg}"
    west, south, east, north = scene.bbox
    if west > east:  # across the antimeridian: loaders take the smaller number for the west
        west, east = -180.0, 180.0
    return {
        "type": "Feature",
        "stac_version": "1.0.0" if crs_field == "proj:epsg" else "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": scene.id,
        "collection": scene.collection or "scenes",
        "geometry": scene.geometry.__geo_interface__,
        "bbox": [west, south, east, north],
        "properties": {"datetime": scene.datetime.isoformat(), crs_field: crs},
        "links": [],
        "assets": {
            name: {
                "href": sign(href) if crs_field == "proj:epsg" else href,
                "roles": ["data"],
                "type": "image/tiff; application=geotiff",
            }
            for name, href in scene.assets.items()
        },
    }


Loader = Callable[[Sequence[Scene], Grid, Sequence[str], bool], dict[str, da.Array]]

ENGINES: dict[str, Loader] = {
    "odc-stac": _odc_engine,
    "stackstac": _stackstac_engine,
    "window": _window_engine,
}
