"""Landforms read together."""

from __future__ import annotations

import numpy as np

from rockglacier.grid import Window
from rockglacier.inventory.landforms import Landform
from rockglacier.inventory.patches import MAX_PIXELS, held, patches_of

SHAPE = (5000, 5000)


def landform(y, x, height=50, width=50):
    window = Window(y=y, x=x, height=height, width=width)
    return Landform(window=window, pixels=1, peak=80, seed=(y, x))


def test_every_landform_lies_in_one_patch_with_a_pixel_around_it():
    rng = np.random.default_rng(0)
    landforms = [landform(int(y), int(x)) for y, x in rng.integers(0, 4950, (200, 2))]
    patches = patches_of(landforms, SHAPE)
    assert len(patches) <= 25
    assert sorted(place for patch in patches for place in patch.places) == list(range(200))
    for patch in patches:
        for place in patch.places:
            own = landforms[place].window.grown(1).clipped(SHAPE)
            rows, columns = own.within(patch.window)
            assert 0 <= rows.start < rows.stop <= patch.window.height
            assert 0 <= columns.start < columns.stop <= patch.window.width


def test_huge_landform_is_read_alone():
    landforms = [landform(0, 0, 3000, 3000), landform(10, 3500), landform(100, 10)]
    patches = patches_of(landforms, SHAPE)
    assert sorted(len(patch.places) for patch in patches) == [1, 1, 1]
    assert max(patch.window.height * patch.window.width for patch in patches) > MAX_PIXELS
    assert patches_of([], SHAPE) == []


def test_held_pixels_are_those_of_the_raster():
    raster = np.arange(200).reshape(10, 20)
    part = held(raster, Window(y=2, x=3, height=6, width=10))
    assert part.shape == (10, 20)
    key = (slice(4, 6), slice(5, 9))
    assert (part[key] == raster[key]).all()
    assert (held(raster[None], Window(y=0, x=0, height=3, width=3))[slice(0, 3), slice(0, 3)]
            == raster[:3, :3]).all()  # fmt: skip
