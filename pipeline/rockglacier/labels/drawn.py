"""What was drawn on chips, brought back to the map."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely
from affine import Affine
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pyproj import CRS
from pyproj.exceptions import CRSError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.labels.draw import CHIPS, file_hash, moved
from rockglacier.labels.labelme import LANDFORM, Drawing, read_drawing
from rockglacier.storage import parse_json, read_bytes

logger = logging.getLogger(__name__)

SHOWN: Final = 20
"""Problems that a message lists."""

MEETING: Final = 8.0
"""Square pixels that two pieces share, widened by a pixel, if they meet along more than two."""

COLUMNS: Final = ("label", "chip")
LARGEST: Final = 100_000
"""Edge of a chip, pixels."""


class Chip(BaseModel):
    """What is needed to bring the drawing of one chip back to the map."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    chip: str = Field(min_length=1)
    height: int = Field(gt=0, le=LARGEST)
    width: int = Field(gt=0, le=LARGEST)
    epsg: int
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f of the chip's pixels."""
    begun: str | None
    """Checksum of the drawing that it came with."""

    @field_validator("epsg")
    @classmethod
    def _is_known(cls, code: int) -> int:
        CRS.from_epsg(code)
        return code

    @field_validator("transform")
    @classmethod
    def _has_area(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not Affine(*values[:6]).determinant:
            raise ValueError("pixels without an area")
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A folder of drawings on the map."""

    outlines: gpd.GeoDataFrame
    """``label``, ``chip``, polygons; the CRS of the chips, EPSG:4326 if there are several."""
    complete: gpd.GeoDataFrame
    """``chip``, ``outlines`` (how many), the box of every chip that was looked at; same CRS."""
    repaired: int
    """Shapes that crossed themselves."""
    untouched: tuple[str, ...]
    """Chips that nobody looked at: their outlines to begin from were never saved, or nothing is
    drawn and the flag ``looked_at`` is not set."""
    unsaved: int
    """Chips without a drawing."""
    pixel_m: float
    """Edge of a pixel of the chips."""


def read_drawn(folder: Path, *, landforms: Sequence[str] = (LANDFORM,)) -> Drawn:
    """Bring the drawings of a folder back to map coordinates.

    Parameters
    ----------
    folder
        Of :func:`rockglacier.labels.draw.write_chips`, with LabelMe's files in it or below.
    landforms
        Labels of landforms, beside ``hole`` and ``ignore``.

    Returns
    -------
    Drawn
        A saved chip without shapes is complete and empty: a true negative.

    Raises
    ------
    InputError
        A drawing belongs to no chip, was made on an image of another size, has labels or shapes
        that mean nothing; all of them are listed, and nothing is taken.
    NotFoundError
        The folder holds no chips, or no drawing.
    """
    chips = _chips(folder)
    drawings, problems, unknown = _drawings(folder, chips, landforms)
    _refuse(problems, unknown, landforms)
    saved = {
        name: drawing
        for name, (path, drawing) in drawings.items()
        if chips[name]["begun"] != file_hash(path) and not drawing.is_open
    }
    untouched = tuple(sorted(set(drawings) - set(saved)))
    if not saved:
        raise NotFoundError(
            f"no chip in {str(folder)!r} was drawn on",
            expected="LabelMe's .json files beside the pictures",
            todo="save every chip that was looked at in LabelMe, also those without a rock glacier "
            "(set the flag looked_at)",
        )
    return Drawn(
        outlines=_joined([_outlines(chips[name], saved[name]) for name in sorted(saved)]),
        complete=_joined([_box(chips[name], saved[name]) for name in sorted(saved)]),
        repaired=sum(drawing.repaired for drawing in saved.values()),
        untouched=untouched,
        unsaved=len(chips) - len(drawings),
        pixel_m=float(next(iter(chips.values()))["transform"][0]),
    )


def _chips(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / CHIPS
    if not path.is_file():
        raise NotFoundError(
            f"no {CHIPS!r} in {str(folder)!r}",
            expected="a folder that `rockglacier export STUDY.yaml --to labelme` wrote",
            todo="keep the drawings in the folder of their chips",
        )
    try:
        values = parse_json(read_bytes(path), source=str(path))
        chips = [Chip.model_validate(feature["properties"]) for feature in values["features"]]
    except (ContractError, CRSError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {error}",
            expected="the list of chips as `rockglacier export --to labelme` wrote it",
            todo="get the file again, or export the chips again and put the drawings beside them",
        ) from error
    return {chip.chip: chip.model_dump() for chip in chips}


def _drawings(
    folder: Path, chips: dict[str, dict[str, Any]], landforms: Sequence[str]
) -> tuple[dict[str, tuple[Path, Drawing]], list[str], Counter[tuple[str, str]]]:
    found: dict[str, tuple[Path, Drawing]] = {}
    problems: list[str] = []
    unknown: Counter[tuple[str, str]] = Counter()
    for path in sorted(folder.rglob("*.json")):
        try:
            values = parse_json(read_bytes(path), source=path.name)
        except ContractError as error:
            problems.append(error.found)
            continue
        name = _chip_of(path, values, chips)
        if name is None:
            problems.append(f"{path.name}: there is no such chip")
            continue
        if name in found:
            problems.append(f"{path.name}: chip {name} was drawn in {found[name][0].name} too")
            continue
        size = chips[name]["height"], chips[name]["width"]
        drawing = read_drawing(values, size=size, landforms=landforms)
        problems += [f"{path.name}: {problem}" for problem in drawing.problems]
        unknown.update((label, path.name) for label in drawing.unknown)
        found[name] = path, drawing
    return found, problems, unknown


def _chip_of(path: Path, values: Any, chips: dict[str, dict[str, Any]]) -> str | None:
    """Return the chip of a drawing: by its name, or by the image that it names."""
    if path.stem in chips:
        return path.stem
    image = str(values.get("imagePath") or "") if isinstance(values, dict) else ""
    name = Path(image.replace("\\", "/")).stem  # a drawing may come from Windows
    return name if name in chips else None


def _refuse(
    problems: Sequence[str], unknown: Counter[tuple[str, str]], landforms: Sequence[str]
) -> None:
    lines = list(problems)
    by_label: dict[str, list[str]] = {}
    for (label, name), count in sorted(unknown.items()):
        by_label.setdefault(label, []).append(f"{name} ({count})")
    for label, names in by_label.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"label {label!r} is unknown: {', '.join(names[:3])}{more}")
    if not lines:
        return
    rest = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise InputError(
        f"{len(lines)} thing(s) in the drawings cannot be used:\n"
        + "\n".join(f"    {line}" for line in [*lines[:SHOWN], *rest]),
        expected=f"areas on the chips as they were written, with the labels "
        f"{', '.join(landforms)}, hole or ignore",
        todo="mend them in LabelMe, or name labels of landforms with --labels",
    )


def _outlines(chip: dict[str, Any], drawing: Drawing) -> gpd.GeoDataFrame:
    transform = Affine(*chip["transform"])
    rows = [{"label": outline.label, "chip": chip["chip"]} for outline in drawing.outlines]
    shapes = [moved(outline.polygon, transform) for outline in drawing.outlines]
    return gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=list(COLUMNS)), geometry=shapes, crs=chip["epsg"]
    )


def _box(chip: dict[str, Any], drawing: Drawing) -> gpd.GeoDataFrame:
    box = shapely.box(0, 0, chip["width"], chip["height"])
    return gpd.GeoDataFrame(
        {"chip": [chip["chip"]], "outlines": [len(drawing.outlines)]},
        geometry=[moved(box, Affine(*chip["transform"]))],
        crs=chip["epsg"],
    )


def _joined(tables: Sequence[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    codes = {table.crs.to_epsg() for table in tables}
    same = list(tables) if len(codes) == 1 else [table.to_crs(4326) for table in tables]
    full = [table for table in same if len(table)]
    return gpd.GeoDataFrame(pd.concat(full, ignore_index=True)) if full else same[0]


def together(rounds: Sequence[Drawn]) -> Drawn:
    """Join the drawings of several folders, and the pieces of landforms that chips cut.

    Parameters
    ----------
    rounds
        At least one: drawn one after the other, or by one person each.

    Returns
    -------
    Drawn
        Outlines of one label that meet along the edge of two chips are one outline.
    """
    pixel_m = rounds[0].pixel_m
    return Drawn(
        outlines=_whole(_joined([drawn.outlines for drawn in rounds]), pixel_m),
        complete=_joined([drawn.complete for drawn in rounds]),
        repaired=sum(drawn.repaired for drawn in rounds),
        untouched=tuple(name for drawn in rounds for name in drawn.untouched),
        unsaved=sum(drawn.unsaved for drawn in rounds),
        pixel_m=pixel_m,
    )


def _whole(outlines: gpd.GeoDataFrame, pixel_m: float) -> gpd.GeoDataFrame:
    if not len(outlines) or outlines.crs.is_geographic:
        return outlines
    shapes = outlines.geometry.to_numpy()
    first, second = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=pixel_m)
    label, chip = outlines["label"].to_numpy(), outlines["chip"].to_numpy()
    is_pair = (first < second) & (label[first] == label[second]) & (chip[first] != chip[second])
    first, second = first[is_pair], second[is_pair]
    near = shapely.intersection(
        shapely.buffer(shapes[first], pixel_m), shapely.buffer(shapes[second], pixel_m)
    )
    is_long = shapely.area(near) >= MEETING * pixel_m**2
    links = coo_array(
        (is_long[is_long], (first[is_long], second[is_long])), shape=[len(shapes)] * 2
    )
    _, number = connected_components(links, directed=False)
    rows = []
    for _, piece in outlines.groupby(number, sort=False):
        chips = "; ".join(dict.fromkeys(piece["chip"]))
        rows.append({"label": piece["label"].iloc[0], "chip": chips,
                     "geometry": shapely.union_all(piece.geometry.to_numpy())})  # fmt: skip
    return gpd.GeoDataFrame(rows, crs=outlines.crs)


def told(drawn: Drawn) -> list[str]:
    """Return what was found, in lines for people."""
    empty = int((drawn.complete["outlines"] == 0).sum())
    found = f"{len(drawn.outlines)} outline(s) on {len(drawn.complete)} chip(s)"
    lines = [f"{found}, {empty} of them without any; {drawn.unsaved} chip(s) were not drawn on"]
    if drawn.repaired:
        lines.append(f"{drawn.repaired} shape(s) crossed themselves and were repaired")
    if drawn.untouched:
        lines.append(
            f"{len(drawn.untouched)} chip(s) were not looked at, and are left out: if they are "
            "right as they are, set looked_at and save them in LabelMe"
        )
    return lines


def write_drawn(drawn: Drawn, folder: Path) -> tuple[Path, Path]:
    """Write ``outlines.gpkg`` and ``complete.gpkg`` into a folder: where, and where at all.

    An edit of an earlier one in QGIS is not overwritten unseen: the older files are kept beside,
    with a number in their name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "outlines.gpkg", folder / "complete.gpkg"
    for path, table in zip(paths, (drawn.outlines, drawn.complete), strict=True):
        _set_aside(path)
        table.to_file(path, layer=path.stem, driver="GPKG", geometry_type="MultiPolygon",
                      promote_to_multi=True)  # fmt: skip
    return paths


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
    logger.info("kept the former %s as %s", path.name, kept.name)
