"""How well outlines lie: the share of boundary pixels that have one of the other map nearby."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rockglacier.model.metrics import IGNORE

TOLERANCE_PX: Final = 2.0
"""Distance at which two boundaries are the same, pixels: 20 m at 10 m."""
CROSS: Final = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Boundary pixels of two maps, counted."""

    predicted: int = 0
    predicted_near: int = 0
    """Those with a pixel of the true boundary within the tolerance."""
    true: int = 0
    true_near: int = 0

    def __add__(self, other: Boundary) -> Boundary:
        """Return the counts of both grounds together."""
        return Boundary(
            predicted=self.predicted + other.predicted,
            predicted_near=self.predicted_near + other.predicted_near,
            true=self.true + other.true,
            true_near=self.true_near + other.true_near,
        )

    def scores(self) -> dict[str, float]:
        """Return ``boundary_precision``, ``boundary_recall``, ``boundary_f``; NaN if undefined."""
        precision = self.predicted_near / self.predicted if self.predicted else np.nan
        recall = self.true_near / self.true if self.true else np.nan
        whole = precision + recall
        f = 2 * precision * recall / whole if whole else whole  # NaN stays NaN, 0 stays 0
        return {
            "boundary_precision": float(precision),
            "boundary_recall": float(recall),
            "boundary_f": float(f),
        }


def compare_boundaries(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, tolerance: float = TOLERANCE_PX
) -> Boundary:
    """Count boundary pixels of a piece of ground.

    Parameters
    ----------
    truth, predicted
        (y, x): 0, 1, or 255 where nothing is known.
    tolerance
        Distance between pixel centres, pixels, up to which boundaries agree.

    Notes
    -----
    A boundary pixel is a landform's pixel with a neighbour of background across one of its edges.
    Where a landform meets unknown ground or the border of the piece it has no boundary there.

    References
    ----------
    Csurka et al. 2013, What is a good evaluation measure for semantic segmentation?, BMVC.
    """
    known = (truth != IGNORE) & (predicted != IGNORE)
    ours, theirs = _edge(predicted == 1, known), _edge(truth == 1, known)
    return Boundary(
        predicted=int(ours.sum()),
        predicted_near=_near(ours, theirs, tolerance),
        true=int(theirs.sum()),
        true_near=_near(theirs, ours, tolerance),
    )


def _edge(is_landform: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    beside = ndimage.binary_dilation(~is_landform & known, structure=CROSS)
    return np.asarray(is_landform & known & beside)


def _near(edge: NDArray[np.bool_], other: NDArray[np.bool_], tolerance: float) -> int:
    if not edge.any() or not other.any():
        return 0
    distance = ndimage.distance_transform_edt(~other)
    # 1e-6: distances are roots of whole numbers, and a tolerance of sqrt(2) is meant to be one
    return int((distance[edge] <= tolerance + 1e-6).sum())
