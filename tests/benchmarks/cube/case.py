"""What a contender is given, and what comes out of the process that it runs in."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affine import Affine
from world import EPSG, World

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
ASSETS = {
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B08": "nir",
    "B11": "swir16",
    "B12": "swir22",
    "SCL": "scl",
}
"""Band to the key of its asset."""
CLEAR = (4, 5, 6, 7)
"""Scene classes that a masked median takes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An area of a world, and how it is reached."""

    world: World
    area: tuple[int, int, int]
    """First row, first column and edge, pixels of the world."""
    base: str
    """Address of the world's folder; empty: the folder itself."""
    study: Path
    """The study's file; its search has run."""
    threads: int
    """What a contender without a rule of its own may use."""
    scratch: Path
    """Empty folder for what is written."""
    rows: int = 1
    """Rows of tiles that the catalog holds."""

    @property
    def chunk(self) -> int:
        """Edge of the peers' chunks: 2048 px where the area has 4096."""
        return self.area[2] // 2

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) of the area to metres."""
        row, col, _ = self.area
        return self.world.transform @ Affine.translation(col, row)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        edge = self.area[2]
        west, north = self.transform @ (0, 0)
        east, south = self.transform @ (edge, edge)
        return west, south, east, north

    @property
    def crs(self) -> str:
        """CRS of the area."""
        return f"EPSG:{EPSG}"

    def scenes(self) -> list[dict[str, Any]]:
        """Return the items of the scenes."""
        items = self.world.items(self.base, rows=self.rows)
        return [item for item in items if not item["collection"].startswith("cop-dem")]

    def at(self, base: str) -> "Case":
        """Return the same case, reached elsewhere."""
        return dataclasses.replace(self, base=base)

    def writing(self, scratch: Path) -> "Case":
        """Return the same case with another folder to write into."""
        return dataclasses.replace(self, scratch=scratch)

    def to_dict(self) -> dict[str, Any]:
        """Return the case as JSON-able values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        paths = {name: str(value) for name, value in values.items() if isinstance(value, Path)}
        world = {"root": str(self.world.root), "scale": self.world.scale}
        return {**values, **paths, "world": world}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Case":
        """Rebuild a case from :meth:`to_dict`."""
        world = World(root=Path(values["world"]["root"]), scale=values["world"]["scale"])
        paths = {name: Path(values[name]) for name in ("study", "scratch")}
        return cls(**{**values, **paths, "world": world, "area": tuple(values["area"])})
