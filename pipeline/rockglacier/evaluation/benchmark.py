"""A benchmark: a folder that says which ground is scored, what is true there, and by what rules.

=====================  =========================================================================
``benchmark.json``     name, version, title, protocol, licence, citation, resolution, rules
``areas.parquet``      an area a row: ``area, split, fold, epsg, x0, y0`` and where the reference is
                       complete (EPSG:4326)
``reference.parquet``  an outline a row: ``area, id, use`` (landform or ignore), EPSG:4326
``kinds/AREA.tif``     optional: the kind of ground of every pixel, as numbered in the JSON
=====================  =========================================================================

Areas are scored one by one, so that those of a benchmark may lie on each other. ``fold`` numbers
the areas that are left out together: a model that is scored on a fold has seen no ground of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import geopandas as gpd
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError, NotFoundError
from rockglacier.evaluation.boundary import TOLERANCE_PX
from rockglacier.grid import Grid, projected
from rockglacier.inventory.geoparquet import write_geoparquet
from rockglacier.inventory.references import complete_area
from rockglacier.labels.split import windows_of
from rockglacier.storage import read_json, readable, write_json
from rockglacier.study import Study, open_study

FORMAT: Final = 1
ABOUT: Final = "benchmark.json"
FOLDER: Final = "benchmarks"
"""Where a benchmark is looked for by its name, in the working folder."""
TILE_PX: Final = 2048
"""Edge of the blocks in which areas are traced."""

Protocol = Literal["held-out", "leave-one-area-out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a benchmark scores."""

    threshold: float = 0.5
    """Probability from which a pixel of a raster is a rock glacier, unless the user gives one."""
    min_area_km2: float = 0.01
    """Smaller outlines, of the map and of the reference, are not judged as landforms."""
    boundary_px: float = TOLERANCE_PX
    block_px: int = 256
    """Edge of the blocks that are drawn anew for intervals, pixels, at most."""
    unmapped: Literal["background", "ignore"] = "background"
    """What ground without data in a raster counts as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark in memory."""

    name: str
    version: str
    title: str
    protocol: Protocol
    resolution: float
    """Edge of a pixel, metres."""
    areas: gpd.GeoDataFrame
    reference: gpd.GeoDataFrame
    license: str = "other"
    citation: str = ""
    rules: Rules = field(default_factory=Rules)
    kinds: dict[int, str] = field(default_factory=dict)
    """Number to name of the kinds of ground."""
    folder: Path | None = None

    def test_areas(self) -> list[str]:
        """Return the names of the areas that are scored, in order."""
        return [str(n) for n in self.areas.loc[self.areas["split"] == "test", "area"]]

    def ground(self, area: str) -> BaseGeometry:
        """Return where the reference of an area is complete, EPSG:4326."""
        return self._row(area).geometry

    def grid(self, area: str) -> Grid:
        """Return the pixels of an area."""
        row = self._row(area)
        return Grid.from_area(
            row.geometry,
            epsg=int(row["epsg"]),
            resolution=self.resolution,
            block=TILE_PX,
            origin=(float(row["x0"]), float(row["y0"])),
        )

    def outlines(self, area: str, *, use: str) -> gpd.GeoDataFrame:
        """Return the reference of an area that is used as ``landform`` or ``ignore``."""
        is_here = (self.reference["area"] == area) & (self.reference["use"] == use)
        return self.reference[is_here]

    def kinds_path(self, area: str) -> Path | None:
        """Return the raster of the kinds of ground of an area, if there is one."""
        path = self.folder / "kinds" / f"{area}.tif" if self.folder else None
        return path if path and path.is_file() else None

    def _row(self, area: str) -> Any:
        rows = self.areas[self.areas["area"] == area]
        if len(rows) != 1:
            raise InputError(
                f"benchmark {self.name!r} has {len(rows)} areas {area!r}",
                expected=f"one of {', '.join(map(str, self.areas['area']))}",
            )
        return rows.iloc[0]


def require_free(folder: Path) -> None:
    """Raise where a folder holds a benchmark already: scores on it would be of another one.

    Raises
    ------
    InputError
        It does.
    """
    path = folder / ABOUT
    if path.is_file():
        raise InputError(
            f"{str(folder)!r} holds benchmark {read_json(path).get('name')!r}",
            expected="a folder without one: scores are of the ground that it had",
            todo="name another folder, or write over it with --replace",
        )


def write_benchmark(benchmark: Benchmark, folder: Path) -> Path:
    """Write a benchmark as a folder; rasters of kinds are the caller's."""
    write_geoparquet(_degrees(benchmark.areas), folder / "areas.parquet")
    write_geoparquet(_degrees(benchmark.reference), folder / "reference.parquet")
    write_json(
        folder / ABOUT,
        {
            "format": FORMAT,
            "name": benchmark.name,
            "version": benchmark.version,
            "title": benchmark.title,
            "protocol": benchmark.protocol,
            "resolution": benchmark.resolution,
            "license": benchmark.license,
            "citation": benchmark.citation,
            "rules": asdict(benchmark.rules),
            "kinds": {str(number): name for number, name in benchmark.kinds.items()},
        },
    )
    return folder


def read_benchmark(folder: Path) -> Benchmark:
    """Read a benchmark's folder.

    Raises
    ------
    NotFoundError
        There is no such folder.
    InputError
        It is of another format, lacks a column, or holds no area to score.
    """
    path = folder / ABOUT
    if not path.is_file():
        raise NotFoundError(
            f"no benchmark in {str(folder)!r}",
            expected="a folder with benchmark.json, areas.parquet and reference.parquet",
            todo="make one: rockglacier benchmark synthetic|rogi-cci|STUDY.yaml FOLDER",
        )
    facts = read_json(path)
    if facts.get("format") != FORMAT:
        raise InputError(
            f"{str(path)!r} is of format {facts.get('format')!r}", expected=f"format {FORMAT}"
        )
    known = {f.name for f in fields(Rules)}
    if unknown := set(facts["rules"]) - known:
        raise InputError(
            f"{str(path)!r} has unknown rules: {', '.join(sorted(unknown))}",
            expected=", ".join(sorted(known)),
        )
    areas = _table(folder / "areas.parquet", ("area", "split", "fold", "epsg", "x0", "y0"))
    reference = _table(folder / "reference.parquet", ("area", "id", "use"))
    benchmark = Benchmark(
        **{name: facts[name] for name in ("name", "version", "title", "protocol", "resolution")},
        license=facts["license"],
        citation=facts["citation"],
        rules=Rules(**facts["rules"]),
        kinds={int(number): name for number, name in facts["kinds"].items()},
        areas=areas,
        reference=reference,
        folder=folder,
    )
    if not benchmark.test_areas():
        raise InputError(f"benchmark {benchmark.name!r} holds no area of the split test")
    return benchmark


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by its folder, its name in ``benchmarks/``, or a study's file.

    A study's own test ground is a benchmark too: the file is its ``STUDY.yaml``.
    """
    if name.endswith((".yaml", ".yml")):
        return benchmark_of(open_study(name))
    folder = Path(name)
    if not (folder / ABOUT).is_file() and (Path(FOLDER) / name).is_dir():
        folder = Path(FOLDER) / name
    return read_benchmark(folder)


def benchmark_of(study: Study) -> Benchmark:
    """Return the test ground of a study as a benchmark of one area, on the study's pixels."""
    grid = study.grid
    splits = gpd.read_parquet(readable(study.require(study.splits_path, stage="label")))
    cells = [grid.window_geobox(w).boundingbox for w in windows_of(splits, "test")]
    if not cells:
        raise InputError(
            "the split of the ground holds no test ground",
            expected="ground that no network has seen",
            todo="set labels.test_share above 0, then `rockglacier run STUDY.yaml`",
        )
    ground = shapely.union_all([shapely.box(*cell.bbox) for cell in cells])
    labels = gpd.read_parquet(readable(study.require(study.label_table_path, stage="label")))
    labels = labels.to_crs(4326)
    labels = labels[labels["used"] | (labels["action"] == "filtered")]
    # as burnt: a landform is known beyond the ground on which the reference is complete
    landforms = labels.geometry[labels["used"]].to_crs(grid.epsg)
    known = shapely.union_all([projected(complete_area(study), epsg=grid.epsg), *landforms])
    ground = ground.intersection(known)
    return Benchmark(
        name=study.config.name,
        version="1",
        title=f"test ground of {study.config.name}",
        protocol="held-out",
        resolution=grid.resolution,
        areas=area_table(
            [
                area_row(
                    "test",
                    projected(ground, epsg=4326, source_epsg=grid.epsg),
                    epsg=grid.epsg,
                    origin=(grid.transform.c, grid.transform.f),
                )
            ]
        ),
        reference=gpd.GeoDataFrame(
            {
                "area": "test",
                "id": labels["label_id"].astype(str).to_numpy(),
                "use": ["landform" if used else "ignore" for used in labels["used"]],
            },
            geometry=labels.geometry.to_numpy(),
            crs=4326,
        ),
        rules=Rules(
            min_area_km2=study.config.inventory.min_area_km2, block_px=study.config.train.chip
        ),
    )


def area_row(
    name: str,
    ground: BaseGeometry,
    *,
    epsg: int,
    split: str = "test",
    fold: int = 0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Any]:
    """Return a row of ``areas.parquet``; ``ground`` in EPSG:4326."""
    return {
        "area": name,
        "split": split,
        "fold": fold,
        "epsg": epsg,
        "x0": float(origin[0]),
        "y0": float(origin[1]),
        "geometry": ground,
    }


def area_table(rows: list[dict[str, Any]]) -> gpd.GeoDataFrame:
    """Return rows of areas as a table, EPSG:4326."""
    return gpd.GeoDataFrame(rows, geometry="geometry", crs=4326)


def _degrees(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return table if table.crs == "EPSG:4326" else table.to_crs(4326)


def _table(path: Path, columns: tuple[str, ...]) -> gpd.GeoDataFrame:
    if not path.is_file():
        raise NotFoundError(f"no {path.name!r} in {str(path.parent)!r}", expected="GeoParquet")
    table = gpd.read_parquet(path)
    if missing := [name for name in columns if name not in table]:
        raise InputError(
            f"{str(path)!r} lacks the columns {', '.join(missing)}", expected=", ".join(columns)
        )
    return table.to_crs(4326)
