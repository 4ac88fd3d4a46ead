"""Sections on the ground and the data: where it is, what was read, how often it was seen."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import pandas as pd

from rockglacier.report import maps, plates
from rockglacier.report.examples import Windows, frame_at, largest_found
from rockglacier.report.layers import Products
from rockglacier.report.parts import Section, Table, picture
from rockglacier.storage import readable

SCENE_COLUMNS: Final = {
    "id": "scene",
    "datetime": "time, UTC",
    "period": "period",
    "platform": "platform",
    "tile": "tile",
    "cloud_cover": "cloud of the scene, %",
    "basin_cloud": "cloud over the basin, %",
    "basin_snow": "snow over the basin, %",
    "basin_cover": "basin covered, %",
    "sun_elevation": "sun above horizon, °",
    "baseline": "baseline",
    "offset_in_pixels": "offset given back",
    "offset_reason": "why",
    "notes": "notes",
    "rule": "rule",
    "reason": "reason",
    "collection": "collection",
}
"""Columns shown, of those that a table has, and their headings."""

DROPPED: Final = ("id", "datetime", "cloud_cover", "basin_cloud", "rule", "reason")
DEM_TILES: Final = ("id", "collection")
SHARES: Final = {
    "clear_share": "clear",
    "snow_share": "only under snow",
    "shadow_share": "only in shadow",
    "empty_share": "never seen",
    "no_elevation_share": "without elevation",
}


def basin(products: Products) -> Section:
    """Show where the basin lies and how high."""
    key, title = "basin", "The basin"
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube to show it from.")
    area = gpd.GeoSeries([products.study.area], crs=4326)
    drawn = picture(
        "basin",
        maps.basin_map(products.frame, products.cube.elevation, area),
        alt="Map of elevation over a hillshade, with the outline of the area.",
        caption=f"Elevation and the outline of the area; EPSG:{products.frame.epsg}.",
    )
    return Section(key=key, title=title, pictures=(drawn,))


def scenes(products: Products) -> Section:
    """List the scenes used and dropped, with reasons, and the DEM tiles."""
    study = products.study
    table = pd.read_parquet(readable(study.scenes_path))
    if len(study.periods) > 1:
        days = table["datetime"].dt.date
        for one in study.periods:
            table.loc[days.between(one.start, one.end), "period"] = one.name
    used = columns_of(table, tuple(SCENE_COLUMNS))
    found = [Table(name="scenes", caption=f"{_number(used, 'scene')} used", frame=used)]
    if study.dropped_path.is_file():
        dropped = columns_of(pd.read_parquet(readable(study.dropped_path)), DROPPED)
        said = f"{_number(dropped, 'scene')} found and not used"
        found.append(Table(name="scenes-dropped", caption=said, frame=dropped))
    if study.dem_path.is_file():
        tiles = columns_of(pd.read_parquet(readable(study.dem_path)), DEM_TILES)
        tiles = tiles.rename(columns={"scene": "DEM tile"})
        found.append(Table(name="dem-tiles", caption=_number(tiles, "DEM tile"), frame=tiles))
    note = (
        "Cloud of the scene is the item's own number for its whole tile; cloud over the basin is "
        "counted in the scene classification at full resolution."
    )
    return Section(key="scenes", title="Scenes", notes=(note,), tables=tuple(found))


def _number(table: pd.DataFrame, word: str) -> str:
    return f"{len(table)} {word}{'s' * (len(table) != 1)}"


def columns_of(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Return those of the columns that are there and say something, with their headings."""
    held = [name for name in names if name in frame]
    told = [n for n in held if frame[n].astype(str).str.strip().str.len().any() or frame.empty]
    return frame[told].rename(columns=SCENE_COLUMNS)


def quality(products: Products) -> Section:
    """Show how often each pixel was seen clearly, and what could not be read."""
    key, title = "quality", "Data quality"
    cube = products.cube
    notes, tables = _reading(products)
    if cube is None:
        return Section(key=key, title=title, missing="There is no cube.", notes=notes)
    drawn = picture(
        "looks",
        maps.looks_map(products.frame, cube.n_clear, cube.n_snow, cube.n_shadow),
        alt="Two maps: clear looks of every pixel, and where only snow or shadow was seen.",
        caption="Left: looks that make up each pixel. Right: pixels seen only in shadow, under "
        "snow, or never.",
    )
    return Section(key=key, title=title, notes=notes, pictures=(drawn,), tables=tables)


def _reading(products: Products) -> tuple[tuple[str, ...], tuple[Table, ...]]:
    """Tell of scenes that could not be read, and of reads that were tried again."""
    receipt: dict[str, Any] = products.json(products.study.receipts_path / "cube.json") or {}
    facts = receipt.get("facts")
    if not facts:
        return ("How the reading went is not known: the cube has no receipt.",), ()
    skipped = facts.get("skipped") or []
    notes = [
        f"{len(skipped)} scene{'s' * (len(skipped) > 1)} skipped as unreadable."
        if skipped
        else "Every scene could be read; none was skipped.",
        f"Reads that were tried again: {facts.get('retries', 0)}.",
    ]
    told = [f"{100 * facts[k]:.2f} % {word}" for k, word in SHARES.items() if k in facts]
    if told:
        notes.append(f"Of the pixels: {', '.join(told)}.")
    if not skipped:
        return tuple(notes), ()
    rows = [one if isinstance(one, dict) else {"scene": str(one)} for one in skipped]
    table = Table(name="skipped", caption="Scenes that were skipped", frame=pd.DataFrame(rows))
    return tuple(notes), (table,)


def colours(products: Products) -> Section:
    """Show the largest landforms in true and false colour."""
    key, title = "colours", "Rock glaciers in true and false colour"
    if products.cube is None:
        return Section(key=key, title=title, missing="There is no cube.")
    examples = largest_found(products, 5)
    if not examples:
        return Section(key=key, title=title, missing="No rock glacier outside training ground.")
    windows = Windows(products)
    pairs = [
        (
            example.title,
            frame_at(products, example.window),
            windows.colours(example.window, is_true=True),
            windows.colours(example.window),
        )
        for example in examples
    ]
    found = products.inventory[products.inventory["ground"] != "train"]
    bands = ", ".join(products.cube.bands)
    drawn = picture(
        "colours",
        plates.pairs_figure(pairs, found),
        alt=f"The {len(pairs)} largest outlines outside training ground, each in true and in false "
        "colour.",
        caption=f"The largest outlines outside training ground; false colour is {bands}. Outlines "
        "lie in false colour only, so that the ground below them can be judged.",
    )
    lacking = "" if pairs[0][2] is not None else "The cube lacks the bands of true colour."
    return Section(key=key, title=title, missing=lacking, pictures=(drawn,))
