"""Whatever ground and light: augmented features are the features of augmented ground."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rockglacier.chips.augment import Augment, moved

CHANNELS = ("B02", "B08", "aspect_sin", "aspect_cos", "slope")
BANDS = ("B02", "B08")
EDGE = 8

symmetries = st.fixed_dictionaries(
    {"quarter_turns": st.integers(0, 3), "is_mirrored": st.booleans()}
)
finite = {"allow_nan": False, "allow_infinity": False, "width": 32}
statistics = st.tuples(
    arrays(np.float32, len(CHANNELS), elements=st.floats(-2, 2, **finite)),
    arrays(np.float32, len(CHANNELS), elements=st.floats(0.125, 4, **finite)),
)
directions = arrays(np.float32, (EDGE, EDGE), elements=st.floats(0, 359, **finite))
reflectances = arrays(np.float32, (2, EDGE, EDGE), elements=st.floats(0, 1, **finite))


def augment_of(mean, std, **given):
    return Augment(CHANNELS, mean=mean.tolist(), std=std.tolist(), bands=BANDS, **given)


def features(aspect_deg, reflectance, mean, std):
    """Standardised features of ground that looks in these directions."""
    radians = np.radians(aspect_deg.astype(np.float64))
    layers = [*reflectance, np.sin(radians), np.cos(radians), np.full_like(radians, 0.3)]
    values = (np.stack(layers) - mean[:, None, None]) / std[:, None, None]
    return torch.from_numpy(values.astype(np.float32))


def facing(image, mean, std):
    """The direction that features say, degrees from north."""
    sine, cosine = (image[number].numpy() * std[number] + mean[number] for number in (2, 3))
    return np.degrees(np.arctan2(sine, cosine)) % 360


def apart(one, other):
    return np.abs((one - other + 180) % 360 - 180)


@settings(deadline=None, max_examples=60)
@given(directions, reflectances, statistics, symmetries)
def test_slopes_face_where_the_moved_ground_faces(aspect, reflectance, numbers, move):
    mean, std = numbers
    image = features(aspect, reflectance, mean, std)
    found = augment_of(mean, std).turned(image, **move)
    there = moved(torch.from_numpy(aspect), **move).numpy().astype(np.float64)
    # east and west swapped: 90 becomes 270; a turn to the left takes 90 off, north to west
    expected = (-there if move["is_mirrored"] else there) - 90 * move["quarter_turns"]
    assert apart(facing(found, mean, std), expected % 360).max() < 0.01
    for number in (0, 1, 4):
        assert torch.equal(found[number], moved(image, **move)[number])


@settings(deadline=None, max_examples=40)
@given(directions, reflectances, statistics, symmetries)
def test_every_symmetry_can_be_undone(aspect, reflectance, numbers, move):
    mean, std = numbers
    augment = augment_of(mean, std)
    image = features(aspect, reflectance, mean, std)
    there = augment.turned(image, **move)
    if move["is_mirrored"]:  # turn back, then mirror back
        back = augment.turned(there, quarter_turns=-move["quarter_turns"] % 4, is_mirrored=False)
        back = augment.turned(back, quarter_turns=0, is_mirrored=True)
    else:
        back = augment.turned(there, quarter_turns=-move["quarter_turns"] % 4, is_mirrored=False)
    torch.testing.assert_close(back, image, atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=40)
@given(directions, reflectances, statistics, st.floats(0.9, 1.1))
def test_light_acts_on_reflectance_whatever_the_standardisation(
    aspect, reflectance, numbers, factor
):
    mean, std = numbers
    found = augment_of(mean, std).lit(features(aspect, reflectance, mean, std), factor)
    expected = features(aspect, (reflectance * np.float32(factor)), mean, std)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**31), st.integers(0, 1000), st.integers(0, 1000),
    arrays(np.bool_, (3, EDGE, EDGE)),
)  # fmt: skip
def test_a_step_repeats_and_keeps_what_is_missing_and_where_labels_lie(seed, epoch, index, gaps):
    mean, std = np.full(5, 0.5, np.float32), np.full(5, 0.25, np.float32)
    image = torch.rand(3, 5, EDGE, EDGE, generator=torch.Generator().manual_seed(seed)) + 0.1
    missing = torch.from_numpy(gaps)
    image[missing[:, None].expand_as(image)] = 0
    batch = {"image": image, "mask": torch.where(missing, 255, 1)}
    first = augment_of(mean, std, seed=seed)
    first({"image": image, "mask": missing})  # what was drawn before does not matter
    found = first(batch, step=(epoch, index))
    again = augment_of(mean, std, seed=seed)(batch, step=(epoch, index))
    assert torch.equal(found["image"], again["image"])
    assert torch.equal(found["mask"], again["mask"])
    assert torch.equal((found["image"] == 0).all(dim=1), found["mask"] == 255)


def test_steps_and_epochs_differ():
    mean, std = np.zeros(5, np.float32), np.ones(5, np.float32)
    batch = {"image": torch.rand(16, 5, EDGE, EDGE), "mask": torch.ones(16, EDGE, EDGE).long()}
    augment = augment_of(mean, std)
    steps = [augment(batch, step=step)["image"] for step in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[0], steps[2])
    assert not torch.equal(steps[1], steps[2])
