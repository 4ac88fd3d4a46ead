"""Whether a packed model may be trusted on a basin: its training ground beside the new ground."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from rockglacier.features.fitted import NODATA, SCALE
from rockglacier.features.shift import ADVICE, Profile, profile_of, shift_of, verdict_of
from rockglacier.features.teachers import teachers_of
from rockglacier.grid import Window, projected
from rockglacier.labels.split import SplitName, windows_of
from rockglacier.storage import open_array, read_json, readable, write_json
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)

TILE: Final = 128
"""Edge of what is read at a time: a chunk of the store, pixels."""
TILES: Final = 256
"""Tiles that are looked at, evenly spread."""
STEP: Final = 8
"""Every so manieth row and column of a tile: neighbours tell the same."""
FEW, FINE_STEP = 64, 2
"""Of fewer tiles than that, every so manieth row and column: a basin of a few km² has four."""
SHOWN: Final = 3
GIVEN: Final = "bundle-"
"""Begins the id of a given model in the record of a prediction."""


def training_ground(study: Study) -> dict[str, Any] | None:
    """Describe the ground that a study's networks were trained on, for a packed model.

    Returns
    -------
    dict or None
        ``profile`` (see :class:`rockglacier.features.shift.Profile`), ``own`` (how far the ground
        that was held out lies from it; None without such ground), ``basins``; None where the
        features are gone.
    """
    if not (study.features_path.exists() and study.splits_path.is_file()):
        return None
    basins = [study, *teachers_of(study)]
    trained = np.concatenate([_of_splits(basin, ("train",)) for basin in basins])
    if not len(trained):
        return None
    channels = read_json(study.fusion_path)["channels"]
    profile = profile_of(trained, channels)
    held_out = _of_splits(study, ("test", "validation"))
    own = None
    if len(held_out):
        found = shift_of(profile, held_out)
        own = {"distance": found["distance"], "beyond": found["beyond"]}
    names = [basin.config.name for basin in basins]
    return {"profile": profile.to_dict(), "own": own, "basins": names}


def _of_splits(study: Study, splits: Sequence[SplitName]) -> NDArray[np.float32]:
    table = gpd.read_parquet(readable(study.splits_path))
    windows = [window for split in splits for window in windows_of(table, split)]
    return sample_features(study, windows)


def write_applicability(study: Study, bundle: Bundle) -> dict[str, Any]:
    """Compare the ground of a mapped basin with that of the model's training.

    Writes ``applicability.json`` beside the prediction.

    Returns
    -------
    dict
        ``applicability``: alike, shifted, unlike, or unknown where the model does not tell its
        ground; ``shift`` and ``beyond_percent``, see :func:`rockglacier.features.shift.shift_of`.
    """
    path = _path(study)
    known = bundle.facts.get("applicability")
    values = sample_features(study, [study.grid.whole], inside=study.area)
    if known is None or not len(values):
        path.unlink(missing_ok=True)
        return {"applicability": "unknown"}
    shift = shift_of(Profile.from_dict(known["profile"]), values)
    verdict = verdict_of(shift, known["own"])
    apart = sorted(shift["channels"], key=lambda row: -row["distance"])
    found = {
        "verdict": verdict,
        "advice": ADVICE[verdict],
        "model": bundle.path.name,
        "trained_on": known["basins"],
        **shift,
        "own": known["own"],
        "farthest": [row["name"] for row in apart[:SHOWN]],
    }
    write_json(path, found)
    if verdict != "alike":
        logger.warning("%s: %s", study.config.name, ADVICE[verdict])
    return {
        "applicability": verdict,
        "shift": shift["distance"],
        "beyond_percent": round(100 * shift["beyond"], 1),
    }


def applicability_of(study: Study) -> dict[str, Any] | None:
    """Return what :func:`write_applicability` wrote, None where the map is not a given model's."""
    path, record = _path(study), study.prediction_record_path
    if not path.is_file():
        return None
    is_given = not record.is_file() or str(read_json(record)["model_id"]).startswith(GIVEN)
    return dict(read_json(path)) if is_given else None


def _path(study: Study) -> Path:
    return study.prediction_path / "applicability.json"


def sample_features(
    study: Study, grounds: Sequence[Window], *, inside: shapely.Geometry | None = None
) -> NDArray[np.float32]:
    """Return features at places spread evenly over some ground.

    Parameters
    ----------
    study
        Its features are made.
    grounds
        Windows of the grid.
    inside
        EPSG:4326; tiles whose middle lies outside are left out, unless all do.

    Returns
    -------
    ndarray
        (pixel, channel) float32, places without data left out; the same for the same ground.
    """
    tiles = [tile for ground in grounds for tile in _tiles(ground)]
    if inside is not None:
        tiles = _within(study, tiles, inside)
    chosen = tiles[:: max(1, math.ceil(len(tiles) / TILES))]
    stored: Any = open_array(study.features_path / "features")
    step = FINE_STEP if len(chosen) < FEW else STEP
    found = []
    for tile in chosen:
        part = np.asarray(stored[(slice(None), *tile.slices)])[:, ::step, ::step]
        flat = part.reshape(len(part), -1).T
        found.append(flat[flat[:, 0] != NODATA])
    if not found:
        return np.empty((0, stored.shape[0]), np.float32)
    return np.concatenate(found).astype(np.float32) / np.float32(SCALE)


def _tiles(ground: Window) -> list[Window]:
    """Return a window in pieces that each lie in one chunk of the store."""
    bottom, right = ground.y + ground.height, ground.x + ground.width
    pieces = []
    for row in range(ground.y // TILE * TILE, bottom, TILE):
        for column in range(ground.x // TILE * TILE, right, TILE):
            y, x = max(row, ground.y), max(column, ground.x)
            height, width = min(row + TILE, bottom) - y, min(column + TILE, right) - x
            pieces.append(Window(y=y, x=x, height=height, width=width))
    return pieces


def _within(study: Study, tiles: Sequence[Window], area: shapely.Geometry) -> list[Window]:
    to_map = study.grid.geobox.affine
    middles = [to_map * (tile.x + tile.width / 2, tile.y + tile.height / 2) for tile in tiles]
    is_inside = shapely.contains_xy(
        projected(area, epsg=study.grid.epsg), [x for x, _ in middles], [y for _, y in middles]
    )
    kept = [tile for tile, flag in zip(tiles, is_inside, strict=True) if flag]
    return kept or list(tiles)
