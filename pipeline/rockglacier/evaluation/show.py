"""The table of an evaluation as a person sees it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from rockglacier.model.summary import title_of

SCORES: Final = {
    "iou_rock_glacier": "IoU of rock glaciers",
    "f1_rock_glacier": "F1 of rock glaciers",
    "miou": "mIoU",
    "mean_recall": "mPA (mean recall)",
    "mean_precision": "mean precision",
    "accuracy": "accuracy",
    "boundary_f": "boundary F (20 m)",
    "object_f1": "F1 of landforms",
}
COSTS: Final = {
    "images_per_s": "chips/s",
    "km2_per_s": "km2/s, blended",
    "parameters": "parameters",
    "gflops": "GFLOP a chip",
    "peak_memory_mb": "memory at most, MB",
}


def network_table(summary: Sequence[Mapping[str, Any]]) -> Table:
    """Return the summary of :func:`rockglacier.model.summary.summarize`, a column a network."""
    table = Table(box=None, pad_edge=False, title_justify="left", caption=caption(summary))
    table.caption_justify = "left"
    table.add_column("")
    for row in summary:
        trials = "trial" if row["trials"] == 1 else "trials"
        about = "" if row.get("members") else f" ({row['trials']} {trials})"
        table.add_column(f"{title_of(row)}{about}", justify="right")
    for key, label in SCORES.items():
        table.add_row(label, *(_score(row.get(key)) for row in summary))
    for key, label in COSTS.items():
        table.add_row(label, *(_number(row.get(key)) for row in summary), style="dim")
    return table


def caption(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return what the numbers of the table are, and where its speeds were measured."""
    places = sorted(
        {
            f"batches of {row['batch']} chips of {row['chip']} px on {row['device']}, "
            f"{row['precision']}"
            for row in summary
            if row.get("device")
        }
    )
    what = "test ground; mean ± spread of the trials (the best on validation ground)"
    return "; ".join([what, *places])


def score_table(result: Mapping[str, Any]) -> Table:
    """Return the scores of :func:`rockglacier.evaluation.score.score_map`, a row an area."""
    paired = next(iter(result["paired"]["networks"].values()))["iou_rock_glacier"]
    note = f"threshold {result['threshold']:g}; protocol {result['protocol']}"
    if paired["low"] is not None:
        note += (
            f"; IoU of all {paired['low']:.3f} to {paired['high']:.3f} "
            f"(95 %, {result['paired']['blocks']} blocks drawn anew)"
        )
    table = Table(box=None, pad_edge=False, caption=note, caption_justify="left")
    table.add_column(f"{result['map']} on {result['benchmark']} {result['version']}", no_wrap=True)
    columns = {
        "iou_rock_glacier": "IoU",
        "f1_rock_glacier": "F1",
        "precision_rock_glacier": "precision",
        "recall_rock_glacier": "recall",
        "boundary_f": "boundary F",
        "object_f1": "landforms F1",
    }
    for label in columns.values():
        table.add_column(label, justify="right")
    parts = dict(result["areas"])
    if len(parts) > 1:
        parts["all"] = result["all"]
    for area, part in parts.items():
        values = (part[name] for name in columns)
        table.add_row(area, *("-" if v is None else f"{v:.3f}" for v in values))
    return table


def difference_lines(paired: Mapping[str, Any]) -> list[str]:
    """Return a line for every two networks: by how much the IoU differs, with its interval."""
    lines = []
    for row in paired["differences"]:
        iou = row["iou_rock_glacier"]
        if iou["value"] is None or iou["low"] is None:
            continue
        lines.append(
            f"{row['first']} - {row['second']}: IoU {iou['value']:+.3f} "
            f"({iou['low']:+.3f} to {iou['high']:+.3f}, 95 %, paired over {paired['blocks']} "
            "blocks)"
        )
    if paired["few_blocks"] and lines:
        lines.append("so few blocks say little: the true intervals are wider")
    return lines


def _score(score: Mapping[str, float | None] | None) -> str:
    if score is None or score["mean"] is None:
        return "-"
    spread = "" if score["spread"] is None else f" ± {score['spread']:.3f}"
    best = "" if score["best"] is None or not spread else f" ({score['best']:.3f})"
    return f"{score['mean']:.3f}{spread}{best}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
