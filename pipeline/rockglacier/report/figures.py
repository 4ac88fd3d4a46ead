"""The figures of a run: what was seen, what was predicted, what was found, on which ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import zarr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rockglacier.study import Study

MAX_PIXELS = 1200  # longest edge of a map in the page
SCALE, OFFSET = 1e-4, -0.1
FALSE_COLOUR = ("B11", "B08", "B04")
NATURAL_COLOUR = ("B04", "B03", "B02")
GROUND_COLOURS = {
    "train": "#9e9e9e",
    "guard": "#cfd8dc",
    "validation": "#ffb300",
    "test": "#e53935",
    "unseen": "#e53935",
}
SIZE_EDGES_KM2 = (0.0, 0.1, 0.5, 1.0, 3.0, np.inf)
SIZE_NAMES = ("< 0.1", "0.1-0.5", "0.5-1", "1-3", ">= 3")
ELEVATION_BAND_M = 100.0


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure


def _step(shape: tuple[int, int]) -> int:
    return max(1, -(-max(shape) // MAX_PIXELS))


def _extent(study: Study) -> tuple[float, float, float, float]:
    west, south, east, north = study.grid.bounds
    return west, east, south, north


def composite_rgb(study: Study) -> NDArray[np.float64]:
    """Return a false-colour composite, (y, x, 3) 0..1, thinned; natural colour without SWIR."""
    cube = zarr.open_group(study.cube_path, mode="r")
    bands: list[str] = list(study.config.cube.bands)
    chosen: tuple[str, ...] = FALSE_COLOUR if set(FALSE_COLOUR) <= set(bands) else NATURAL_COLOUR
    chosen = tuple(band if band in bands else bands[0] for band in chosen)
    step = _step(study.grid.shape)
    stored: Any = cube["reflectance"]
    layers = [stored[0, bands.index(band), ::step, ::step].astype("float64") for band in chosen]
    stack = np.stack([np.where(layer == 0, np.nan, layer * SCALE + OFFSET) for layer in layers], -1)
    top = float(np.nanpercentile(stack, 98)) if np.isfinite(stack).any() else 1.0
    return np.nan_to_num(np.clip(stack / max(top, 1e-6), 0, 1), nan=1.0)


def probability(study: Study) -> NDArray[np.float64]:
    """Return the probability of a rock glacier in percent, thinned; NaN where there is no data."""
    stored: Any = zarr.open_array(study.prediction_path / "prediction.zarr/probability", mode="r")
    step = _step(study.grid.shape)
    percent = stored[::step, ::step].astype("float64")
    return np.where(percent == 255, np.nan, percent)


def _outlines(axes: Axes, study: Study, table: gpd.GeoDataFrame) -> None:
    """Draw outlines, coloured by the ground on which they lie."""
    projected = table.to_crs(study.grid.epsg)
    for ground, rows in projected.groupby("split"):
        colour = GROUND_COLOURS.get(str(ground), "#e53935")
        rows.boundary.plot(ax=axes, color=colour, linewidth=0.9, label=str(ground))
    if len(projected):
        axes.legend(loc="lower right", fontsize=7, title="ground", title_fontsize=7)


def _map_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_map(axes: Axes, study: Study, image: NDArray[Any], title: str, **options: Any) -> Any:
    drawn = axes.imshow(image, extent=_extent(study), interpolation="nearest", **options)
    _map_axes(axes, title)
    return drawn


def overview(study: Study, inventory: gpd.GeoDataFrame) -> Figure:
    """Draw composite, probability and outlines side by side."""
    figure = _figure(16, 5.2)
    axes: Any = figure.subplots(1, 3)
    image = composite_rgb(study)
    _draw_map(axes[0], study, image, f"{study.config.name}: false-colour composite")
    drawn = _draw_map(
        axes[1], study, probability(study), "probability of a rock glacier, %",
        cmap="magma", vmin=0, vmax=100,
    )  # fmt: skip
    figure.colorbar(drawn, ax=axes[1], shrink=0.7)
    _draw_map(axes[2], study, image, "outlines (candidates)")
    _outlines(axes[2], study, inventory)
    west, east, south, north = _extent(study)
    axes[2].set_xlim(west, east)
    axes[2].set_ylim(south, north)
    return figure


def looks(study: Study) -> Figure:
    """Draw how many clear looks each pixel has, and the split of the ground if there is one."""
    cube = zarr.open_group(study.cube_path, mode="r")
    step = _step(study.grid.shape)
    stored: Any = cube["n_clear"]
    has_split = study.splits_path.is_file()
    figure = _figure(11 if has_split else 6, 5)
    axes: Any = np.atleast_1d(figure.subplots(1, 2 if has_split else 1))
    drawn = _draw_map(axes[0], study, stored[0, ::step, ::step], "clear looks", cmap="viridis")
    figure.colorbar(drawn, ax=axes[0], shrink=0.7)
    if has_split:
        splits = gpd.read_parquet(study.splits_path)
        colours = [GROUND_COLOURS[name] for name in splits["split"]]
        splits.plot(ax=axes[1], color=colours, edgecolor="white", linewidth=0.5)
        for name in sorted(set(splits["split"])):
            axes[1].plot([], [], color=GROUND_COLOURS[name], linewidth=6, label=name)
        axes[1].legend(fontsize=7, loc="upper right")
        _map_axes(axes[1], "split of the ground")
    return figure


def against_reference(study: Study, inventory: gpd.GeoDataFrame) -> Figure:
    """Draw the reference and what was found, on the composite."""
    figure = _figure(9, 7)
    axes = figure.add_subplot()
    _draw_map(axes, study, composite_rgb(study), "reference (cyan) and candidates")
    labels = gpd.read_parquet(study.label_table_path)
    used = labels[labels["used"]].to_crs(study.grid.epsg)
    used.boundary.plot(ax=axes, color="cyan", linewidth=1.0)
    _outlines(axes, study, inventory)
    return figure


def confusion(evaluation: dict[str, Any]) -> Figure:
    """Draw the confusion matrix of every network on the test ground, shares of the truth."""
    networks = evaluation["networks"]
    figure = _figure(3.4 * len(networks), 3.4)
    for axes, (name, scores) in zip(
        np.atleast_1d(figure.subplots(1, len(networks))), networks.items(), strict=True
    ):
        counts = np.asarray(scores["confusion"], float)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, col), value in np.ndenumerate(share):
            colour = "white" if value > 0.5 else "black"
            text = f"{value:.1%}\n{counts[row, col]:,.0f} px"
            axes.text(col, row, text, ha="center", va="center", color=colour, fontsize=8)
        axes.set_xticks([0, 1], ["background", "rock glacier"], fontsize=7)
        axes.set_yticks([0, 1], ["background", "rock glacier"], fontsize=7, rotation=90)
        axes.set_xlabel("prediction", fontsize=7)
        axes.set_ylabel("truth", fontsize=7)
        axes.set_title(name, fontsize=9)
    return figure


def size_counts(inventory: gpd.GeoDataFrame) -> dict[str, int]:
    """Count outlines by size class, km²."""
    counts, _ = np.histogram(inventory["area_km2"].to_numpy(float), bins=list(SIZE_EDGES_KM2))
    return dict(zip(SIZE_NAMES, (int(n) for n in counts), strict=True))


def distributions(inventory: gpd.GeoDataFrame) -> Figure:
    """Draw sizes, elevations (area by mean elevation) and the aspect rose of the landforms."""
    figure = _figure(13, 3.8)
    sizes, elevations = figure.add_subplot(1, 3, 1), figure.add_subplot(1, 3, 2)
    rose: Any = figure.add_subplot(1, 3, 3, projection="polar")
    counts = size_counts(inventory)
    sizes.bar(list(counts), list(counts.values()), color="#5c6bc0")
    sizes.set(xlabel="area, km²", ylabel="candidates")
    heights = inventory["elevation_mean_m"].to_numpy(float)
    areas = inventory["area_km2"].to_numpy(float)
    if len(heights):
        low = np.floor(np.nanmin(heights) / ELEVATION_BAND_M) * ELEVATION_BAND_M
        bins = np.arange(low, np.nanmax(heights) + ELEVATION_BAND_M, ELEVATION_BAND_M)
        elevations.hist(heights, bins=bins.tolist(), weights=areas, color="#8d6e63")
    elevations.set(xlabel="mean elevation, m", ylabel="area, km²")
    sectors = inventory["aspect_sector"].to_numpy(float)
    angles = np.radians(np.arange(8) * 45.0)
    values = [areas[sectors == sector].sum() for sector in range(1, 9)]
    rose.set_theta_zero_location("N")
    rose.set_theta_direction(-1)
    rose.bar(angles, values, width=np.radians(40), color="#26a69a")
    rose.set_title("area by mean aspect, km²", fontsize=9)
    rose.set_xticks(angles, ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    return figure


def basin_picture(study: Study, path: Path) -> None:
    """Write the three-panel picture of a study as a PNG."""
    inventory = gpd.read_parquet(study.inventory_path / "inventory.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    overview(study, inventory).savefig(path, dpi=75)
