"""An inventory beside the reference that the study learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from rockglacier.grid import Grid
from rockglacier.inventory import geoparquet
from rockglacier.inventory.candidates import UNSEEN, split_at
from rockglacier.inventory.compare import ground_of_links
from rockglacier.inventory.match import Comparison, compare
from rockglacier.inventory.scores import summary
from rockglacier.storage import readable, write_json
from rockglacier.study import Study, read_area

MOSTLY: Final = 0.5
"""Share of a candidate on ignored ground from which it is not judged."""

REFERENCE_COLUMNS: Final = ("label_id", "geometry")


def known_outlines(study: Study) -> gpd.GeoDataFrame | None:
    """Return the outlines of the reference that count, EPSG:4326, or None without one."""
    if not study.label_table_path.is_file():
        return None
    labels = gpd.read_parquet(readable(study.label_table_path), columns=["used", "geometry"])
    return labels[labels["used"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The inventory beside the reference."""

    comparison: Comparison
    reference: gpd.GeoDataFrame
    """The polygons that count, EPSG:4326."""
    n_ignored: int
    """Candidates on ignored ground, which take no part."""

    @property
    def links(self) -> gpd.GeoDataFrame:
        """The links with their ground, EPSG:4326."""
        links = self.comparison.links
        return gpd.GeoDataFrame(links, geometry=ground_of_links(self.comparison), crs=4326)


def matched_with(study: Study, table: gpd.GeoDataFrame) -> Matched | None:
    """Match with the reference, if there is one."""
    if not study.label_table_path.is_file():
        return None
    labels = gpd.read_parquet(readable(study.label_table_path))
    reference = labels[labels["used"]]
    is_ignored = is_on_ignored(table, labels[labels["action"] == "filtered"], study.grid)
    comparison = compare(
        table[~is_ignored], reference, complete_area(study), id_a="candidate_id", id_b="label_id"
    )
    return Matched(comparison=comparison, reference=reference, n_ignored=int(is_ignored.sum()))


def write_matches(
    study: Study,
    table: gpd.GeoDataFrame,
    splits: gpd.GeoDataFrame | None,
    matched: Matched | None,
) -> dict[str, Any]:
    """Write the links, and the scores of all ground and of each split alone."""
    paths = study.inventory_path / "matches.parquet", study.inventory_path / "matches.json"
    for path in paths:
        path.unlink(missing_ok=True)
    if matched is None:
        return {}
    comparison, reference = matched.comparison, matched.reference
    split_a = table.loc[comparison.objects_a.index, "split"].to_numpy()
    split_b = np.full(len(comparison.objects_b), UNSEEN, dtype=object)
    if splits is not None:
        drawn = reference.loc[comparison.objects_b.index].geometry.to_crs(study.grid.epsg)
        split_b = split_at(drawn.representative_point(), splits, study.grid)
    scores = {"all": summary(comparison)}
    for name in pd.unique(np.concatenate([split_a, split_b])):
        scores[name] = summary(comparison, within_a=split_a == name, within_b=split_b == name)
    geoparquet.write_parquet(comparison.links, paths[0])
    left_out = comparison.left_out | {"ignored_a": matched.n_ignored}
    write_json(paths[1], {"left_out": left_out, **scores})
    facts = {"reference": scores["all"]["n_b"], "matched": scores["all"]["iou_0.5"]["matched_b"]}
    if "test" in scores:
        facts["test_reference"] = scores["test"]["n_b"]
        facts["test_matched"] = scores["test"]["iou_0.5"]["matched_b"]
        facts["test_objects"] = scores["test"]["n_a"]
    return facts


def is_on_ignored(
    table: gpd.GeoDataFrame, ignored: gpd.GeoDataFrame, grid: Grid
) -> NDArray[np.bool_]:
    """Say which candidates lie mostly on reference polygons that the settings filtered out.

    They are neither right nor wrong: the reference has a landform there, of a class not asked for.
    """
    outlines = table.geometry.to_crs(grid.epsg)
    share = outlines.intersection(ignored.to_crs(grid.epsg).union_all()).area / outlines.area
    return (share >= MOSTLY).to_numpy(bool)


def complete_area(study: Study) -> shapely.Geometry:
    """Return where the reference is complete, EPSG:4326."""
    given = study.config.labels.complete_within
    if given is None:
        return study.area
    return study.area.intersection(read_area(study.resolve(given)))
