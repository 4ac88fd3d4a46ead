"""The reliability of networks as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rockglacier.storage import uploaded

FILES = ("reliability.png", "reliability.svg")


def draw_reliability(networks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Return a figure: the share of landforms against the probability, and pixels in each bin.

    Parameters
    ----------
    networks
        Table of :class:`rockglacier.model.reliability.Reliability` by name.
    """
    figure = Figure(figsize=(5, 5.6), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    for name, table in networks.items():
        known = [row for row in table if row["pixels"]]
        upper.plot(
            [row["mean_probability"] for row in known],
            [row["share_of_landforms"] for row in known],
            marker=".",
            label=name,
        )
        middles = [(row["from"] + row["to"]) / 2 for row in table]
        lower.step(middles, [max(row["pixels"], 0.5) for row in table], where="mid")
    upper.set(ylabel="share of rock glaciers", ylim=(0, 1))
    upper.legend(frameon=False, loc="upper left")
    lower.set(xlabel="probability", ylabel="pixels", xlim=(0, 1), yscale="log")
    return figure


def write_reliability(networks: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """Write the figure as PNG and SVG."""
    figure = draw_reliability(networks)
    for name in FILES:
        with uploaded(folder / name) as file:
            figure.savefig(file, metadata={"Date": None} if name.endswith("svg") else None)
