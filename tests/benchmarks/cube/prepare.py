"""A study of an area: its catalog, its outline, and the search done, outside any timing."""

import json
import os

import shapely
import yaml
from case import Case
from world import EPSG

from rockglacier.demo.catalog import write_items
from rockglacier.grid import projected
from rockglacier.run import run_stages
from rockglacier.stages import Context, stage_named
from rockglacier.study import open_study


def prepare(case: Case, *, block: int) -> None:
    """Write the study's file, and search.

    Parameters
    ----------
    case
        What the study covers; its ``study`` is written.
    block
        Edge of the cube's blocks, pixels.
    """
    os.environ["ROCKGLACIER_ROOTS"] = str(case.world.root)  # its catalog leads there
    folder = case.study.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_items(case.world.items(case.base, rows=case.rows), folder / "items.parquet")
    # half a pixel less, so that no rounding adds a row; dense, so that its edges bend with the grid
    box = shapely.box(*case.bounds).buffer(-5, join_style="mitre").segmentize(500)
    outline = projected(box, epsg=4326, source_epsg=EPSG)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(outline)}
    (folder / "area.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    config = {
        "name": "bench",
        "area": "area.geojson",
        "output": "products",
        "search": {
            "catalog": "items.parquet",
            "start": "2024-07-01",
            "end": "2024-10-31",
            "scene_cloud_max": 100,
            "basin_cloud_max": 100,
        },
        "cube": {"block": block},
    }
    case.study.write_text(yaml.safe_dump(config))
    study = open_study(case.study)
    used = {}
    run_stages(
        study,
        [stage_named("search")],
        Context(),
        told=lambda stage, standing, facts, seconds: used.update(facts),
    )
    edge = case.area[2]
    # of four tiles, a clouded corner may add nothing to a small area; two tiles are needed whole
    least = len(case.scenes()) * (1 if case.rows == 1 else 0.75)
    if study.grid.shape != (edge, edge) or used["used"] < least:
        raise RuntimeError(
            f"the search gave a grid of {study.grid.shape} and {used['used']} scenes, "
            f"expected {edge} x {edge} px and {least:g} scenes"
        )
