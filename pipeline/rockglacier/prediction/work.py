"""The blocks of a prediction as work: what a worker is told, and what it does with a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.engine import Task
from rockglacier.grid import Window
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.prediction.caller import Caller
from rockglacier.prediction.ensemble import EnsembleInference, Layers
from rockglacier.prediction.members import Source
from rockglacier.prediction.store import PROBABILITY
from rockglacier.storage import (
    Traffic,
    disk_errors,
    in_one_pass,
    one_pass,
    open_array,
    open_group,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An ensemble, and the ground that it predicts."""

    models: Source
    features: Path
    """Of its own fusion: ``features`` in there is (channel, y, x)."""
    ground: tuple[Window, ...] | None = None
    """Rectangles; None: all ground."""

    def under(self, window: Window) -> list[Window]:
        """Return the ground that lies in a window."""
        if self.ground is None:
            return [window]
        shared = (one.shared(window) for one in self.ground)
        return [one for one in shared if one is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictWork:
    """Writes every layer of the blocks of a group; picklable, and small: it holds no weights.

    A group shares the windows over its seams, each of which passes a network once.
    """

    parts: tuple[Part, ...]
    settings: PredictConfig
    target: Path

    def __call__(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Mapping[str, Any]]]:
        """Predict one block after the other; a receipt says how many pixels have a probability."""
        windows = {task.name: Window(**task.inputs["window"]) for task in tasks}
        traffic = Traffic()
        network = Caller()
        runs = [
            run
            for part in self.parts
            if (run := _PartRun.over(part, list(windows.values()), self.settings, network, traffic))
            is not None
        ]
        yield from network.serve(self._blocks(windows, tasks, runs, traffic))

    def _blocks(
        self,
        windows: Mapping[str, Window],
        tasks: Sequence[Task],
        runs: Sequence[_PartRun],
        traffic: Traffic,
    ) -> Iterator[tuple[Task, Mapping[str, Any]]]:
        with one_pass():
            layers: dict[str, Any] = dict(open_group(self.target, "r+", traffic=traffic).arrays())
        for task in tasks:
            window = windows[task.name]
            percents = _percents(list(layers), runs, window)
            with disk_errors(self.target.parent):
                for name, percent in percents.items():
                    layers[name][window.slices] = percent
            valid = int((percents[PROBABILITY] != PERCENT_NODATA).sum())
            # what was read ahead of the next block counts as this one's
            yield task, {"valid": valid, **traffic.taken()}


@dataclass(frozen=True, slots=True)
class _PartRun:
    """A part at work on the windows of a group."""

    part: Part
    inference: EnsembleInference

    @classmethod
    def over(
        cls,
        part: Part,
        windows: Sequence[Window],
        settings: PredictConfig,
        network: Executor,
        traffic: Traffic,
    ) -> _PartRun | None:
        """Load the models of a part if it has any ground in the windows."""
        rectangles = [around(own) for window in windows if (own := part.under(window))]
        if not rectangles:
            return None
        return cls(
            part,
            EnsembleInference(
                ensemble=part.models.ensemble(settings),
                features=in_one_pass(open_array(part.features / "features", traffic=traffic)),
                settings=settings,
                rectangles=rectangles,
                executor=network,
            ),
        )

    def layers(self, own: Sequence[Window]) -> tuple[Window, Layers]:
        """Return what it says of its ground, in the rectangle around that; NaN elsewhere."""
        rectangle = around(own)
        layers = self.inference.layers(rectangle)
        is_own = np.zeros((rectangle.height, rectangle.width), bool)
        for window in own:
            is_own[window.within(rectangle)] = True
        return rectangle, {
            name: np.where(is_own, values, np.float32(np.nan)) for name, values in layers.items()
        }


def _percents(
    names: Sequence[str], runs: Sequence[_PartRun], window: Window
) -> dict[str, NDArray[np.uint8]]:
    """Return the stored layers of a block; parts do not overlap."""
    shape = (window.height, window.width)
    result = {name: np.full(shape, PERCENT_NODATA, np.uint8) for name in names}
    for run in runs:
        if own := run.part.under(window):
            rectangle, layers = run.layers(own)
            place = rectangle.within(window)
            for name in names:
                percent = to_percent(layers[name])
                is_known = percent != PERCENT_NODATA
                result[name][place][is_known] = percent[is_known]
    return result


def around(windows: Sequence[Window]) -> Window:
    """Return the smallest window that holds some others."""
    y, x = min(one.y for one in windows), min(one.x for one in windows)
    bottom = max(one.y + one.height for one in windows)
    right = max(one.x + one.width for one in windows)
    return Window(y=y, x=x, height=bottom - y, width=right - x)
