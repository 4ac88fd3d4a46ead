"""Colours, canvas and file format of the figures."""

from __future__ import annotations

import io
import re
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

DPI: Final = 110
SIZE: Final = re.compile(rb'width="[^"]*pt" height="[^"]*pt" viewBox="[^"]*"')
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


def to_png(figure: Figure, *, colours: int = 256) -> bytes:
    """Return a figure as PNG with a palette: the same bytes for the same figure, and small."""
    return _small(_pixels(figure), colours)


def drawn(figure: Figure, *, name: str) -> tuple[bytes, bytes]:
    """Return a figure as PNG and as SVG, white margins cut off: the same bytes for the same figure.

    Parameters
    ----------
    figure
        Laid out here, and not again.
    name
        Unlike that of any other figure of the page: parts of an SVG refer to each other.
    """
    figure.set_dpi(DPI)
    pixels = _pixels(figure)
    figure.set_layout_engine("none")  # stays as it was laid out
    rows, columns = _inked(pixels)
    svg = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        # not by savefig, which prepares every picture once more to find a size that is known
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    return _small(pixels[rows, columns], 256), _trimmed(svg.getvalue(), rows, columns)


def _trimmed(svg: bytes, rows: slice, columns: slice) -> bytes:
    """Return a figure as SVG that shows some rows and columns of its pixels alone."""
    point = 72 / DPI
    left, top = (point * part.start for part in (columns, rows))
    width, height = (point * (part.stop - part.start) for part in (columns, rows))
    size = (
        f'width="{width:g}pt" height="{height:g}pt" viewBox="{left:g} {top:g} {width:g} {height:g}"'
    )
    return SIZE.sub(size.encode(), svg, count=1)


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _inked(pixels: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the rows and columns in which something is drawn, with a margin."""
    is_drawn = (pixels < 250).any(axis=-1)
    found = []
    for axis, size in ((1, pixels.shape[0]), (0, pixels.shape[1])):
        held = np.flatnonzero(is_drawn.any(axis=axis))
        first, last = (held[0], held[-1]) if held.size else (0, size - 1)
        found.append(slice(max(int(first) - MARGIN, 0), min(int(last) + 1 + MARGIN, size)))
    return found[0], found[1]


def _as_numbers(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return colours (..., 3) as one number each: compared at once, not by their parts."""
    red, green, blue = (colours[..., part].astype(np.uint32) for part in range(3))
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _small(pixels: NDArray[np.uint8], colours: int) -> bytes:
    """Return pixels (y, x, 3) as PNG with a palette of so many colours."""
    picture, coarse = (Image.fromarray(np.ascontiguousarray(p)) for p in (pixels, pixels[::4, ::4]))
    # one pixel of sixteen has all common colours, in a tenth of the time; rare ones are kept
    common = coarse.quantize(colors=colours - len(KEPT), dither=Image.Dither.NONE)
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [*(part for colour in KEPT for part in colour), *(common.getpalette() or [])]
    )
    indices = np.array(picture.quantize(palette=palette, dither=Image.Dither.NONE))
    one = _as_numbers(pixels)
    for number, colour in enumerate(_as_numbers(np.array(KEPT, np.uint8))):
        indices[one == colour] = number  # the mapping takes colours for their neighbours
    indexed = Image.fromarray(indices)
    indexed.putpalette(palette.getpalette() or [])
    small = io.BytesIO()
    indexed.save(small, format="png", compress_level=7)
    return small.getvalue()
