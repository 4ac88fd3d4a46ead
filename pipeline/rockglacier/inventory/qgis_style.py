"""How QGIS shows and edits the layers of an inventory: colours, forms, and a project."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from rockglacier.inventory.domains import RELIABILITIES, RGIK_DOMAINS, Domains
from rockglacier.inventory.schema import COLUMNS
from rockglacier.storage import write_bytes

VERSION: Final = "3.34.0"
"""Of the files' form; newer versions of QGIS read it."""

DOCTYPE: Final = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
DEGREES: Final = 4326
SRSID: Final = "3452"
"""QGIS's own number of EPSG:4326, without which it takes a project to have no CRS."""
WHEN_MADE: Final = (1980, 1, 1, 0, 0, 0)

COLOURS: Final = {
    "candidate": "240,160,30",
    "confirmed": "40,150,70",
    "edited": "30,110,200",
    "rejected": "130,130,130",
}
FILL_ALPHA: Final = 50

REVIEW: Final = ("status", "certainty", "reviewer", "review_date", "Comment")
RGIK_FORM: Final = ("PrimaryID", *RGIK_DOMAINS, *RELIABILITIES)
EDITABLE: Final = frozenset((*REVIEW, *RGIK_FORM, "VelClass", "name", "period"))
"""Columns that a person fills; the others are shown."""

HIDDEN: Final = frozenset({"drawn_hash", "fid"})

QUEUE: Final = "\"status\" = 'candidate'"
"""Outlines that wait for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A layer of a project."""

    title: str
    layer: str
    kind: str
    """``Polygon``, ``Point`` or ``Line``."""
    columns: Sequence[str]
    only: str | None = None
    """Features that are shown, an expression of SQL."""
    is_visible: bool = True


def style(layer: str, kind: str, columns: Sequence[str], domains: Domains) -> str:
    """Return the style of a layer as QML.

    Parameters
    ----------
    layer
        ``outlines`` is coloured by status, others have one colour each.
    kind
        ``Polygon``, ``Point`` or ``Line``.
    columns
        Of the layer, without geometry.
    domains
        Values that columns may have: what a form lets choose from.
    """
    root = Element("qgis", version=VERSION, styleCategories="AllStyleCategories")
    _styled(root, layer, kind, columns, domains)
    return (DOCTYPE + tostring(root)).decode()


def write_project(
    path: Path,
    package: str,
    layers: Sequence[Shown],
    domains: Domains,
    *,
    title: str,
    bounds: tuple[float, float, float, float],
    rasters: Sequence[tuple[str, str, int]] = (),
) -> None:
    """Write a QGIS project (``.qgz``) over a GeoPackage beside it.

    Parameters
    ----------
    path
        Replaced.
    package
        File name of the GeoPackage; the project finds it in its own folder.
    layers
        From top to bottom.
    domains
        As for :func:`style`.
    title
        Of the project.
    bounds
        West, south, east, north, degrees: what is shown first.
    rasters
        Title, source and EPSG code of rasters of one band in percent, below the others, not shown
        at first.
    """
    root = Element("qgis", projectname=title, version=VERSION)
    SubElement(root, "title").text = title
    _crs(SubElement(root, "projectCrs"))
    tree = SubElement(root, "layer-tree-group")
    _extent(SubElement(root, "mapcanvas", name="theMapCanvas"), bounds)
    held = SubElement(root, "projectlayers")
    for number, shown in enumerate(layers):
        name = f"layer_{number}"
        source = f"./{package}|layername={shown.layer}"
        source += f"|subset={shown.only}" if shown.only else ""
        _in_tree(tree, name, shown.title, source, "ogr", is_checked=shown.is_visible)
        layer = SubElement(held, "maplayer", type="vector", geometry=shown.kind)
        _layer(layer, name, shown.title, source, "ogr")
        _crs(SubElement(layer, "srs"))
        _styled(layer, shown.layer, shown.kind, shown.columns, domains)
    for number, (name, source, epsg) in enumerate(rasters):
        _in_tree(tree, f"raster_{number}", name, source, "gdal", is_checked=False)
        layer = SubElement(held, "maplayer", type="raster")
        _layer(layer, f"raster_{number}", name, source, "gdal")
        _crs(SubElement(layer, "srs"), epsg)
        _percent(layer)
    places = SubElement(SubElement(root, "properties"), "SpatialRefSys")
    SubElement(places, "ProjectionsEnabled", type="int").text = "1"
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{path.stem}.qgs", date_time=WHEN_MADE)
        archive.writestr(entry, DOCTYPE + tostring(root), compress_type=zipfile.ZIP_DEFLATED)
    write_bytes(path, made.getvalue())


def _in_tree(
    tree: Element, name: str, title: str, source: str, provider: str, *, is_checked: bool
) -> None:
    checked = "Qt::Checked" if is_checked else "Qt::Unchecked"
    SubElement(
        tree,
        "layer-tree-layer",
        id=name,
        name=title,
        source=source,
        providerKey=provider,
        checked=checked,
        expanded="0",
    )


def _layer(layer: Element, name: str, title: str, source: str, provider: str) -> None:
    SubElement(layer, "id").text = name
    SubElement(layer, "datasource").text = source
    SubElement(layer, "layername").text = title
    SubElement(layer, "provider", encoding="UTF-8").text = provider


def _crs(parent: Element, epsg: int = DEGREES) -> None:
    system = SubElement(parent, "spatialrefsys")
    if epsg == DEGREES:
        SubElement(system, "srsid").text = SRSID
    SubElement(system, "srid").text = str(epsg)
    SubElement(system, "authid").text = f"EPSG:{epsg}"
    SubElement(system, "geographicflag").text = str(epsg == DEGREES).lower()


def _extent(canvas: Element, bounds: tuple[float, float, float, float]) -> None:
    SubElement(canvas, "units").text = "degrees"
    extent = SubElement(canvas, "extent")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True):
        SubElement(extent, name).text = repr(float(value))
    _crs(SubElement(canvas, "destinationsrs"))


def _styled(
    parent: Element, layer: str, kind: str, columns: Sequence[str], domains: Domains
) -> None:
    _renderer(parent, layer, kind)
    _fields(parent, columns, domains)
    _form(parent, columns)
    SubElement(
        parent,
        "attributetableconfig",
        sortExpression='"review_rank"' if "review_rank" in columns else "",
        sortOrder="0",
        actionWidgetStyle="dropDown",
    )
    shown = next(name for name in ("candidate_id", "label_id", "id_a", *columns) if name in columns)
    SubElement(parent, "previewExpression").text = f'"{shown}"'


def _renderer(parent: Element, layer: str, kind: str) -> None:
    if layer != "outlines":
        renderer = SubElement(parent, "renderer-v2", type="singleSymbol")
        colour = {"reference": "160,40,160", "aoi": "30,30,30", "markers": "200,30,30"}
        symbols = SubElement(renderer, "symbols")
        _symbol(symbols, "0", kind, colour.get(layer, "0,140,160"), alpha=0)
        return
    renderer = SubElement(parent, "renderer-v2", type="categorizedSymbol", attr="status")
    categories = SubElement(renderer, "categories")
    symbols = SubElement(renderer, "symbols")
    for number, (value, colour_of) in enumerate(COLOURS.items()):
        SubElement(
            categories,
            "category",
            value=value,
            label=value,
            symbol=str(number),
            render="true",
            type="string",
        )
        _symbol(symbols, str(number), kind, colour_of, alpha=FILL_ALPHA)


def _symbol(symbols: Element, name: str, kind: str, colour: str, *, alpha: int) -> None:
    types = {"Polygon": "fill", "Point": "marker", "Line": "line"}
    classes = {"Polygon": "SimpleFill", "Point": "SimpleMarker", "Line": "SimpleLine"}
    symbol = SubElement(symbols, "symbol", name=name, type=types[kind], alpha="1")
    layer = SubElement(symbol, "layer", {"class": classes[kind], "enabled": "1", "pass": "0"})
    options = SubElement(layer, "Option", type="Map")
    values = {
        "color": f"{colour},{255 if kind == 'Point' else alpha}",
        "outline_color": f"{colour},255",
        "line_color": f"{colour},255",
        "outline_width": "0.5",
        "line_width": "0.5",
        "style": "solid",
        "size": "2",
    }
    for key, value in values.items():
        SubElement(options, "Option", name=key, value=value, type="QString")


def _fields(parent: Element, columns: Sequence[str], domains: Domains) -> None:
    configuration = SubElement(parent, "fieldConfiguration")
    aliases, editable = SubElement(parent, "aliases"), SubElement(parent, "editable")
    constraints = SubElement(parent, "constraintExpressions")
    for number, name in enumerate(columns):
        field = SubElement(configuration, "field", name=name)
        _widget(field, name, domains)
        title = COLUMNS[name].description if name in COLUMNS else ""
        SubElement(aliases, "alias", field=name, index=str(number), name="")
        SubElement(editable, "field", name=name, editable=str(int(name in EDITABLE)))
        if name == "reviewer":
            needed = '"status" = \'candidate\' OR length("reviewer") > 0'
            SubElement(constraints, "constraint", field=name, exp=needed, desc="who reviewed it?")
        elif title:
            SubElement(constraints, "constraint", field=name, exp="", desc=title)


def _widget(field: Element, name: str, domains: Domains) -> None:
    if name in domains:
        widget = SubElement(field, "editWidget", type="ValueMap")
        config = SubElement(SubElement(widget, "config"), "Option", type="Map")
        values = SubElement(config, "Option", name="map", type="List")
        for value in domains[name]:
            entry = SubElement(values, "Option", type="Map")
            SubElement(entry, "Option", name=value, value=value, type="QString")
        return
    if name in RELIABILITIES:
        widget = SubElement(field, "editWidget", type="Range")
        numbers = {"Min": "0", "Max": "2", "Step": "1"}
    else:
        kind = "Hidden" if name in HIDDEN else "DateTime" if name == "review_date" else "TextEdit"
        widget = SubElement(field, "editWidget", type=kind)
        numbers = {}
    config = SubElement(SubElement(widget, "config"), "Option", type="Map")
    for key, number in numbers.items():
        SubElement(config, "Option", name=key, value=number, type="int")
    if numbers:
        SubElement(config, "Option", name="AllowNull", value="true", type="bool")


def _form(parent: Element, columns: Sequence[str]) -> None:
    SubElement(parent, "editorlayout").text = "tablayout"
    form = SubElement(parent, "attributeEditorForm")
    tabs = {
        "Review": [*REVIEW, "review_reason", "review_rank"],
        "RGIK": list(RGIK_FORM),
        "Measured": [
            name
            for name in columns
            if name not in (*REVIEW, *RGIK_FORM, "review_reason", "review_rank", *HIDDEN)
        ],
    }
    for title, names in tabs.items():
        held = [name for name in names if name in columns]
        if not held:
            continue
        tab = SubElement(
            form, "attributeEditorContainer", name=title, groupBox="0", columnCount="1"
        )
        for name in held:
            SubElement(
                tab,
                "attributeEditorField",
                name=name,
                index=str(list(columns).index(name)),
                showLabel="1",
            )


def _percent(layer: Element) -> None:
    pipe = SubElement(layer, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type="singlebandgray", grayBand="1", opacity="0.6"
    )
    stretch = SubElement(renderer, "contrastEnhancement")
    SubElement(stretch, "minValue").text = "0"
    SubElement(stretch, "maxValue").text = "100"
    SubElement(stretch, "algorithm").text = "StretchToMinimumMaximum"
