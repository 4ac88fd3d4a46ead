"""Whether probabilities are frequencies: the reliability table and its errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.model.metrics import IGNORE

BINS: Final = 15
"""Bins of equal width between 0 and 1."""


@dataclass(slots=True, kw_only=True)
class Reliability:
    """Pixels by their probability, added up piece by piece."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    probability: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    """Sum of the probabilities in each bin."""
    landform: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Pixels of true landforms in each bin."""
    squared: float = 0.0
    """Sum of squared differences of probability and truth."""

    def add(self, probability: NDArray[np.floating], truth: NDArray[np.integer]) -> None:
        """Count pixels; those of label 255 or probability NaN are left out.

        Parameters
        ----------
        probability
            Of a rock glacier, 0..1, any shape.
        truth
            0, 1, or 255, same shape.
        """
        known = (truth != IGNORE) & np.isfinite(probability)
        p = np.clip(probability[known].astype(np.float64), 0, 1)
        y = (truth[known] == 1).astype(np.float64)
        place = np.minimum((p * BINS).astype(np.int64), BINS - 1)
        self.pixels += np.bincount(place, minlength=BINS)
        self.probability += np.bincount(place, weights=p, minlength=BINS)
        self.landform += np.bincount(place, weights=y, minlength=BINS).astype(np.int64)
        self.squared += float(((p - y) ** 2).sum())

    def merge(self, other: Reliability) -> None:
        """Add what another one counted."""
        self.pixels += other.pixels
        self.probability += other.probability
        self.landform += other.landform
        self.squared += other.squared

    def scores(self) -> dict[str, float]:
        """Return ``ece``, ``mce``, ``brier`` and ``mean_probability`` beside ``prevalence``.

        Notes
        -----
        ``ece`` is the mean over pixels of how far the mean probability of their bin lies from the
        share of landforms in it; ``mce`` is the largest such distance. Most pixels of a basin are
        sure background, which makes ``ece`` small: read it beside the table.

        References
        ----------
        Guo et al. 2017, On calibration of modern neural networks, arXiv:1706.04599, section 2.
        """
        total = int(self.pixels.sum())
        if not total:
            names = ("ece", "mce", "brier", "mean_probability", "prevalence")
            return dict.fromkeys(names, math.nan)
        gap = np.abs(self._mean(self.probability) - self._mean(self.landform))
        return {
            "ece": float(np.nansum(gap * self.pixels) / total),
            "mce": float(np.nanmax(gap)),
            "brier": self.squared / total,
            "mean_probability": float(self.probability.sum() / total),
            "prevalence": float(self.landform.sum() / total),
        }

    def table(self) -> list[dict[str, Any]]:
        """Return a row a bin: its ends, pixels, mean probability and share of landforms."""
        mean, share = self._mean(self.probability), self._mean(self.landform)
        return [
            {
                "from": round(place / BINS, 4),
                "to": round((place + 1) / BINS, 4),
                "pixels": int(self.pixels[place]),
                "mean_probability": _known(mean[place]),
                "share_of_landforms": _known(share[place]),
            }
            for place in range(BINS)
        ]

    def _mean(self, sums: NDArray[Any]) -> NDArray[np.float64]:
        out = np.full(BINS, np.nan)
        return np.divide(sums, self.pixels, out=out, where=self.pixels > 0)


def _known(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
