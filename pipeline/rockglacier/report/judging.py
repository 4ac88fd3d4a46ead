"""Sections on how good the networks are, on ground that none of them has seen."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from rockglacier.evaluation.figures import draw_reliability
from rockglacier.evaluation.outputs import read_outputs
from rockglacier.grid import Window
from rockglacier.report import figures, plates, scored, tables
from rockglacier.report.examples import Windows, areas, frame_at
from rockglacier.report.layers import Products, step_for, thinned
from rockglacier.report.parts import Picture, Section, Table, picture
from rockglacier.storage import open_array

EDGES: Final = {"precision": "precision", "recall": "recall", "f": "F"}
CALIBRATION: Final = {
    "ece": "expected error (ECE)",
    "mce": "largest error (MCE)",
    "brier": "Brier score",
    "mean_probability": "mean probability",
    "prevalence": "share of rock glaciers",
}
UNSCORED: Final = "No network was scored here: a given model's scores are in its card."


def scores(products: Products) -> Section:
    """Show the scores of the networks, each with the ground that it is from."""
    key, title = "scores", "Scores of the networks"
    evaluation = products.evaluation
    if evaluation is None:
        return Section(key=key, title=title, missing=UNSCORED)
    matrices = {
        f"{name}: {ground}": row["confusion"]
        for ground, rows in (
            (evaluation["split"], evaluation.get("networks", {})),
            (tables.LEAKING, evaluation.get("random", {})),
        )
        for name, row in rows.items()
        if row.get("confusion")
    }
    pictures: tuple[Picture, ...] = ()
    if matrices:
        pictures = (
            picture(
                "confusion",
                figures.confusion_figure(matrices),
                alt="A confusion matrix for every network and ground, as in the tables.",
                caption="Confusion matrices, pixels; shares are of the true class.",
            ),
        )
    found = [
        Table(
            name="metrics",
            caption="IoU, F1, precision and recall are of the rock glacier class; best trial of "
            "each network on validation ground",
            frame=tables.metrics_table(evaluation),
        )
    ]
    for name, said, frame in (
        ("trials", "All trials: mean ± standard deviation", scored.trials_table(evaluation)),
        ("speed", "What the networks cost where they were scored", scored.cost_table(evaluation)),
        ("differences", ("Differences of the networks, paired over blocks of test ground, with "
         "their interval of 95 %"), scored.difference_table(evaluation)),
    ):  # fmt: skip
        if len(frame):
            found.append(Table(name=name, caption=said, frame=frame))
    note = (
        f"Ground: {evaluation['split']}, each pixel once, at its natural share of landforms. "
        "Threshold and temperature come from validation ground."
    )
    few = evaluation.get("paired", {}).get("few_blocks")
    warning = (
        "So few blocks of test ground say little: the true intervals are wider." if few else ""
    )
    return Section(
        key=key, title=title, notes=(note,), warning=warning, pictures=pictures, tables=tuple(found)
    )


def outputs(products: Products) -> Section:
    """Show what each network says of the test ground."""
    key, title = "outputs", "Outputs of the networks"
    evaluation, step = products.evaluation, step_for(products.study.grid.shape)
    labels = products.study.labels_path / "labels"
    if evaluation is None or not labels.exists():
        return Section(key=key, title=title, missing=UNSCORED)
    truth = open_array(labels)
    pictures: list[Picture] = []
    for number, (name, row) in enumerate(evaluation.get("networks", {}).items()):
        array = read_outputs(products.study, name, row["trial"])
        window = None if array is None else _tested(products, step)
        if array is None or window is None:
            continue
        frame = frame_at(products, window)
        place = (
            slice(window.y // step, -(-(window.y + window.height) // step)),
            slice(window.x // step, -(-(window.x + window.width) // step)),
        )
        percent, known = (thinned(one, step=step)[place] for one in (array, truth))
        outlines = products.reference
        shapes = None if outlines is None else plates.inside(outlines, frame).geometry
        drawn = plates.output_figure(percent, known, frame, shapes, threshold=row["threshold"])
        said = f"{name} on the test ground"
        pictures.append(
            picture(
                f"output-{number}-{name.replace(':', '-')}",
                drawn,
                alt=f"Two maps of {said}: probability, and pixels that are right, false alarms or "
                "missed.",
                caption=f"{said}: probability, and what its threshold of {row['threshold']:.2f} "
                "makes right and wrong. Other ground is grey: it was not scored.",
            )
        )
    if not pictures:
        return Section(
            key=key, title=title,
            missing="The maps of the test ground were not kept: run `evaluate` again.",
        )  # fmt: skip
    return Section(key=key, title=title, pictures=tuple(pictures))


def _tested(products: Products, step: int) -> Window | None:
    """Return the rectangle around all test ground, its corner a multiple of ``step``."""
    splits = products.splits
    if splits is None or not (splits["split"] == "test").any():
        return None
    cells = splits[splits["split"] == "test"]
    top, left = (int(cells[name].min()) // step * step for name in ("row0", "col0"))
    bottom = int((cells["row0"] + cells["height"]).max())
    right = int((cells["col0"] + cells["width"]).max())
    return Window(y=top, x=left, height=bottom - top, width=right - left)


def compared(products: Products) -> Section:
    """Show the same areas as every network maps them."""
    key, title = "areas", "The same ground by every network"
    windows = Windows(products)
    examples = areas(products)
    rows = []
    for example in examples:
        truth = windows.labels(example.window)
        if truth is not None:
            frame = frame_at(products, example.window)
            colours, found = windows.colours(example.window), windows.outputs(example.window)
            rows.append((example.title, frame, colours, truth, found))
    names = list(dict.fromkeys(name for row in rows for name in row[-1]))
    if not names:
        return Section(
            key=key, title=title,
            missing="There are no maps of test ground by several networks to show.",
        )  # fmt: skip
    reference = products.reference
    shapes = None if reference is None else reference.geometry
    given = products.study.config.report.areas
    how = (
        "The areas of `report.areas`."
        if given
        else "Test ground around landforms of the reference, from large to small, with the area of "
        "each."
    )
    drawn = picture(
        "areas",
        plates.areas_figure(rows, names, shapes),
        alt=f"{len(rows)} areas in false colour, and what {', '.join(names)} make right and wrong.",
        caption=f"{how} The reference in black. Ground that is not test ground is grey.",
    )
    return Section(key=key, title=title, pictures=(drawn,))


def landforms(products: Products) -> Section:
    """Show what the networks find landform by landform, by size."""
    key, title = "landforms", "Landforms by network and size"
    evaluation = products.evaluation
    frame = scored.size_table(evaluation or {})
    if frame.empty:
        return Section(key=key, title=title, missing="No landforms were scored by network.")
    found = [
        Table(
            name="landforms",
            caption="Number and area of outlines on test ground by size class, per network and in "
            "the reference",
            frame=frame,
        ),
        Table(
            name="landform-scores",
            caption="Landforms on test ground: matched one to one at IoU ≥ 0.5, and by cover of "
            "half an outline",
            frame=scored.object_table(evaluation or {}),
        ),
    ]
    notes = [
        (
            "count_ratio is the number found over the number in the reference: not an accuracy. "
            "All numbers are of test ground, which no network has seen."
        )
    ]
    by = products.csv(products.study.models_path / "evaluation" / "found.csv")
    if by is not None and by.shape[1] > 2:
        joint = scored.joint_table(by)
        said = "Outlines of the reference on test ground by the networks that found them"
        found.append(Table(name="joint", caption=said, frame=joint))
        every = int(by.drop(columns="label_id").all(axis=1).sum())
        notes.append(
            f"{every} of {len(by)} outlines of the reference were found by all "
            f"{by.shape[1] - 1} networks."
        )
    return Section(key=key, title=title, notes=tuple(notes), tables=tuple(found))


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
                {"network": name, **{part: row[f"boundary_{part}"] for part in
                                     ("precision", "recall", "f")}}
                for name, row in known.items()
            ]
        )  # fmt: skip
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
        found.append(Table(name="registration", caption=said, frame=frame))
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
    frame = pd.DataFrame(
        [{"quantity": k, "value": v} for k, v in area.items() if isinstance(v, int | float)
         and not isinstance(v, bool)]
    )  # fmt: skip
    table = Table(name="corrected-area", caption="Mapped and corrected area", frame=frame)
    return Section(key=key, title=title, notes=notes, warning=warning, tables=(table,))
