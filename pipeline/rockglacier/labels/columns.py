"""Columns of an inventory under one name each, however its file spells them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

import geopandas as gpd
import pandas as pd

from rockglacier.errors import InputError

RGIK: Final = (
    "PrimaryID", "WorkingID", "OutType", "Morpho", "UpslCon", "UpslCur", "Complet", "ActiCl",
    "ActiAss", "Destabili", "KinAtt", "KinPeriod", "RelKin", "AssocRGS", "VelClass", "RelFr",
    "RelLeftLM", "RelRightLM", "RelUpsCon", "RelIndex", "Comment",
)  # fmt: skip
"""Names of the published inventories. The templates that people fill write ``Out.Type``."""


def named_columns[Table: (gpd.GeoDataFrame, pd.DataFrame)](
    table: Table, given: Mapping[str, str], *, uri: str
) -> Table:
    """Return a table whose columns have the names that the project uses.

    Parameters
    ----------
    table
        As read.
    given
        Our name to that of the file, e.g. ``{"OutType": "kind"}``; comes before what is known.
    uri
        Of the file, for messages.

    Returns
    -------
    GeoDataFrame
        RGIK columns undotted, whatever their dots, underscores or case were; the others as they
        are. Where two columns could be one, neither is renamed.

    Raises
    ------
    InputError
        The file has no such column, or has our name for another one.
    """
    for ours, theirs in given.items():
        if theirs not in table.columns:
            raise _missing(theirs, table, uri)
        if ours in table.columns and ours != theirs:
            raise InputError(
                f"labels.columns calls {theirs!r} of {uri!r} {ours!r}, which is there too",
                expected="a name that the file does not use",
                todo="mend labels.columns",
            )
    named = table.rename(columns={theirs: ours for ours, theirs in given.items()})
    spelt: dict[str, list[str]] = {}
    for name in named.columns:
        spelt.setdefault(_plain(str(name)), []).append(str(name))
    renamed = {
        spelt[_plain(name)][0]: name
        for name in RGIK
        if name not in named.columns and len(spelt.get(_plain(name), ())) == 1
    }
    return named.rename(columns=renamed)


def require_columns(table: gpd.GeoDataFrame, wanted: Mapping[str, object], *, uri: str) -> None:
    """Raise :class:`InputError` where the table lacks a column that ``labels.where`` names."""
    for name in wanted:
        if name not in table.columns:
            raise _missing(name, table, uri)


def _missing(name: str, table: pd.DataFrame, uri: str) -> InputError:
    held = [str(column) for column in table.columns if column != "geometry"]
    near = difflib.get_close_matches(name, held, n=1, cutoff=0.5)
    return InputError(
        f"the reference {uri!r} has no column {name!r}",
        expected=", ".join(held) or "a file with columns",
        todo="mend labels.where, or name the column in labels.columns"
        + (f": did you mean {near[0]!r}?" if near else ""),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
