"""How much of a training goes by before the next batch is there."""

from __future__ import annotations

import time
from collections.abc import Callable


class BatchClock:
    """Parts the time of a training into waiting for batches and working on them.

    Parameters
    ----------
    now
        Gives seconds.

    Notes
    -----
    Moving a batch to the device counts as waiting. On a GPU steps are only ordered and run on
    behind: it may be busy while the next batch is awaited, so that the share is the most that it
    can have been idle for want of data.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._mark = now()
        self._waited, self._worked = 0.0, 0.0
        self.totals = [0.0, 0.0]
        """Seconds waited and worked in the epochs that have ended."""

    def expect(self) -> None:
        """Say that from now on a batch is awaited."""
        self._mark = self._now()

    def arrived(self) -> None:
        """Say that the batch is there."""
        now = self._now()
        self._waited += now - self._mark
        self._mark = now

    def worked(self) -> None:
        """Say that the step is done; the next batch is awaited."""
        now = self._now()
        self._worked += now - self._mark
        self._mark = now

    def end_epoch(self) -> float:
        """Return the share (0..1) of the epoch's time that was waited, and begin another one."""
        share = _share(self._waited, self._worked)
        self.totals = [self.totals[0] + self._waited, self.totals[1] + self._worked]
        self._waited, self._worked = 0.0, 0.0
        return share

    @property
    def share(self) -> float:
        """Share (0..1) of the time of all epochs that was waited."""
        return _share(*self.totals)


def _share(waited: float, worked: float) -> float:
    whole = waited + worked
    return round(waited / whole, 4) if whole else 0.0
