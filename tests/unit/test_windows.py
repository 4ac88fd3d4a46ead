"""The lattice of prediction windows."""

import numpy as np
import pytest

from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.prediction.windows import Lattice, reflected, windows_over


def test_windows_start_half_an_overlap_before_the_raster():
    lattice = Lattice(shape=(300, 300), window=128, stride=64)
    assert lattice.at(0, 0) == Window(y=-32, x=-32, height=128, width=128)
    assert lattice.counts == (5, 5)


def test_windows_without_overlap_tile_the_raster():
    lattice = Lattice(shape=(256, 384), window=128, stride=128)
    assert [(w.y, w.x) for w in lattice] == [(y, x) for y in (0, 128) for x in (0, 128, 256)]


def test_one_pixel_has_one_window():
    assert len(list(Lattice(shape=(1, 1), window=64, stride=32))) == 1


def test_an_empty_rectangle_touches_no_window():
    lattice = Lattice(shape=(100, 100), window=32, stride=16)
    assert windows_over(Window(y=5, x=5, height=0, width=9), lattice=lattice) == []


def test_a_rectangle_far_outside_touches_no_window():
    lattice = Lattice(shape=(100, 100), window=32, stride=16)
    assert windows_over(Window(y=900, x=5, height=9, width=9), lattice=lattice) == []


def test_reflection_equals_numpy_padding():
    values = np.arange(7)
    assert np.array_equal(values[reflected(-20, 50, length=7)], np.pad(values, (20, 23), "reflect"))


def test_reflection_of_one_pixel_repeats_it():
    assert reflected(-3, 9, length=1).tolist() == [0] * 9


def test_a_stride_beyond_the_window_is_refused_with_what_to_set():
    with pytest.raises(InputError, match=r"windows of 32 px every 33 px\n.*\n.*predict.overlap"):
        Lattice(shape=(9, 9), window=32, stride=33)
