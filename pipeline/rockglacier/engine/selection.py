"""Which blocks a run is about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rockglacier.engine.receipts import Receipts
from rockglacier.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which blocks a run is about; the default is all of them."""

    rows: tuple[int, int] | None = None
    """First block row, and the one after the last."""
    cols: tuple[int, int] | None = None
    only_failed: bool = False

    @classmethod
    def parse(cls, text: str, *, only_failed: bool = False) -> Selection:
        """Read ``r0:r1,c0:c1``, rows and columns of blocks, the ends not included.

        Raises
        ------
        InputError
            The text is of another form.
        """
        found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
        if not found:
            raise InputError(
                f"blocks {text!r}",
                expected="rows and columns of blocks, the ends not included, e.g. 0:2,3:5",
            )
        r0, r1, c0, c1 = (int(number) for number in found.groups())
        return cls(rows=(r0, r1), cols=(c0, c1), only_failed=only_failed)

    def meant(self, names: Iterable[str], receipts: Receipts) -> set[str]:
        """Return which blocks, named as ``r0003c0012``, are meant.

        Raises
        ------
        InputError
            There is no block in these rows and columns.
        """
        names = set(names)
        if self.rows is not None and self.cols is not None:
            places = {name: tuple(map(int, name[1:].split("c"))) for name in names}
            (r0, r1), (c0, c1) = self.rows, self.cols
            inside = {n for n, (row, col) in places.items() if r0 <= row < r1 and c0 <= col < c1}
            if names and not inside:
                row, col = (max(place[axis] for place in places.values()) for axis in (0, 1))
                raise InputError(
                    f"no block in rows {r0}:{r1} and columns {c0}:{c1}",
                    expected=f"some of rows 0:{row + 1} and columns 0:{col + 1}",
                )
            names = inside
        return names & receipts.failures().keys() if self.only_failed else names


EVERYTHING = Selection()
