"""How unlike the ground of another basin is to that a model was trained on, by its features. Pure.

A network answers anywhere. Whether its answers mean anything depends on whether it has seen such
ground; this measures how far the features of new ground lie from those it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rockglacier.errors import ContractError

PROBABILITIES: Final = tuple((k + 0.5) / 50 for k in range(50))
"""At which distributions are compared."""

INSIDE: Final = 0.99
"""Share of the training pixels within the radius that bounds known ground."""

RIDGE: Final = 1e-3
"""Added to variances: channels may be functions of each other."""

TOLERANCE: Final = 2.0
"""So many times as far as held-out ground of its own basin counts as alike."""

FLOOR: Final = (0.1, 2 * (1 - INSIDE))
"""Distance and share beyond that count as alike in any case."""

UNLIKE: Final = (1.0, 0.25)
"""Distance and share beyond from which ground counts as unlike: a convention, not a probability."""

Verdict = Literal["alike", "shifted", "unlike"]

ADVICE: Final[dict[Verdict, str]] = {
    "alike": "the ground is like that of training; scores on held-out ground may hold here",
    "shifted": "the ground is partly unlike that of training: expect less than the model's scores, "
    "and check outlines against imagery before use",
    "unlike": "the ground is unlike that of training: do not use these outlines without labels of "
    "this basin to check or train with",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the features of some ground are like."""

    channels: tuple[str, ...]
    quantiles: NDArray[np.float64]
    """(channel, probability) of :data:`PROBABILITIES`."""
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    radius: float
    """Squared Mahalanobis distance within which :data:`INSIDE` of the pixels lie."""
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON-able values."""
        return {
            "channels": list(self.channels),
            "quantiles": np.round(self.quantiles, 4).tolist(),
            "mean": np.round(self.mean, 6).tolist(),
            "covariance": np.round(self.covariance, 6).tolist(),
            "radius": round(self.radius, 4),
            "pixels": self.pixels,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Profile:
        """Rebuild a profile from :meth:`to_dict`.

        Raises
        ------
        ContractError
            Values are missing, or of other shapes.
        """
        try:
            found = cls(
                channels=tuple(map(str, values["channels"])),
                quantiles=np.asarray(values["quantiles"], np.float64),
                mean=np.asarray(values["mean"], np.float64),
                covariance=np.asarray(values["covariance"], np.float64),
                radius=float(values["radius"]),
                pixels=int(values["pixels"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(f"{type(error).__name__} {error}") from error
        n = len(found.channels)
        shapes = (found.quantiles.shape, found.mean.shape, found.covariance.shape)
        if shapes != ((n, len(PROBABILITIES)), (n,), (n, n)):
            raise _unreadable(f"shapes {shapes}")
        return found


def _unreadable(why: str) -> ContractError:
    return ContractError(
        f"the profile of the training ground cannot be read: {why}",
        expected="what `rockglacier pack` writes",
        todo="get the model's file again, or pack it again",
    )


def profile_of(values: NDArray[np.floating], channels: Sequence[str]) -> Profile:
    """Describe ground by its features.

    Parameters
    ----------
    values
        (pixel, channel), at least one pixel, no NaN.
    channels
        Their names.
    """
    data = values.astype(np.float64)
    mean, covariance = data.mean(0), np.atleast_2d(np.cov(data, rowvar=False, bias=True))
    squared = _squared_distance(data, mean, covariance)
    return Profile(
        channels=tuple(channels),
        quantiles=np.quantile(data, PROBABILITIES, axis=0).T,
        mean=mean,
        covariance=covariance,
        radius=float(np.quantile(squared, INSIDE)),
        pixels=len(data),
    )


def _squared_distance(
    data: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    ridge = RIDGE * max(1e-9, float(np.trace(covariance)) / len(mean))
    apart = data - mean
    solved = np.linalg.solve(covariance + ridge * np.eye(len(mean)), apart.T).T
    squared: NDArray[np.float64] = np.einsum("ij,ij->i", apart, solved)
    return squared


def shift_of(known: Profile, values: NDArray[np.floating]) -> dict[str, Any]:
    """Measure how far the features of new ground lie from known ones.

    Parameters
    ----------
    known
        Of the training ground.
    values
        (pixel, channel) of the new ground, the same channels, no NaN.

    Returns
    -------
    dict
        ``pixels``; ``distance``, the mean over channels of the first Wasserstein distance, in
        standard deviations of the training ground; ``beyond``, the share of pixels farther from
        the middle of the training ground than 99 % of its own (Mahalanobis); ``channels``, a row
        each with ``name``, ``distance``, and the ``median`` here and ``trained_median`` there.

    References
    ----------
    Rubner et al. 2000, The earth mover's distance, doi 10.1023/A:1026543900054; in one dimension it
    is the area between two quantile functions. Lee et al. 2018, arXiv:1807.03888, for Mahalanobis
    distance of features as a sign of input that was not trained on.
    """
    data = values.astype(np.float64)
    here = np.quantile(data, PROBABILITIES, axis=0).T
    deviation = np.sqrt(np.maximum(np.diagonal(known.covariance), 1e-12))
    distances = np.abs(here - known.quantiles).mean(1) / deviation
    squared = _squared_distance(data, known.mean, known.covariance)
    return {
        "pixels": len(data),
        "distance": round(float(distances.mean()), 4),
        "beyond": round(float((squared > known.radius).mean()), 4),
        "channels": [
            {
                "name": name,
                "distance": round(float(distances[k]), 4),
                "median": round(float(np.median(data[:, k])), 4),
                "trained_median": round(
                    float(np.interp(0.5, PROBABILITIES, known.quantiles[k])), 4
                ),
            }
            for k, name in enumerate(known.channels)
        ],
    }


def verdict_of(shift: Mapping[str, Any], own: Mapping[str, Any] | None) -> Verdict:
    """Say in a word how alike two grounds are.

    Parameters
    ----------
    shift
        Of the new ground; see :func:`shift_of`.
    own
        Of held-out ground of the training's own basins, which the scores of the model are of.

    Notes
    -----
    ``alike``: both numbers at most twice those of the held-out ground. ``unlike``: a mean distance
    of a standard deviation, or a quarter of the ground beyond. ``shifted``: between.
    """
    found = shift["distance"], shift["beyond"]
    if any(value >= limit for value, limit in zip(found, UNLIKE, strict=True)):
        return "unlike"
    usual = (own["distance"], own["beyond"]) if own else (0.0, 0.0)
    limits = [max(TOLERANCE * value, least) for value, least in zip(usual, FLOOR, strict=True)]
    is_near = all(value <= limit for value, limit in zip(found, limits, strict=True))
    return "alike" if is_near else "shifted"
