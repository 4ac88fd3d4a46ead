"""The periods of a study: what of the searched time becomes one composite, and one map, each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from rockglacier.config import Config, years

QUARTERS = (3, 6, 9, 12)
"""First months of the meteorological seasons."""

Span = tuple[date, date]
"""First and last day."""


class Dated(Protocol):
    """What was taken at some time."""

    @property
    def datetime(self) -> datetime:
        """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A span of days, both ends included."""

    start: date
    end: date
    name: str
    """Of its folders: its years if they tell it from the other periods, else its days."""
    index: int
    """Its place among the periods of the study."""

    def scenes[T: Dated](self, scenes: Iterable[T]) -> tuple[T, ...]:
        """Return the scenes taken in the period, in their order."""
        return tuple(s for s in scenes if self.start <= s.datetime.date() <= self.end)


def periods_of(config: Config) -> tuple[Period, ...]:
    """Return the periods of a study, the earliest first."""
    spans = _spans(config)
    names = [years(*span) for span in spans]
    if len(set(names)) < len(names):
        names = [f"{start}_{end}" for start, end in spans]
    return tuple(
        Period(start=start, end=end, name=name, index=index)
        for index, ((start, end), name) in enumerate(zip(spans, names, strict=True))
    )


def _spans(config: Config) -> Sequence[Span]:
    given, whole = config.cube.periods, (config.search.start, config.search.end)
    if given == "one":
        return (whole,)
    if isinstance(given, tuple):
        return given
    return _cut(whole, (1,) if given == "years" else QUARTERS)


def _cut(whole: Span, months: tuple[int, ...]) -> Sequence[Span]:
    """Cut a span at the first days of months of every year."""
    first, last = whole
    days = [date(y, month, 1) for y in range(first.year, last.year + 1) for month in months]
    starts = [first, *(day for day in days if first < day <= last)]
    ends = [*(start - timedelta(days=1) for start in starts[1:]), last]
    return list(zip(starts, ends, strict=True))
