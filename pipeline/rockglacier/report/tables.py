"""The numbers of the report, as tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rockglacier.inventory.match import SIZE_CLASSES, size_class
from rockglacier.report.layers import SEEN

SECTORS: Final = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
BAND_M: Final = 100
METRICS: Final[dict[str, str]] = {
    "iou_rock_glacier": "IoU",
    "f1_rock_glacier": "F1",
    "precision_rock_glacier": "precision",
    "recall_rock_glacier": "recall",
    "miou": "mean IoU",
    "mean_precision": "mean precision (mPA, the paper's words)",
    "mean_recall": "mean recall (mPA, the usual code)",
    "accuracy": "accuracy",
}
"""Score to heading; the first four are of the rock glacier class."""

GROUND_NAMES: Final = {
    "test": "test ground",
    "unseen": "unseen ground",
    "validation": "validation ground",
    "guard": "guard band",
    "train": "training ground",
    "all": "all, training ground included",
}
"""Grounds of which scores are told, the one that tells most first."""

CURVE: Final = {
    "iou": "IoU at least",
    "matched_b": "matched 1:1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
UNITS: Final = {"_km2": "km²", "_percent": "%", "_m": "m", "_deg": "°"}
LEAKING: Final = "random 9:1 split (leaks)"


def metrics_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a network and ground: the test ground, and the random split by its name."""
    rows = [
        {"ground": evaluation["split"], "network": name, **_scores(scores)}
        for name, scores in evaluation.get("networks", {}).items()
    ] + [
        {"ground": LEAKING, "network": name, **_scores(scores)}
        for name, scores in evaluation.get("random", {}).items()
    ]
    return pd.DataFrame(rows, columns=["ground", "network", *METRICS.values(), "pixels"])


def _scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {title: scores.get(name) for name, title in METRICS.items()} | {
        "pixels": scores.get("pixels")
    }


def leak_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """Return what the random split claims beside what unseen ground says."""
    rows = [
        {
            "network": name,
            "IoU claimed by the random split (leaks)": leak.get("random_split_iou"),
            "IoU on the test ground": leak.get("test_iou"),
            "leak": leak.get("leak"),
            "IoU on the test ground's chips with landforms": leak.get("test_iou_on_chips"),
            "leak on chips": leak.get("leak_on_chips"),
        }
        for name, leak in evaluation.get("leak", {}).items()
    ]
    table = pd.DataFrame(rows)
    return table.dropna(axis=1, how="all")


def agreement_table(matches: Mapping[str, Any]) -> pd.DataFrame:
    """Return how found and reference outlines agree, a row a ground, unseen ground first."""
    rows = []
    for name in [name for name in GROUND_NAMES if name in matches]:
        scores = matches[name]
        paired, covered = scores.get("iou_0.5", {}), scores.get("cover_0.5", {})
        rows.append(
            {
                "ground": GROUND_NAMES[name],
                "found": scores["n_a"],
                "in the reference": scores["n_b"],
                "matched 1:1 at IoU ≥ 0.5": paired.get("matched_b"),
                "precision": paired.get("precision"),
                "recall": paired.get("recall"),
                "F1": paired.get("f1"),
                "recall by cover ≥ 50 %": covered.get("recall"),
                "count ratio": scores.get("count_ratio"),
                "area found, km²": scores.get("area_a_km2"),
                "area in the reference, km²": scores.get("area_b_km2"),
            }
        )
    return pd.DataFrame(rows)


def words_of(column: str) -> str:
    """Return the name of a column as a heading, its unit after a comma."""
    for ending, unit in UNITS.items():
        if column.endswith(ending):
            return f"{column.removesuffix(ending).replace('_', ' ')}, {unit}".lstrip(", ")
    return column.replace("_", " ")


def curve_table(matches: Mapping[str, Any]) -> tuple[str, pd.DataFrame]:
    """Return precision, recall and F1 by the IoU of a match, and the ground that they are of.

    That of unseen ground, if there is any.
    """
    names = {"test": "test ground", "unseen": "unseen ground", "all": "all ground"}
    for name, words in names.items():
        curve = (matches.get(name) or {}).get("curve")
        if curve:
            frame = pd.DataFrame(curve).rename(columns=CURVE)
            return words, frame[[name for name in CURVE.values() if name in frame]]
    return "", pd.DataFrame()


def size_table(found: gpd.GeoDataFrame, reference: gpd.GeoDataFrame | None) -> pd.DataFrame:
    """Return counts and areas by size class: found on unseen and on training ground, reference."""
    is_seen = found["ground"].isin(SEEN).to_numpy()
    groups = {"found": found[~is_seen], "on training ground": found[is_seen]}
    if reference is not None:
        groups["reference"] = reference
    table = pd.DataFrame({"class, km²": SIZE_CLASSES})
    for name, group in groups.items():
        areas = group["area_km2"].to_numpy(float)
        classes = size_class(areas)
        table[f"{name}, n"] = [int((classes == size).sum()) for size in SIZE_CLASSES]
        table[f"{name}, km²"] = [float(areas[classes == size].sum()) for size in SIZE_CLASSES]
    return table


def elevation_table(found: gpd.GeoDataFrame, hypsometry: pd.DataFrame | None) -> pd.DataFrame:
    """Return landforms by median elevation and, where bands are known, area, in bands of 100 m."""
    known = found[found["elevation_median_m"].notna()]
    if known.empty:
        return pd.DataFrame()
    lowest = _band(known["elevation_median_m"].min())
    highest = _band(known["elevation_median_m"].max())
    areas = _area_by_band(found, hypsometry)
    if areas is not None and len(areas):
        lowest = min(lowest, int(areas["band"].min()))
        highest = max(highest, int(areas["band"].max()))
    bands = np.arange(lowest, highest + BAND_M, BAND_M)
    table = pd.DataFrame({"from, m": bands, "to, m": bands + BAND_M})
    is_seen = known["ground"].isin(SEEN).to_numpy()
    for name, mask in (("found", ~is_seen), ("on training ground", is_seen)):
        own = [_band(value) for value in known["elevation_median_m"].to_numpy()[mask]]
        table[f"{name}, n"] = [own.count(int(band)) for band in bands]
        if areas is not None:
            part = areas[areas["seen"] == (name != "found")].groupby("band")["km2"].sum()
            table[f"{name}, km²"] = part.reindex(bands, fill_value=0.0).to_numpy(float)
    return table


def _band(value: float) -> int:
    return int(value // BAND_M * BAND_M)


def _area_by_band(found: gpd.GeoDataFrame, hypsometry: pd.DataFrame | None) -> pd.DataFrame | None:
    if hypsometry is None:
        return None
    own = found.set_index("candidate_id")[["area_km2", "ground"]]
    joined = hypsometry.join(own, on="candidate_id", how="inner")
    return pd.DataFrame(
        {
            "band": joined["band_from_m"] // BAND_M * BAND_M,
            "km2": joined["area_km2"] * joined["thousandths"] / 1000,
            "seen": joined["ground"].isin(SEEN),
        }
    )


def aspect_table(
    found: gpd.GeoDataFrame,
    *,
    aspect: NDArray[np.floating],
    elevation: NDArray[np.floating],
    is_found: NDArray[np.bool_],
    pixel_m: float,
) -> pd.DataFrame:
    """Return landforms by mean aspect, and area by pixel aspect beside the terrain's own.

    Parameters
    ----------
    found
        Inventory with ``aspect_sector``, ``area_km2`` and ``ground``.
    aspect, elevation, is_found
        (y, x): degrees clockwise from north (NaN where flat), metres, whether the pixel is a
        candidate's.
    pixel_m
        Edge of a pixel, metres.

    Notes
    -----
    Eligible terrain is all ground between the 2nd and 98th percentile of the candidates' elevation;
    ``ratio`` is the share of the candidates' area over that of eligible terrain, 1 = no preference.
    """
    table = pd.DataFrame({"sector": SECTORS})
    is_seen = found["ground"].isin(SEEN).to_numpy()
    for name, mask in (("found", ~is_seen), ("on training ground", is_seen)):
        part = found[mask]
        by_sector = part.groupby(part["aspect_sector"].astype(int))["area_km2"]
        sectors = range(1, 9)
        table[f"{name}, n"] = by_sector.size().reindex(sectors, fill_value=0).to_numpy(int)
        table[f"{name}, km²"] = by_sector.sum().reindex(sectors, fill_value=0.0).to_numpy(float)
    own = _area_by_sector(aspect, is_found, pixel_m)
    eligible = np.zeros(8)
    if (is_found & np.isfinite(elevation)).any():
        low, high = np.percentile(elevation[is_found & np.isfinite(elevation)], [2, 98])
        eligible = _area_by_sector(aspect, (elevation >= low) & (elevation <= high), pixel_m)
    table["by pixel, km²"] = own
    table["eligible terrain, km²"] = eligible
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (own / own.sum()) / (eligible / eligible.sum())
    table["ratio"] = np.where(np.isfinite(ratio), ratio, np.nan)
    return table


def with_exact_aspect(table: pd.DataFrame, exact: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`aspect_table` with areas that were counted at full resolution.

    Parameters
    ----------
    table
        Eight sectors.
    exact
        Eight sectors and flat ground: ``found_km2, eligible_km2, ratio``.
    """
    sectors = exact.set_index("sector").reindex(table["sector"])
    return table.assign(
        **{
            "by pixel, km²": sectors["found_km2"].to_numpy(float),
            "eligible terrain, km²": sectors["eligible_km2"].to_numpy(float),
            "ratio": sectors["ratio"].to_numpy(float),
        }
    )


def _area_by_sector(
    aspect: NDArray[np.floating], is_counted: NDArray[np.bool_], pixel_m: float
) -> NDArray[np.float64]:
    angles = aspect[is_counted & np.isfinite(aspect)]
    sectors = ((angles + 22.5) % 360 // 45).astype(int)
    counts = np.bincount(sectors, minlength=8)[:8]
    return counts.astype(np.float64) * pixel_m**2 / 1e6
