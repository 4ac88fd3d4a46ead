"""What an ablation found, for those who only show it: no torch is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rockglacier.storage import read_json
from rockglacier.study import Study

ABLATION: Final = "ablation.json"
"""In the folder of the models; ``ablation.csv`` beside it has its rows."""


def read_ablation(study: Study) -> dict[str, Any] | None:
    """Return what :func:`rockglacier.evaluation.ablation.ablate` found, or None if nothing.

    ``is_current`` says whether the study's network is still the one that the others were compared
    with.
    """
    path = study.models_path / ABLATION
    if not path.is_file():
        return None
    found: dict[str, Any] = read_json(path)
    now = {name: _inputs(study.models_path / name / "model.json") for name in found["of"]}
    return {**found, "is_current": now == found["of"]}


def _inputs(path: Path) -> str | None:
    return str(read_json(path)["inputs"]) if path.is_file() else None


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """Return the table of an ablation as lines for a terminal."""
    lines = [f"{found['network']} by features{'':<8}{'IoU':>16}{'minus base':>30}"]
    for row in found["rows"]:
        iou, spread = row["iou_rock_glacier"], row["iou_rock_glacier_spread"]
        shown = "-" if iou is None else f"{iou:.3f}"
        shown += "" if spread is None else f" ± {spread:.3f}"
        label = f"{row['set']} ({row['channels']} channels)"
        if row["is_base"]:
            change = "base"
        elif row["difference"] is None or row["low"] is None:
            change = "-"
        else:
            change = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append(f"{label:<28}{shown:>16}{change:>30}")
    return lines
