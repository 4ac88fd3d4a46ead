"""Sections on what the networks learnt from: features, split, chips, and how the losses fell."""

from __future__ import annotations

import pandas as pd

from rockglacier.report import figures, maps, plates
from rockglacier.report.examples import Windows, frame_at, largest_found, taught, window_around
from rockglacier.report.layers import Products
from rockglacier.report.parts import Picture, Section, Table, picture
from rockglacier.storage import readable
from rockglacier.study import Study

CHIPS = 6


def features(products: Products) -> Section:
    """Show the channels that a network sees, with outlines."""
    key, title = "features", "Features"
    examples = largest_found(products, 1)
    outlines, what = products.inventory, "the largest outline outside training ground"
    if not examples and products.reference is not None and len(products.reference):
        outlines, what = products.reference, "an outline of the reference"
        shape = outlines.geometry.iloc[:1].to_crs(products.frame.epsg).iloc[0]
        window = window_around(products, shape)
    elif examples:
        window = examples[0].window
    else:
        return Section(key=key, title=title, missing="No outline to show them around.")
    seen = Windows(products).features(window)
    if seen is None:
        return Section(key=key, title=title, missing="The features were not kept.")
    frame = frame_at(products, window)
    drawn = picture(
        "features",
        plates.features_figure(*seen, frame, plates.inside(outlines, frame).geometry),
        alt=f"{len(seen[0])} channels of the same ground, in grey, with outlines.",
        caption=f"What a network sees of the ground around {what}: every channel, stretched from "
        "its 2nd to its 98th percentile.",
    )
    return Section(
        key=key, title=title, notes=_on_fusion(products), pictures=(drawn,),
        tables=_loadings(products),
    )  # fmt: skip


def _on_fusion(products: Products) -> tuple[str, ...]:
    fusion = products.json(products.study.fusion_path) or {}
    if not fusion:
        return ()
    return (f"Feature set {fusion['set']}, {len(fusion['channels'])} channels.",)


def _loadings(products: Products) -> tuple[Table, ...]:
    fusion = products.json(products.study.fusion_path) or {}
    loadings, kept = fusion.get("loadings") or {}, fusion.get("explained_variance") or {}
    if not loadings:
        return ()
    frame = pd.DataFrame(
        [
            {"component": name, "variance kept": kept.get(name), **weights}
            for name, weights in loadings.items()
        ]
    )
    said = "Loadings of the principal components on standardised layers"
    return (Table(name="loadings", caption=said, frame=frame),)


def split(products: Products) -> Section:
    """Show the split of the ground."""
    key, title = "split", "Split of the ground"
    if products.splits is None:
        return Section(
            key=key, title=title, missing="Nothing was trained here: all ground is unseen."
        )
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube to draw it on.")
    drawn = picture(
        "split",
        maps.split_map(
            products.frame, products.cube.elevation, products.splits, products.reference
        ),
        alt="Map of training, validation, test and guard ground, with the reference.",
        caption="Networks learn on training ground, validation ground chooses checkpoint and "
        "threshold, test ground is scored once, nothing uses the guard band.",
    )
    return Section(key=key, title=title, pictures=(drawn,))


def chips(products: Products) -> Section:
    """Show training chips and their masks."""
    key, title = "chips", "Training chips and masks"
    windows = Windows(products)
    shown = []
    for example in taught(products, CHIPS):
        mask = windows.labels(example.window)
        if mask is not None:
            shown.append((example.title, windows.colours(example.window), mask))
    if not shown:
        return Section(key=key, title=title, missing="No labels on training ground to show.")
    drawn = picture(
        "chips",
        plates.chips_figure(shown),
        alt=f"{len(shown)} chips of training ground above their masks.",
        caption="Chips of training ground around landforms of all sizes, with the area of each, "
        "and what the network was taught there.",
    )
    return Section(key=key, title=title, pictures=(drawn,))


def curves(products: Products) -> Section:
    """Show how the losses fell, a figure a network."""
    key, title = "curves", "Loss curves"
    histories = histories_of(products.study)
    if not histories:
        return Section(key=key, title=title, missing="Nothing was trained here.")
    pictures: list[Picture] = []
    for number, (name, trials) in enumerate(histories.items()):
        said = f"Losses of {name}, {len(trials)} trial{'s' * (len(trials) > 1)}"
        pictures.append(
            picture(
                f"history-{number}-{name.partition(' ')[0]}",
                figures.history_figure(trials),
                alt=f"{said}: pale lines on training chips, dark ones on validation ground.",
                caption=f"{said}, by epoch: pale on training chips, dark on validation ground.",
            )
        )
    return Section(key=key, title=title, pictures=tuple(pictures))


def histories_of(study: Study) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the histories of the trials by network."""
    wanted = {"epoch", "train_loss", "validation_loss"}
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for path in sorted(study.models_path.glob("*/trial-*/history.csv")):
        history = pd.read_csv(readable(path))
        if wanted <= set(history):
            network = path.parent.parent.name.replace("-random", " on the random split, leaking")
            found.setdefault(network, {})[path.parent.name] = history
    return found
