"""Sections on how good the networks are, on ground that none of them has seen."""

from __future__ import annotations

from typing import Final

from rockglacier.evaluation.outputs import read_outputs
from rockglacier.grid import Window
from rockglacier.report import figures, plates, scored, tables
from rockglacier.report.examples import Windows, areas, frame_at
from rockglacier.report.layers import Products, step_for, thinned
from rockglacier.report.parts import Picture, Section, Table, picture
from rockglacier.storage import open_array

AGREED: Final = 0.9
"""Mean agreement of the networks from which they all draw an outline: edges always differ."""

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
    more = {
        "folds": (
            "All folds pooled, each pixel once; mean ± standard deviation of the folds",
            scored.pooled_table(evaluation),
        ),
        "trials": ("All trials: mean ± standard deviation", scored.trials_table(evaluation)),
        "speed": (
            "What the networks cost where they were scored",
            scored.cost_table(evaluation),
        ),
        "differences": (
            "Differences of the networks, paired over blocks of test ground; intervals of 95 %",
            scored.difference_table(evaluation),
        ),
    }
    for name, (said, frame) in more.items():
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
        percent, known = (thinned(one, step=step, window=window) for one in (array, truth))
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
            "The count ratio is the number found over that in the reference: not an accuracy. "
            "Only numbers of test ground are of ground that no network has seen."
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
    if agreed := _agreed(products):
        notes.append(agreed)
    found += _everywhere(products)
    return Section(key=key, title=title, notes=tuple(notes), tables=tuple(found))


def _everywhere(products: Products) -> list[Table]:
    """Return what every network draws on all ground, where the evaluation mapped it."""
    folder = products.study.models_path / "evaluation"
    every = products.csv(folder / "everywhere.csv")
    if every is None:
        return []
    said = (
        "Number and area of outlines on all ground, training ground included, by size class, per "
        "network and in the reference; found by all: matched one to one by every network"
    )
    return [
        Table(name="landforms-everywhere", caption=said, frame=scored.everywhere_size_table(every)),
        Table(
            name="landform-scores-everywhere",
            caption="The same networks by ground; drawn by all: half of the outline or more lies "
            "in outlines of every other network",
            frame=scored.everywhere_table(every, products.json(folder / "everywhere.json") or {}),
        ),
    ]


def _agreed(products: Products) -> str:
    """Say how many outlines all networks of an ensemble draw, or nothing of a single network."""
    inventory = products.inventory
    if "agreement" not in inventory or inventory["agreement"].isna().all():
        return ""
    is_agreed = (inventory["agreement"] >= AGREED).to_numpy(bool)
    is_seen = (inventory["ground"] == "train").to_numpy(bool)
    return (
        f"All networks of the ensemble agree on {int((is_agreed & ~is_seen).sum())} of "
        f"{int((~is_seen).sum())} outlines off training ground and on "
        f"{int((is_agreed & is_seen).sum())} of {int(is_seen.sum())} on it (mean agreement of at "
        f"least {AGREED:.0%})."
    )
