"""The cube as a STAC item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from rockglacier import origin
from rockglacier.products.names import cube_title, item_id
from rockglacier.storage import open_group, redact
from rockglacier.study import Study
from rockglacier_stac import extensions, item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, Source

COORDINATES: Final = frozenset({"time", "time_bounds", "band", "y", "x", "spatial_ref"})


def _records(study: Study) -> dict[str, tuple[Path, str]]:
    every = {
        "scenes": (study.scenes_path, "Scenes used"),
        "dropped": (study.dropped_path, "Scenes dropped, with reasons"),
        "dem": (study.dem_path, "DEM tiles used"),
    }
    return {name: record for name, record in every.items() if record[0].is_file()}


def cube_item(study: Study) -> Json:
    """Return the item of the cube."""
    grid, search = study.grid, study.config.search
    path = study.require(study.cube_path, stage="cube")
    group: Any = open_group(path)
    bands = [str(name) for name in np.asarray(group["band"][:])]
    assets = {
        "cube": Asset(
            href=f"{origin.UP}/{study.cube_path.name}",
            type=item.ZARR,
            title="Reflectance and terrain",
            description="Zarr v3 group; `xarray.open_zarr(href, consolidated=False)` decodes it.",
            fields=_reflectance_bands(group, bands, grid.resolution),
        ),
    }
    for name, (record, title) in _records(study).items():
        shown = origin.public_record(study, record)
        assets |= origin.file_asset(study, name, shown, item.GEOPARQUET, title)
    interval = (f"{search.start}T00:00:00Z", f"{search.end}T23:59:59Z")
    return item.cube_item(
        item_id(study, "cube"),
        title=cube_title(study),
        place=origin.grid_place(study),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study,
            level="L3",
            how=f"{study.config.cube.composite} of the clear looks, terrain from the DEM",
            software=("zarr", "rasterio", "numpy"),
        ),
        assets=assets,
        sources=(*_published(study), *origin.sources_of(study)),
        projection=origin.projection(study),
        dimensions=extensions.cube_dimensions(
            epsg=grid.epsg,
            bbox=grid.bounds,
            resolution=grid.resolution,
            bands=bands,
            times=interval[:1],
            interval=interval,
        ),
        variables=dict(_variables(group)),
    )


def _published(study: Study) -> tuple[Source, ...]:
    """Return the item of the cube that this one was taken from, if others can reach it."""
    address = study.config.cube.item
    if not address or "://" not in address:
        return ()
    return (Source(href=redact(address), title="The cube that this one was taken from"),)


def _reflectance_bands(group: Any, bands: list[str], resolution: float) -> Json:
    reflectance = group["reflectance"]
    pairs = [
        extensions.raster_band(
            name,
            data_type=str(reflectance.dtype),
            nodata=0,
            resolution=resolution,
            scale=float(reflectance.attrs.get("scale_factor", 1e-4)),
            offset=float(reflectance.attrs.get("add_offset", -0.1)),
        )
        for name in bands
    ]
    return {"bands": [core for core, _ in pairs], "raster:bands": [raster for _, raster in pairs]}


def _variables(group: Any) -> Iterator[tuple[str, Json]]:
    for name, array in sorted(group.arrays()):
        dims = getattr(array.metadata, "dimension_names", None)
        if name in COORDINATES or not dims:
            continue
        text = array.attrs.get("long_name") or array.attrs.get("standard_name") or ""
        unit = array.attrs.get("units") or ""
        yield name, extensions.cube_variable(dims, description=str(text), unit=str(unit))
