"""A study: a checked config, its folder, and the products that stages leave in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import shapely
import yaml
from shapely.geometry.base import BaseGeometry

from rockglacier.config import Config, load_config
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Grid
from rockglacier.periods import Period, periods_of
from rockglacier.storage import masked, open_place, read_json, write_text
from rockglacier.storage.vector import read_polygons
from rockglacier_stac.globe import HALF, box_of, cut

RECORD = "study.yaml"
"""The settings of a run, beside its products."""
OWN_BEFORE_CLAIM = {".lease", "logs"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything a stage is given."""

    config: Config
    base: Path
    """Folder against which relative paths of the config are meant."""
    answers: Path | None = None
    """Folder of what servers answered, which several basins share; None: they are asked anew."""

    chosen: Period | None = None
    """The period that is meant, of several; None: the one that teaches."""

    @cached_property
    def periods(self) -> tuple[Period, ...]:
        """The periods of the cube, the earliest first."""
        return periods_of(self.config)

    @cached_property
    def teaching_period(self) -> Period:
        """The period that features are fitted to and networks learn from.

        Raises
        ------
        InputError
            No period has the name that the settings say.
        """
        wanted = self.config.features.period
        if wanted is None:
            return self.periods[0]
        return self._period_named(
            wanted,
            said="features.period",
            todo="set features.period to one of them, or cube.periods to others",
        )

    def _period_named(self, name: str, *, said: str, todo: str) -> Period:
        for period in self.periods:
            if period.name == name:
                return period
        raise InputError(
            f"no period {name!r}, {said}, in the cube of {self.config.name!r}",
            expected=", ".join(period.name for period in self.periods),
            todo=todo,
        )

    @property
    def period(self) -> Period:
        """The period whose features, prediction and inventory are meant."""
        return self.chosen or self.teaching_period

    def in_period(self, period: Period) -> Self:
        """Return the study with the products of one of its periods."""
        return replace(self, chosen=period)

    def of_period(self, name: str | None) -> Self:
        """Return the study with the products of the period of a name; None: of its last one.

        Raises
        ------
        InputError
            No period has that name.
        """
        if name is None:
            return self.in_period(self.periods[-1])
        return self.in_period(
            self._period_named(name, said="the one asked for", todo="name one of these")
        )

    def each_period(self) -> list[Self]:
        """Return the study with the products of each of its periods, the one that teaches first."""
        first = self.teaching_period
        return [self.in_period(p) for p in sorted(self.periods, key=lambda p: p != first)]

    @cached_property
    def folder(self) -> Path:
        """Folder of the products, here or in an object store."""
        return open_place(self.resolve(self.config.output or self.config.name))

    def resolve(self, uri: str) -> str:
        """Return a path of the config as an absolute one; URLs stay as they are."""
        if "://" in uri:
            return uri
        return str((self.base / uri).absolute())

    @cached_property
    def area(self) -> BaseGeometry:
        """The basin, EPSG:4326, longitude first, valid, cut at the antimeridian."""
        given = self.config.area
        if isinstance(given, tuple):
            return area_of_bbox(given)
        return read_area(self.resolve(given))

    @cached_property
    def grid(self) -> Grid:
        """The pixel grid that the search decided on."""
        path = self.grid_path
        if not path.is_file():
            raise NotFoundError(
                f"no pixel grid in {str(self.folder)!r}",
                expected="grid.json, written by the search",
                todo="rockglacier search STUDY.yaml",
            )
        return Grid.from_dict(read_json(path))

    def require(self, path: Path, *, stage: str) -> Path:
        """Return ``path`` if it is there, or say which stage makes it."""
        if not path.exists():
            raise NotFoundError(
                f"no {path.name!r} in {str(path.parent)!r}",
                expected=f"the product of the stage `{stage}`",
                todo=f"rockglacier {stage} STUDY.yaml, or rockglacier run STUDY.yaml",
            )
        return path

    @property
    def grid_path(self) -> Path:
        """The pixel grid, JSON."""
        return self.folder / "grid.json"

    @property
    def scenes_path(self) -> Path:
        """Exactly the items used, with our decisions as columns."""
        return self.folder / "scenes.parquet"

    @property
    def dropped_path(self) -> Path:
        """The items that were found and not used, each with the rule that dropped it."""
        return self.folder / "scenes-dropped.parquet"

    @property
    def search_path(self) -> Path:
        """What the search found, in numbers, JSON."""
        return self.folder / "search.json"

    @property
    def dem_path(self) -> Path:
        """The DEM items used."""
        return self.folder / "dem.parquet"

    @property
    def cube_path(self) -> Path:
        """Reflectance and terrain, Zarr."""
        return self.folder / "cube.zarr"

    @property
    def labels_path(self) -> Path:
        """Burnt labels, Zarr."""
        return self.folder / "labels.zarr"

    @property
    def label_table_path(self) -> Path:
        """The repaired reference polygons, GeoParquet."""
        return self.folder / "labels.parquet"

    @property
    def splits_path(self) -> Path:
        """Train, validation, test and guard ground, GeoParquet."""
        return self.folder / "splits.parquet"

    @property
    def fusion_path(self) -> Path:
        """The fitted feature set, JSON."""
        return self.folder / "fusion.json"

    @property
    def features_path(self) -> Path:
        """Features of the configured set in the period, Zarr."""
        return self._of_period(self.folder / "features") / f"{self.config.features.set}.zarr"

    @property
    def models_path(self) -> Path:
        """A folder a network, a folder a trial."""
        return self.folder / "models"

    @property
    def selection_path(self) -> Path:
        """Which trained model predicts, with its threshold, JSON."""
        return self.models_path / "selection.json"

    @property
    def evaluation_path(self) -> Path:
        """Scores on the held-out ground, JSON."""
        return self.models_path / "evaluation.json"

    @property
    def prediction_path(self) -> Path:
        """Folder of the period's rasters."""
        return self.folder / "predictions" / self.period.name

    def raster_path(self, name: str) -> Path:
        """Return the period's raster of a layer: a COG, or of an area too large for one, a VRT."""
        vrt = self.prediction_path / f"{name}.vrt"
        return vrt if vrt.is_file() else vrt.with_suffix(".tif")

    @property
    def prediction_record_path(self) -> Path:
        """Who predicted, with which threshold, JSON."""
        return self.prediction_path / "prediction.json"

    @property
    def inventory_path(self) -> Path:
        """Folder of the period's inventory."""
        return self.folder / "inventory" / self.period.name

    @property
    def reviews_path(self) -> Path:
        """What people decided on the outlines of the period, GeoParquet."""
        return self.inventory_path / "reviews.parquet"

    @property
    def report_path(self) -> Path:
        """The report, one HTML file."""
        return self.folder / "report" / "index.html"

    @property
    def stac_path(self) -> Path:
        """Folder of the published catalog."""
        return self.folder / "stac"

    @property
    def receipts_path(self) -> Path:
        """Receipts of the period, a folder a stage."""
        return self._of_period(self.folder / "receipts")

    @property
    def cube_receipts_path(self) -> Path:
        """Receipts of the cube's blocks, which hold all periods."""
        return self.folder / "receipts" / "cube"

    def _of_period(self, folder: Path) -> Path:
        """Return the folder itself for the period that teaches, one in it for any other."""
        return folder if self.period == self.teaching_period else folder / self.period.name

    def claim(self) -> None:
        """Create the folder, or check that it is this study's; write the resolved config into it.

        Signatures of addresses are not written.

        Raises
        ------
        InputError
            The folder belongs to another basin.
        """
        record = self.folder / RECORD
        if record.is_file():
            held = yaml.safe_load(record.read_text(encoding="utf-8"))
            if held.get("name") != self.config.name:
                raise InputError(
                    f"{str(self.folder)!r} holds the products of basin {held.get('name')!r}",
                    expected=f"an empty folder, or one of basin {self.config.name!r}",
                    todo="set `output` to another folder",
                )
        elif self.folder.is_dir() and any(
            path.name not in OWN_BEFORE_CLAIM and path.exists() for path in self.folder.iterdir()
        ):
            raise InputError(
                f"{str(self.folder)!r} holds files that rockglacier did not write",
                expected="an empty or new folder",
                todo="set `output` to another folder",
            )
        write_text(record, masked(yaml.safe_dump(self.resolved(), sort_keys=False)))

    def resolved(self) -> dict[str, Any]:
        """Return the config with every default filled in, JSON-able."""
        return self.config.model_dump(mode="json")


def open_study(path: str | Path) -> Study:
    """Read a study's YAML file, or the record ``study.yaml`` that a run left beside its products.

    Examples
    --------
    >>> open_study("hunza.yaml").config.name  # doctest: +SKIP
    'hunza'
    """
    path = Path(path)
    config, folder = load_config(path), path.parent
    output = Path(config.output or config.name)
    if path.name != RECORD or not (folder / "receipts").is_dir() or not output.parts:
        return Study(config=config, base=folder)
    # the record beside products: relative paths are meant from where the folder was made
    parts = folder.absolute().parts
    is_kept = not output.is_absolute() and parts[-len(output.parts) :] == output.parts
    study = Study(config=config, base=Path(*parts[: -len(output.parts)]) if is_kept else Path())
    if study.folder == folder.absolute():
        return study
    moved = config.model_copy(update={"output": str(folder.absolute())})
    return replace(study, config=moved)


def area_of_bbox(bbox: tuple[float, float, float, float]) -> BaseGeometry:
    """Return west, south, east, north (degrees) as a polygon, checked.

    West is larger than east where the box crosses the antimeridian.
    """
    west, south, east, north = bbox
    width = east - west + 360 * (east < west)
    on_globe = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90
    if not on_globe or not 0 < width <= HALF:
        raise InputError(
            f"area {list(bbox)} is not a box on the globe",
            expected="south < north within ±90, and west < east within ±180 and 180 apart at most "
            "(west > east only across the antimeridian), degrees",
            todo="check the order: west, south, east, north",
        )
    return box_of(bbox)


def read_area(uri: str) -> BaseGeometry:
    """Read a basin from a polygon file: one EPSG:4326 geometry, the union of all its polygons.

    Raises
    ------
    InputError
        The file cannot be read, has no CRS, no polygon, or crosses itself.
    """
    polygons = read_polygons(uri, what="the area", todo="draw the outline of the basin")
    broken = polygons[~polygons.geometry.is_valid]
    if not broken.empty:
        reason = shapely.is_valid_reason(broken.geometry.iloc[0])
        raise InputError(
            f"{len(broken)} polygon(s) of the area {uri!r} are invalid: {reason}",
            expected="outlines that do not cross themselves",
            todo="mend them in QGIS (Vector geometry > Fix geometries)",
        )
    # projected outlines that cross the antimeridian come out with longitudes of both signs
    outlines = [cut(outline) for outline in polygons.to_crs(4326).geometry]
    return cut(shapely.union_all(outlines))
