"""The scenes that are used, settled against their own files: their pixel grid and their offset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from rockglacier.engine import Progress
from rockglacier.scenes import radiometry
from rockglacier.scenes.choose import Dropped
from rockglacier.scenes.ground import read_ground
from rockglacier.scenes.header import with_header
from rockglacier.scenes.measure import Measured, each
from rockglacier.scenes.record import NOT_BANDS
from rockglacier.study import Study

logger = logging.getLogger(__name__)

VISIBLE = ("B02", "B03", "B04")
"""Bands in which clear ground is dark."""
PIXEL_M = dict.fromkeys((*VISIBLE, "B08"), 10) | dict.fromkeys(("B01", "B09"), 60)
"""Edge of a pixel; 20 m for those not named."""


def settle_all(
    study: Study, chosen: Sequence[Measured], *, progress: Progress
) -> tuple[list[Measured], list[Dropped]]:
    """Open one band of every scene: its header and its dark pixels have the last word.

    Parameters
    ----------
    study
        Whether unreadable scenes are skipped.
    chosen
        Scenes to use.
    progress
        Told after every scene.

    Returns
    -------
    tuple
        The scenes as their files are, and those dropped because they cannot be read.

    Raises
    ------
    RemoteError
        A band cannot be read, and ``cube.on_unreadable`` is ``fail``.
    """
    found = each(study, chosen, lambda one: one.scene, _settled)
    kept: list[Measured] = []
    dropped: list[Dropped] = []
    for done, outcome in enumerate(found, start=1):
        progress("headers and offsets", done, len(chosen))
        if isinstance(outcome, Dropped):
            dropped.append(outcome)
        else:
            kept.append(outcome)
    return kept, dropped


def _settled(one: Measured) -> Measured:
    bands = [band for band in one.scene.assets if band not in NOT_BANDS]
    visible = next((band for band in VISIBLE if band in bands), None)
    finest = visible or min(bands, key=lambda band: PIXEL_M.get(band, 20))
    header, dn = read_ground(one.scene, finest, one.ground if visible else ())
    scene = with_header(one.scene, header)
    if visible is None:
        return replace(one, scene=scene)
    found = radiometry.darkness(dn)
    said = radiometry.Decision(add=scene.offset_in_pixels, reason=scene.offset_reason)
    checked = radiometry.check_pixels(said, dn)
    if checked != said:
        logger.warning("%s: %s", scene.id, checked.reason)
    scene = replace(
        scene,
        offset_in_pixels=checked.add,
        offset_reason=checked.reason,
        offset_evidence=checked.evidence or scene.offset_evidence,
        offset_pixels=found.pixels,
        offset_dark_percent=round(found.dark_percent, 3),
    )
    return replace(one, scene=scene)
