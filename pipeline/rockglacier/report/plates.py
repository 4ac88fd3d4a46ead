"""Plates of small pictures: features, colours, chips and what networks make of the same ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rockglacier.report.layers import Frame
from rockglacier.report.maps import draw_lines
from rockglacier.report.style import COLOURS, REFERENCE, canvas

VERDICTS: Final[dict[str, str]] = {
    "right": "#2a7f62",
    "false alarm": "#e0562f",
    "missed": "#3465a4",
    "background": "#efece6",
    "not judged": "#bdbdbd",
}
"""Colour of each verdict on a pixel, in the order of their numbers."""

LEGEND_IN: Final = 5.2
"""Inches that the longest legend of a plate takes."""

MASK: Final = ListedColormap(["#efece6", "#2a7f62", "#bdbdbd"])
MASK_WORDS: Final = ("background", "rock glacier", "counts in no loss")


def verdicts(
    percent: NDArray[np.uint8], truth: NDArray[np.uint8], *, threshold: float
) -> NDArray[np.uint8]:
    """Return the number of the verdict on each pixel (y, x), as in :data:`VERDICTS`.

    Parameters
    ----------
    percent
        What a network says, 255 where it says nothing.
    truth
        0, 1, or 255 where nothing is known, which is not judged.
    threshold
        Probability (0 to 1) from which a pixel is a rock glacier.
    """
    is_called = percent >= round(100 * threshold)
    found = np.full(percent.shape, 3, np.uint8)
    found[is_called & (truth == 1)] = 0
    found[is_called & (truth == 0)] = 1
    found[~is_called & (truth == 1)] = 2
    found[(percent == 255) | (truth == 255)] = 4
    return found


def show_verdicts(axes: Axes, found: NDArray[np.uint8], **how: Any) -> None:
    """Draw verdicts (y, x) in their colours."""
    colours = ListedColormap(list(VERDICTS.values()))
    axes.imshow(found, cmap=colours, vmin=-0.5, vmax=4.5, interpolation="nearest", **how)


def verdict_legend(figure: Figure) -> None:
    """Explain the colours of verdicts below a figure."""
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in VERDICTS.items()],
        loc="outside lower center", ncols=5, frameon=False, fontsize=8,
    )  # fmt: skip


def plate(rows: int, columns: int, *, edge: float = 2.1) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of square panels without ticks, (row, column), wide enough for a legend."""
    figure = canvas(width=max(edge * columns + 0.3, LEGEND_IN), height=edge * rows + 0.7)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    return figure, panels


def pairs_figure(
    pairs: Sequence[tuple[str, Frame, NDArray[np.uint8] | None, NDArray[np.uint8] | None]],
    found: gpd.GeoDataFrame,
) -> Figure:
    """Draw true colour above false colour, a column a landform, with the outlines in the latter."""
    kinds = [at for at in (2, 3) if any(pair[at] is not None for pair in pairs)]
    figure, panels = plate(len(kinds), len(pairs))
    for column, pair in enumerate(pairs):
        frame = pair[1]
        for row, at in enumerate(kinds):
            axes, colours = panels[row, column], pair[at]
            if colours is not None:
                axes.imshow(colours, extent=frame.extent_km, interpolation="nearest")
            if row == len(kinds) - 1:
                draw_lines(axes, frame, found.geometry, color=COLOURS["test"], linewidth=1.2)
            _limit(axes, frame)
            if column == 0:
                axes.set_ylabel("true colour" if at == 2 else "false colour", fontsize=8)
        panels[0, column].set_title(pair[0], fontsize=7)
    return figure


def features_figure(
    names: Sequence[str], values: NDArray[np.float32], frame: Frame, outlines: gpd.GeoSeries
) -> Figure:
    """Draw every channel of a window (channel, y, x) with outlines."""
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, panels = plate(rows, columns)
    for axes, name, layer in zip(panels.flat, names, values, strict=False):
        known = layer[np.isfinite(layer)]
        low, high = np.percentile(known, [2, 98]) if known.size else (0.0, 1.0)
        axes.imshow(layer, cmap="gray", vmin=low, vmax=max(high, low + 1e-6),
                    extent=frame.extent_km, interpolation="nearest")  # fmt: skip
        draw_lines(axes, frame, outlines, color=COLOURS["test"], linewidth=1.2)
        _limit(axes, frame)
        axes.set_title(name, fontsize=8)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    return figure


def chips_figure(
    chips: Sequence[tuple[str, NDArray[np.uint8] | None, NDArray[np.uint8]]],
) -> Figure:
    """Draw training chips above their masks, a column a chip."""
    figure, panels = plate(2, len(chips))
    for column, (title, colours, mask) in enumerate(chips):
        if colours is not None:
            panels[0, column].imshow(colours, interpolation="nearest")
        shown = np.where(mask == 255, 2, mask)
        panels[1, column].imshow(shown, cmap=MASK, vmin=-0.5, vmax=2.5, interpolation="nearest")
        panels[0, column].set_title(title, fontsize=8)
    panels[0, 0].set_ylabel("chip, false colour", fontsize=8)
    panels[1, 0].set_ylabel("mask", fontsize=8)
    figure.legend(
        handles=[Patch(color=MASK(n), label=word) for n, word in enumerate(MASK_WORDS)],
        loc="outside lower center", ncols=3, frameon=False, fontsize=8,
    )  # fmt: skip
    return figure


def output_figure(
    percent: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    frame: Frame,
    reference: gpd.GeoSeries | None,
    *,
    threshold: float,
) -> Figure:
    """Draw what one network says of test ground: probability, and where it is right or wrong."""
    _, east, _, north = frame.extent_km
    height = float(np.clip(4.4 * north / east, 2.0, 8.0))
    width = float(np.clip(height * east / north, 1.6, 4.4))
    figure = canvas(width=2 * width + 1.9, height=height + 0.9)
    left, right = figure.subplots(1, 2)
    image = left.imshow(
        np.ma.masked_equal(percent, 255), cmap="magma", vmin=0, vmax=100, extent=frame.extent_km,
        interpolation="nearest",
    )  # fmt: skip
    left.set_facecolor("#bdbdbd")
    figure.colorbar(image, ax=left, shrink=0.8, label="probability, %")
    if reference is not None:
        draw_lines(left, frame, reference, color="white", linewidth=0.9)
        left.legend(handles=[Line2D([], [], color="0.6", label="reference")], loc="upper left",
                    fontsize=7, framealpha=0.9)  # fmt: skip
    show_verdicts(right, verdicts(percent, truth, threshold=threshold), extent=frame.extent_km)
    for axes in (left, right):
        _limit(axes, frame)
        axes.set_xlabel("km", fontsize=8)
        axes.tick_params(labelsize=7)
    verdict_legend(figure)
    return figure


def areas_figure(
    rows: Sequence[
        tuple[str, Frame, NDArray[np.uint8] | None, NDArray[np.uint8], Mapping[str, Any]]
    ],
    networks: Sequence[str],
    reference: gpd.GeoSeries | None,
) -> Figure:
    """Draw the same areas side by side: false colour with the reference, then each network.

    Parameters
    ----------
    rows
        Title, frame, false colour, truth, and per network its percent and threshold.
    networks
        Columns, in order.
    reference
        Outlines.
    """
    figure, panels = plate(len(rows), 1 + len(networks), edge=1.9)
    for (title, frame, colours, truth, outputs), line in zip(rows, panels, strict=True):
        if colours is not None:
            line[0].imshow(colours, extent=frame.extent_km, interpolation="nearest")
        line[0].set_ylabel(title, fontsize=7)
        for axes, name in zip(line[1:], networks, strict=True):
            if name in outputs:
                percent, threshold = outputs[name]
                found = verdicts(percent, truth, threshold=threshold)
            else:
                found = np.full(truth.shape, 4, np.uint8)
            show_verdicts(axes, found, extent=frame.extent_km)
        for axes in line:
            if reference is not None:
                draw_lines(axes, frame, reference, color=REFERENCE, linewidth=0.7)
            _limit(axes, frame)
    panels[0, 0].set_title("false colour", fontsize=8)
    for axes, name in zip(panels[0, 1:], networks, strict=True):
        axes.set_title(name, fontsize=8)
    verdict_legend(figure)
    return figure


def _limit(axes: Axes, frame: Frame) -> None:
    _, east, _, north = frame.extent_km
    axes.set_xlim(0, east)
    axes.set_ylim(0, north)
    axes.set_aspect("equal")


def inside(outlines: gpd.GeoDataFrame, frame: Frame) -> gpd.GeoDataFrame:
    """Return the outlines that a frame shows some of."""
    shapes = outlines.geometry.to_crs(frame.epsg)
    return outlines[shapely.intersects(shapes.to_numpy(), shapely.box(*frame.bounds))]
