"""Where a map goes wrong: its errors by the kind of ground that they lie on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.model.metrics import confusion_matrix

SLOPES_DEG: Final = (10.0, 20.0, 30.0, 40.0)
SECTORS: Final = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
DIM: Final = 0.3
"""Cosine of the sun's angle below which ground is dimly lit."""

Kinds = Mapping[str, NDArray[np.bool_]]
"""Kind of ground: where it is, (y, x). Kinds may overlap."""


@dataclass(slots=True, kw_only=True)
class GroundErrors:
    """Confusions by kind of ground, added up piece by piece."""

    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], kinds: Kinds) -> None:
        """Count the pixels of each kind; 255 in either map is not counted.

        Parameters
        ----------
        truth, predicted
            (y, x): 0, 1, or 255.
        kinds
            Of the same ground.
        """
        for name, where in kinds.items():
            matrix = confusion_matrix(truth[where], predicted[where])
            self.counts[name] = self.counts.get(name, np.zeros((2, 2), np.int64)) + matrix

    def table(self) -> list[dict[str, Any]]:
        """Return a row a kind: pixels, error rates, and its share of all errors.

        ``false_alarm_rate`` is the share of the background there that is called a landform,
        ``miss_rate`` that of the landforms there that is not; ``share_of_false_alarms`` and
        ``share_of_misses`` say how much of all such errors on the whole ground lies there. None
        where there is nothing to divide by. The row ``all`` is the whole ground.
        """
        whole = self.counts.get("all", np.zeros((2, 2), np.int64))
        return [_row(name, counts, whole) for name, counts in self.counts.items()]


def _row(name: str, counts: NDArray[np.int64], whole: NDArray[np.int64]) -> dict[str, Any]:
    (tn, fp), (fn, tp) = counts.tolist()
    return {
        "ground": name,
        "pixels": tn + fp + fn + tp,
        "background": tn + fp,
        "landform": fn + tp,
        "false_alarm_rate": _ratio(fp, tn + fp),
        "miss_rate": _ratio(fn, fn + tp),
        "share_of_false_alarms": _ratio(fp, int(whole[0, 1])),
        "share_of_misses": _ratio(fn, int(whole[1, 0])),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def terrain_kinds(
    *,
    slope: NDArray[np.floating] | None = None,
    aspect: NDArray[np.floating] | None = None,
    illumination: NDArray[np.floating] | None = None,
    cast_shadow: NDArray[np.integer] | None = None,
    n_snow: NDArray[np.integer] | None = None,
    n_shadow: NDArray[np.integer] | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Return the kinds of ground that a cube knows.

    Parameters
    ----------
    slope, aspect
        Degrees, (y, x); NaN belongs to no kind. Aspect clockwise from north.
    illumination
        Cosine of the sun's angle of incidence.
    cast_shadow
        1 where other terrain shades the ground.
    n_snow, n_shadow
        Looks with snow, and in shadow, that the scene classification names and that were used.
    """
    kinds: dict[str, NDArray[np.bool_]] = {}
    if slope is not None:
        ends = (0.0, *SLOPES_DEG, np.inf)
        for low, high in itertools.pairwise(ends):
            name = f"slope {low:g}-{high:g}" if np.isfinite(high) else f"slope {low:g} or more"
            kinds[name] = (slope >= low) & (slope < high)
    if aspect is not None:
        known = np.isfinite(aspect)
        sector = (np.floor((np.where(known, aspect, 0) + 22.5) / 45) % 8).astype(np.int64)
        kinds |= {f"facing {name}": known & (sector == k) for k, name in enumerate(SECTORS)}
    if illumination is not None:
        kinds["dimly lit"] = illumination < DIM
    if cast_shadow is not None:
        kinds["cast shadow"] = cast_shadow == 1
    if n_snow is not None:
        kinds["SCL snow"] = n_snow > 0
    if n_shadow is not None:
        kinds["SCL shadow"] = n_shadow > 0
    return kinds
