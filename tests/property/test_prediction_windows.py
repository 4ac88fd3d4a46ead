"""The lattice covers every pixel and knows nothing of blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rockglacier.grid import Window
from rockglacier.prediction.blend import blend, blend_weights
from rockglacier.prediction.windows import Lattice, reflected, windows_over


@st.composite
def lattices(draw):
    window = draw(st.integers(2, 24))
    stride = draw(st.integers(max(1, window // 4), window))
    side = st.integers(1, 3 * window)
    return Lattice(shape=(draw(side), draw(side)), window=window, stride=stride)


def rectangles(shape, block):
    for y in range(0, shape[0], block):
        for x in range(0, shape[1], block):
            yield Window(y=y, x=x, height=block, width=block).clipped(shape)


@given(lattices())
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_covered_and_lies_in_one_core(lattice):
    looks, cores = np.zeros(lattice.shape, int), np.zeros(lattice.shape, int)
    for window in lattice:
        looks[window.clipped(lattice.shape).slices] += 1
        y, x, step = window.y + lattice.margin, window.x + lattice.margin, lattice.stride
        core = Window(y=y, x=x, height=step, width=step)
        cores[core.clipped(lattice.shape).slices] += 1
    assert looks.min() >= 1
    assert (cores == 1).all()


@given(lattices(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_block_gets_exactly_the_windows_that_touch_it_in_global_order(lattice, block):
    for rectangle in rectangles(lattice.shape, block):
        y1, x1 = rectangle.y + rectangle.height, rectangle.x + rectangle.width
        touching = [
            w
            for w in lattice
            if w.y < y1
            and w.y + w.height > rectangle.y
            and w.x < x1
            and w.x + w.width > rectangle.x
        ]
        assert windows_over(rectangle, lattice=lattice) == touching


@given(lattices(), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_blended_blocks_equal_the_whole_bit_for_bit(lattice, block, seed):
    rng = np.random.default_rng(seed)
    size = (lattice.window, lattice.window)
    parts = {window: rng.random(size, np.float32) for window in lattice}
    weights = blend_weights(lattice.window)
    whole = Window(y=0, x=0, height=lattice.shape[0], width=lattice.shape[1])
    expected = blend(whole, parts.items(), weights=weights)
    assert not np.isnan(expected).any()
    for rectangle in rectangles(lattice.shape, block):
        own = [(w, parts[w]) for w in windows_over(rectangle, lattice=lattice)]
        result = blend(rectangle, own, weights=weights)
        assert np.array_equal(result, expected[rectangle.slices])


@given(st.integers(-200, 200), st.integers(1, 100), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_reflection_is_a_walk_inside_the_raster(start, size, length):
    index = reflected(start, size, length=length)
    assert index.min() >= 0
    assert index.max() < length
    assert (np.abs(np.diff(index)) == (length > 1)).all()
    inside = np.arange(start, start + size)
    kept = (inside >= 0) & (inside < length)
    assert np.array_equal(index[kept], inside[kept])
