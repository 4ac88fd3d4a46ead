"""Encoders of the networks, weights to start from, networks from elsewhere, refusals."""

import importlib
import sys

import pytest
import torch
from torch import nn

from made_study import study_in
from rockglacier.config import TrainConfig
from rockglacier.errors import InputError, NotFoundError
from rockglacier.model import encoders
from rockglacier.model.encoders import ENCODERS, adapted, load_pretrained
from rockglacier.model.networks import folder_name, make_network, parameter_count
from rockglacier.model.task import SegmentationTask
from rockglacier.storage import write_json

pytestmark = pytest.mark.usefixtures("one_thread")


def conv(kernel, channels_in, channels_out):
    """Weights of a convolution without bias and the batch normalisation after it."""
    return kernel**2 * channels_in * channels_out + 2 * channels_out


def hrnetv2_parameters(width, *, channels, classes):
    """Count the published HRNetV2 (arXiv:1904.04514, section 3) part by part."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    total = conv(3, channels, 64) + conv(3, 64, 64)  # two convolutions of stride 2
    bottleneck = conv(1, 64, 64) + conv(3, 64, 64) + conv(1, 64, 256)
    total += bottleneck + conv(1, 64, 256)  # with the projection of the first
    total += 3 * (bottleneck + (256 - 64) * 64)
    total += conv(3, 256, widths[0]) + conv(3, 256, widths[1])
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        streams = widths[:stage]
        if stage > 2:
            total += conv(3, widths[stage - 2], widths[stage - 1])
        blocks = sum(4 * 2 * conv(3, own, own) for own in streams)
        exchange = 0
        for to, wide in enumerate(streams):
            for source, own in enumerate(streams):
                if source > to:
                    exchange += conv(1, own, wide)
                elif source < to:
                    exchange += (to - source - 1) * conv(3, own, own) + conv(3, own, wide)
        total += modules * (blocks + exchange)
    joined = sum(widths)
    return total + joined**2 + joined + 2 * joined + joined * classes + classes


@pytest.mark.parametrize(("encoder", "width"), [("w18", 18), ("w32", 32), ("w48", 48)])
def test_hrnet_has_exactly_the_published_parts(encoder, width):
    with torch.device("meta"):
        network = make_network("hrnet", encoder=encoder, channels=9)
    assert parameter_count(network) == hrnetv2_parameters(width, channels=9, classes=2)


@pytest.mark.parametrize(("encoder", "millions"), [("w48", 65.9), ("w18-small", 1.5)])
def test_hrnet_has_the_published_number_of_parameters(encoder, millions):
    with torch.device("meta"):
        network = make_network("hrnet", encoder=encoder, channels=3, classes=19)
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("name", "encoder"), [(name, one) for name, known in ENCODERS.items() for one in known]
)
def test_every_encoder_fits_its_network(name, encoder):
    with torch.device("meta"):
        network = make_network(name, encoder=encoder, channels=11).eval()
        assert network(torch.zeros(1, 11, 64, 96)).shape == (1, 2, 64, 96)


FULL_SIZE = [
    ("hrnet", "w32", 29.54),
    ("unet", "vgg16", 23.75),
    ("deeplabv3plus", "mobilenet_v2", 4.38),
    ("deeplabv3plus", "tu-xception65", 41.04),
]


@pytest.mark.parametrize(("name", "encoder", "millions"), FULL_SIZE)
def test_full_size_networks_take_a_real_step(name, encoder, millions):
    torch.manual_seed(0)
    network = make_network(name, encoder=encoder, channels=9)
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.01)
    config = TrainConfig(warm_up=0.0, learning_rate=1e-3)
    task = SegmentationTask(network, config=config, total_steps=10, steps_an_epoch=10)
    image = torch.randn(2, 9, 32, 32)
    mask = torch.zeros(2, 32, 32, dtype=torch.uint8)
    mask[:, 8:24, 8:24] = 1
    optimizer = task.configure_optimizers()["optimizer"]
    before = {key: value.clone() for key, value in network.named_parameters()}
    loss = task.loss(task(image), mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(weights.grad is not None for weights in network.parameters())
    optimizer.step()
    moved = [not torch.equal(before[key], value) for key, value in network.named_parameters()]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize(
    ("name", "encoder", "sentence"),
    [
        ("deeplabv3plus", "vgg16", "VGG has only plain pooling"),
        ("deeplabv3plus", "tu-hrnet_w32", "HRNet is a network of its own"),
        ("hrnet", "resnet50", "HRNet is its own encoder"),
        ("unet", "w32", "HRNet is a network of its own"),
        ("unet", "swin", "nobody has tried this pair"),
    ],
)
def test_impossible_pairs_are_refused_with_a_sentence(name, encoder, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make_network(name, encoder=encoder, channels=4)
    assert f"train.encoders.{name}" in caught.value.todo
    assert ENCODERS[name][0] in caught.value.expected


def test_impossible_pairs_are_refused_before_anything_is_trained(make_ground):
    from rockglacier.model.fit import train

    study = make_ground(networks=["hrnet", "unet"], encoders={"unet": "w18"})
    with pytest.raises(InputError, match="unet on encoder 'w18'"):
        train(study)
    assert not study.models_path.exists()


def test_a_first_convolution_sees_repeated_channels_as_it_saw_them_once():
    kernel = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    image = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(image, kernel)
    found = nn.functional.conv2d(image.repeat(1, 2, 1, 1), adapted(kernel, 6))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert adapted(kernel, 3) is kernel
    assert adapted(kernel, 2).shape == (8, 2, 3, 3)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder."])
def test_weights_from_a_file_are_those_of_the_encoder(tmp_path, prefix):
    source = make_network("unet", encoder="resnet18", channels=3)
    state = {f"{prefix}{key}": value for key, value in source.encoder.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "encoder.pth")
    network = make_network(
        "unet", encoder="resnet18", channels=5, pretrained=str(tmp_path / "encoder.pth")
    )
    found, expected = network.encoder.state_dict(), source.encoder.state_dict()
    same = [torch.equal(found[key], expected[key]) for key in found if key != "conv1.weight"]
    assert all(same)
    torch.testing.assert_close(
        found["conv1.weight"], adapted(expected["conv1.weight"], 5), atol=0, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "encoder"), [("deeplabv3plus", "tu-xception65"), ("hrnet", "w18-small")]
)
def test_timm_weights_find_their_place(name, encoder):
    import timm

    with torch.device("meta"):
        network = make_network(name, encoder=encoder, channels=3)
        source = timm.create_model(encoders._timm_name(encoder)).state_dict()
    own = (network.streams if name == "hrnet" else network.encoder).state_dict()
    found = encoders._matched(source, own)
    assert set(found) == set(own)
    assert all(found[key].shape == own[key].shape for key in own)


def test_weights_of_another_encoder_are_refused(tmp_path):
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="0 of the 120 tensors of resnet18"):
        make_network("unet", encoder="resnet18", channels=3, pretrained=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("weights", "source"),
    [
        ("imagenet", "huggingface.co/smp-hub/resnet50.imagenet"),
        ("ResNet50_Weights.SENTINEL2_ALL_MOCO", "resnet50_sentinel2_all_moco"),
    ],
)
def test_offline_it_says_what_to_download_and_where_to(monkeypatch, weights, source):
    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_network)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    monkeypatch.setattr(encoders, "_imagenet", no_network)
    with pytest.raises(NotFoundError, match=f"(?s){source}.*Network is unreachable") as caught:
        load_pretrained(nn.Identity(), weights, name="resnet50", channels=4)
    assert "file in '" in caught.value.expected
    assert "train.pretrained" in caught.value.todo


@pytest.mark.parametrize("weights", ["nowhere.pth", "ResNet50_Weights.UNHEARD_OF"])
def test_weights_that_do_not_exist_say_what_there_is(weights):
    with pytest.raises(NotFoundError, match=r"(?s)no weights.*SENTINEL2_ALL_MOCO") as caught:
        load_pretrained(nn.Identity(), weights, name="resnet50", channels=4)
    assert caught.value.todo


PLUGIN = """
from torch import nn

def build(*, channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1))

def halved(*, channels, classes):
    return nn.Conv2d(channels, classes, 2, stride=2)

def nothing(*, channels, classes):
    return "network"
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "their_networks.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_networks"
    sys.modules.pop("their_networks", None)


def test_a_network_from_elsewhere_is_trained_loaded_and_selected(plugin, make_ground):
    from rockglacier.model.fit import load_model, train

    name = f"{plugin}:build"
    study = make_ground(networks=[name], epochs=1, chips_per_epoch=8)
    assert train(study)["selected"] == f"{folder_name(name)}/trial-0"
    model = load_model(study.models_path / folder_name(name) / "trial-0")
    assert model.name == name
    assert model.probability(torch.zeros(1, 2, 64, 64)).shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("halved", r"answers an image of 64 x 64 with \(1, 2, 32, 32\)"),
        ("nothing", "returns str"),
        ("missing", "(?s)cannot be imported.*PYTHONPATH"),
    ],
)
def test_what_is_no_network_is_refused(plugin, function, sentence):
    with pytest.raises(InputError, match=sentence):
        make_network(f"{plugin}:{function}", channels=3)
    with pytest.raises(InputError, match="chooses its own"):
        make_network(f"{plugin}:build", encoder="resnet18", channels=3)


def test_a_packed_model_imports_nothing_that_was_not_installed_for_it(plugin, make_ground):
    from rockglacier.model.bundle import read_bundle, write_bundle
    from rockglacier.model.fit import train

    study = make_ground(networks=[f"{plugin}:build"], epochs=1, chips_per_epoch=8)
    train(study)
    path = write_bundle(study, study.folder / "bundle.zip")
    sys.modules.pop(plugin)
    with pytest.raises(InputError, match="no installed package offers") as caught:
        read_bundle(path)
    assert plugin not in sys.modules
    assert "rockglacier.networks" in caught.value.expected


def test_packed_model_of_a_network_from_elsewhere_is_called_as_every_system_allows(
    tmp_path, monkeypatch
):
    from rockglacier.mapping import pack_model

    publishing = importlib.import_module("rockglacier.publish")  # a function has its name too
    study = study_in(tmp_path)
    write_json(study.selection_path, {"network": "their_networks:build"})
    monkeypatch.setattr(publishing, "model_item", lambda study: {})
    monkeypatch.setattr("rockglacier.model.bundle.write_bundle", lambda study, path, *, item: path)
    assert pack_model(study).name == "here-their_networks-build.rgbundle.zip"
