"""Labels with the corrections of people in them, to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from rockglacier.inventory.edited import TWICE
from rockglacier.inventory.match import EQUAL_AREA
from rockglacier.inventory.polygons import read_outlines
from rockglacier.inventory.references import complete_area
from rockglacier.inventory.reviews import KEPT, read_reviews
from rockglacier.storage import uploaded
from rockglacier.storage.vector import POLYGONS
from rockglacier.study import Study


def write_corrected(study: Study) -> tuple[Path, Path]:
    """Write labels with the corrections in them, and return the files of both settings.

    Parameters
    ----------
    study
        With decisions, those of all its periods; with a reference if it learned from one.

    Returns
    -------
    reference, complete_within
        ``reviewed/outlines.gpkg``: the reference, with the outlines that people kept in the place
        of those that they lie on, and without those that lie mostly on rejected ones.
        ``reviewed/complete.gpkg``: where that is complete: where the reference is, and wherever
        something was reviewed. Both lie with the period that networks learn from.
    """
    every = study.each_period()
    folder = every[0].inventory_path / "reviewed"
    reviews = _of_all(every)
    kept = reviews[reviews["status"].isin(KEPT).to_numpy(bool) & ~_overruled(reviews)]
    labels = study.config.labels
    known = gpd.GeoDataFrame(geometry=gpd.GeoSeries([], crs=4326), crs=4326)
    complete = shapely.union_all(reviews.geometry.to_numpy())
    if labels.reference is not None:
        uri = study.resolve(labels.reference)
        known = read_outlines(uri, name="the reference").to_crs(4326)
        known = known[known.geom_type.isin(POLYGONS) & ~known.geometry.is_empty]
        known = known.set_geometry(shapely.make_valid(shapely.force_2d(known.geometry.to_numpy())))
        known = known[~_replaced(known.geometry, reviews.geometry)]
        complete = complete.union(complete_area(study))
    ours = kept[["candidate_id", "PrimaryID", "OutType", "status", "reviewer", "geometry"]].copy()
    for name, accepted in labels.where.items():
        if name not in ours:
            ours[name] = accepted[0]  # else the study's own filter would drop what people drew
    ours = ours.rename(columns={a: b for a, b in labels.columns.items() if a in ours})
    parts = [part for part in (known, ours) if len(part)] or [ours]
    together = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry", crs=4326)
    together = together.drop(columns=[k for k in together if str(k).casefold() == "fid"])
    paths = folder / "outlines.gpkg", folder / "complete.gpkg"
    tables = together, gpd.GeoDataFrame(geometry=[complete], crs=4326)
    for path, table in zip(paths, tables, strict=True):
        with uploaded(path) as partial:
            table.to_file(
                partial,
                layer=path.stem,
                driver="GPKG",
                geometry_type="MultiPolygon",
                promote_to_multi=True,
            )
    return paths


def _of_all(periods: Sequence[Study]) -> gpd.GeoDataFrame:
    """Return the decisions of all periods with their ``period``, the earliest first."""
    tables = [read_reviews(one).assign(period=one.period.name) for one in periods]
    tables = [table for table in tables if len(table)] or tables[:1]
    together = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=4326)
    return together.sort_values("review_date", kind="stable", ignore_index=True)


def _overruled(reviews: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Say on which ground a later decision was taken, in another period."""
    shapes = reviews.to_crs(EQUAL_AREA).geometry.to_numpy()
    periods = reviews["period"].to_numpy()
    found = np.zeros(len(reviews), bool)
    for one, later in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
        if one < later and periods[one] != periods[later]:
            shared = shapes[one].intersection(shapes[later]).area
            found[one] |= shared >= TWICE * min(shapes[one].area, shapes[later].area)
    return found


def _replaced(known: gpd.GeoSeries, reviewed: gpd.GeoSeries) -> pd.Series[bool]:
    """Say which known outlines lie mostly on reviewed ones, or hold most of one."""
    known_m, reviewed_m = (shapes.to_crs(EQUAL_AREA).to_numpy() for shapes in (known, reviewed))
    found = pd.Series(data=False, index=known.index)
    for place, other in shapely.STRtree(reviewed_m).query(known_m, predicate="intersects").T:
        shared = known_m[place].intersection(reviewed_m[other]).area
        if shared >= TWICE * min(known_m[place].area, reviewed_m[other].area):
            found.iloc[place] = True
    return found


def settings_of(files: tuple[Path, Path]) -> str:
    """Return the settings of a study that learns from the files of :func:`write_corrected`."""
    return f"labels:\n  reference: {files[0]}\n  complete_within: {files[1]}"
