"""The section on features: what bands, fusion and terrain are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from rockglacier.evaluation.worth import read_ablation
from rockglacier.report.layers import Products
from rockglacier.report.parts import Section, Table

COLUMNS: Final = {
    "set": "feature set",
    "channels": "channels",
    "trials": "trials",
    "iou_rock_glacier": "IoU, mean of trials",
    "iou_rock_glacier_spread": "spread",
    "f1_rock_glacier": "F1",
    "boundary_f": "boundary F",
    "object_f1": "F1 of landforms",
    "difference": "IoU minus that of the base",
    "low": "95 % from",
    "high": "to",
}


def ablation(products: Products) -> Section:
    """Show the same network on other features."""
    key, title = "ablation", "What the features are worth"
    found = read_ablation(products.study)
    if found is None:
        missing = "One feature set was trained; evaluate --ablation all compares it with others."
        return Section(key=key, title=title, missing=missing)
    frame = pd.DataFrame(found["rows"])[list(COLUMNS)].rename(columns=COLUMNS)
    said = (
        f"{found['network']} on test ground; same ground, chips, seeds and at most "
        f"{found['epochs']} epochs of {found['chips_per_epoch']} chips; base: {found['base']}"
    )
    return Section(
        key=key,
        title=title,
        notes=tuple(_notes(found)),
        warning="" if found["is_current"] else "The network was trained anew since this was made.",
        tables=(Table(name="ablation", caption=said, frame=frame),),
    )


def _notes(found: Mapping[str, Any]) -> list[str]:
    blocks = next((row["blocks"] for row in found["rows"] if row["blocks"]), None)
    notes = []
    if blocks:
        notes.append(
            f"Differences are of the best trials; intervals draw {blocks} blocks of test ground "
            "anew, the same for both. One that holds 0 says nothing for either."
        )
    if not all(row["same_chips"] for row in found["rows"]):
        notes.append("Filters of the training chips kept other chips for some feature sets.")
    return notes
