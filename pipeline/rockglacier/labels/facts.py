"""What the labels of a basin hold, in numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import zarr

from rockglacier.config import Config
from rockglacier.engine import Receipts
from rockglacier.grid import Window
from rockglacier.labels.registration import shift_scores
from rockglacier.labels.split import SplitName, windows_of
from rockglacier.storage import open_array
from rockglacier.study import Study

logger = logging.getLogger(__name__)

GROUNDS: tuple[SplitName, ...] = ("train", "validation", "test", "guard")


def facts_of(
    study: Study,
    table: gpd.GeoDataFrame,
    splits: gpd.GeoDataFrame,
    receipts: Receipts,
    *,
    landform: int,
) -> dict[str, Any]:
    """Return what the stage tells of labels that are burnt.

    Parameters
    ----------
    study
        With ``labels.zarr``.
    table, splits
        The repaired reference, and the split of the ground.
    receipts
        Of the blocks.
    landform
        What a landform's pixels hold.
    """
    labels = open_array(study.labels_path / "labels")
    counts = [receipt for _, receipt in receipts.all()]
    burnt = sum(receipt["rock_glacier"] for receipt in counts)
    background = sum(receipt["background"] for receipt in counts)
    pixels = study.grid.shape[0] * study.grid.shape[1]
    windows = {name: windows_of(splits, name) for name in GROUNDS}
    return {
        "used": int(table["used"].sum()),
        "actions": {str(key): int(n) for key, n in table["action"].value_counts().items()},
        "area_km2": float(table.loc[table["used"], "area_km2"].sum()),
        "repaired_area_change_km2": float(
            table.loc[table["action"] == "repaired", "area_change_km2"].sum()
        ),
        "overlap_km2": float(table["overlap_km2"].sum()),
        "landform_share": burnt / max(burnt + background, 1),
        "ground": {
            name: round(sum(window.height * window.width for window in ground) / pixels, 4)
            for name, ground in windows.items()
        },
        "landform_pixels": _landform_pixels(labels, windows, landform),
        "split_version": str(splits["version"].iloc[0]),
        "untaught_share": sum(receipt["untaught"] for receipt in counts) / pixels,
        **_shifts(labels, [block.window for block in study.grid.blocks()]),
    }


def _shifts(labels: zarr.Array[Any], windows: Sequence[Window]) -> dict[str, Any]:
    """Return what the reference scores against itself, moved: what no map of it can exceed."""
    scores = shift_scores(labels, windows)
    if not scores:
        return {}
    farthest = max(scores)
    return {
        f"iou_of_reference_moved_{farthest}_px": round(scores[farthest]["mean"], 4),
        "iou_by_shift_px": {
            str(shift): {key: round(value, 4) for key, value in score.items()}
            for shift, score in scores.items()
        },
    }


def tell_of_narrow_guard(config: Config) -> None:
    """Warn where a window on test ground may reach over the guard into ground that trained."""
    guard, chip = config.labels.guard, config.train.chip
    if guard < chip and config.labels.split != "train-only":
        logger.warning(
            "labels.guard, %d px, is narrower than a chip, %d px: windows at the border of test "
            "ground see ground that trained; set it to %d or more",
            guard,
            chip,
            chip,
        )


def _landform_pixels(
    labels: zarr.Array[Any], windows: Mapping[SplitName, list[Window]], landform: int
) -> dict[str, int]:
    """Count the landform pixels of each ground; warn where one that needs some has none."""
    found = {
        name: sum(
            int(np.count_nonzero(np.asarray(labels[window.slices]) == landform))
            for window in ground
        )
        for name, ground in windows.items()
    }
    for name, count in found.items():
        if any(found.values()) and not count and windows[name] and name != "guard":
            logger.warning(
                "the %s ground holds no rock glacier: choose another labels.seed or labels.split",
                name,
            )
    return {str(name): count for name, count in found.items()}
