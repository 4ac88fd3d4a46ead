"""What has to come out, worked out plainly: tiles pasted in order, medians by sorting."""

from pathlib import Path

import numpy as np
from case import BANDS, CLEAR, Case
from limits import parts, paste, read

ROWS = 256
"""Rows that are compared, at least: spread over the area, odd and even."""


def rows_of(case: Case) -> np.ndarray:
    """Return the rows that are compared."""
    edge = case.area[2]
    return np.arange(0, edge, max(edge // ROWS - 1, 1))


def write_truth(case: Case, path: Path) -> None:
    """Work out what the area holds in the rows that are compared.

    Writes ``dn`` (day, band, y, x), ``scl`` (day, y, x), ``median`` (band, y, x) of the clear looks
    and ``clear`` (y, x), how many those are.
    """
    rows, edge = rows_of(case), case.area[2]
    found = sorted(parts(case), key=lambda part: (part.day, part.band))
    days = sorted({part.day for part in found})
    dn = np.zeros((len(days), len(BANDS), len(rows), edge), np.uint16)
    scl = np.zeros((len(days), len(rows), edge), np.uint8)
    for day, shown in enumerate(days):
        for band in (*BANDS, "SCL"):
            whole = np.zeros((edge, edge), scl.dtype if band == "SCL" else dn.dtype)
            for part in found:
                if (part.day, part.band) == (shown, band):
                    paste(whole, part, read(part))
            (scl[day] if band == "SCL" else dn[day, BANDS.index(band)])[...] = whole[rows]
    looks = np.isin(scl, CLEAR) & (dn > 0).all(axis=1)
    clear = looks.sum(axis=0)
    ordered = np.sort(np.where(looks[:, None], dn, 65535), axis=0).astype(np.int64)
    lower, upper = (
        np.take_along_axis(ordered, np.maximum(place, 0)[None, None], axis=0)[0]
        for place in ((clear - 1) // 2, np.minimum(clear // 2, len(days) - 1))
    )
    median = np.where(clear > 0, (lower + upper + 1) // 2, 0).astype(np.uint16)
    np.savez(path, dn=dn, scl=scl, median=median, clear=clear)


def share_equal(path: Path, kind: str, got: tuple[np.ndarray, ...]) -> float:
    """Return the share of the compared pixels that are right.

    Parameters
    ----------
    path
        Of the truth.
    kind
        ``looks``: ``got`` is dn and SCL; ``median``: the reflectance, compared where a look is
        clear.
    got
        Arrays of the rows that are compared.
    """
    with np.load(path) as truth:
        if kind == "looks":
            return min(
                float((array == truth[name]).mean())
                for name, array in zip(("dn", "scl"), got, strict=True)
            )
        clear = truth["clear"] > 0
        return float((got[0] == truth["median"])[:, clear].mean())
