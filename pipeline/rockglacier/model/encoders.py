"""Which encoder goes into which network, and the weights that it may start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rockglacier.errors import InputError, NotFoundError

ENCODERS: dict[str, tuple[str, ...]] = {
    "unet": ("vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50", "resnet101"),
    "deeplabv3plus": (
        "mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101", "tu-xception65",
    ),
    "hrnet": ("w18-small", "w18", "w32", "w48"),
}  # fmt: skip
STANDARD = {"unet": "resnet34", "deeplabv3plus": "mobilenet_v2", "hrnet": "w32"}
SMALL = {"unet": "resnet18", "deeplabv3plus": "resnet18", "hrnet": "w18-small"}
IMAGENET = "imagenet"
PREFIXES = ("state_dict.", "model.", "module.", "backbone.", "encoder.", "streams.")
"""What libraries put before the names of an encoder's weights."""
LEAST_SHARE = 0.5
"""Of an encoder's weights; a file that has fewer of them is that of another network."""


def check_encoder(network: str, encoder: str) -> None:
    """Raise :class:`InputError` where an encoder does not fit a network; says why.

    Parameters
    ----------
    network
        ``unet``, ``deeplabv3plus`` or ``hrnet``.
    encoder
        Name.
    """
    known = ENCODERS[network]
    if encoder in known:
        return
    raise InputError(
        f"{network} on encoder {encoder!r}: {_reason(network, encoder)}",
        expected=f"one of {', '.join(known)}",
        todo=f"set train.encoders.{network} to one of them",
    )


def _reason(network: str, encoder: str) -> str:
    if network == "hrnet":
        return "HRNet is its own encoder, four streams side by side, and takes no other"
    if network == "deeplabv3plus" and encoder.startswith("vgg"):
        return "DeepLabV3+ keeps stride 16 by dilation, and VGG has only plain pooling"
    if "hrnet" in encoder or encoder in ENCODERS["hrnet"]:
        return f"HRNet is a network of its own here, not an encoder of {network}"
    return "nobody has tried this pair here"


def load_pretrained(encoder: nn.Module, weights: str, *, name: str, channels: int) -> None:
    """Give an encoder weights that were trained before; its first convolution is adapted.

    Parameters
    ----------
    encoder
        Changed in place.
    weights
        ``imagenet``, a name of TorchGeo such as ``ResNet50_Weights.SENTINEL2_ALL_MOCO``, or a file
        with a state dict.
    name
        Of the encoder.
    channels
        That the first convolution takes.

    Raises
    ------
    NotFoundError
        The weights are not there and cannot be downloaded; says what to download where.
    InputError
        They are those of another network.
    """
    state = _state_of(weights, name)
    own = encoder.state_dict()
    found = _matched(state, own)
    first = next(key for key, values in own.items() if values.ndim == 4)
    if first in found:
        found[first] = adapted(found[first], channels)
    fitting = {key: value for key, value in found.items() if value.shape == own[key].shape}
    if len(fitting) < LEAST_SHARE * len(own):
        raise InputError(
            f"the weights {weights!r} hold {len(fitting)} of the {len(own)} tensors of {name}",
            expected=f"weights of the encoder {name}",
            todo="choose weights of the same encoder, or set train.encoders to theirs",
        )
    encoder.load_state_dict({**own, **fitting})


def adapted(kernel: Tensor, channels: int) -> Tensor:
    """Return a first convolution (out, in, kh, kw) that takes another number of channels.

    Its input channels are repeated in turn and scaled by in / channels, so that features of the
    same size give sums of the same size.
    """
    known = kernel.shape[1]
    if known == channels:
        return kernel
    order = torch.arange(channels) % known
    return kernel[:, order] * (known / channels)


def _matched(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a state dict under the encoder's own names."""
    # timm calls "blocks.0" of a classifier "blocks_0" where it is a trunk
    known = {key.replace("_", "."): key for key in own}
    found = {}
    for key, value in state.items():
        names = (name.replace("_", ".") for name in _names(key))
        match = next((known[name] for name in names if name in known), None)
        if match is not None:
            found[match] = value
    return found


def _names(key: str) -> list[str]:
    names, rest = [key], key
    while prefix := next((prefix for prefix in PREFIXES if rest.startswith(prefix)), None):
        rest = rest.removeprefix(prefix)
        names.append(rest)
    # smp keeps timm's and torchvision's trunks one level down
    return [*names, *(f"model.{name}" for name in names), *(f"features.{name}" for name in names)]


def _state_of(weights: str, name: str) -> dict[str, Tensor]:
    if weights == IMAGENET:
        return _downloaded(lambda: _imagenet(name), *_imagenet_source(name))
    if "_Weights." in weights and not Path(weights).exists():
        entry = _torchgeo_entry(weights)
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        return _downloaded(
            lambda: entry.get_state_dict(progress=False, weights_only=True), entry.url, folder
        )
    path = Path(weights)
    if not path.is_file():
        raise NotFoundError(
            f"no weights in {weights!r}",
            expected="imagenet, a name such as ResNet50_Weights.SENTINEL2_ALL_MOCO, or a file",
            todo="set train.pretrained to one of them",
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    nested = stored.get("state_dict", stored.get("model", stored))
    return {key: value for key, value in nested.items() if isinstance(value, Tensor)}


def _torchgeo_entry(weights: str) -> Any:
    from torchgeo.models import get_weight

    try:
        return get_weight(weights)
    except ValueError as error:
        raise NotFoundError(
            f"no weights named {weights!r} in TorchGeo",
            expected="a name such as ResNet50_Weights.SENTINEL2_ALL_MOCO",
            todo="see torchgeo.models.list_models and its page of pretrained weights",
        ) from error


def _downloaded(
    fetch: Callable[[], dict[str, Tensor]], source: str, folder: Path
) -> dict[str, Tensor]:
    try:
        return fetch()
    except Exception as error:
        raise NotFoundError(
            f"pretrained weights cannot be downloaded from {source}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected=f"a network connection, or the file in {str(folder)!r}",
            todo=f"download {source} on another machine, copy the file here and set "
            "train.pretrained to its path",
        ) from error


def _hub_folder() -> Path:
    return Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"


def _imagenet_source(name: str) -> tuple[str, Path]:
    if (timm_name := _timm_name(name)) is not None:
        import timm

        config: Any = timm.get_pretrained_cfg(timm_name)
        repository = config.hf_hub_id
        if not repository:
            raise InputError(
                f"encoder {name!r} has no weights trained on ImageNet",
                expected="another encoder, or a file of weights",
                todo="set train.pretrained to a file",
            )
        return f"https://huggingface.co/{repository}", _hub_folder()
    from segmentation_models_pytorch.encoders import encoders

    settings = encoders[name]["pretrained_settings"][IMAGENET]
    return f"https://huggingface.co/{settings['repo_id']}", _hub_folder()


def _imagenet(name: str) -> dict[str, Tensor]:
    if (timm_name := _timm_name(name)) is not None:
        import timm

        network: nn.Module = timm.create_model(timm_name, pretrained=True)
        return network.state_dict()
    from segmentation_models_pytorch.encoders import get_encoder

    encoder: nn.Module = get_encoder(name, weights=IMAGENET)
    return encoder.state_dict()


def _timm_name(name: str) -> str | None:
    if name.startswith("tu-"):
        return name.removeprefix("tu-")
    if name in ENCODERS["hrnet"]:
        return f"hrnet_{name.replace('-', '_')}"
    return None
