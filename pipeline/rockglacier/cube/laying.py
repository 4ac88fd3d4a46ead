"""Pieces of files laid side by side into the looks of a window."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.rows import Piece
from rockglacier.grid import Window
from rockglacier.scenes import cloud


class Stack:
    """The looks of a window, while scenes are laid into them."""

    def __init__(
        self,
        dn: NDArray[np.uint16],
        scl: NDArray[np.uint8],
        cloudy: NDArray[np.bool_] | None,
    ) -> None:
        self.dn, self.scl, self.cloudy = dn, scl, cloudy

    def rows(self, start: int, count: int) -> Stack:
        """Return the same memory, some rows of it."""
        rows = slice(start, start + count)
        return Stack(self.dn[:, :, rows], self.scl[:, rows], self.cloudy)

    def lay(
        self, look: int, scenes: Sequence[Sequence[Future[Piece | None]]], window: Window
    ) -> None:
        """Lay scenes into a look: each fills the pixels that are not yet complete.

        A pixel is complete where the class and all bands are not 0.
        """
        dn, scl = self.dn[look], self.scl[look]
        fresh, spans = np.empty((0, 0), np.uint8), np.empty((window.height, 2), np.int32)
        for assets in scenes:
            found = [future.result() for future in assets]
            mask = None if self.cloudy is None else found.pop()
            pieces = [piece for piece in found if piece is not None]
            if len(pieces) < len(found):
                continue
            slips = [piece.slip(window) for piece in pieces]
            targets = list(zip((*dn, scl), pieces, slips, strict=True))
            if not fresh.size:
                for target, piece, slip in targets:
                    _fill(piece.values, *slip, target)
                fresh = np.full(scl.shape, EMPTY, np.uint8)
                spans[:] = 0, window.width
                self._cloud(scl, mask, window, fresh, spans)
                continue
            _find_gaps(dn, scl, fresh, spans)
            if spans.any():
                for piece, slip in zip(pieces, slips, strict=True):
                    _keep_complete(piece.values, *slip, fresh, spans)
                for target, piece, slip in targets:
                    _copy(piece.values, *slip, fresh, spans, target)
                self._cloud(scl, mask, window, fresh, spans)
        if not fresh.size:
            dn.fill(0)
            scl.fill(0)

    def _cloud(
        self,
        scl: NDArray[np.uint8],
        mask: Piece | None,
        window: Window,
        fresh: NDArray[np.uint8],
        spans: NDArray[np.int32],
    ) -> None:
        """Make pixels that were just laid cloud where the scene's mask says so."""
        if mask is not None and self.cloudy is not None:
            marks = np.zeros(scl.shape, np.uint8)
            _copy(mask.values, *mask.slip(window), fresh, spans, marks)
            scl[self.cloudy[marks] & (scl != 0)] = cloud.CLOUD_HIGH


GAP, EMPTY = 1, 2
"""Pixels of a look where a band or the class is 0, and where all are."""


@njit(nogil=True, cache=True)
def _fill(values: NDArray[Any], factor: int, down: int, right: int, target: NDArray[Any]) -> None:
    """Fill ``target`` with pixels, each repeated ``factor`` times, and 0 where there are none."""
    height, width = target.shape
    left = min(max(0, -right), width)
    end = max(left, min(width, values.shape[1] * factor - right))
    for y in range(height):
        into, row = target[y], (y + down) // factor
        if row < 0 or row >= values.shape[0]:
            into[:] = 0
            continue
        source = values[row]
        into[:left] = 0
        into[end:] = 0
        if factor == 1:
            into[left:end] = source[left + right : end + right]
        elif factor == 2:
            x, col = left, (left + right) // 2
            if (left + right) % 2 and x < end:
                into[x] = source[col]
                x, col = x + 1, col + 1
            for k in range((end - x) // 2):
                into[x + 2 * k] = source[col + k]
                into[x + 2 * k + 1] = source[col + k]
            if (end - x) % 2:
                into[end - 1] = source[(end - 1 + right) // 2]
        else:
            for x in range(left, end):
                into[x] = source[(x + right) // factor]


@njit(nogil=True, cache=True)
def _find_gaps(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
) -> None:
    """Fill ``fresh`` with GAP, EMPTY or 0, and ``spans`` with the columns of each row between."""
    bands, height, width = dn.shape
    for y in range(height):
        row = fresh[y]
        for x in range(width):
            row[x] = scl[y, x] == 0
        for b in range(bands):
            for x in range(width):
                row[x] += dn[b, y, x] == 0
        first, last = width, 0
        for x in range(width):
            if row[x]:
                row[x] = EMPTY if row[x] == bands + 1 else GAP
                first, last = min(first, x), x + 1
        spans[y, 0], spans[y, 1] = min(first, last), last


@njit(nogil=True, cache=True)
def _keep_complete(
    values: NDArray[Any],
    factor: int,
    down: int,
    right: int,
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
) -> None:
    """Take the pixels out of the gaps where ``values`` is 0 or ends."""
    for y in range(fresh.shape[0]):
        row = (y + down) // factor
        for x in range(spans[y, 0], spans[y, 1]):
            if fresh[y, x] == GAP:
                col = (x + right) // factor
                inside = 0 <= row < values.shape[0] and 0 <= col < values.shape[1]
                if not inside or values[row, col] == 0:
                    fresh[y, x] = 0


@njit(nogil=True, cache=True)
def _copy(
    values: NDArray[Any],
    factor: int,
    down: int,
    right: int,
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
    target: NDArray[Any],
) -> None:
    """Copy pixels, each repeated ``factor`` times, to where ``fresh`` says."""
    y0, y1 = max(0, -down), min(target.shape[0], values.shape[0] * factor - down)
    left, end = max(0, -right), min(target.shape[1], values.shape[1] * factor - right)
    for y in range(y0, y1):
        source, into, wanted = values[(y + down) // factor], target[y], fresh[y]
        x0, x1 = max(left, spans[y, 0]), min(end, spans[y, 1])
        if x1 <= x0:
            continue
        if factor == 1:
            for x in range(x0, x1):
                into[x] = source[x + right] if wanted[x] else into[x]
            continue
        col, phase = (x0 + right) // factor, (x0 + right) % factor
        for x in range(x0, x1):
            into[x] = source[col] if wanted[x] else into[x]
            phase += 1
            if phase == factor:
                phase = 0
                col += 1
