"""What happened in a training, for programs, for TensorBoard and as curves."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rockglacier.storage import write_text

Row = dict[str, Any]
LOG = "history.jsonl"
TABLE = "history.csv"
CURVES = ("curves.png", "curves.svg")


class TrainingLog:
    """Writes the history after every epoch: JSON lines, and events for TensorBoard.

    Parameters
    ----------
    folder
        Of the trial in training.
    done
        Epochs that an earlier run of the same trial finished: events after them are void.
    """

    def __init__(self, folder: Path, *, done: int = 0) -> None:
        from tensorboardX import SummaryWriter

        self._path = folder / LOG
        self._done = done
        self._events = SummaryWriter(str(folder / "events"), purge_step=done)

    def epoch(self, history: Sequence[Row]) -> None:
        """Write what is new; the file of JSON lines always holds the whole history."""
        write_text(self._path, "".join(f"{_line(row)}\n" for row in history))
        for row in history[self._done :]:
            for name, value in row.items():
                if name != "epoch" and isinstance(value, int | float):
                    self._events.add_scalar(name, value, global_step=row["epoch"])
        self._done = len(history)
        self._events.flush()

    def close(self) -> None:
        """End the file of events."""
        self._events.close()


def _line(row: Row) -> str:
    """Return a row as JSON; a loss that is no number any more is null."""
    told = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
    return json.dumps(told, allow_nan=False)


def write_history(folder: Path, history: Sequence[Row]) -> None:
    """Write the history of a finished training as a table and as curves (PNG and SVG)."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / TABLE, buffer.getvalue())
    figure = draw_curves(history)
    for name in CURVES:
        figure.savefig(folder / name, metadata={"Date": None} if name.endswith("svg") else None)


def draw_curves(history: Sequence[Row]) -> Figure:
    """Return a figure of the losses and of the validation score, with the best epoch marked."""
    figure = Figure(figsize=(8, 3.2), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name, label in (("train_loss", "training"), ("validation_loss", "validation")):
        left.plot(epochs, [row[name] for row in history], marker=".", label=label)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False, loc="upper right")
    ious = [row["iou_rock_glacier"] for row in history]
    right.plot(epochs, [float("nan") if iou is None else iou for iou in ious], marker=".")
    best = max(history, key=lambda row: float(row["score"]))
    right.axvline(best["epoch"], linewidth=0.8, linestyle="--", color="0.4")
    right.set(xlabel="epoch", ylabel="IoU of rock glaciers, validation", ylim=(0, 1))
    return figure
