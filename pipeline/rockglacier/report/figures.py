"""The figures of the report: arrays and tables in, matplotlib figures out; no global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from rockglacier.report.layers import (
    Frame,
    frame_of,
    read_cube,
    read_inventory,
    read_percent,
    read_splits,
)
from rockglacier.study import Study

DPI: Final = 110
COLOURS: Final[dict[str, str]] = {
    "test": "#ff6a3d",
    "unseen": "#ff6a3d",
    "guard": "#b9b2a6",
    "validation": "#f4c542",
    "train": "#4f8fd9",
}
"""Of outlines, by the ground that they lie on."""

WORDS: Final[dict[str, str]] = {
    "test": "found on test ground, never trained on",
    "unseen": "found; nothing was trained here",
    "guard": "on the guard band, unused",
    "validation": "on validation ground, which chose the threshold",
    "train": "on training ground: seen before, not a finding",
}
REFERENCE: Final = "#111111"
README_PIXELS: Final = (1600, 600)
README_BYTES: Final = 600_000


def hillshade(elevation: NDArray[np.floating], *, pixel_m: float) -> NDArray[np.float64]:
    """Return light from the north-west on a terrain (y, x), 0 to 1; NaN stays NaN."""
    if min(elevation.shape) < 2:
        return np.full(elevation.shape, 0.5)
    down, right = np.gradient(elevation.astype(np.float64), pixel_m)
    slope = np.arctan(np.hypot(down, right))
    aspect = np.arctan2(-right, down)  # of steepest descent, clockwise from north
    light, height = np.radians(315), np.radians(45)
    shade = np.sin(height) * np.cos(slope) + np.cos(height) * np.sin(slope) * np.cos(light - aspect)
    return np.clip(shade, 0, 1)


def _map(frame: Frame, *, panels: int = 1) -> tuple[Figure, list[Axes]]:
    _, east, _, north = frame.extent_km
    width = 8.5 if panels == 1 else 11.0
    height = min(max(width / panels * north / east, 2.5), 11.0) + 1.2
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for one in axes:
        one.set_aspect("equal")
        one.set_xlim(0, east)
        one.set_ylim(0, north)
        one.set_xlabel("km")
    axes[0].set_ylabel("km")
    return figure, axes


def _chart(*, width: float = 8.0, height: float = 3.8) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _lines(axes: Axes, frame: Frame, outlines: gpd.GeoSeries, **style: Any) -> None:
    """Draw the rings of polygons; the data limits stay."""
    shapes = outlines.to_crs(frame.epsg).to_numpy()
    rings = shapely.get_rings(shapes)
    segments = [frame.to_km(shapely.get_coordinates(ring)) for ring in rings]
    axes.add_collection(LineCollection(segments, **style), autolim=False)


def _outlines(axes: Axes, frame: Frame, found: gpd.GeoDataFrame) -> list[Line2D]:
    """Draw outlines in the colour of their ground, training ground below; return the legend."""
    handles = []
    for ground in ("train", "guard", "validation", "test", "unseen"):
        own = found[found["ground"] == ground]
        if len(own):
            style: dict[str, Any] = {"color": COLOURS[ground], "linewidth": 1.1}
            if ground == "train":
                style |= {"linestyle": (0, (3, 2)), "linewidth": 0.9}
            _lines(axes, frame, own.geometry, **style)
            handles.append(Line2D([], [], label=f"{WORDS[ground]} ({len(own)})", **style))
    return handles


def _legend(axes: Axes, handles: Sequence[Any]) -> None:
    if handles:
        axes.legend(
            handles=list(handles), loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=2,
            fontsize=8, frameon=False,
        )  # fmt: skip


def _cells(splits: gpd.GeoDataFrame, frame: Frame, name: str) -> list[Rectangle]:
    own = splits[splits["split"] == name].geometry
    boxes = [frame.to_km(np.array(box.bounds).reshape(2, 2)) for box in own]
    return [Rectangle(low, *(high - low)) for low, high in boxes]


def _veil(axes: Axes, frame: Frame, splits: gpd.GeoDataFrame | None) -> list[Patch]:
    """Veil the ground that was trained on, so that nobody takes it for a result."""
    if splits is None:
        return []
    cells = _cells(splits, frame, "train")
    if not cells:
        return []
    style: dict[str, Any] = {"facecolor": (1, 1, 1, 0.45), "edgecolor": (1, 1, 1, 0.9)}
    axes.add_collection(PatchCollection(cells, hatch="//", linewidth=0, **style), autolim=False)
    return [Patch(facecolor="#dddddd", hatch="//", edgecolor="white", label="training ground")]


def _shade(axes: Axes, frame: Frame, elevation: NDArray[np.floating], *, alpha: float = 1) -> None:
    axes.imshow(
        hillshade(elevation, pixel_m=frame.pixel_m), cmap="gray", vmin=-0.2, vmax=1.1,
        extent=frame.extent_km, interpolation="nearest", alpha=alpha,
    )  # fmt: skip


def basin_map(frame: Frame, elevation: NDArray[np.floating], area: gpd.GeoSeries) -> Figure:
    """Draw elevation over a hillshade, with the outline of the area."""
    figure, (axes,) = _map(frame)
    _shade(axes, frame, elevation)
    image = axes.imshow(
        np.ma.masked_invalid(elevation), cmap="terrain", extent=frame.extent_km, alpha=0.55,
        interpolation="nearest",
    )  # fmt: skip
    _lines(axes, frame, area, color="black", linewidth=1.2)
    figure.colorbar(image, ax=axes, label="elevation, m", shrink=0.7)
    return figure


def looks_map(
    frame: Frame,
    n_clear: NDArray[np.integer],
    n_snow: NDArray[np.integer],
    n_shadow: NDArray[np.integer],
) -> Figure:
    """Draw how many looks each pixel has, and where only snow or shadow was to be seen."""
    figure, (left, right) = _map(frame, panels=2)
    most = max(int(n_clear.max(initial=0)), 1)
    image = left.imshow(
        n_clear, cmap="viridis", vmin=0, vmax=most, extent=frame.extent_km, interpolation="nearest"
    )
    figure.colorbar(image, ax=left, label="looks used", shrink=0.7)
    kinds = np.zeros(n_clear.shape, np.uint8)
    kinds[n_shadow > 0] = 1
    kinds[n_snow > 0] = 2
    kinds[(n_clear == 0) & (n_shadow == 0)] = 3
    colours = {"clear": "#cfc8b8", "shadow only": "#5b4a8a", "snow": "#7fc4ea", "none": "#c0392b"}
    right.imshow(
        kinds, cmap=ListedColormap(list(colours.values())), vmin=-0.5, vmax=3.5,
        extent=frame.extent_km, interpolation="nearest",
    )  # fmt: skip
    shares = [100 * float((kinds == value).mean()) for value in range(4)]
    _legend(
        right,
        [
            Patch(color=colour, label=f"{name}: {share:.1f} %")
            for (name, colour), share in zip(colours.items(), shares, strict=True)
        ],
    )
    return figure


def composite_map(frame: Frame, colours: NDArray[np.uint8], found: gpd.GeoDataFrame) -> Figure:
    """Draw the false-colour composite (y, x, 3) with the outlines, by the ground they lie on."""
    figure, (axes,) = _map(frame)
    axes.imshow(colours, extent=frame.extent_km, interpolation="nearest")
    _legend(axes, _outlines(axes, frame, found))
    return figure


def probability_map(
    frame: Frame, percent: NDArray[np.uint8], splits: gpd.GeoDataFrame | None
) -> Figure:
    """Draw the probability, with a veil over the ground that was trained on."""
    figure, (axes,) = _map(frame)
    image = axes.imshow(
        np.ma.masked_equal(percent, 255), cmap="magma", vmin=0, vmax=100, extent=frame.extent_km,
        interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("#bfbfbf")
    figure.colorbar(image, ax=axes, label="probability of a rock glacier, %", shrink=0.7)
    _legend(axes, _veil(axes, frame, splits))
    return figure


def split_map(
    frame: Frame,
    elevation: NDArray[np.floating],
    splits: gpd.GeoDataFrame,
    reference: gpd.GeoDataFrame | None,
) -> Figure:
    """Draw which ground trains, chooses, tests, and is kept between."""
    figure, (axes,) = _map(frame)
    _shade(axes, frame, elevation)
    handles: list[Any] = []
    for name in ("train", "validation", "test", "guard"):
        cells = _cells(splits, frame, name)
        if cells:
            area = sum(cell.get_width() * cell.get_height() for cell in cells)
            axes.add_collection(
                PatchCollection(cells, facecolor=COLOURS[name], alpha=0.45, linewidth=0),
                autolim=False,
            )
            handles.append(Patch(color=COLOURS[name], alpha=0.6, label=f"{name}: {area:.1f} km²"))
    if reference is not None and len(reference):
        _lines(axes, frame, reference.geometry, color=REFERENCE, linewidth=0.8)
        handles.append(Line2D([], [], color=REFERENCE, label=f"reference ({len(reference)})"))
    _legend(axes, handles)
    return figure


def comparison_map(
    frame: Frame,
    elevation: NDArray[np.floating],
    found: gpd.GeoDataFrame,
    reference: gpd.GeoDataFrame | None,
    splits: gpd.GeoDataFrame | None,
) -> Figure:
    """Draw the reference against what was found, with a veil over the ground trained on."""
    figure, (axes,) = _map(frame)
    _shade(axes, frame, elevation, alpha=0.7)
    handles: list[Any] = [*_veil(axes, frame, splits)]
    if reference is not None and len(reference):
        _lines(axes, frame, reference.geometry, color=REFERENCE, linewidth=1.4)
        handles.append(Line2D([], [], color=REFERENCE, label=f"reference ({len(reference)})"))
    handles += _outlines(axes, frame, found)
    _legend(axes, handles)
    return figure


def confusion_figure(matrices: Mapping[str, Sequence[Sequence[int]]]) -> Figure:
    """Draw confusion matrices, truth in rows, each cell with its count and its share of the row."""
    columns = min(len(matrices), 4)
    rows = -(-len(matrices) // columns)
    figure = _chart(width=2.9 * columns + 0.6, height=3.0 * rows + 0.3)
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
    figure = _chart(height=3.4)
    axes = figure.add_subplot()
    places = np.arange(len(leak))
    series = (
        ("random_split_iou", "random 9:1 split (leaks)", "#b9b2a6"),
        ("test_iou_on_chips", "test ground, chips with landforms", "#f7a68a"),
        ("test_iou", "test ground, never trained on", COLOURS["test"]),
    )
    for shift, (key, label, colour) in zip((-0.27, 0, 0.27), series, strict=True):
        values = [row.get(key) for row in leak.values()]
        heights = [np.nan if value is None else float(value) for value in values]
        bars = axes.bar(places + shift, heights, 0.25, label=label, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(places, list(leak))
    axes.set_ylabel("IoU of rock glaciers")
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=3)
    return figure


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the losses of each training by epoch."""
    figure = _chart(height=3.4)
    axes = figure.add_subplot()
    for number, (name, history) in enumerate(histories.items()):
        colour = f"C{number}"
        axes.plot(history["epoch"], history["train_loss"], color=colour, linewidth=0.9, alpha=0.6)
        axes.plot(history["epoch"], history["validation_loss"], color=colour, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (pale: training)")
    axes.legend(fontsize=8, frameon=False)
    return figure


def size_figure(table: pd.DataFrame) -> Figure:
    """Draw number and area of landforms by size class."""
    figure = _chart()
    for number, unit in enumerate(("n", "km²"), start=1):
        axes = figure.add_subplot(1, 2, number)
        _stacked(axes, table, unit)
        axes.set_xticks(range(len(table)), list(table["class, km²"]))
        axes.set_xlabel("area of a landform, km²")
        axes.set_ylabel("landforms" if unit == "n" else "area, km²")
    return figure


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
    axes.legend(fontsize=8, frameon=False)


def elevation_figure(table: pd.DataFrame) -> Figure:
    """Draw landforms by median elevation and, where known, area by elevation."""
    units = [unit for unit in ("n", "km²") if f"found, {unit}" in table]
    figure = _chart()
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
        axes.legend(fontsize=8, frameon=False)
    return figure


def aspect_figure(table: pd.DataFrame) -> Figure:
    """Draw two roses: landforms by mean aspect, and area by pixel aspect with the terrain's own."""
    figure = _chart(height=4.2)
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
        axes.set_xticks(angles, ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return figure


def to_png(figure: Figure, *, colours: int = 256) -> bytes:
    """Return a figure as PNG with a palette: the same bytes for the same figure, and small."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    picture = Image.open(buffer).convert("RGB").quantize(colors=colours)
    small = io.BytesIO()
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def picture_of(
    frame: Frame,
    composite: NDArray[np.uint8],
    percent: NDArray[np.uint8],
    found: gpd.GeoDataFrame,
    splits: gpd.GeoDataFrame | None,
) -> Figure:
    """Draw three panels of 1600 x 600 px in all: composite, probability, outlines."""
    width, height = (pixels / DPI for pixels in README_PIXELS)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for axes, title in zip(
        panels, ("false colour", "probability of a rock glacier", "candidates"), strict=True
    ):
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0].imshow(composite, extent=frame.extent_km)
    panels[1].imshow(
        np.ma.masked_equal(percent, 255), cmap="magma", vmin=0, vmax=100, extent=frame.extent_km
    )
    panels[1].set_facecolor("#bfbfbf")
    _veil(panels[1], frame, splits)
    panels[2].imshow(composite // 2 + 96, extent=frame.extent_km)
    handles = _outlines(panels[2], frame, found)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
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
    figure = picture_of(
        frame_of(study.grid),
        read_cube(study).composite,
        read_percent(study),
        read_inventory(study),
        read_splits(study),
    )
    data = b""
    for colours in (256, 128, 64, 32, 16):
        data = to_png(figure, colours=colours)
        if len(data) <= README_BYTES:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
