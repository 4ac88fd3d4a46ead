"""The trials of every network in one line: mean, spread and best, and what the network costs."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

SCORES = (
    "iou_rock_glacier",
    "f1_rock_glacier",
    "miou",
    "mean_recall",
    "mean_precision",
    "accuracy",
    "boundary_f",
    "object_f1",
)
COSTS = {
    "images_per_s": "img/s",
    "km2_per_s": "km2/s",
    "parameters": "parameters",
    "gflops": "GFLOP a chip",
    "peak_memory_mb": "peak MB",
}
Row = Mapping[str, Any]


def summarize(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row a network, in the order in which they come.

    Parameters
    ----------
    rows
        A row a trial: ``network``, scores on the test ground (None or absent where there is none),
        ``validation_iou`` and ``speed``.

    Returns
    -------
    list of dict
        ``network``, ``members`` (how many networks an ensemble has, else None), ``trials``; for
        each score ``mean``, ``spread`` (the standard deviation of the trials, None of one) and
        ``best``; the costs, of the best trial.

    Notes
    -----
    The best trial is the one that did best on validation ground: the largest score on the test
    ground would be chosen by it.
    """
    names = list(dict.fromkeys(row["network"] for row in rows))
    return [_summary([row for row in rows if row["network"] == name]) for name in names]


def _summary(trials: Sequence[Row]) -> dict[str, Any]:
    best = max(trials, key=lambda row: float(row["validation_iou"] or 0.0))
    speed = best.get("speed") or {}
    return {
        "network": best["network"],
        "members": len(best.get("members") or ()) or None,
        "trials": len(trials),
        "best_trial": best["trial"],
        **{name: _spread([row.get(name) for row in trials], best.get(name)) for name in SCORES},
        **{name: speed.get(name) for name in (*COSTS, "batch", "chip", "device", "precision")},
    }


def _spread(values: Sequence[float | None], best: float | None) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": round(statistics.fmean(known), 6) if known else None,
        "spread": round(statistics.stdev(known), 6) if len(known) > 1 else None,
        "best": best,
    }


def as_csv(summary: Sequence[Row]) -> str:
    """Return the summary as CSV: three columns a score."""
    parts = ("mean", "spread", "best")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    facts = (*COSTS, "batch", "chip", "device", "precision")
    writer.writerow(
        ["network", "trials", *(f"{name}_{part}" for name in SCORES for part in parts), *facts]
    )
    for row in summary:
        numbers = [row[name][part] for name in SCORES for part in parts]
        writer.writerow([row["network"], row["trials"], *numbers, *(row[name] for name in facts)])
    return buffer.getvalue()


def as_text(summary: Sequence[Row]) -> str:
    """Return the summary as a Markdown table, with where its speeds were measured."""
    heads = ["network", "trials", *SCORES, *COSTS.values()]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in summary:
        scores = [_shown(row[name]) for name in SCORES]
        costs = [_number(row[name]) for name in COSTS]
        lines.append(_line([title_of(row), str(row["trials"]), *scores, *costs]))
    places = {
        f"{row['device']}, {row['precision']}, batches of {row['batch']} chips of {row['chip']} px"
        for row in summary
        if row.get("device")
    }
    notes = "mean ± standard deviation of the trials (that of the best on validation ground)"
    return "\n".join([*lines, "", f"{notes}. {'; '.join(sorted(places))}."]) + "\n"


def title_of(row: Row) -> str:
    """Return the name of a network for people, or of how many an ensemble is."""
    members = row.get("members")
    return f"{row['network']} of {members}" if members else str(row["network"])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(score: Mapping[str, float | None]) -> str:
    if score["mean"] is None:
        return "-"
    spread = "" if score["spread"] is None else f" ± {score['spread']:.3f}"
    best = "" if score["best"] is None else f" ({score['best']:.3f})"
    return f"{score['mean']:.3f}{spread}{best}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
