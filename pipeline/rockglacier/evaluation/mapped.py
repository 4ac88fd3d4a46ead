"""The error-adjusted area of a study's map."""

from __future__ import annotations

import csv
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.evaluation.area import adjusted_area
from rockglacier.evaluation.judge import BLOCKS, FOLDER
from rockglacier.evaluation.kinds import burnt
from rockglacier.grid import projected
from rockglacier.inventory.landforms import is_above
from rockglacier.model.held_out import ENSEMBLE
from rockglacier.prediction.blend import PERCENT_NODATA
from rockglacier.storage import open_array, read_json, write_json
from rockglacier.study import Study

AREA: Final = "adjusted-area.json"


def write_adjusted_area(study: Study) -> dict[str, Any] | None:
    """Write ``adjusted-area.json`` beside the inventory, and return its content.

    Parameters
    ----------
    study
        Evaluated, and mapped by the selected network or the ensemble.

    Returns
    -------
    dict or None
        See :func:`rockglacier.evaluation.area.adjusted_area`, with ``threshold`` and
        ``total_km2``. None where there is no map, no test ground to judge it by, or a map of
        others than were judged there, as one out of folds.

    Notes
    -----
    What is mapped is counted in pixels of the area, at the threshold of its maker, which is the
    one that the test ground was scored with; no outline is dropped for its size.
    """
    blocks = study.models_path / FOLDER / BLOCKS
    prediction = study.prediction_path / "prediction.zarr"
    if not (blocks.is_file() and study.selection_path.is_file() and prediction.is_dir()):
        return None
    selection = read_json(study.selection_path)
    own = f"{study.config.name}/{selection['network']}/trial-{selection['trial']}"
    judged = {own: (selection["network"], selection["trial"], selection["threshold"])}
    together = read_json(study.evaluation_path)["networks"].get(ENSEMBLE)
    if together is not None:
        judged[together["model_id"]] = (ENSEMBLE, together["trial"], together["threshold"])
    record = study.prediction_record_path
    maker = read_json(record)["model_id"] if record.is_file() else own
    if maker not in judged:
        return None
    name, trial, threshold = judged[maker]
    rows = [
        row
        for row in csv.DictReader(blocks.read_text(encoding="utf-8").splitlines())
        if (row["network"], int(row["trial"])) == (name, trial)
    ]
    if not rows:
        return None
    counts = np.array(
        [[[int(r["tn"]), int(r["fp"])], [int(r["fn"]), int(r["tp"])]] for r in rows], np.int64
    )
    mapped = _mapped_km2(study, threshold=threshold)
    if not mapped.sum():
        return None
    result = {
        "threshold": threshold,
        "total_km2": round(float(mapped.sum()), 6),
        **adjusted_area(counts, mapped.tolist(), seed=study.config.labels.seed),
        "meaning": "area of rock glaciers corrected for the errors on test ground (Olofsson et al. "
        "2014); the interval draws blocks of test ground anew",
    }
    write_json(study.inventory_path / AREA, result)
    return result


def _mapped_km2(study: Study, *, threshold: float) -> NDArray[np.float64]:
    """Return the ground mapped as background and as rock glacier, km² of the grid."""
    grid = study.grid
    probability = open_array(study.prediction_path / "prediction.zarr" / "probability")
    area = projected(study.area, epsg=grid.epsg)
    pixels = np.zeros(2, np.int64)
    for block in grid.blocks():
        percent = np.asarray(probability[block.window.slices])
        known = burnt([area], grid, block.window) & (percent != PERCENT_NODATA)
        landform = int((known & is_above(percent, threshold=threshold)).sum())
        pixels += (int(known.sum()) - landform, landform)
    return (pixels * grid.resolution**2 / 1e6).astype(np.float64)
