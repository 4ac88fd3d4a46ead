"""The maps of the report: thinned rasters and outlines in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import geopandas as gpd
import numpy as np
import shapely
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from rockglacier.report.layers import Frame, hillshade
from rockglacier.report.style import COLOURS, DPI, REFERENCE, WORDS, canvas

README_PIXELS: Final = (1600, 600)
HEIGHTS: Final = ListedColormap(colormaps["terrain"](np.linspace(0.25, 1, 256)))
"""Of elevation, without the blue that looks like water."""


def _map(frame: Frame, *, panels: int = 1) -> tuple[Figure, list[Axes]]:
    _, east, _, north = frame.extent_km
    width = 8.5 if panels == 1 else 11.0
    height = min(max(width / panels * north / east, 2.5), 11.0) + 1.2
    figure = canvas(width=width, height=height)
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for one in axes:
        one.set_aspect("equal")
        one.set_xlim(0, east)
        one.set_ylim(0, north)
        one.set_xlabel("km")
    axes[0].set_ylabel("km")
    return figure, axes


def draw_lines(axes: Axes, frame: Frame, outlines: gpd.GeoSeries, **style: Any) -> None:
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
            style: dict[str, Any] = {"color": COLOURS[ground], "linewidth": 1.6}
            if ground == "train":
                style |= {"linestyle": (0, (3, 1.5)), "linewidth": 1.3}
            draw_lines(axes, frame, own.geometry, color="black", linewidth=2.8, alpha=0.55)
            draw_lines(axes, frame, own.geometry, **style)
            handles.append(Line2D([], [], label=f"{WORDS[ground]} ({len(own)})", **style))
    return handles


def _legend(axes: Axes, handles: Sequence[Any]) -> None:
    if handles:
        axes.legend(
            handles=list(handles), loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2,
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
    return [Patch(facecolor="#9a9a9a", hatch="//", edgecolor="white", label="training ground")]


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
        np.ma.masked_invalid(elevation), cmap=HEIGHTS, extent=frame.extent_km, alpha=0.55,
        interpolation="nearest",
    )  # fmt: skip
    draw_lines(axes, frame, area, color="black", linewidth=1.2)
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


def periods_map(
    frame: Frame, periods: Sequence[tuple[str, NDArray[np.uint8], gpd.GeoDataFrame]]
) -> Figure:
    """Draw name, probability (y, x), and outlines of each period, three side by side."""
    _, east, _, north = frame.extent_km
    columns = min(len(periods), 3)
    rows = -(-len(periods) // columns)
    figure = canvas(width=3.6 * columns, height=rows * (3.4 * north / east + 0.4))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, percent, found) in zip(figure.axes, periods, strict=False):
        shown = np.ma.masked_equal(percent, 255)
        axes.imshow(shown, cmap="gray_r", vmin=0, vmax=150, extent=frame.extent_km)
        draw_lines(axes, frame, found.geometry, color=COLOURS["test"], linewidth=0.9)
        axes.set(title=f"{name}: {len(found)}", xlim=(0, east), ylim=(0, north), aspect="equal")
    return figure


def doubts_map(frame: Frame, layers: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Draw what the networks of an ensemble disagree on, a panel a layer (y, x), percent."""
    figure, panels = _map(frame, panels=len(layers))
    for axes, (name, values) in zip(panels, layers.items(), strict=True):
        shown = np.ma.masked_equal(values, 255)
        image = axes.imshow(
            shown, cmap="cividis", vmin=0, vmax=100 if name == "agreement" else None,
            extent=frame.extent_km, interpolation="nearest",
        )  # fmt: skip
        axes.set_facecolor("#bfbfbf")
        figure.colorbar(image, ax=axes, label=f"{name}, %", shrink=0.7)
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
        draw_lines(axes, frame, reference.geometry, color=REFERENCE, linewidth=0.8)
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
        draw_lines(axes, frame, reference.geometry, color=REFERENCE, linewidth=1.4)
        handles.append(Line2D([], [], color=REFERENCE, label=f"reference ({len(reference)})"))
    handles += _outlines(axes, frame, found)
    _legend(axes, handles)
    return figure


def picture_of(
    frame: Frame,
    composite: NDArray[np.uint8],
    percent: NDArray[np.uint8],
    found: gpd.GeoDataFrame,
    splits: gpd.GeoDataFrame | None,
) -> Figure:
    """Draw three panels of 1600 x 600 px in all: composite, probability, outlines."""
    width, height = (pixels / DPI for pixels in README_PIXELS)
    figure = canvas(width=width, height=height)
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
