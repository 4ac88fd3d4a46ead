"""Rock glaciers and what resembles them, laid one by one where the ground has room for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from rockglacier.demo.landforms import (
    Body,
    Cover,
    cone_surface,
    descend,
    fan_half_width,
    glacier_surface,
    lay_body,
    moraine_surface,
    ridge_half_width,
    rock_glacier_surface,
    tongue_half_width,
)
from rockglacier.demo.noise import Field, coarse_spectral, smooth, spectral, stream
from rockglacier.demo.relief import PIXEL_M, slopes

SMALLEST_KM2, LARGEST_KM2 = 0.02, 3.0
"""Range of the areas of rock glaciers, km²."""
TYPICAL_KM2, AREA_SPREAD = 0.27, 0.95
"""Median, and standard deviation of the logarithm, of the areas of rock glaciers."""
LARGEST_SHARE = 0.05
"""Largest share of the ground that one body may take: small basins get small ones."""
BELT_M = (3950.0, 5000.0)
"""Elevations where bodies start, metres."""
STEEPEST_TAN = 0.52
"""Mean slope, a tangent, beyond which a way down is too steep for creeping ice."""
HUMMOCK_M = 1.0
"""Root mean square height of the hummocks of debris, metres."""
HUMMOCK_WAVES_M = (38.0, 85.0)
"""Wavelengths of the hummocks, metres: those of ridges and furrows, without their direction."""
STRATUM_M = 4000.0
"""About the edge of the squares over which each kind of body is spread evenly, metres."""
CANDIDATES = 400
"""Places tried for one body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of body and how it is spread."""

    cover: Cover
    per_km2: float
    """Bodies on one km² of terrain."""
    area_km2: tuple[float, float, float]
    """Median, spread of the logarithm and largest of the areas."""
    start_tan: tuple[float, float]
    """Slope of the ground at the root, tangents."""
    hummocks: float
    """Strength of its hummocks, 1 on ordinary debris."""
    turn: float = 0.0
    """Angle to the steepest descent, radians."""


KINDS = (
    Kind(
        cover=Cover.ROCK_GLACIER,
        per_km2=0.21,
        area_km2=(TYPICAL_KM2, AREA_SPREAD, LARGEST_KM2),
        start_tan=(0.40, 0.75),
        hummocks=0.45,
    ),
    Kind(
        cover=Cover.DEBRIS_COVERED_GLACIER,
        per_km2=0.05,
        area_km2=(0.40, 0.8, LARGEST_KM2),
        start_tan=(0.15, 0.75),
        hummocks=1.25,
    ),
    Kind(
        cover=Cover.TALUS,
        per_km2=0.25,
        area_km2=(0.09, 0.6, 0.4),
        start_tan=(0.40, 0.9),
        hummocks=0.45,
    ),
    Kind(
        cover=Cover.MORAINE,
        per_km2=0.25,
        area_km2=(0.03, 0.4, 0.1),
        start_tan=(0.10, 0.45),
        hummocks=0.7,
        turn=1.2,
    ),
)


def wanted_bodies(shape: tuple[int, int], seed: int) -> Iterator[tuple[Kind, float]]:
    """Every body to lay with its area in km², the largest first."""
    ground_km2 = shape[0] * shape[1] * PIXEL_M**2 / 1e6
    orders = []
    for kind in KINDS:
        rng = stream(seed, "areas", kind.cover.name)
        median, spread, largest = kind.area_km2
        count = max(3, round(kind.per_km2 * ground_km2))
        # evenly spaced quantiles: every basin has its share of small and large ones
        quantiles = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
        areas = median * np.exp(spread * special.ndtri(quantiles))
        most = min(largest, LARGEST_SHARE * ground_km2)
        orders += [(kind, float(np.clip(area, SMALLEST_KM2, most))) for area in areas]
    yield from sorted(orders, key=lambda order: -order[1])


class Ground:
    """The landscape while bodies are being laid on it.

    Parameters
    ----------
    base
        (y, x) elevation without bodies, metres.
    cover
        (y, x) values of :class:`Cover` without bodies.
    tint
        (y, x) lithology of the debris.
    hummocks
        (y, x) strength of the hummocks.
    seed
        Seed of the basin.
    """

    def __init__(
        self,
        base: Field,
        cover: NDArray[np.uint8],
        *,
        tint: Field,
        hummocks: Field,
        seed: int,
    ) -> None:
        self.seed = seed
        self.shape = (int(base.shape[0]), int(base.shape[1]))
        self.base = base
        self.cover = cover.copy()
        self.tint = tint.copy()
        self.hummocks = hummocks.copy()
        self.labels = np.zeros(self.shape, np.uint16)
        self.added = np.zeros(self.shape, np.float32)
        self.laid = np.zeros(self.shape, np.bool_)
        self.wander = self._noise("wander", longest=900, shortest=140)
        self.ragged = 1 + 0.11 * self._noise("ragged", longest=1200, shortest=220)
        self.down, self.across = slopes(smooth(base, 70, resolution=PIXEL_M), resolution=PIXEL_M)
        self.roots = {kind.cover: self._find_roots(kind) for kind in KINDS}
        self.strata = tuple(max(1, round(size * PIXEL_M / STRATUM_M)) for size in self.shape)
        self.taken_km2 = {kind.cover: np.zeros(self.strata) for kind in KINDS}

    def _noise(self, name: str, *, longest: float, shortest: float) -> Field:
        return coarse_spectral(
            self.shape,
            resolution=PIXEL_M,
            longest=longest,
            shortest=shortest,
            rng=stream(self.seed, name),
        )

    def _find_roots(self, kind: Kind) -> NDArray[np.intp]:
        """Up to 6000 places (row, column), in random order, where a body of a kind may start."""
        rng = stream(self.seed, "roots", kind.cover.name)
        tries = rng.integers(0, np.array(self.shape), (60_000, 2))
        rows, columns = tries[:, 0], tries[:, 1]
        steepness = np.hypot(self.down[rows, columns], self.across[rows, columns])
        elevation = self.base[rows, columns]
        low, high = kind.start_tan
        fit = (steepness > low) & (steepness < high)
        fit &= (elevation > BELT_M[0]) & (elevation < BELT_M[1])
        if kind.cover in (Cover.ROCK_GLACIER, Cover.TALUS):
            fit &= self.cover[rows, columns] == Cover.TALUS
        found: NDArray[np.intp] = tries[fit][:6000]
        return found

    def add(self, kind: Kind, area_km2: float) -> None:
        """Lay a body where its kind is still rare; nothing happens where there is no room."""
        rng = stream(self.seed, "body", kind.cover.name, f"{area_km2:.9f}")
        roots = self.roots[kind.cover]
        strata = roots * np.array(self.strata) // np.array(self.shape)
        # a row, a column or a square that holds much already comes last: every strip gets its share
        held = self.taken_km2[kind.cover]
        crowded = held + held.mean(axis=0) + held.mean(axis=1, keepdims=True)
        taken = crowded[strata[:, 0], strata[:, 1]]
        order = np.lexsort((rng.random(len(roots)), taken))
        for candidate in order[:CANDIDATES]:
            body = self._try(kind, area_km2, roots[candidate], rng)
            if body is not None:
                self._lay(kind, body, rng)
                stratum = strata[candidate]
                self.taken_km2[kind.cover][stratum[0], stratum[1]] += area_km2
                return

    def _try(
        self, kind: Kind, area_km2: float, root: NDArray[np.intp], rng: np.random.Generator
    ) -> Body | None:
        if self.laid[root[0], root[1]]:
            return None
        ratio = _length_to_width(kind, area_km2, rng)
        length_m = math.sqrt(area_km2 * 1e6 * ratio / 0.8)
        vertices = round(length_m / PIXEL_M)
        turn = kind.turn * (1 if rng.random() < 0.5 else -1)
        path = descend(self.down, self.across, float(root[0]), float(root[1]), turn, vertices)
        if len(path) < vertices:
            return None
        cells = path.astype(int)
        if self.laid[cells[:, 0], cells[:, 1]].any() or self._too_straight_down(kind, cells):
            return None
        width_m = length_m / ratio
        body = lay_body(
            path,
            _half_width(kind, vertices, width_m, rng),
            shape=self.shape,
            resolution=PIXEL_M,
            ragged=self.ragged,
        )
        return body if body is not None and self._has_room(kind, body) else None

    def _too_straight_down(self, kind: Kind, cells: NDArray[np.intp]) -> bool:
        """Ice and its debris flow on, steep ground sheds them: the way down must be gentle."""
        if kind.cover not in (Cover.ROCK_GLACIER, Cover.DEBRIS_COVERED_GLACIER):
            return False
        drop = self.base[cells[0, 0], cells[0, 1]] - self.base[cells[-1, 0], cells[-1, 1]]
        return bool(drop / (len(cells) * PIXEL_M) > STEEPEST_TAN)

    def _has_room(self, kind: Kind, body: Body) -> bool:
        inside = body.inside
        area_km2 = inside.sum() * PIXEL_M**2 / 1e6
        if kind.cover is Cover.ROCK_GLACIER and not SMALLEST_KM2 <= area_km2 <= LARGEST_KM2:
            return False
        if self.laid[body.window.slices][inside].any():
            return False
        unfit = np.isin(self.cover[body.window.slices][inside], (Cover.WATER, Cover.SNOW))
        return bool(unfit.mean() < 0.02)

    def _lay(self, kind: Kind, body: Body, rng: np.random.Generator) -> None:
        here, inside = body.window.slices, body.inside
        self.added[here] += np.where(inside, self._surface(kind, body, rng), 0)
        self.cover[here][inside] = kind.cover
        # a hem keeps neighbours apart, so that outlines never touch
        self.laid[here] |= ndimage.binary_dilation(inside, iterations=2)
        self.hummocks[here][inside] = kind.hummocks
        self.tint[here][inside] += np.float32(rng.normal(0, 0.25))
        if kind.cover is Cover.ROCK_GLACIER:
            self.labels[here][inside] = self.labels.max() + 1

    def _surface(self, kind: Kind, body: Body, rng: np.random.Generator) -> Field:
        wander = self.wander[body.window.slices]
        if kind.cover is Cover.ROCK_GLACIER:
            return rock_glacier_surface(
                body,
                front_m=min(rng.uniform(14, 26), 0.12 * body.width_m),
                ridge_m=rng.uniform(5.5, 8),
                wavelength_m=rng.uniform(52, 80),
                wander=wander,
            )
        if kind.cover is Cover.DEBRIS_COVERED_GLACIER:
            return glacier_surface(body, height_m=rng.uniform(6, 14))
        if kind.cover is Cover.TALUS:
            return cone_surface(
                body,
                height_m=rng.uniform(6, 14),
                stripe_m=rng.uniform(4.5, 8),
                wavelength_m=rng.uniform(45, 80),
                wander=wander,
            )
        return moraine_surface(body, height_m=rng.uniform(6, 14))

    def surface(self) -> Field:
        """Elevation (y, x), metres, with bodies and hummocks."""
        rough = spectral(
            self.shape,
            resolution=PIXEL_M,
            shortest=HUMMOCK_WAVES_M[0],
            longest=HUMMOCK_WAVES_M[1],
            rng=stream(self.seed, "hummocks"),
        )
        return (self.base + self.added + HUMMOCK_M * self.hummocks * rough).astype(np.float32)


def _length_to_width(kind: Kind, area_km2: float, rng: np.random.Generator) -> float:
    if kind.cover is Cover.MORAINE:
        return float(rng.uniform(7, 14))
    if kind.cover is Cover.TALUS:
        return float(rng.uniform(1.2, 2.2))
    if area_km2 < 0.25 and rng.random() < 0.45:
        return float(rng.uniform(0.9, 1.5))  # a lobe
    return float(rng.uniform(2.2, 4.2))


def _half_width(
    kind: Kind, vertices: int, width_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    if kind.cover is Cover.MORAINE:
        return ridge_half_width(vertices, width_m)
    if kind.cover is Cover.TALUS:
        return fan_half_width(vertices, width_m)
    return tongue_half_width(
        vertices, width_m, bulge=float(rng.uniform(0, 0.35)), resolution=PIXEL_M
    )
