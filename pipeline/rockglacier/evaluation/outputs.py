"""What every network says of the test ground, kept for those who want to see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.storage import open_array, open_group
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.scoring import Map  # brings torch, which who only reads need not have

CHUNK: Final = 256
"""Edge of a chunk, pixels."""


def outputs_path(study: Study) -> Path:
    """Return where the maps of the test ground lie, a Zarr group: network, then trial."""
    return study.models_path / "evaluation" / "outputs.zarr"


def begin_outputs(study: Study) -> None:
    """Make room for the maps, in place of those of an earlier evaluation."""
    open_group(outputs_path(study), "w")


def write_outputs(study: Study, name: str, trial: int, maps: Sequence[Map]) -> None:
    """Write the map of one trial, ``<network>/trial-<n>``: (y, x) uint8 percent.

    Parameters
    ----------
    study
        Its grid is that of the array.
    name, trial
        The network.
    maps
        Of the test ground; what they show around it is not kept. Elsewhere the array has 255.
    """
    group = open_group(outputs_path(study), "r+")
    array = group.create_array(
        _key(name, trial),
        shape=study.grid.shape,
        dtype="uint8",
        chunks=(CHUNK, CHUNK),
        fill_value=PERCENT_NODATA,
        config={"write_empty_chunks": False},
    )
    for one in maps:
        # windows of several maps may share a chunk: a write keeps what is beside it
        array[one.window.slices] = to_percent(one.probability[one.window.within(one.reach)])


def read_outputs(study: Study, name: str, trial: int) -> Any | None:
    """Return the map of one trial, or None where it was not kept."""
    path = outputs_path(study) / _key(name, trial)
    return open_array(path) if (path / "zarr.json").is_file() else None


def _key(name: str, trial: int) -> str:
    return f"{name.replace(':', '-')}/trial-{trial}"
