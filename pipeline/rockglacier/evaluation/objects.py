"""Landforms found, missed and made up, on all ground or on that which nothing has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
from numpy.typing import NDArray

from rockglacier.inventory.candidates import draw, split_at
from rockglacier.inventory.match import Comparison, compare
from rockglacier.inventory.references import complete_area, is_on_ignored
from rockglacier.inventory.scores import summary
from rockglacier.storage import readable
from rockglacier.storage.vector import in_degrees
from rockglacier.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The outlines that a map gives beside those of the reference.

    An outline counts where the reference is complete; outlines mostly on ground that the settings
    ignore are not judged.
    """

    comparison: Comparison
    """a is the map and b the reference."""
    outlines: gpd.GeoDataFrame
    """Those of the map that are judged, EPSG:4326, as ``comparison.objects_a``."""
    split_a: NDArray[Any]
    """Split of the ground on which the point of each outline lies."""
    split_b: NDArray[Any]

    def on(self, split: str | None) -> dict[str, Any]:
        """Return the scores on one split of the ground, None: on all of it.

        A partner may lie across the border: landforms are never cut. See
        :func:`rockglacier.inventory.scores.summary`.
        """
        if split is None:
            return summary(self.comparison)
        return summary(
            self.comparison, within_a=self.split_a == split, within_b=self.split_b == split
        )


def judge_outlines(study: Study, probability: Any, *, threshold: float) -> Judged | None:
    """Draw the outlines of a map, and lay them beside the reference.

    Parameters
    ----------
    study
        With ``labels.parquet`` and ``splits.parquet``; its inventory settings draw the outlines.
    probability
        (y, x) uint8 percent, 255 nodata.
    threshold
        Probability (0 to 1) from which a pixel belongs to a landform.

    Returns
    -------
    Judged or None
        None where the study has no table of outlines.
    """
    if not study.label_table_path.is_file():
        return None
    grid, splits = study.grid, gpd.read_parquet(readable(study.splits_path))
    labels = gpd.read_parquet(readable(study.label_table_path))
    drawn = draw(study, probability, threshold=threshold)
    table = gpd.GeoDataFrame(geometry=in_degrees(drawn.outlines), crs=4326)
    table = table[~is_on_ignored(table, labels[labels["action"] == "filtered"], grid)]
    reference = labels[labels["used"]]
    comparison = compare(table, reference, complete_area(study), id_b="label_id")
    truths = reference.loc[comparison.objects_b.index].geometry.to_crs(grid.epsg)
    return Judged(
        comparison=comparison,
        outlines=table.loc[comparison.objects_a.index],
        split_a=split_at(drawn.points.loc[comparison.objects_a.index], splits, grid),
        split_b=split_at(truths.representative_point(), splits, grid),
    )


def object_scores(study: Study, probability: Any, *, threshold: float) -> dict[str, Any] | None:
    """Score the outlines that a map of the test ground gives.

    Parameters
    ----------
    study, threshold
        As of :func:`judge_outlines`.
    probability
        Of the test ground and some ground around it.

    Returns
    -------
    dict or None
        The scores on test ground, and ``found_b``, whether each outline of the reference there has
        its partner, by id.
    """
    judged = judge_outlines(study, probability, threshold=threshold)
    if judged is None:
        return None
    tested = judged.comparison.objects_b[judged.split_b == "test"]
    is_found = (tested["relation"] == "matched").tolist()
    return judged.on("test") | {"found_b": dict(zip(tested["id"], is_found, strict=True))}
