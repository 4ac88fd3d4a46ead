"""How well two inventories agree, in numbers: counts, precision, recall, sizes and areas."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from rockglacier.inventory.match import IOU_CURVE, IOU_MATCH, SIZE_CLASSES, Comparison, Flags

COVER: Final = 0.5
"""Share of an outline that has to lie inside the other inventory for the cover rule."""


def summary(
    comparison: Comparison, *, within_a: Flags | None = None, within_b: Flags | None = None
) -> dict[str, Any]:
    """Return counts, scores, size classes and area bias, JSON-able; None where undefined.

    Parameters
    ----------
    comparison
        Of :func:`compare`.
    within_a, within_b
        Which rows of ``objects_a`` and ``objects_b`` count, e.g. those on held-out ground. The
        matching itself is not cut: an outline that counts may have its partner across the border,
        and neither is called false or missed for that.

    Returns
    -------
    dict
        ``n_a, n_b, area_*, count_ratio, area_bias, relations_*``, ``iou_0.5`` and ``cover_0.5``
        (precision, recall, F1 of objects), ``curve`` over IoU 0.1 to 0.9, ``size_classes``.
    """
    a, b = comparison.objects_a, comparison.objects_b
    in_a = np.ones(len(a), dtype=bool) if within_a is None else np.asarray(within_a)
    in_b = np.ones(len(b), dtype=bool) if within_b is None else np.asarray(within_b)
    curve = [
        {"iou": at, **_scores(hit_a[in_a], hit_b[in_b])}
        for at, hit_a, hit_b in zip(
            IOU_CURVE, comparison.matched_a, comparison.matched_b, strict=True
        )
    ]
    a, b = a[in_a], b[in_b]
    covered = _scores((a["cover"] >= COVER).to_numpy(), (b["cover"] >= COVER).to_numpy())
    area_a, area_b = float(a["area_km2"].sum()), float(b["area_km2"].sum())
    return {
        "n_a": len(a),
        "n_b": len(b),
        "area_a_km2": area_a,
        "area_b_km2": area_b,
        "count_ratio": _ratio(len(a), len(b)),
        "area_bias": _ratio(area_a - area_b, area_b),
        "on_edge_a": int(a["on_edge"].sum()),
        "on_edge_b": int(b["on_edge"].sum()),
        "relations_a": _counts(a["relation"]),
        "relations_b": _counts(b["relation"]),
        "iou_0.5": next(point for point in curve if point["iou"] == IOU_MATCH),
        "iou_mean_matched": _mean(b["iou"]),
        "cover_0.5": covered,
        "curve": curve,
        "size_classes": [_size_row(a, b, name) for name in SIZE_CLASSES],
    }


def _scores(hit_a: Flags, hit_b: Flags) -> dict[str, Any]:
    precision, recall = _ratio(int(hit_a.sum()), len(hit_a)), _ratio(int(hit_b.sum()), len(hit_b))
    f1 = None
    if precision is not None and recall is not None:
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "matched_a": int(hit_a.sum()),
        "matched_b": int(hit_b.sum()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _size_row(a: pd.DataFrame, b: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return one size class: outlines of a by their own size, those of b by theirs."""
    a, b = a[a["size_class"] == name], b[b["size_class"] == name]
    hits = (a["relation"] == "matched").to_numpy(), (b["relation"] == "matched").to_numpy()
    covered = (a["cover"] >= COVER).to_numpy(), (b["cover"] >= COVER).to_numpy()
    return {
        "class_km2": name,
        "n_a": len(a),
        "n_b": len(b),
        "area_a_km2": float(a["area_km2"].sum()),
        "area_b_km2": float(b["area_km2"].sum()),
        **_scores(*hits),
        "cover_0.5": _scores(*covered),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(n) for name, n in sorted(values.value_counts().items())}
