"""Landforms found, missed and made up on ground that nothing has seen."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np

from rockglacier.inventory.candidates import draw, split_at
from rockglacier.inventory.match import compare
from rockglacier.inventory.references import complete_area, is_on_ignored
from rockglacier.inventory.scores import summary
from rockglacier.storage import readable
from rockglacier.study import Study


def object_scores(study: Study, probability: Any, *, threshold: float) -> dict[str, Any] | None:
    """Score the outlines that a map of the test ground gives.

    Parameters
    ----------
    study
        With ``labels.parquet`` and ``splits.parquet``; its inventory settings draw the outlines.
    probability
        (y, x) uint8 percent, 255 nodata, of the test ground and some ground around it.
    threshold
        Probability (0 to 1) from which a pixel belongs to a landform.

    Returns
    -------
    dict or None
        See :func:`rockglacier.inventory.scores.summary`: a is the map and b the reference; and
        ``found_b``, whether each outline of the reference on test ground has its partner, by id.
        None where the study has no table of outlines.

    Notes
    -----
    An outline counts if its point lies on test ground, and where the reference is complete. Its
    partner may lie across the border: landforms are never cut. Outlines mostly on ground that the
    settings ignore are not judged.
    """
    if not study.label_table_path.is_file():
        return None
    grid, splits = study.grid, gpd.read_parquet(readable(study.splits_path))
    labels = gpd.read_parquet(readable(study.label_table_path))
    drawn = draw(study, probability, threshold=threshold)
    table = gpd.GeoDataFrame(geometry=drawn.outlines.to_crs(4326), crs=4326)
    table = table[~is_on_ignored(table, labels[labels["action"] == "filtered"], grid)]
    reference = labels[labels["used"]]
    comparison = compare(table, reference, complete_area(study), id_b="label_id")
    points = drawn.points.loc[comparison.objects_a.index]
    truths = reference.loc[comparison.objects_b.index].geometry.to_crs(grid.epsg)
    within_b = np.asarray(split_at(truths.representative_point(), splits, grid) == "test")
    scores = summary(
        comparison,
        within_a=np.asarray(split_at(points, splits, grid) == "test"),
        within_b=within_b,
    )
    tested = comparison.objects_b[within_b]
    is_found = (tested["relation"] == "matched").tolist()
    return scores | {"found_b": dict(zip(tested["id"], is_found, strict=True))}
