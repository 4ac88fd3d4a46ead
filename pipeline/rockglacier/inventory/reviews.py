"""What people decided on outlines: kept beside the inventory, and put over every later drawing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import Grid, Window
from rockglacier.inventory.candidates import Drawn
from rockglacier.inventory.domains import RELIABILITIES, REVIEWED, RGIK_DOMAINS
from rockglacier.inventory.geoparquet import write_geoparquet
from rockglacier.inventory.landforms import Landform
from rockglacier.inventory.schema import COLUMNS, Column
from rockglacier.storage import readable
from rockglacier.study import Study

REVIEW_COLUMNS: Final = (
    "status", "certainty", "reviewer", "review_date", "PrimaryID", *RGIK_DOMAINS, *RELIABILITIES,
    "RelIndex", "Comment",
)  # fmt: skip
"""Columns of the inventory that are a person's once the outline is reviewed."""

KEPT: Final = ("confirmed", "edited")

SCHEMA: Final[dict[str, Column]] = {
    "candidate_id": COLUMNS["candidate_id"],
    "origin": Column("string", "model, or person where no model drew it."),
    "split": COLUMNS["split"],
    **{name: COLUMNS[name] for name in REVIEW_COLUMNS},
}

SAME_LANDFORM: Final = 0.5
"""Share of a drawing inside reviewed ground, or of a kept outline inside a drawing, from which the
drawing is that landform again."""

DIGITS: Final = 9
"""Digits of degrees that make two outlines different: a tenth of a millimetre."""

Z_95: Final = 1.959964


def review_table(rows: Sequence[Mapping[str, Any]]) -> gpd.GeoDataFrame:
    """Return decisions as a table, EPSG:4326, with every column of :data:`SCHEMA`."""
    columns = {
        name: pd.Series(
            [None if pd.isna(row.get(name)) else row[name] for row in rows], dtype=column.dtype
        )
        for name, column in SCHEMA.items()
    }
    geometry = gpd.GeoSeries([row["geometry"] for row in rows], crs=4326)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=4326)


def read_reviews(study: Study) -> gpd.GeoDataFrame:
    """Return the decisions of a study's period, as :func:`review_table`; none is no error."""
    path = study.reviews_path
    return gpd.read_parquet(readable(path)) if path.is_file() else review_table([])


def write_reviews(study: Study, reviews: gpd.GeoDataFrame) -> None:
    """Write the decisions, in the order of their ids."""
    ordered = reviews.sort_values("candidate_id", ignore_index=True)
    write_geoparquet(ordered, study.reviews_path)


def outline_hash(outline: BaseGeometry) -> str:
    """Return a short hash of an outline in degrees: the same however its rings are written.

    Examples
    --------
    >>> square = shapely.box(0, 0, 1, 1)
    >>> outline_hash(square) == outline_hash(shapely.MultiPolygon([square.reverse()]))
    True
    """
    parts = shapely.MultiPolygon(list(shapely.get_parts(outline)))
    rounded = shapely.transform(parts, lambda places: np.round(places, DIGITS) + 0.0)
    return hashlib.sha256(shapely.to_wkb(shapely.normalize(rounded))).hexdigest()[:16]


def with_reviews(
    drawn: Drawn, reviews: gpd.GeoDataFrame, grid: Grid
) -> tuple[Drawn, list[dict[str, Any]]]:
    """Put what people decided over what a model drew.

    Parameters
    ----------
    drawn
        Of the model.
    reviews
        As :func:`read_reviews`.
    grid
        Of the study.

    Returns
    -------
    drawn, values
        Outlines that people kept, as they left them, and those of the model that no person decided
        on; in the order of the file. For each the columns that a person filled; empty for those of
        the model. A drawing that lies mostly in reviewed ground is gone, be it kept or rejected,
        and so is one that holds most of a kept outline.
    """
    if reviews.empty:
        return drawn, [{} for _ in drawn.landforms]
    is_kept = reviews["status"].isin(KEPT).to_numpy(bool)
    free = np.flatnonzero(~decided_on(drawn.outlines, reviews, grid))
    kept = reviews[is_kept].to_crs(grid.epsg).reset_index(drop=True)
    values: list[dict[str, Any]] = [{} for _ in free]
    values += [
        {
            # in degrees as it was kept: there and back through the grid's CRS would move it
            "geometry": outline,
            **{
                name: row[name]
                for name in ("candidate_id", *REVIEW_COLUMNS)
                if not pd.isna(row[name])
            },
        }
        for (_, row), outline in zip(kept.iterrows(), reviews.geometry[is_kept], strict=True)
    ]
    outlines = _joined(drawn.outlines.iloc[free], kept.geometry, grid)
    together = replace(
        drawn,
        landforms=[
            *(drawn.landforms[place] for place in free),
            *(_landform(outline, grid) for outline in kept.geometry),
        ],
        exact=_joined(drawn.exact.iloc[free], kept.geometry, grid),
        outlines=outlines,
        points=_joined(drawn.points.iloc[free], kept.geometry.representative_point(), grid),
        footprints=[*(drawn.footprints[place] for place in free), *(None for _ in kept.index)],
    )
    return together.in_file_order(values)


def decided_on(
    outlines: gpd.GeoSeries, reviews: gpd.GeoDataFrame, grid: Grid
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say on which drawings, in any CRS, somebody decided already: see :func:`with_reviews`."""
    is_kept = reviews["status"].isin(KEPT).to_numpy(bool)
    reviewed = reviews.geometry.to_crs(grid.epsg).to_numpy()
    drawn = outlines.to_crs(grid.epsg).to_numpy()
    found = np.zeros(len(outlines), bool)
    places, others = shapely.STRtree(reviewed).query(drawn, predicate="intersects")
    for place in np.unique(places):
        outline = drawn[place]
        near = others[places == place]
        inside = shapely.union_all(reviewed[near]).intersection(outline).area
        found[place] = inside >= SAME_LANDFORM * outline.area
        found[place] |= any(
            is_kept[k]
            and reviewed[k].intersection(outline).area >= SAME_LANDFORM * reviewed[k].area
            for k in near
        )
    return found


def _joined(one: gpd.GeoSeries, other: gpd.GeoSeries, grid: Grid) -> gpd.GeoSeries:
    return gpd.GeoSeries([*one, *other], crs=grid.epsg)


def _landform(outline: BaseGeometry, grid: Grid) -> Landform:
    """Return the pixels under an outline as a landform of no seed."""
    inverse = ~grid.transform
    west, south, east, north = outline.bounds
    x0, y0 = inverse * (west, north)
    x1, y1 = inverse * (east, south)
    rows, columns = grid.shape
    y, x = (
        int(np.clip(math.floor(edge), 0, size - 1)) for edge, size in ((y0, rows), (x0, columns))
    )
    window = Window(
        y=y,
        x=x,
        height=max(1, min(rows, math.ceil(y1)) - y),
        width=max(1, min(columns, math.ceil(x1)) - x),
    )
    pixels = max(1, round(outline.area / grid.resolution**2))
    return Landform(window=window, pixels=pixels, peak=0, seed=(y, x))


def review_counts(reviews: gpd.GeoDataFrame, *, waiting: int) -> dict[str, Any]:
    """Return how the model's outlines fared with people.

    Parameters
    ----------
    reviews
        As :func:`read_reviews`.
    waiting
        Outlines that nobody decided on yet.

    Returns
    -------
    dict
        ``reviewed`` outlines of the model; of them ``confirmed``, ``edited``, ``rejected``;
        ``added`` by people; ``waiting``; ``precision``, the share of the reviewed ones that are
        rock glaciers (confirmed or edited), with its interval of 95 % (Wilson) ``precision_low``
        and ``precision_high``; ``splits``, the same by the ground that the outlines lie on. None
        where nothing was reviewed.
    """
    own = reviews[reviews["origin"] == "model"]
    splits = {str(name): _precision(part) for name, part in own.groupby("split", dropna=True)}
    return {
        **_precision(own),
        "added": int((reviews["origin"] == "person").sum()),
        "waiting": waiting,
        "splits": splits,
    }


def _precision(own: pd.DataFrame) -> dict[str, Any]:
    counts = {status: int((own["status"] == status).sum()) for status in REVIEWED}
    n = sum(counts.values())
    found: dict[str, Any] = {"reviewed": n, **counts}
    if not n:
        return {**found, "precision": None, "precision_low": None, "precision_high": None}
    share = (counts["confirmed"] + counts["edited"]) / n
    middle = share + Z_95**2 / (2 * n)
    reach = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    low, high = ((middle + sign * reach) / (1 + Z_95**2 / n) for sign in (-1, 1))
    return {
        **found,
        "precision": share,
        "precision_low": max(0.0, low),
        "precision_high": min(1.0, high),
    }
