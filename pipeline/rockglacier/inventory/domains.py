"""Which values the RGIK columns of an inventory may have: those known here, or a user's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import yaml

from rockglacier.errors import InputError
from rockglacier.labels.columns import RGIK

STATUS: Final = ("candidate", "confirmed", "edited", "rejected")
REVIEWED: Final = STATUS[1:]
RELIABILITIES: Final = ("RelFr", "RelLeftLM", "RelRightLM", "RelUpsCon")
"""Each 0 to 2; ``RelIndex`` is their sum."""

Domains = Mapping[str, tuple[str, ...]]

RGIK_DOMAINS: Final[dict[str, tuple[str, ...]]] = {
    "OutType": ("Extended", "Restricted"),
    "Morpho": ("simple", "complex"),
    "UpslCon": (
        "talus", "debris-mantled_slope", "landslide", "glacier_forefield", "glacier", "poly",
        "other", "uncertain", "unknown",
    ),
    "UpslCur": ("yes", "no", "unclear"),
    "Complet": ("complete", "incomplete", "unclear"),
    "ActiCl": (
        "active", "active_uncertain", "transitional", "relict_uncertain", "relict", "uncertain",
    ),
    "ActiAss": ("geomorphological", "with kinematics"),
    "Destabili": ("ongoing", "completed", "no", "uncertain"),
    "KinAtt": ("inf_cm", "cm", "cm_to_dm", "dm", "dm_to_m", "m", "sup_m", "undefined"),
}  # fmt: skip
"""In the order in which a form shows them."""

OWN_DOMAINS: Final[dict[str, tuple[str, ...]]] = {
    "status": STATUS,
    "certainty": ("certain", "uncertain"),
}
"""Columns of ours, which no template replaces."""


def domains_of(template: str | None) -> dict[str, tuple[str, ...]]:
    """Return the values of every column that has a list of them.

    Parameters
    ----------
    template
        A YAML file, column to values, or a GeoPackage whose columns have them: as enumerations of
        the schema extension, or as value maps of a QGIS style. Names of columns in either
        spelling. Columns that it does not name keep the values known here. None: nothing replaced.

    Raises
    ------
    InputError
        The file cannot be read, or names no RGIK column.
    """
    known = {**OWN_DOMAINS, **RGIK_DOMAINS}
    if template is None:
        return known
    path = Path(template)
    if not path.is_file():
        raise InputError(
            f"there is no template of RGIK values {template!r}",
            expected="a GeoPackage or a YAML file",
            todo="check the path in inventory.domains",
        )
    read = _of_geopackage if path.suffix == ".gpkg" else _of_yaml
    plain = {_plain(name): name for name in RGIK}
    given = {
        plain[_plain(name)]: values for name, values in read(path).items() if _plain(name) in plain
    }
    if not given:
        raise InputError(
            f"the template {template!r} has values for none of the RGIK columns",
            expected=f"lists of values for {', '.join(RGIK_DOMAINS)}",
            todo="name a GeoPackage with value maps, or write them into a YAML file",
        )
    return {**known, **given, **OWN_DOMAINS}


def outside_domains(table: gpd.GeoDataFrame | pd.DataFrame, domains: Domains) -> list[str]:
    """Return a line for every value that its column may not have; empty ones are fine.

    Parameters
    ----------
    table
        With ``candidate_id`` and the columns to check; columns that it lacks are left out.
    domains
        Of :func:`domains_of`.
    """
    lines = []
    for name, values in domains.items():
        if name not in table:
            continue
        held = table[name]
        is_wrong = held.notna() & ~held.astype("string").isin([*values, ""]).fillna(value=True)
        lines += [
            f"{_called(row)}: {name} is {row[name]!r}, and may be {', '.join(values)}"
            for _, row in table[is_wrong].iterrows()
        ]
    for name in RELIABILITIES:
        if name not in table:
            continue
        numbers = pd.to_numeric(table[name], errors="coerce")
        is_wrong = table[name].notna() & ~numbers.isin([0, 1, 2])
        lines += [
            f"{_called(row)}: {name} is {row[name]!r}, and may be 0, 1 or 2"
            for _, row in table[is_wrong].iterrows()
        ]
    return lines


def _called(row: pd.Series[Any]) -> str:
    name = row.get("candidate_id")
    return str(name) if isinstance(name, str) and name else "a new outline"


def _of_yaml(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"the template {str(path)!r} cannot be read: {error}", expected="YAML"
        ) from error
    if not isinstance(given, dict) or not all(isinstance(v, list) and v for v in given.values()):
        raise InputError(
            f"the template {str(path)!r} is not a list of values for each column",
            expected="e.g. ActiCl: [active, transitional, relict]",
        )
    return {str(name): tuple(map(str, values)) for name, values in given.items()}


def _of_geopackage(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as data:
            tables = {row[0] for row in data.execute("SELECT name FROM sqlite_master")}
            found = _value_maps(data) if "layer_styles" in tables else {}
            if {"gpkg_data_columns", "gpkg_data_column_constraints"} <= tables:
                found |= _enumerations(data)
    except (sqlite3.DatabaseError, ET.ParseError) as error:
        raise InputError(
            f"the template {str(path)!r} cannot be read: {error}", expected="a GeoPackage"
        ) from error
    return found


def _enumerations(data: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    rows = data.execute(
        "SELECT c.column_name, e.value FROM gpkg_data_columns c "
        "JOIN gpkg_data_column_constraints e ON e.constraint_name = c.constraint_name "
        "WHERE e.constraint_type = 'enum' ORDER BY c.table_name, c.column_name, e.rowid"
    )
    found: dict[str, list[str]] = {}
    for name, value in rows:
        found.setdefault(str(name), []).append(str(value))
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}


def _value_maps(data: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for (style,) in data.execute("SELECT styleQML FROM layer_styles WHERE styleQML IS NOT NULL"):
        for field in ET.fromstring(style).iter("field"):  # noqa: S314  a local file
            widget = field.find("editWidget")
            if widget is None or widget.get("type") != "ValueMap":
                continue
            # a list of maps with one entry each, in older files one map with all of them
            options = widget.iterfind(".//Option[@name='map']//Option[@value]")
            values = tuple(str(option.get("value")) for option in options)
            if values:
                found[str(field.get("name"))] = values
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
