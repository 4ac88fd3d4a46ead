"""Colours, canvas and file format of the figures."""

from __future__ import annotations

import io
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

DPI: Final = 110
MARGIN: Final = 8
"""Pixels of white left around a trimmed figure."""

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
KEPT: Final = tuple(
    tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    for colour in dict.fromkeys([*COLOURS.values(), REFERENCE, "#ffffff", "#000000"])
)
"""Thin lines are few pixels: a palette made by frequency would lose their colours."""


def canvas(*, width: float = 8.0, height: float = 3.8) -> Figure:
    """Return an empty figure of a size in inches, drawn by Agg and known to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure, *, colours: int = 256, trim: bool = False) -> bytes:
    """Return a figure as PNG with a palette: the same bytes for the same figure, and small.

    Parameters
    ----------
    figure
        Drawn anew.
    colours
        Of the palette.
    trim
        Whether to cut off white margins.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(np.int16)
    if trim:
        pixels = _trimmed(pixels)
    common = Image.fromarray(pixels.astype(np.uint8)).quantize(
        colors=colours - len(KEPT), dither=Image.Dither.NONE
    )
    indices = np.array(common)
    palette = np.array(common.getpalette(), dtype=np.int16).reshape(-1, 3)
    distance = _distance(pixels, palette[indices])
    for number, colour in enumerate(KEPT, start=len(palette)):
        own = _distance(pixels, np.array(colour, dtype=np.int16))
        is_nearer = own < distance
        indices[is_nearer] = number
        distance[is_nearer] = own[is_nearer]
    drawn = Image.fromarray(indices)
    drawn.putpalette([*palette.ravel().tolist(), *(part for colour in KEPT for part in colour)])
    small = io.BytesIO()
    drawn.save(small, format="png", optimize=True)
    return small.getvalue()


def _trimmed(pixels: NDArray[np.int16]) -> NDArray[np.int16]:
    is_drawn = (pixels < 250).any(axis=-1)
    rows, columns = (np.flatnonzero(is_drawn.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return pixels
    top, left = max(rows[0] - MARGIN, 0), max(columns[0] - MARGIN, 0)
    return pixels[top : rows[-1] + 1 + MARGIN, left : columns[-1] + 1 + MARGIN]


def to_svg(figure: Figure, *, name: str) -> bytes:
    """Return a figure as SVG, its text as text: the same bytes for the same figure and name."""
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return drawn.getvalue()


def _distance(one: NDArray[np.int16], other: NDArray[np.int16]) -> NDArray[np.int16]:
    apart = np.abs(one - other)
    return apart[..., 0] + apart[..., 1] + apart[..., 2]
