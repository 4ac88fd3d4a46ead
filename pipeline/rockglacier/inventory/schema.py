"""The columns of an inventory, in order: the same whether it holds a thousand outlines or none.

Names and values of the RGIK columns are the undotted ones of the published inventories (SQL and
Shapefile take them): what a model cannot know stays uncertain, undefined, unknown or empty until a
person fills it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import pandas as pd

from rockglacier.errors import InputError


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the inventory."""

    dtype: str
    """pandas dtype."""
    description: str
    """What it holds, with its unit."""


_TEXT: Final = "string"

COLUMNS: Final[dict[str, Column]] = {
    "candidate_id": Column(_TEXT, "Stable id of the candidate: RGC, latitude and longitude."),
    "status": Column(_TEXT, "candidate, confirmed, edited or rejected."),
    "certainty": Column(_TEXT, "certain or uncertain, for the person who reviews it."),
    "reviewer": Column(_TEXT, "Who reviewed it."),
    "review_date": Column("datetime64[ms]", "When it was reviewed."),
    "review_reason": Column(
        _TEXT,
        "Why to look at it: glacier, disagreement, snow, shadow, gaps, edge, small.",
    ),
    "review_rank": Column("Int64", "Place in the queue of those to look at, 1 first."),
    "replaces": Column(_TEXT, "Earlier candidates that it stands for, split or merged."),
    "n_periods_found": Column("Int64", "Periods of this study in which it was found."),
    "split": Column(
        _TEXT,
        "Ground of its representative point: train, validation, test, guard, or "
        "unseen where nothing was trained; test of everything that was predicted out of fold.",
    ),
    "train_share": Column("float64", "Share of its area on ground that was trained on, 0 to 1."),
    "truncated": Column("bool", "Ends at the edge of the data, or crosses that of the area."),
    "truncated_by": Column(
        _TEXT,
        "What it is cut by, with semicolons: grid (the edge of the cube), data (no prediction "
        "beyond), area (its outline crosses that of the area).",
    ),
    "area_km2": Column("float64", "Geodesic area of the outline, km²."),
    "area_uncertainty_km2": Column("float64", "Half a pixel times the perimeter, ± km²."),
    "perimeter_km": Column("float64", "Geodesic length of the outline with its holes, km."),
    "pixels": Column("int64", "Pixels of the outline before simplification."),
    "elevation_min_m": Column("float64", "Lowest pixel, m."),
    "elevation_front_m": Column("float64", "Height of the front: 5th percentile of elevation, m."),
    "elevation_median_m": Column("float64", "Median elevation, m."),
    "elevation_mean_m": Column("float64", "Mean elevation, m."),
    "elevation_max_m": Column("float64", "Highest pixel, m."),
    "relief_m": Column("float64", "Highest minus lowest pixel, m."),
    "slope_mean_deg": Column("float64", "Mean slope, degrees."),
    "slope_p90_deg": Column("float64", "90th percentile of the slope, degrees."),
    "aspect_mean_deg": Column(
        "float64",
        "Circular mean of aspect, degrees clockwise from north; "
        "empty where the aspects cancel out.",
    ),
    "aspect_resultant": Column("float64", "Mean resultant length of aspect, 0 to 1."),
    "aspect_sector": Column("int64", "Sector of the mean aspect: 1 = N to 8 = NW, 9 = none."),
    "length_m": Column(
        "float64", "Length of the path over the DEM from the upper to the lower end, horizontal, m."
    ),
    "width_m": Column("float64", "Mean width: pixel area over length, m."),
    "probability_mean": Column("float64", "Mean probability of the pixels, 0 to 1."),
    "probability_p10": Column("float64", "10th percentile of the probability, 0 to 1."),
    "probability_p50": Column("float64", "Median probability, 0 to 1."),
    "probability_p90": Column("float64", "90th percentile of the probability, 0 to 1."),
    "spread_mean": Column(
        "float64",
        "Mean standard deviation of the probabilities of networks and views, 0 to 1; empty where "
        "one network saw the ground once.",
    ),
    "agreement": Column(
        "float64",
        "Mean share of the networks that call its pixels a rock glacier, 0 to 1; empty of one.",
    ),
    "valid_share": Column("float64", "Share of the outline, holes filled, with a prediction."),
    "snow_share": Column("float64", "Share seen only under snow, 0 to 1."),
    "shadow_share": Column("float64", "Share seen only in shadow, 0 to 1."),
    "PrimaryID": Column(_TEXT, "RGIK primary ID, given on confirmation."),
    "OutType": Column(_TEXT, "RGIK type of outline: Extended or Restricted."),
    "Morpho": Column(_TEXT, "RGIK morphology."),
    "UpslCon": Column(_TEXT, "RGIK upslope connection."),
    "UpslCur": Column(_TEXT, "RGIK currency of the upslope connection."),
    "Complet": Column(_TEXT, "RGIK completeness: incomplete where truncated, else unclear."),
    "ActiCl": Column(_TEXT, "RGIK activity class."),
    "ActiAss": Column(_TEXT, "RGIK basis of the activity."),
    "Destabili": Column(_TEXT, "RGIK destabilisation."),
    "KinAtt": Column(_TEXT, "RGIK kinematic attribute."),
    "RelFr": Column("Int64", "RGIK reliability of the front, 0 to 2."),
    "RelLeftLM": Column("Int64", "RGIK reliability of the left lateral margin, 0 to 2."),
    "RelRightLM": Column("Int64", "RGIK reliability of the right lateral margin, 0 to 2."),
    "RelUpsCon": Column("Int64", "RGIK reliability of the upslope connection, 0 to 2."),
    "RelIndex": Column("Int64", "RGIK reliability, sum of the four, 0 to 8."),
    "Comment": Column(_TEXT, "Remarks."),
    "model_id": Column(_TEXT, "The model that drew it."),
    "run_id": Column(_TEXT, "Hash of settings, model and threshold of the run."),
    "period": Column(_TEXT, "Years of the imagery."),
}

UNREVIEWED: Final[dict[str, Any]] = {
    "status": "candidate",
    "OutType": "Extended",
    "UpslCon": "unknown",
    "ActiCl": "uncertain",
    "KinAtt": "undefined",
    "n_periods_found": 1,
}
"""What an outline says before anybody looked at it."""

MARKER_COLUMNS: Final = (
    "candidate_id",
    "PrimaryID",
    "Morpho",
    "UpslCon",
    "UpslCur",
    "Complet",
    "ActiCl",
    "ActiAss",
    "Destabili",
    "KinAtt",
    "Comment",
)
MOVING_AREA_COLUMNS: Final = ("PrimaryID", "VelClass", "Comment")


def table_of(
    rows: Sequence[Mapping[str, Any]], *, extra: Mapping[str, Column] | None = None
) -> gpd.GeoDataFrame:
    """Return an inventory, EPSG:4326, with every column and its type, whatever the rows hold.

    Parameters
    ----------
    rows
        Columns by name, and ``geometry``. What a row does not say is as :data:`UNREVIEWED` says, or
        empty.
    extra
        Columns of this study alone, after the others.

    Raises
    ------
    InputError
        An extra column has the name of another one.
    """
    if taken := sorted(set(extra or {}) & {*COLUMNS, "geometry"}):
        raise InputError(
            f"the inventory has a column {taken[0]!r} of its own",
            expected="other names in inventory.overlaps",
        )
    columns = {
        name: pd.Series([row.get(name, UNREVIEWED.get(name)) for row in rows], dtype=column.dtype)
        for name, column in {**COLUMNS, **(extra or {})}.items()
    }
    geometry = gpd.GeoSeries([row["geometry"] for row in rows], crs=4326)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=4326)
