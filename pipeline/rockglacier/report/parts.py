"""What a page is made of: sections with notes, pictures and tables."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from rockglacier.report.style import drawn
from rockglacier.report.webmap import WebMap

LONGEST = 34
"""Letters of a word that is not broken, and of a text on one line."""

Box = tuple[int, int, int, int]
"""x, y, width, height on the map, metres from its upper left corner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure: PNG in the page, PNG and SVG beside it."""

    name: str
    alt: str
    """What is to be seen, for those who cannot see it."""
    caption: str
    png: bytes
    svg: bytes
    is_chart: bool = False
    """Lines and bars on white, which may be shown light on dark; pictures of ground may not."""

    @property
    def base64(self) -> str:
        """The PNG as text for a data URL."""
        return base64.b64encode(self.png).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return Image.open(io.BytesIO(self.png)).size


def picture(name: str, figure: Figure, *, alt: str, caption: str) -> Picture:
    """Return a drawn figure as a part of the page."""
    is_chart = not any(axes.images for axes in figure.axes)
    png, svg = drawn(figure, name=name)
    return Picture(name=name, alt=alt, caption=caption, png=png, svg=svg, is_chart=is_chart)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, also written as CSV."""

    name: str
    caption: str
    frame: pd.DataFrame
    boxes: tuple[Box, ...] = ()
    """Where each row lies on the map; the first cell then leads there."""
    kinds: tuple[str, ...] = ()
    """Style of each row."""
    most: int = 1000
    """Rows shown in the page; the file has all."""
    is_folded: bool = False
    """Only the caption is seen at first."""

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Column titles, and whether the column holds numbers."""
        kinds = self.frame.dtypes.items()
        return [(str(name), pd.api.types.is_numeric_dtype(kind)) for name, kind in kinds]

    @property
    def cells(self) -> list[list[tuple[str, str]]]:
        """Rows of texts, and the style of each, see :func:`style_of`."""
        columns = []
        for place, (head, is_number) in enumerate(self.heads):
            values = self.frame.iloc[: self.most, place]
            texts = numbers_shown(values, head) if is_number else [shown(v) for v in values]
            columns.append([(text, "n" if is_number else style_of(text)) for text in texts])
        return [list(row) for row in zip(*columns, strict=True)]

    @property
    def left_out(self) -> int:
        """Rows that only the file has."""
        return max(0, len(self.frame) - self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page."""

    key: str
    title: str
    notes: tuple[str, ...] = ()
    warning: str = ""
    """What a reader must not overlook."""
    missing: str = ""
    """Why the section is empty, or what it lacks."""
    map: WebMap | None = None
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


def style_of(text: str) -> str:
    """Return ``long`` where a word may be broken, ``text`` for many words, ``short`` for few."""
    if any(len(word) > LONGEST for word in text.split()):
        return "long"
    return "text" if len(text) > LONGEST else "short"


def numbers_shown(values: pd.Series[Any], head: str) -> list[str]:
    """Return the numbers of a column, all with the decimals that the column needs.

    Parameters
    ----------
    values
        Of the column.
    head
        Its title: percentages, which end with ``%``, have one decimal, others three at most.
    """
    if pd.api.types.is_bool_dtype(values):
        return [shown(bool(value)) for value in values]
    numbers = values.astype(float)
    known = numbers[np.isfinite(numbers)]
    most = 1 if head.endswith("%") else 3
    digits = next(
        (n for n in range(most) if np.array_equal(known.round(n), known.round(most))), most
    )
    return ["" if np.isnan(number) else _written(number, digits) for number in numbers]


def _written(number: float, digits: int) -> str:
    number = round(number, digits) + 0.0  # no -0
    return f"{number:,.0f}" if abs(number) >= 1e4 else f"{number:.{digits}f}"


def shown(value: Any) -> str:
    """Return a value as a reader wants it: three decimals, dates without time, blank for none."""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M")
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
