"""The fewest scenes that show every place often enough: a greedy cover without superfluous ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from rockglacier.scenes.record import Scene

MEDIAN_LOOKS = 3
"""Fewest looks whose median rejects one that is odd."""
OVERPASS = timedelta(minutes=10)
"""Scenes of one satellite closer than this are of one overpass; orbits take 100 minutes."""


def overpasses(scenes: Sequence[Scene]) -> np.ndarray:
    """Return (scene,) numbers: scenes of one overpass, which are one look, share a number.

    Parameters
    ----------
    scenes
        In any order.
    """
    numbers = np.zeros(len(scenes), int)
    first: Scene | None = None
    count = -1
    for index in sorted(range(len(scenes)), key=lambda at: _flight(scenes[at])):
        scene = scenes[index]
        if first is None or not _same_overpass(first, scene):
            first, count = scene, count + 1
        numbers[index] = count
    return numbers


def _flight(scene: Scene) -> tuple[object, ...]:
    return scene.platform, scene.datetime, scene.id


def _same_overpass(first: Scene, scene: Scene) -> bool:
    if first.platform != scene.platform:
        return False
    if first.datatake and scene.datatake:
        return first.datatake == scene.datatake
    return scene.datetime - first.datetime < OVERPASS


def looks_at(seen: np.ndarray, passes: np.ndarray) -> np.ndarray:
    """Return (point,) in how many overpasses a point is seen.

    Parameters
    ----------
    seen
        (scene, point) bool.
    passes
        (scene,) number of the scene's overpass.
    """
    looks = np.zeros(seen.shape[1], int)
    for number in np.unique(passes):
        looks += seen[passes == number].any(axis=0)
    return looks


def fewest(seen: np.ndarray, passes: np.ndarray, *, least: int) -> list[int]:
    """Choose scenes that show every point in ``least`` overpasses, or as often as all together do.

    Parameters
    ----------
    seen
        (scene, point) bool; scenes to prefer come first.
    passes
        (scene,) number of the scene's overpass.
    least
        Looks that a point needs.

    Returns
    -------
    list of int
        Rows of ``seen``, ascending. None of them can be left out.

    Notes
    -----
    The scene that adds most of the missing looks is taken next, of equals the preferred one, until
    none is missing: at most ln(points) + 1 times as many as the smallest choice has. Then those
    that later ones made superfluous are left out, the least preferred first.
    """
    need = np.minimum(looks_at(seen, passes), least)
    covered = np.zeros((int(passes.max(initial=-1)) + 1, seen.shape[1]), bool)
    have = np.zeros(seen.shape[1], int)
    chosen: list[int] = []
    while True:
        missing = have < need
        gains = [
            0 if index in chosen else np.count_nonzero(row & missing & ~covered[number])
            for index, (row, number) in enumerate(zip(seen, passes, strict=True))
        ]
        best = int(np.argmax(gains)) if gains else -1
        if best < 0 or not gains[best]:
            break
        chosen.append(best)
        have += seen[best] & ~covered[passes[best]]
        covered[passes[best]] |= seen[best]
    return _without_superfluous(sorted(chosen), seen, passes, need)


def _without_superfluous(
    chosen: list[int], seen: np.ndarray, passes: np.ndarray, need: np.ndarray
) -> list[int]:
    kept = list(chosen)
    have = looks_at(seen[kept], passes[kept])
    for index in reversed(chosen):
        others = [other for other in kept if other != index and passes[other] == passes[index]]
        lost = seen[index] & ~seen[others].any(axis=0)
        if (have - lost >= need).all():
            kept.remove(index)
            have = have - lost
    return kept
