"""Shapes, sizes and settings of the networks."""

import pytest
import torch

from rockglacier.errors import InputError
from rockglacier.model.networks import make_network, parameter_count

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("unet", "deeplabv3plus", "hrnet")


@pytest.mark.parametrize("size", ["small", "standard"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_have_the_size_of_the_image(name, size):
    network = make_network(name, size=size, channels=5).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 5, 64, 96)).shape == (1, 2, 64, 96)


def test_hrnet_is_hrnetv2_w32():
    assert parameter_count(make_network("hrnet", channels=9)) == pytest.approx(29.54e6, rel=1e-3)


@pytest.mark.parametrize(("name", "millions"), [("unet", 24.5), ("deeplabv3plus", 4.4)])
def test_standard_networks_have_the_documented_size(name, millions):
    assert parameter_count(make_network(name, channels=9)) / 1e6 == pytest.approx(millions, abs=0.1)


def test_hrnet_keeps_four_resolutions():
    network = make_network("hrnet", channels=3).eval()
    with torch.inference_mode():
        streams = network.streams(torch.zeros(1, 3, 128, 128))
    assert [tuple(stream.shape[1:]) for stream in streams] == [
        (32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4),
    ]  # fmt: skip


def test_unknown_network_names_the_known_ones():
    with pytest.raises(InputError, match=r"no network 'segnet'(.|\n)*unet, deeplabv3plus, hrnet"):
        make_network("segnet", channels=3)
