"""Smooth random fields, the raw material of the synthetic basin."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Field = NDArray[np.float32]


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the random stream of one named part, independent of all other parts.

    A part that draws more numbers than before therefore leaves the rest of the basin as it was.
    """
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def spectral(
    shape: tuple[int, int],
    *,
    resolution: float,
    longest: float,
    shortest: float,
    rng: np.random.Generator,
    slope: float = 0.0,
) -> Field:
    """Return Gaussian noise (y, x) of zero mean and unit variance with a given band of wavelengths.

    Parameters
    ----------
    shape
        Rows and columns.
    resolution
        Edge of a pixel, metres.
    longest, shortest
        Wavelengths kept, metres; their ends are soft.
    rng
        Random stream.
    slope
        Exponent of the fall of amplitude with frequency: 0 is white within the band, 2 is the
        roughness of mountains.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    spectrum = fft.rfft2(white, workers=2)
    rows = fft.fftfreq(shape[0], resolution).astype(np.float32)[:, None]
    columns = fft.rfftfreq(shape[1], resolution).astype(np.float32)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    ends = np.exp(-((frequency * shortest) ** 4)) * -np.expm1(-((frequency * longest) ** 4))
    spectrum *= np.where(np.isfinite(frequency), ends * (frequency * longest) ** -slope, 0)
    field: Field = fft.irfft2(spectrum, s=shape, workers=2).astype(np.float32)
    return (field - field.mean()) / field.std()


def coarse_spectral(
    shape: tuple[int, int],
    *,
    resolution: float,
    longest: float,
    shortest: float,
    rng: np.random.Generator,
    slope: float = 0.0,
) -> Field:
    """Return the same as :func:`spectral`, made on a grid of ``shortest / 4`` and enlarged."""
    factor = max(1, int(shortest / 4 / resolution))
    small = (-(-shape[0] // factor) + 1, -(-shape[1] // factor) + 1)
    field = spectral(
        small,
        resolution=resolution * factor,
        longest=longest,
        shortest=shortest,
        rng=rng,
        slope=slope,
    )
    return enlarge(field, factor, shape)


def enlarge(field: NDArray[np.floating], factor: int, shape: tuple[int, int]) -> Field:
    """Enlarge a field by a whole factor with linear interpolation, cut to ``shape``.

    Parameters
    ----------
    field
        (y, x); its pixel (0, 0) holds the value of the fine pixel (0, 0).
    factor
        Fine pixels per coarse pixel.
    shape
        Fine rows and columns, at most ``factor * (size - 1) + 1`` of the coarse ones.
    """
    field = field.astype(np.float32)
    for axis, size in enumerate(shape):
        position = np.arange(size, dtype=np.float32) / factor
        lower = np.minimum(position.astype(np.intp), field.shape[axis] - 2)
        share = position - lower
        share = share[:, None] if axis == 0 else share[None, :]
        field = (
            np.take(field, lower, axis=axis) * (1 - share)
            + np.take(field, lower + 1, axis=axis) * share
        )
    return field


def smoothstep(values: NDArray[np.floating], low: float, high: float) -> Field:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def smooth(field: NDArray[np.floating], sigma_m: float, *, resolution: float) -> Field:
    """Return a Gaussian-smoothed copy (y, x); the deviation is in metres."""
    result: Field = ndimage.gaussian_filter(
        field.astype(np.float32), sigma_m / resolution, mode="nearest", truncate=3
    )
    return result
