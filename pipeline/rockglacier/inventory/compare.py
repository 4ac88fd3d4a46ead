"""Two inventories side by side: a link table, scores, and how far their outlines lie apart.

The same numbers are called *accuracy* where ``b`` is a reference made by people, with precision and
recall, and *agreement* where it is not, with the shares of either that the other one has too.
Inventories are incomplete, so what only one of them holds is ``only_in_a`` or ``only_in_b``, and
neither false nor missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.inventory.match import EQUAL_AREA, IOU_MATCH, Comparison, Flags
from rockglacier.inventory.match import compare as relate
from rockglacier.inventory.scores import summary
from rockglacier.labels.columns import named_columns

ReferenceKind = Literal["agreement", "accuracy"]

STEP_M: Final = 10.0
"""Distance of the places along an outline at which its distance to the other one is taken."""

MAX_PLACES: Final = 2000
"""Places along one outline: a longer one is sampled more coarsely."""

APART_DEG: Final = 0.5
"""Degrees between the boxes of two inventories from which they are of other ground: 50 km. Few
outlines of one basin may well lie beside each other."""

EXTENDED: Final = "extended"
OUT_TYPE: Final = "OutType"
RENAMED: Final = {"precision": "share_of_a", "recall": "share_of_b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What two inventories have in common, and what not."""

    links: gpd.GeoDataFrame
    """An overlap a row, then a row for every outline without one, EPSG:4326: ``id_a, id_b,
    overlap_area_km2, area_fraction_a, area_fraction_b, iou, boundary_distance_m`` (median, of
    matched outlines), ``n_a, n_b, cluster_id, relation``; the geometry is the ground of the
    overlap, or the outline that has none."""
    objects_a: pd.DataFrame
    """An outline of ``a`` a row: ``id, area_km2, size_class, relation, matched_id, iou, cover,
    on_edge``."""
    objects_b: pd.DataFrame
    """The same of ``b``."""
    summary: dict[str, Any]
    """``heading, reference_kind, n_a, n_b, count_ratio, area_a_km2, area_b_km2, area_bias,
    iou_0.5, cover_0.5, curve, size_classes, relations_a, relations_b, boundary_distance_m,
    left_out, notes``; JSON-able, None where undefined."""


def compare(
    a: gpd.GeoDataFrame,
    b: gpd.GeoDataFrame,
    *,
    within: BaseGeometry | None = None,
    reference_kind: ReferenceKind = "agreement",
    names: tuple[str, str] = ("A", "B"),
) -> Sides:
    """Compare two inventories.

    Parameters
    ----------
    a, b
        Polygons, any CRS. Where a table holds outlines of several RGIK types, the extended ones
        are compared, and a note says so.
    within
        Where both are meant to be complete, EPSG:4326. Outlines take part if their representative
        point lies in it; those that cross its edge are counted. None: all of both.
    reference_kind
        ``accuracy`` if ``b`` was made by people and counts as true here; else ``agreement``.
    names
        What the heading calls them.

    Raises
    ------
    InputError
        An inventory has no CRS, nothing of either lies in ``within``, or the two lie apart.

    Notes
    -----
    Two rules: pairs one to one with an intersection over union of 0.5 or more (optimal, see
    :func:`rockglacier.inventory.match.compare`), and at least half of an outline inside the union
    of the other inventory, both ways.
    """
    notes: list[str] = []
    a, b = _extended(a, "A", notes), _extended(b, "B", notes)
    _require_meeting(a, b, names)
    comparison = relate(a, b, within)
    _require_some(comparison, a, b, names, within)
    if within is None:
        notes.append(
            "no common area was given: what only one of them holds may just lie beyond the other"
        )
    notes += _notes_on_periods(a, b)
    distances, middle = boundary_distances(comparison)
    scores = summary(comparison)
    if reference_kind == "agreement":
        scores = _renamed(scores)
    heading = (
        f"Accuracy of {names[0]} (A) against the reference {names[1]} (B)"
        if reference_kind == "accuracy"
        else f"Agreement of {names[0]} (A) and {names[1]} (B): neither is taken for the truth"
    )
    return Sides(
        links=_with_ground(comparison, distances),
        objects_a=comparison.objects_a,
        objects_b=comparison.objects_b,
        summary={
            "heading": heading,
            "reference_kind": reference_kind,
            **scores,
            "boundary_distance_m": middle,
            "left_out": comparison.left_out,
            "notes": notes,
        },
    )


def _extended(table: gpd.GeoDataFrame, name: str, notes: list[str]) -> gpd.GeoDataFrame:
    """Return one outline a landform where RGIK tables hold its extended and its restricted one."""
    table = named_columns(table, {}, uri=name)
    if OUT_TYPE not in table:
        return table
    is_extended = table[OUT_TYPE].astype("string").str.lower().fillna("") == EXTENDED
    if not is_extended.any() or is_extended.all():
        return table
    notes.append(
        f"{name} holds outlines of several types: the {int(is_extended.sum())} extended ones of "
        f"{len(table)} were compared"
    )
    return table[is_extended.to_numpy(bool)]


def _require_meeting(a: gpd.GeoDataFrame, b: gpd.GeoDataFrame, names: tuple[str, str]) -> None:
    if a.crs is None or b.crs is None or a.empty or b.empty:
        return
    boxes = [table.to_crs(4326).total_bounds for table in (a, b)]
    if not all(np.isfinite(box).all() for box in boxes):
        return
    if shapely.box(*boxes[0]).distance(shapely.box(*boxes[1])) <= APART_DEG:
        return
    places = [", ".join(f"{value:.2f}" for value in box) for box in boxes]
    raise InputError(
        f"the two inventories lie apart: {names[0]} within {places[0]}, {names[1]} within "
        f"{places[1]} (west, south, east, north)",
        expected="two inventories of the same ground",
        todo="check the files, and their CRS: are longitude and latitude swapped?",
    )


def _require_some(
    comparison: Comparison,
    a: gpd.GeoDataFrame,
    b: gpd.GeoDataFrame,
    names: tuple[str, str],
    within: BaseGeometry | None,
) -> None:
    taking_part = len(comparison.objects_a) + len(comparison.objects_b)
    if within is None or taking_part or not len(a) + len(b):
        return
    box = ", ".join(f"{value:.2f}" for value in within.bounds)
    raise InputError(
        f"no outline of {names[0]} or {names[1]} lies in the common area ({box})",
        expected="an area that both inventories cover",
        todo="check the area, and its CRS",
    )


def _notes_on_periods(a: gpd.GeoDataFrame, b: gpd.GeoDataFrame) -> list[str]:
    periods = [
        sorted(set(table["period"].dropna().astype(str))) if "period" in table else []
        for table in (a, b)
    ]
    if not all(periods) or periods[0] == periods[1]:
        return []
    said = (
        f"the periods differ ({', '.join(periods[0])} and {', '.join(periods[1])}): outlines from "
        "10 m pixels seldom resolve real change; see whether areas differ by more than "
        "area_uncertainty_km2"
    )
    return [said]


def _renamed(scores: Any) -> Any:
    """Return scores without the words that take one side for the truth."""
    if isinstance(scores, dict):
        return {RENAMED.get(name, name): _renamed(value) for name, value in scores.items()}
    return [_renamed(value) for value in scores] if isinstance(scores, list) else scores


def boundary_distances(
    comparison: Comparison,
) -> tuple[NDArray[np.float64], float | None]:
    """Return how far matched outlines lie apart: the median of each link, and of all together.

    Parameters
    ----------
    comparison
        Of :func:`rockglacier.inventory.match.compare`.

    Returns
    -------
    per_link, overall
        Metres. NaN for links that are not matched; None where none is.

    Notes
    -----
    Places every 10 m along either outline, holes included, each with its distance to the other
    outline. The equal-area projection stretches one way and shrinks the other; both are undone at
    the place of each pair.
    """
    per_link = np.full(len(comparison.links), np.nan)
    every: list[NDArray[np.float64]] = []
    matched = np.flatnonzero((comparison.links["relation"] == "matched").to_numpy(bool))
    if matched.size == 0:
        return per_link, None
    pairs = comparison.rows[matched]
    a, b = comparison.outlines_a[pairs[:, 0]], comparison.outlines_b[pairs[:, 1]]
    stretch = _stretch(shapely.get_coordinates(shapely.centroid(a)))
    for link, one, other, factors in zip(matched, a, b, stretch, strict=True):
        lines = [
            shapely.boundary(shapely.transform(outline, lambda xy, f=factors: xy / f))
            for outline in (one, other)
        ]
        places = [_places(line) for line in lines]
        shapely.prepare(lines)
        apart = np.concatenate(
            [shapely.distance(places[0], lines[1]), shapely.distance(places[1], lines[0])]
        )
        per_link[link] = np.median(apart)
        every.append(apart)
    return per_link, float(np.median(np.concatenate(every)))


def _stretch(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much longer x and y are than on the ground, (n, 2), at places of EQUAL_AREA."""
    to_degrees = Transformer.from_crs(EQUAL_AREA, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(centres[:, 0], centres[:, 1])
    factors = Proj(CRS.from_epsg(EQUAL_AREA)).get_factors(longitude, latitude)
    return np.stack([factors.parallel_scale, factors.meridional_scale], axis=1)


def _places(line: BaseGeometry) -> NDArray[Any]:
    step = max(STEP_M, shapely.length(line) / MAX_PLACES)
    return shapely.points(shapely.get_coordinates(shapely.segmentize(line, step)))


def ground_of_links(comparison: Comparison) -> gpd.GeoSeries:
    """Return the ground of every link, EPSG:4326: that of the overlap, or of the lonely outline."""
    a, b = comparison.rows[:, 0], comparison.rows[:, 1]
    ground = np.full(len(comparison.links), None, dtype=object)
    is_both: Flags = (a >= 0) & (b >= 0)
    ground[is_both] = shapely.intersection(
        comparison.outlines_a[a[is_both]], comparison.outlines_b[b[is_both]]
    )
    ground[b < 0] = comparison.outlines_a[a[b < 0]]
    ground[a < 0] = comparison.outlines_b[b[a < 0]]
    return gpd.GeoSeries(ground, index=comparison.links.index, crs=EQUAL_AREA).to_crs(4326)


def _with_ground(comparison: Comparison, distances: NDArray[np.float64]) -> gpd.GeoDataFrame:
    table = comparison.links.copy()
    table.insert(table.columns.get_loc("iou") + 1, "boundary_distance_m", distances)
    return gpd.GeoDataFrame(table, geometry=ground_of_links(comparison), crs=4326)


def lines_of(scores: dict[str, Any]) -> list[str]:
    """Return a comparison as lines of text, a screen of it.

    Parameters
    ----------
    scores
        ``summary`` of :class:`Sides`.
    """
    of_a, of_b = ("precision", "recall")
    if scores["reference_kind"] == "agreement":
        of_a, of_b = RENAMED[of_a], RENAMED[of_b]
    bias = scores["area_bias"]
    areas = f"A {scores['area_a_km2']:.2f} km², B {scores['area_b_km2']:.2f} km²"
    count = _shown(scores["count_ratio"])
    lines = [
        scores["heading"],
        f"  outlines      A {scores['n_a']}, B {scores['n_b']}; count_ratio {count} (no accuracy)",
        f"  area          {areas}; bias {'-' if bias is None else f'{bias:+.1%}'}",
    ]
    for title, rule in (
        (f"IoU ≥ {IOU_MATCH}", "iou_0.5"),
        ("half covered", "cover_0.5"),
    ):
        found = scores[rule]
        lines.append(
            f"  {title:<14}A {found['matched_a']}, B {found['matched_b']}; {of_a} "
            f"{_shown(found[of_a])}, {of_b} {_shown(found[of_b])}, F1 {_shown(found['f1'])}"
        )
    for side in "ab":
        counts = scores[f"relations_{side}"]
        shown = ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"
        lines.append(f"  relations {side.upper()}   {shown}")
    apart = scores["boundary_distance_m"]
    lines.append(
        f"  boundaries    {'-' if apart is None else f'{apart:.0f} m'} apart (median of matched)"
    )
    lines.append(f"  {'by size, km²':<14}{'A':>6}{'B':>6}{of_a:>12}{of_b:>12}{'cover A':>9}"
                 f"{'cover B':>9}")  # fmt: skip
    lines += [
        f"  {row['class_km2']:<14}{row['n_a']:>6}{row['n_b']:>6}{_shown(row[of_a]):>12}"
        f"{_shown(row[of_b]):>12}{_shown(row['cover_0.5'][of_a]):>9}"
        f"{_shown(row['cover_0.5'][of_b]):>9}"
        for row in scores["size_classes"]
    ]
    curve = "  ".join(f"{point['iou']}: {_shown(point['f1'])}" for point in scores["curve"])
    lines.append(f"  F1 by IoU     {curve}")
    left = ", ".join(f"{key} {n}" for key, n in scores["left_out"].items() if n)
    if left:
        lines.append(f"  left out      {left}")
    return lines + [f"  note: {note}" for note in scores["notes"]]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
