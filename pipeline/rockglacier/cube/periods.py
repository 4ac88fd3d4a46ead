"""The periods of a cube: what of the searched time becomes one composite each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from rockglacier.config import Config
from rockglacier.scenes.record import Scene

QUARTERS = (3, 6, 9, 12)
"""First months of the meteorological seasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A span of days, both ends included."""

    start: date
    end: date

    def scenes(self, scenes: Iterable[Scene]) -> tuple[Scene, ...]:
        """Return the scenes taken in the period, in their order."""
        return tuple(s for s in scenes if self.start <= s.datetime.date() <= self.end)


def periods_of(config: Config) -> tuple[Period, ...]:
    """Return the periods of a study's cube, the earliest first."""
    given, whole = config.cube.periods, Period(start=config.search.start, end=config.search.end)
    if given == "one":
        return (whole,)
    if isinstance(given, tuple):
        return tuple(Period(start=start, end=end) for start, end in given)
    return _cut(whole, (1,) if given == "years" else QUARTERS)


def _cut(whole: Period, months: tuple[int, ...]) -> tuple[Period, ...]:
    """Cut a period at the first days of months of every year."""
    years = range(whole.start.year, whole.end.year + 1)
    days = [date(year, month, 1) for year in years for month in months]
    starts = [whole.start, *(day for day in days if whole.start < day <= whole.end)]
    ends = [*(start - timedelta(days=1) for start in starts[1:]), whole.end]
    return tuple(Period(start=a, end=b) for a, b in zip(starts, ends, strict=True))
