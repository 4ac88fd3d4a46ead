"""The synthetic pair as a benchmark: learn from one made-up basin, be scored on another."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import geopandas as gpd
import rasterio

from rockglacier.demo.basin import EPSG, basin_outline, make_basin, make_demo_landscape
from rockglacier.demo.landforms import Cover
from rockglacier.demo.terrain import Landscape
from rockglacier.engine import Progress, silent
from rockglacier.evaluation.benchmark import Benchmark, area_row, area_table, write_benchmark
from rockglacier.grid import projected

SEEDS: Final = {"learn": 7, "unseen": 11}
"""Basins by name; the second is only scored."""


def write_synthetic(
    folder: Path,
    *,
    size_km: tuple[float, float] = (20.0, 16.0),
    scenes: bool = True,
    progress: Progress = silent,
) -> Benchmark:
    """Write the synthetic pair: the benchmark, and the basins with their catalogs.

    Parameters
    ----------
    folder
        Gets ``benchmark.json`` and its tables, ``kinds/`` and, with ``scenes``, ``basins/NAME/``.
    size_km
        Width and height of each basin, kilometres; part of the benchmark's name.
    scenes
        Also write imagery, elevation, area and, of the basin to learn from, the reference.
    progress
        Told after every scene.

    Notes
    -----
    Truth is the outlines that the basins were made with, to the pixel: not the reference, which is
    digitised with a person's carelessness. The kinds of ground (talus, moraine, debris-covered
    glacier and so on) are known too, so that errors are told by what they lie on. Both basins lie
    in the same place on the map and have nothing else in common.
    """
    areas, reference = [], []
    for fold, (name, seed) in enumerate(SEEDS.items()):
        landscape = make_demo_landscape(seed=seed, size_km=size_km)
        outline = basin_outline(size_km, seed=seed)
        areas.append(
            area_row(
                name,
                projected(outline, epsg=4326, source_epsg=EPSG),
                epsg=EPSG,
                split="test" if name == "unseen" else "train",
                fold=fold,
            )
        )
        reference += [
            {
                "area": name,
                "id": f"{name}-{number:03d}",
                "use": "landform",
                "geometry": projected(shape, epsg=4326, source_epsg=EPSG),
            }
            for number, shape in enumerate(landscape.outlines, start=1)
            if shape.intersects(outline)
        ]
        _write_kinds(landscape, folder / "kinds" / f"{name}.tif")
        if scenes:
            make_basin(
                folder / "basins" / name,
                seed=seed,
                size_km=size_km,
                name=name,
                labelled=name != "unseen",
                progress=progress,
            )
    benchmark = Benchmark(
        name=f"synthetic-{size_km[0]:g}x{size_km[1]:g}",
        version="1",
        title="two made-up basins: learn from the first, be scored on the second",
        protocol="held-out",
        resolution=10.0,
        areas=area_table(areas),
        reference=gpd.GeoDataFrame(reference, geometry="geometry", crs=4326),
        license="CC0-1.0",
        kinds={int(kind): kind.name.lower().replace("_", " ") for kind in Cover},
        folder=folder,
    )
    write_benchmark(benchmark, folder)
    return benchmark


def _write_kinds(landscape: Landscape, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = landscape.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="uint8",
        crs=f"EPSG:{landscape.epsg}",
        transform=landscape.transform,
        compress="deflate",
        tiled=True,
    ) as target:
        target.write(landscape.cover, 1)
