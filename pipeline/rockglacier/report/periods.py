"""The section on the periods of a study: the same ground at other times."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from rockglacier.report import maps
from rockglacier.report.layers import Products, read_days
from rockglacier.report.parts import Picture, Section, Table, picture

SHOWN: Final = 6
"""Periods in the figure, the last ones."""


def periods(products: Products) -> Section | None:
    """Show what each period shows of the same ground; nothing of a study of one period."""
    study = products.study
    if len(study.periods) == 1:
        return None
    every = products.periods
    notes = (
        (
            f"Other sections are of {study.period.name}, unless they name a period: the features "
            "were fitted to it and networks learnt from it. The map above has the outlines of the "
            "other periods as layers."
        ),
        (
            "What one period has and another lacks is seldom a change of the ground: rock glaciers "
            "move metres a year, a pixel is "
            f"{study.grid.resolution:g} m wide, and snow, shadow and haze differ. A landform that "
            "is found again keeps its name."
        ),
    )
    shown = [one for one in every if one.percent is not None][-SHOWN:]
    pictures: tuple[Picture, ...] = ()
    if shown:
        drawn = picture(
            "periods",
            maps.periods_map(
                products.frame, [(one.study.period.name, one.percent, one.inventory)
                                 for one in shown if one.percent is not None],
            ),
            alt=f"Maps of the probability in {', '.join(one.study.period.name for one in shown)}, "
            "each with its outlines.",
            caption="Probability and outlines of each period"
            + (f", the last {SHOWN} of {len(every)}." if len(every) > SHOWN else "."),
        )  # fmt: skip
        pictures = (drawn,)
    missing = [p.name for p in study.periods if p not in [one.study.period for one in every]]
    return Section(
        key="periods",
        title="Periods",
        notes=notes,
        missing=f"There is no inventory of {', '.join(missing)}." if missing else "",
        pictures=pictures,
        tables=(
            Table(
                name="periods",
                caption="Periods; found: outside training ground; precision: of the reviewed ones",
                frame=pd.DataFrame([_told(one) for one in every]),
            ),
            Table(
                name="landforms-by-period",
                caption="Area of each landform by period, km²; empty where it was not found",
                frame=by_period(every),
            ),
        ),
    )


def _told(products: Products) -> dict[str, Any]:
    study, found = products.study, products.inventory
    span = study.period
    is_seen = (found["ground"] == "train").to_numpy(bool)
    counts = products.json(study.inventory_path / "reviews.json") or {}
    return {
        "period": span.name,
        "first day": str(span.start),
        "last day": str(span.end),
        "scenes": len(read_days(study)),
        "found": int((~is_seen).sum()),
        "found, km²": float(found["area_km2"][~is_seen].sum()),
        "on training ground": int(is_seen.sum()),
        "in every period": int((found["n_periods_found"] == len(study.periods)).sum()),
        "reviewed": counts.get("reviewed", 0),
        "added by people": counts.get("added", 0),
        "precision": np.nan if counts.get("precision") is None else counts["precision"],
    }


def by_period(every: list[Products]) -> pd.DataFrame:
    """Return a row a landform, with its area in each period, the largest first."""
    areas = {
        f"{one.study.period.name}, km²": one.inventory.set_index("candidate_id")["area_km2"]
        for one in every
    }
    table = pd.DataFrame(areas).astype(float)
    table.insert(0, "periods", table.notna().sum(axis=1))
    order = table.drop(columns="periods").max(axis=1).sort_values(ascending=False, kind="stable")
    return table.loc[order.index].rename_axis("candidate").reset_index()
