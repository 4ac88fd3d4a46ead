"""Sections on how far the numbers may be trusted, and where they may not."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from rockglacier.evaluation.few import CALIBRATION as CHECKED
from rockglacier.evaluation.few import lines_of
from rockglacier.evaluation.figures import draw_reliability
from rockglacier.model.applicability import applicability_of
from rockglacier.report import figures, scored, tables
from rockglacier.report.layers import Products
from rockglacier.report.parts import Picture, Section, Table, picture

EDGES: Final = {"precision": "precision", "recall": "recall", "f": "F"}
CALIBRATION: Final = {
    "ece": "expected error (ECE)",
    "mce": "largest error (MCE)",
    "brier": "Brier score",
    "mean_probability": "mean probability",
    "prevalence": "share of rock glaciers",
}


AREAS: Final = {
    "total_km2": "all that was mapped",
    "mapped_km2": "mapped as rock glacier",
    "adjusted_km2": "corrected for errors",
    "low_km2": "corrected, 95 % from",
    "high_km2": "corrected, 95 % to",
    "pixel_low_km2": "from, if the errors of pixels had nothing to do with each other",
    "pixel_high_km2": "to, likewise",
}
CHECKS: Final = {
    "pixels": "pixels",
    "ece": "calibration error as mapped",
    "ece_after": "calibration error with a temperature chosen on chips",
    "iou": "IoU as mapped",
    "best_iou": "IoU with a threshold chosen on chips",
}
SHIFTS: Final = {"mean": "mean IoU", "min": "lowest IoU"}


def trust(products: Products) -> Section:
    """Say how like the ground is to that which a given model was trained on."""
    key, title = "trust", "Is the ground like that of training?"
    found = applicability_of(products.study)
    if found is None:
        why = (
            "The networks were trained here: scores on test ground tell it."
            if products.evaluation
            else "The model does not tell the ground that it was trained on."
        )
        return Section(key=key, title=title, missing=why)
    share = f"{100 * found['beyond']:.1f} %"
    beyond = f"{share} of the ground lies farther out than 99 % of what it was trained on."
    notes = (
        f"{found['verdict']}: {found['advice']}.",
        f"Model {found['model']}, trained on {', '.join(map(str, found['trained_on']))}.",
        f"Furthest from it: {', '.join(found['farthest'])}. {beyond}",
    )
    table = Table(
        name="shift",
        caption="Distance of each channel from the ground of training",
        frame=pd.DataFrame(found["channels"]).rename(columns=tables.words_of),
    )
    warning = "" if found["verdict"] == "alike" else f"Be careful: {found['advice']}."
    return Section(key=key, title=title, warning=warning, notes=notes, tables=(table,))


def checked(products: Products) -> Section | None:
    """Show what a few labelled chips of a mapped basin say of its map; None without them."""
    study = products.study
    found = products.json(study.prediction_path / CHECKED)
    if found is None:
        return None
    is_old = found["prediction"] != (products.json(study.prediction_record_path) or {})
    held = found["held_out"] or {}
    rows = [
        {"": words, "all chips": found[name], "chips left out in turn": held.get(name)}
        for name, words in CHECKS.items()
    ]
    return Section(
        key="checked",
        title="Checked on a few chips",
        warning="The map was made anew since: `rockglacier calibrate` checks it." if is_old else "",
        notes=tuple(lines_of(found)),
        tables=(
            Table(
                name="checked",
                caption="Labelled chips beside the map; left out, with values that the other chips "
                "chose",
                frame=pd.DataFrame(rows),
            ),
        ),
    )


def calibration(products: Products) -> Section:
    """Show whether a probability of 70 % means seven of ten."""
    key, title = "calibration", "Calibration"
    rows = (products.evaluation or {}).get("networks", {})
    known = {name: row["reliability"] for name, row in rows.items() if row.get("reliability")}
    if not known:
        return Section(key=key, title=title, missing="The reliability was not measured here.")
    drawn = picture(
        "reliability",
        draw_reliability(known),
        alt="Share of rock glaciers against the probability, a line a network, with the diagonal.",
        caption="Of the pixels with a probability, the share that is rock glacier on test ground; "
        "on the dashed line a probability is what it says. Below: pixels in each bin.",
    )
    table = Table(
        name="calibration",
        caption="Test ground; of the errors and the Brier score 0 is perfect",
        frame=pd.DataFrame(
            [{"network": n, **rows[n].get("calibration", {})} for n in known]
        ).rename(columns=CALIBRATION),
    )
    return Section(key=key, title=title, pictures=(drawn,), tables=(table,))


def boundaries(products: Products) -> Section:
    """Show how well the edges lie, and what the reference itself can reach."""
    key, title = "boundaries", "Edges, and how well the reference lies"
    rows = (products.evaluation or {}).get("networks", {})
    known = {name: row for name, row in rows.items() if row.get("boundary_f") is not None}
    shifts = _shifts(products)
    if not known and not shifts:
        return Section(key=key, title=title, missing="Edges were not scored here.")
    notes: list[str] = []
    found: list[Table] = []
    pictures: list[Picture] = []
    if known:
        tolerance = next(iter(known.values())).get("boundary_tolerance_px")
        notes.append(
            f"The share of boundary pixels with one of the other map within {tolerance:g} pixels."
        )
        frame = pd.DataFrame(
            [
                {
                    "network": name,
                    **{head: row[f"boundary_{part}"] for part, head in EDGES.items()},
                }
                for name, row in known.items()
            ]
        )
        found.append(Table(name="boundaries", caption="Edges on test ground", frame=frame))
    if shifts:
        frame = pd.DataFrame(shifts)
        pictures.append(
            picture(
                "registration",
                figures.shift_figure(frame),
                alt="IoU of the reference with itself, moved by one to five pixels.",
                caption="What the reference scores against itself when it is moved: if it lies off "
                "by so much, no network can score better.",
            )
        )
        said = "IoU of the reference with itself, moved, over four directions"
        found.append(Table(name="registration", caption=said, frame=frame.rename(columns=SHIFTS)))
    return Section(
        key=key, title=title, notes=tuple(notes), pictures=tuple(pictures), tables=tuple(found)
    )


def _shifts(products: Products) -> list[dict[str, Any]]:
    receipt = products.json(products.study.receipts_path / "label.json") or {}
    by_shift = receipt.get("facts", {}).get("iou_by_shift_px") or {}
    pixel = products.study.grid.resolution
    return [
        {"shift, pixels": int(step), "shift, m": int(step) * pixel, **values}
        for step, values in sorted(by_shift.items(), key=lambda one: int(one[0]))
    ]


def errors(products: Products) -> Section:
    """Show on which ground the networks err."""
    key, title = "errors", "Errors by kind of ground"
    rows = (products.evaluation or {}).get("networks", {})
    frame = scored.error_table(rows)
    if frame.empty:
        return Section(key=key, title=title, missing="Errors by ground were not counted here.")
    note = (
        "False alarms are the share of the background there that is called a rock glacier, misses "
        "the share of the rock glaciers there that is not. Kinds of ground overlap."
    )
    said = "Errors on test ground by the kind of ground"
    table = Table(name="errors-by-ground", caption=said, frame=frame)
    drawn = picture(
        "errors",
        figures.error_figure(frame),
        alt="Bars of false alarms and of misses by kind of ground, a colour a network.",
        caption="The same as bars.",
    )
    return Section(key=key, title=title, notes=(note,), pictures=(drawn,), tables=(table,))


def leak(products: Products) -> Section:
    """Show how much the random split overstates."""
    key, title = "leak", "The leak of the random split"
    if not (products.evaluation and products.evaluation.get("leak")):
        return Section(key=key, title=title, missing="No network was trained on the random split.")
    found = products.evaluation["leak"]
    table = Table(
        name="leak",
        caption="What the random split claims, and what unseen ground says",
        frame=tables.leak_table(products.evaluation),
    )
    warning = (
        "The random 9:1 split leaks: its chips overlap, so that a network is scored on pixels that "
        "it learnt from. Its numbers are for comparison with other studies, not to be believed."
    )
    unseen = [
        name for name, row in found.items() if row.get("leak") is not None and row["leak"] <= 0
    ]
    note = (
        f"No leak shows for {', '.join(unseen)}: a network that has learnt little has no pixels to "
        "remember."
    )
    drawn = picture(
        "leak",
        figures.leak_figure(found),
        alt="Bars of the IoU that the random split claims, beside that of unseen ground.",
        caption="IoU of the rock glacier class of the same networks.",
    )
    return Section(
        key=key,
        title=title,
        notes=(note,) if unseen else (),
        warning=warning,
        pictures=(drawn,),
        tables=(table,),
    )


def corrected(products: Products) -> Section:
    """Show the area, corrected for the errors on test ground."""
    key, title = "corrected", "Area, corrected for errors"
    area = products.json(products.study.inventory_path / "adjusted-area.json")
    if area is None or area.get("adjusted_km2") is None:
        return Section(
            key=key, title=title, missing="It takes a map and test ground that can judge it."
        )
    span = (
        f" ({area['low_km2']:.2f} to {area['high_km2']:.2f} km², 95 %, {area['blocks']} blocks of "
        "test ground drawn anew)"
        if area.get("low_km2") is not None
        else ""
    )
    notes = (
        (
            f"{area['mapped_km2']:.2f} km² of {area['total_km2']:.2f} km² are mapped as rock "
            f"glacier. Corrected for the errors on test ground it is "
            f"{area['adjusted_km2']:.2f} km²{span}."
        ),
        (
            "After Olofsson et al. 2014. It holds as far as the map errs everywhere as on test "
            "ground; on training ground it errs less."
        ),
    )
    warning = "So few blocks say little: the true interval is wider." if area["few_blocks"] else ""
    rows = [(words, area[name]) for name, words in AREAS.items() if area.get(name) is not None]
    frame = pd.DataFrame(rows, columns=["area", "km²"])
    table = Table(name="corrected-area", caption="Mapped and corrected area", frame=frame)
    return Section(key=key, title=title, notes=notes, warning=warning, tables=(table,))
