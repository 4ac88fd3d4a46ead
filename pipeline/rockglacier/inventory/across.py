"""Landforms that reach into a basin, while their point lies beside it.

They are not of its inventory. A basin beside it may draw such a landform otherwise, or not at all:
then it would be in neither. Whoever puts basins together takes it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import zarr

from rockglacier.inventory.candidates import Drawn, measured
from rockglacier.inventory.geoparquet import write_geoparquet
from rockglacier.inventory.ids import place_ids
from rockglacier.inventory.reviews import with_reviews
from rockglacier.inventory.schema import table_of
from rockglacier.storage.vector import in_degrees
from rockglacier.study import Study


def across_path(study: Study) -> Path:
    """Return the file of them."""
    return study.inventory_path / "across.parquet"


def write_across(
    study: Study,
    drawn: Drawn,
    reviews: gpd.GeoDataFrame,
    probability: Any,
    cube: zarr.Group,
    origin: Mapping[str, Any],
    *,
    taken: frozenset[str],
) -> None:
    """Measure them, and write them as an inventory has them.

    Parameters
    ----------
    study, drawn
        The study, and what was drawn of it.
    reviews
        What people decided: outlines that they saw are not drawn again.
    probability, cube
        As for :func:`rockglacier.inventory.candidates.measured`.
    origin
        Columns that all have: model, run, period.
    taken
        Ids of the inventory.
    """
    rows: list[dict[str, Any]] = []
    if drawn.across is not None and drawn.across.landforms:
        left, decided = with_reviews(drawn.across, reviews, study.grid)
        free = [place for place, values in enumerate(decided) if not values]
        measures, _ = measured(study, left, probability, cube)
        outlines, points = in_degrees(left.outlines), left.points.to_crs(4326)
        places = [(points.iloc[place].x, points.iloc[place].y) for place in free]
        rows = [
            {
                **measures[place],
                **origin,
                "candidate_id": name,
                "geometry": outlines.iloc[place],
            }
            for place, name in zip(free, place_ids(places, taken=taken), strict=True)
        ]
    write_geoparquet(table_of(rows), across_path(study))
