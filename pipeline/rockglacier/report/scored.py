"""Scores of networks as tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from rockglacier.report.tables import GROUND_NAMES

TRIAL_SCORES: Final = {
    "iou_rock_glacier": "IoU",
    "f1_rock_glacier": "F1",
    "miou": "mean IoU",
    "mean_precision": "mean precision",
    "mean_recall": "mean recall",
    "accuracy": "accuracy",
    "boundary_f": "edges F",
    "object_f1": "landforms F1",
}
COSTS: Final = {
    "images_per_s": "chips a second",
    "km2_per_s": "km² a second, blended",
    "parameters": "parameters",
    "gflops": "GFLOP a chip",
    "peak_memory_mb": "peak memory, MB",
    "device": "device",
    "precision": "precision",
    "batch": "chips a batch",
    "chip": "chip, pixels",
}
ERRORS: Final = {
    "pixels": "pixels",
    "false_alarm_rate": "false alarms, %",
    "miss_rate": "misses, %",
    "share_of_false_alarms": "of all false alarms, %",
    "share_of_misses": "of all misses, %",
}
REFERENCE: Final = "reference"
"""Where a table of networks has the reference among them."""

Evaluation = Mapping[str, Any]


def trials_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a network: every score as mean ± spread of its trials."""
    return pd.DataFrame(
        [
            {
                "network": row["network"],
                "trials": row["trials"],
                **{head: _spread(row.get(name)) for name, head in TRIAL_SCORES.items()},
            }
            for row in evaluation.get("table", [])
        ]
    )


def _spread(score: Mapping[str, float | None] | None) -> str:
    if not score or score.get("mean") is None:
        return ""
    spread = score.get("spread")
    return f"{score['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def pooled_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a network: its scores on every fold's test ground, each pixel once."""
    return pd.DataFrame(
        [
            {
                "network": name,
                "folds": len(row["folds"]),
                "IoU": row["iou_rock_glacier"],
                "F1": row["f1_rock_glacier"],
                "IoU of the folds": _spread(
                    {"mean": row["mean_of_folds"], "spread": row["spread_of_folds"]}
                ),
                "lowest fold": min(
                    (v for v in row["folds"].values() if v is not None), default=None
                ),
                "pixels": row["pixels"],
            }
            for name, row in evaluation.get("pooled", {}).items()
        ]
    )


def cost_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a network: how fast it is, and what it takes."""
    rows = [
        {"network": row["network"], **{head: row.get(name) for name, head in COSTS.items()}}
        for row in evaluation.get("table", [])
    ]
    return pd.DataFrame(rows).dropna(axis=1, how="all") if rows else pd.DataFrame()


def difference_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a pair of networks: the difference of their scores, with its interval."""
    rows = []
    for row in evaluation.get("paired", {}).get("differences", []):
        found = {"first": row["first"], "second": row["second"]}
        for name, head in (("iou_rock_glacier", "IoU"), ("f1_rock_glacier", "F1")):
            for part in ("value", "low", "high"):
                word = "difference" if part == "value" else part
                found[f"{head}, {word}"] = row[name][part]
        found["draws in which the first is not better"] = row["share_not_better"]
        rows.append(found)
    return pd.DataFrame(rows)


def size_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a size class: number and area by network, and in the reference."""
    objects = {
        name: row["objects"]
        for name, row in evaluation.get("networks", {}).items()
        if row.get("objects")
    }
    if not objects:
        return pd.DataFrame()
    first = next(iter(objects.values()))["size_classes"]
    rows = []
    for number, reference in enumerate(first):
        row = {"class, km²": reference["class_km2"]}
        for name, own in objects.items():
            row[f"{name}, n"] = own["size_classes"][number]["n_a"]
            row[f"{name}, km²"] = own["size_classes"][number]["area_a_km2"]
        rows.append(row | {"reference, n": reference["n_b"], "reference, km²":
                           reference["area_b_km2"]})  # fmt: skip
    table = pd.DataFrame(rows)
    whole = {"class, km²": "all"} | {c: table[c].sum() for c in table if c != "class, km²"}
    return pd.concat([table, pd.DataFrame([whole])], ignore_index=True)


def object_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row a network: landforms found, missed and made up."""
    rows = []
    for name, row in evaluation.get("networks", {}).items():
        own = row.get("objects")
        if own:
            paired, covered = own["iou_0.5"], own["cover_0.5"]
            rows.append(
                {
                    "network": name,
                    "found": own["n_a"],
                    "in the reference": own["n_b"],
                    "matched 1:1": paired["matched_b"],
                    "precision": paired["precision"],
                    "recall": paired["recall"],
                    "F1": paired["f1"],
                    "recall by cover": covered["recall"],
                    "precision by cover": covered["precision"],
                    "count ratio": own["count_ratio"],
                    "area too large by, %": None
                    if own["area_bias"] is None
                    else 100 * own["area_bias"],
                }
            )
    return pd.DataFrame(rows)


def everywhere_size_table(found: pd.DataFrame) -> pd.DataFrame:
    """Return a row a size class, on all ground: number and area by network, and in the reference.

    Parameters
    ----------
    found
        ``models/evaluation/everywhere.csv``.
    """
    whole = found[found["ground"] == "all"]
    networks = list(dict.fromkeys(whole["network"]))
    table = pd.DataFrame({"class, km²": list(dict.fromkeys(whole["class_km2"]))})
    for name in networks:
        own = whole[whole["network"] == name].set_index("class_km2").loc[table["class, km²"]]
        table[f"{name}, n"] = own["n"].to_numpy(int)
        table[f"{name}, km²"] = own["area_km2"].to_numpy(float)
        if name == REFERENCE:
            table[f"{name}, n found by all"] = own["n_of_all"].to_numpy(int)
    return table


def everywhere_table(found: pd.DataFrame, scores: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a ground and network: what it draws beside the reference, and its scores.

    Parameters
    ----------
    found
        ``models/evaluation/everywhere.csv``.
    scores
        ``models/evaluation/everywhere.json``.
    """
    whole = found[found["class_km2"] == "all"]
    known = whole[whole["network"] == REFERENCE].set_index("ground")["n"]
    rows = []
    for row in whole[whole["network"] != REFERENCE].to_dict("records"):
        paired = scores.get(row["network"], {}).get(row["ground"], {}).get("iou_0.5", {})
        rows.append(
            {
                "ground": GROUND_NAMES[row["ground"]],
                "network": row["network"],
                "found": row["n"],
                "found, km²": row["area_km2"],
                "drawn by all": row["n_of_all"],
                "in the reference": known[row["ground"]],
                "matched 1:1": paired.get("matched_b"),
                "precision": paired.get("precision"),
                "recall": paired.get("recall"),
                "F1": paired.get("f1"),
                "count ratio": row["count_ratio"],
            }
        )
    return pd.DataFrame(rows)


def joint_table(found: pd.DataFrame) -> pd.DataFrame:
    """Return how many outlines of the reference each set of networks found, the largest set first.

    Parameters
    ----------
    found
        ``label_id``, and 1 or 0 for each network.
    """
    names = [name for name in found if name != "label_id"]
    groups = found.groupby(names, sort=False).size()
    rows = [
        {
            "found by": " and ".join(n for n, has in zip(names, flags, strict=True) if has)
            or "none",
            "networks": int(sum(flags)),
            "outlines": int(count),
            "of the reference, %": 100 * count / len(found),
        }
        for flags, count in groups.items()
    ]
    table = pd.DataFrame(rows).sort_values(["networks", "outlines"], ascending=False)
    return table.reset_index(drop=True)


def error_table(networks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row a kind of ground and network: error rates, and their share of all errors."""
    rows = [
        {"network": name, "ground": part["ground"], **{h: part[k] for k, h in ERRORS.items()}}
        for name, row in networks.items()
        for part in row.get("errors_by_ground") or []
    ]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    numbers = [head for head in ERRORS.values() if head != "pixels"]
    return table.assign(**{name: 100 * table[name].astype("float64") for name in numbers})
