"""What a page is made of: sections with notes, pictures and tables."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure, as PNG."""

    name: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The PNG as text for a data URL."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, also written as CSV."""

    name: str
    caption: str
    frame: pd.DataFrame

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Column titles, and whether the column holds numbers."""
        kinds = self.frame.dtypes.items()
        return [(str(name), pd.api.types.is_numeric_dtype(kind)) for name, kind in kinds]

    @property
    def cells(self) -> list[list[tuple[str, bool]]]:
        """Rows of texts, and whether they are numbers."""
        are_numbers = [is_number for _, is_number in self.heads]
        return [
            [(shown(value), n) for value, n in zip(row, are_numbers, strict=True)]
            for row in self.frame.itertuples(index=False, name=None)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page."""

    key: str
    title: str
    notes: tuple[str, ...] = ()
    warning: str = ""
    """What a reader must not overlook."""
    missing: str = ""
    """Why the section is empty."""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


def shown(value: Any) -> str:
    """Return a value as a reader wants it: three decimals, dates without time, blank for none."""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M")
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
