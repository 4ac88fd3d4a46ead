"""The charts of the report, tables in and figures out, and the picture of a basin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rockglacier.report import layers, maps
from rockglacier.report.style import COLOURS, REFERENCE, canvas, to_png
from rockglacier.study import Study

README_BYTES: Final = 600_000


def confusion_figure(matrices: Mapping[str, Sequence[Sequence[int]]]) -> Figure:
    """Draw confusion matrices, truth in rows, each cell with its count and its share of the row."""
    columns = min(len(matrices), 4)
    rows = -(-len(matrices) // columns)
    figure = canvas(width=2.9 * columns + 0.6, height=3.0 * rows + 0.3)
    for number, (title, matrix) in enumerate(matrices.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        counts = np.asarray(matrix, dtype=float)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(2, 2):
            axes.text(
                column, row, f"{counts[row, column]:,.0f}\n{100 * share[row, column]:.1f} %",
                ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.6 else "black",
            )  # fmt: skip
        axes.set_xticks([0, 1], ["background", "rock glacier"], fontsize=7)
        axes.set_yticks(
            [0, 1], ["background", "rock glacier"], fontsize=7, rotation=90, va="center"
        )
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("true", fontsize=8)
        axes.set_title(title, fontsize=8)
    return figure


def leak_figure(leak: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw what the random split claims beside what unseen ground says."""
    figure = canvas(height=3.4)
    axes = figure.add_subplot()
    places = np.arange(len(leak))
    series = (
        ("random_split_iou", "random 9:1 split (leaks)", "#b9b2a6"),
        ("test_iou_on_chips", "test ground, chips with landforms", "#f7a68a"),
        ("test_iou", "test ground, never trained on", COLOURS["test"]),
    )
    told = [one for one in series if any(row.get(one[0]) is not None for row in leak.values())]
    for number, (key, label, colour) in enumerate(told):
        shift = 0.27 * (number - (len(told) - 1) / 2)
        values = [row.get(key) for row in leak.values()]
        heights = [np.nan if value is None else float(value) for value in values]
        bars = axes.bar(places + shift, heights, 0.25, label=label, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(places, list(leak))
    axes.set_xlim(-1, max(len(leak), 2))
    axes.set_ylabel("IoU of rock glaciers")
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=3)
    return figure


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the losses of the trials of a network by epoch."""
    figure = canvas(height=3.2)
    axes = figure.add_subplot()
    for number, (name, history) in enumerate(histories.items()):
        colour = f"C{number}"
        axes.plot(history["epoch"], history["train_loss"], color=colour, linewidth=0.9, alpha=0.6)
        axes.plot(
            history["epoch"],
            history["validation_loss"],
            color=colour,
            marker=".",
            label=name.replace("-", " "),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # one epoch is one tick
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (pale: training)")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def curve_figure(curve: pd.DataFrame) -> Figure:
    """Draw precision, recall and F1 of outlines by the IoU that counts as a match."""
    figure = canvas(height=3.2)
    axes = figure.add_subplot()
    for name, style in (("precision", "--"), ("recall", ":"), ("F1", "-")):
        axes.plot(curve["IoU at least"], curve[name].astype(float), style, marker=".", label=name)
    axes.set(xlabel="IoU that counts as a match", ylim=(0, 1.02))
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def shift_figure(table: pd.DataFrame) -> Figure:
    """Draw what a reference scores against itself, by the metres that it is moved."""
    figure = canvas(height=2.8)
    axes = figure.add_subplot()
    axes.plot(table["shift, m"], table["mean"], marker=".", label="mean of four directions")
    axes.plot(table["shift, m"], table["min"], marker=".", linestyle=":", label="worst direction")
    axes.set(xlabel="moved by, m", ylabel="IoU with itself", ylim=(0, 1.02))
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def error_figure(table: pd.DataFrame) -> Figure:
    """Draw false alarms and misses by kind of ground, a colour a network."""
    grounds, networks = list(table["ground"].unique()), list(table["network"].unique())
    figure = canvas(height=1.2 + 0.28 * len(grounds))
    panels = figure.subplots(1, 2, sharey=True)
    thick = 0.8 / len(networks)
    for axes, name in zip(panels, ("false alarms, %", "misses, %"), strict=True):
        for number, network in enumerate(networks):
            own = table[table["network"] == network].set_index("ground")[name].reindex(grounds)
            places = np.arange(len(grounds)) + (number - (len(networks) - 1) / 2) * thick
            axes.barh(places, own.to_numpy(float), thick, label=network)
        axes.set_yticks(range(len(grounds)), grounds, fontsize=8)
        axes.set_xlabel(name)
    panels[0].invert_yaxis()
    _legend_below(figure)
    return figure


def size_figure(table: pd.DataFrame) -> Figure:
    """Draw number and area of landforms by size class."""
    figure = canvas()
    for number, unit in enumerate(("n", "km²"), start=1):
        axes = figure.add_subplot(1, 2, number)
        _stacked(axes, table, unit)
        axes.set_xticks(
            range(len(table)), [str(n).replace(">=", "≥ ") for n in table["class, km²"]]
        )
        axes.set_xlabel("area of a landform, km²")
        axes.set_ylabel("landforms" if unit == "n" else "area, km²")
    _legend_below(figure)
    return figure


def _legend_below(figure: Figure) -> None:
    """Explain what all panels show below them: no place inside is free of bars for sure."""
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
        fontsize=8, frameon=False,
    )  # fmt: skip


def _stacked(axes: Axes, table: pd.DataFrame, unit: str) -> None:
    """Draw found, and apart from it what lies on training ground; the reference as a line."""
    places = np.arange(len(table))
    base = np.zeros(len(table))
    for name, colour, hatch in (
        ("found", COLOURS["test"], ""), ("on training ground", COLOURS["train"], "//"),
    ):  # fmt: skip
        values = table[f"{name}, {unit}"].to_numpy(float)
        if name == "found" or values.any():
            axes.bar(places, values, bottom=base, color=colour, hatch=hatch, label=name,
                     edgecolor="white", linewidth=0)  # fmt: skip
            base += values
    if f"reference, {unit}" in table:
        axes.step(places, table[f"reference, {unit}"], where="mid", color=REFERENCE,
                  label="reference")  # fmt: skip


def elevation_figure(table: pd.DataFrame) -> Figure:
    """Draw landforms by median elevation and, where known, area by elevation."""
    units = [unit for unit in ("n", "km²") if f"found, {unit}" in table]
    figure = canvas()
    for number, unit in enumerate(units, start=1):
        axes = figure.add_subplot(1, len(units), number)
        left = np.zeros(len(table))
        for name, colour in (("found", COLOURS["test"]), ("on training ground", COLOURS["train"])):
            values = table[f"{name}, {unit}"].to_numpy(float)
            if name == "found" or values.any():
                axes.barh(table["from, m"] + 50, values, 90, left=left, color=colour, label=name)
                left += values
        axes.set_ylabel("median elevation, m" if unit == "n" else "elevation, m")
        axes.set_xlabel("landforms" if unit == "n" else "area, km²")
    _legend_below(figure)
    return figure


def aspect_figure(table: pd.DataFrame) -> Figure:
    """Draw two roses: landforms by mean aspect, and area by pixel aspect with the terrain's own."""
    figure = canvas(height=4.2)
    angles, width = np.radians(np.arange(8) * 45), np.radians(40)
    left = figure.add_subplot(1, 2, 1, projection="polar")
    base = np.zeros(8)
    for name, colour in (("found", COLOURS["test"]), ("on training ground", COLOURS["train"])):
        values = table[f"{name}, n"].to_numpy(float)
        if name == "found" or values.any():
            left.bar(angles, values, width, bottom=base, color=colour, label=name)
            base += values
    left.set_title("landforms by mean aspect", fontsize=9)
    right = figure.add_subplot(1, 2, 2, projection="polar")
    right.bar(angles, table["by pixel, km²"], width, color="#8c7aa9", label="candidates, km²")
    eligible, own = table["eligible terrain, km²"], float(table["by pixel, km²"].sum())
    if eligible.sum() > 0:
        expected = (eligible * own / eligible.sum()).to_numpy(float)
        closed = np.append(np.arange(8), 0)
        right.plot(angles[closed], expected[closed], color=REFERENCE, linewidth=1,
                   label="if terrain alone decided")  # fmt: skip
    right.set_title("area by pixel aspect, all ground", fontsize=9)
    for axes in (left, right):
        axes.set_theta_zero_location("N")  # type: ignore[attr-defined]
        axes.set_theta_direction(-1)  # type: ignore[attr-defined]
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=axes is left))
        axes.tick_params(axis="y", labelsize=7)
        axes.set_rlabel_position(22.5)  # type: ignore[attr-defined]
        axes.set_xticks(angles, ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return figure


def basin_picture(study: Study, path: Path) -> Path:
    """Write the picture of a basin: composite, probability and outlines, 1600 x 600 px PNG.

    Parameters
    ----------
    study
        With cube, prediction and inventory.
    path
        Where to; at most 600 kB, for which colours are given up.

    Raises
    ------
    NotFoundError
        A product is missing.
    """
    study.require(study.cube_path, stage="cube")
    study.require(study.prediction_path / "prediction.zarr", stage="predict")
    study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    figure = maps.picture_of(
        layers.frame_of(study.grid),
        layers.read_cube(study).composite,
        layers.read_percent(study),
        layers.read_inventory(study),
        layers.read_splits(study),
    )
    data = b""
    for colours in (256, 128, 64, 32, 16):
        data = to_png(figure, colours=colours)
        if len(data) <= README_BYTES:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
