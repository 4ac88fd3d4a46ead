"""The map that a reader moves, with the table of rock glaciers that leads into it."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd

from rockglacier.inventory.candidates import split_at
from rockglacier.report import webmap
from rockglacier.report.details import details_of
from rockglacier.report.layers import GROUNDS, Products
from rockglacier.report.parts import Section, Table
from rockglacier.report.style import WORDS
from rockglacier.report.webmap import Lines, Raster, WebMap

RELATIONS: Final = {
    "matched": "matched",
    "split": "one of several on one",
    "merged": "one on several",
    "complex": "several on several",
    "overlap": "overlaps, too little",
    "only_in_a": "not in it",
}
"""How an outline stands to the reference, for people."""

GROUND_WORDS: Final = {
    "test": "test ground",
    "unseen": "unseen",
    "guard": "guard band",
    "validation": "validation ground",
    "train": "training ground: not a finding",
}
COLUMNS: Final = {
    "candidate_id": "candidate",
    "area_km2": "area, km²",
    "area_uncertainty_km2": "± km²",
    "elevation_front_m": "front, m",
    "elevation_median_m": "median, m",
    "elevation_max_m": "highest, m",
    "slope_mean_deg": "slope, °",
    "aspect_mean_deg": "aspect, °",
    "length_m": "length, m",
    "probability_mean": "probability",
    "agreement": "agreement",
    "spread_mean": "spread",
    "review_reason": "look at it for",
    "status": "status",
}
ROUNDED: Final = {
    "elevation_front_m": 0, "elevation_median_m": 0, "elevation_max_m": 0, "slope_mean_deg": 1,
    "aspect_mean_deg": 0, "length_m": 0, "probability_mean": 2, "agreement": 2, "spread_mean": 2,
    "area_km2": 3, "area_uncertainty_km2": 3,
}  # fmt: skip


def overview(products: Products) -> Section:
    """Show the map and the table of rock glaciers."""
    key, title = "map", "Map and rock glaciers"
    found = products.inventory
    lacking = []
    if products.cube is None:
        lacking.append("There is no cube: the map has no picture of the ground.")
    elif products.cube.true is None:
        lacking.append("The cube lacks the bands of true colour, B04, B03 and B02.")
    if products.reference is None:
        lacking.append("There is no reference inventory to lay over it.")
    elif products.links is None:
        lacking.append("There is no link table: what only one of both holds is not marked.")
    tables: tuple[Table, ...] = ()
    if found.empty:
        lacking.append("No rock glacier was found.")
    else:
        tables = (landform_table(products),)
    return Section(
        key=key,
        title=title,
        warning=training_warning(products),
        missing=" ".join(lacking),
        map=web_map(products),
        tables=tables,
    )


def training_warning(products: Products) -> str:
    """Say how many outlines are no findings, or nothing."""
    count = int((products.inventory["ground"] == "train").sum())
    if not count:
        return ""
    return (
        f"{count} of {len(products.inventory)} outlines lie on ground that the network was trained "
        "on. It was shown the answer there: they are drawn dashed and blue and are not findings."
    )


def ordered(products: Products) -> gpd.GeoDataFrame:
    """Return the inventory, findings first, the larger ones first, and how each one is related."""
    table = products.inventory.assign(is_seen=products.inventory["ground"] == "train")
    table = table.sort_values(["is_seen", "area_km2"], ascending=[True, False], kind="stable")
    if products.links is not None:
        best = products.links.dropna(subset=["id_a"]).sort_values("iou", ascending=False)
        best = best.drop_duplicates("id_a").set_index("id_a")
        table["relation"] = table["candidate_id"].map(best["relation"])
        table["iou"] = table["candidate_id"].map(best["iou"])
    return table


def landform_table(products: Products) -> Table:
    """Return a row a rock glacier, each with its place on the map."""
    table = ordered(products)
    shown = pd.DataFrame({"candidate": table["candidate_id"].astype(str)})
    shown["ground"] = [GROUND_WORDS.get(ground, ground) for ground in table["ground"]]
    if "relation" in table:
        shown["in the reference"] = table["relation"].map(RELATIONS).fillna("not compared")
        shown["IoU"] = table["iou"].astype(float).round(2)
    for name, head in COLUMNS.items():
        if name in table and name != "candidate_id" and table[name].notna().any():
            values = table[name]
            shown[head] = values.astype(float).round(ROUNDED[name]) if name in ROUNDED else values
    return Table(
        name="rock-glaciers",
        caption="Rock glaciers, findings first; the button of a row shows it on the map",
        frame=shown,
        boxes=tuple(webmap.boxes_of(table.geometry, products.frame)),
        kinds=tuple("seen" if seen else "" for seen in table["is_seen"]),
    )


def web_map(products: Products) -> WebMap:
    """Return the pictures and outlines of the map."""
    frame, cube = products.frame, products.cube
    west, south, east, north = frame.bounds
    bases: list[Raster] = []
    if cube is not None:
        near = details_of(products, ordered(products))
        if cube.true is not None:
            href = webmap.colours_href(cube.true)
            bases.append(
                Raster(key="true", label="true colour", href=href, details=near.get("true", ()))
            )
        said, href = f"false colour ({', '.join(cube.bands)})", webmap.colours_href(cube.composite)
        bases.append(Raster(key="false", label=said, href=href, details=near.get("composite", ())))
        shade = webmap.shade_of(cube.elevation, pixel_m=frame.pixel_m)
        bases.append(Raster(key="relief", label="relief", href=shade))
    overlays = []
    if products.percent is not None:
        href = webmap.percent_href(products.percent)
        overlays.append(Raster(key="probability", label="probability", href=href))
    for name, values in products.doubts.items():
        href = webmap.percent_href(values)
        overlays.append(Raster(key=name, label=f"{name} of the networks", href=href))
    return WebMap(
        width=round(east - west),
        height=round(north - south),
        pixel_m=frame.pixel_m,
        finest_m=products.study.grid.resolution,
        bases=tuple(bases),
        overlays=tuple(overlays),
        lines=tuple(
            line for line in _lines(products) if line.shapes or line.key.startswith("only")
        ),
    )


def _lines(products: Products) -> list[Lines]:
    """Return the layers of outlines, those drawn first below the others."""
    frame, found, lines = products.frame, products.inventory, []
    if products.splits is not None:
        cells = products.splits[products.splits["split"] == "train"]
        drawn = webmap.lines_of(
            "ground", "training ground", cells.geometry, frame,
            ids=[""] * len(cells), titles=["training ground"] * len(cells),
        )  # fmt: skip
        lines.append(Lines(key="ground", label="training ground", shapes=drawn.shapes))
    lines += _of_other_periods(products)
    lines += _only_in_one(products)
    reference = products.reference
    if reference is not None:
        names = [str(name) for name in reference["label_id"]]
        titles = [
            f"reference {name}, {area:.3f} km²"
            for name, area in zip(names, reference["area_km2"], strict=True)
        ]
        lines.append(
            webmap.lines_of(
                "reference",
                "reference",
                reference.geometry,
                frame,
                ids=[""] * len(names),
                titles=titles,
            )
        )
    for ground in reversed(GROUNDS):
        own = found[found["ground"] == ground]
        titles = [
            f"{name}, {area:.3f} km², {GROUND_WORDS[ground]}"
            for name, area in zip(own["candidate_id"], own["area_km2"], strict=True)
        ]
        lines.append(
            webmap.lines_of(
                ground,
                WORDS[ground],
                own.geometry,
                frame,
                ids=[str(name) for name in own["candidate_id"]],
                titles=titles,
            )
        )
    return lines


def _of_other_periods(products: Products) -> list[Lines]:
    """Return what was found in the other periods, switched off at first."""
    lines = []
    for other in products.periods:
        name, found = other.study.period.name, other.inventory
        if other is not products:
            titles = [
                f"{name}: {own}, {area:.3f} km²"
                for own, area in zip(found["candidate_id"], found["area_km2"], strict=True)
            ]
            lines.append(
                webmap.lines_of(
                    f"period-{other.study.period.index}", f"outlines of {name}", found.geometry,
                    products.frame, ids=[""] * len(found), titles=titles, is_shown=False,
                )
            )  # fmt: skip
    return lines


def _only_in_one(products: Products) -> list[Lines]:
    """Return what only the inventory, and only the reference holds, off training ground."""
    links, reference = products.links, products.reference
    if links is None or reference is None:
        return []
    own = products.inventory.set_index(products.inventory["candidate_id"].astype(str))
    own = own[own["ground"] != "train"].geometry
    other = reference.set_index(reference["label_id"].astype(str)).geometry
    other = other[~_is_taught(products, other)]
    made: list[Lines] = []
    for key, label, relation, side, shapes in (
        ("only-a", "only in the inventory", "only_in_a", "id_a", own),
        ("only-b", "only in the reference", "only_in_b", "id_b", other),
    ):
        lonely = set(links.loc[links["relation"] == relation, side].astype(str))
        shown = shapes[shapes.index.isin(lonely)]
        made.append(
            webmap.lines_of(
                key,
                f"{label}, off training ground",
                shown,
                products.frame,
                ids=[""] * len(shown),
                titles=[f"{label}: {name}" for name in shown.index],
                is_shown=False,
            )
        )
    return made


def _is_taught(products: Products, shapes: gpd.GeoSeries) -> Any:
    if products.splits is None or shapes.empty:
        return np.zeros(len(shapes), bool)
    points = shapes.representative_point().to_crs(products.frame.epsg)
    return np.asarray(split_at(points, products.splits, products.study.grid) == "train")
