"""The three networks of the comparison, in two sizes and on other encoders, or somebody else's.

Weights are random unless others are asked for: those that were trained on colour photographs help
little with eleven bands and terrain, and would have to be fetched.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rockglacier.errors import InputError
from rockglacier.model.encoders import ENCODERS, SMALL, STANDARD, check_encoder, load_pretrained
from rockglacier.model.memory import keep_freed_memory

Size = Literal["small", "standard"]
PLUGINS = "rockglacier.networks"
"""Entry points of installed packages that may build the network of a model from elsewhere."""
HRNET_STREAMS = (1, 2, 3, 4)  # timm's outputs without the stem: strides 4, 8, 16, 32


class HRNetSegmenter(nn.Module):
    """HRNetV2: four streams of resolutions kept side by side, concatenated at the finest.

    Parameters
    ----------
    streams
        Takes (B, C, H, W) and returns one tensor a stream, the finest first.
    widths
        Channels of the streams.
    hidden
        Channels of the head between concatenation and classes.
    classes
        Number of classes.

    References
    ----------
    Sun et al. 2019, High-resolution representations for labeling pixels and regions,
    arXiv:1904.04514, section 3.
    """

    def __init__(
        self, streams: nn.Module, *, widths: Sequence[int], hidden: int, classes: int
    ) -> None:
        super().__init__()
        self.streams = streams
        self.head = nn.Sequential(
            nn.Conv2d(sum(widths), hidden, kernel_size=1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, classes, kernel_size=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) of an image (B, C, H, W)."""
        finest, *coarser = self.streams(image)
        size = finest.shape[-2:]
        joined = torch.cat([finest, *(_resized(stream, size) for stream in coarser)], dim=1)
        return _resized(self.head(joined), image.shape[-2:])


def _resized(values: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)


def make_network(
    name: str,
    *,
    size: Size = "standard",
    encoder: str | None = None,
    pretrained: str | None = None,
    channels: int,
    classes: int = 2,
) -> nn.Module:
    """Return a network.

    Parameters
    ----------
    name
        ``unet``, ``deeplabv3plus``, ``hrnet``, or ``package.module:build``, which is imported and
        called with ``channels`` and ``classes``.
    size
        ``standard``: ResNet-34 U-Net, DeepLabV3+ on MobileNetV2 at output stride 16, HRNetV2-W32.
        ``small``: versions for a processor, see the notes.
    encoder
        In place of that of the size; the networks then have their full decoders.
    pretrained
        Weights of the encoder to start from, see
        :func:`~rockglacier.model.encoders.load_pretrained`; random ones otherwise.
    channels
        Features of the input.
    classes
        Number of classes.

    Returns
    -------
    Module
        (B, channels, H, W) float to logits (B, classes, H, W); H and W multiples of 32.

    Raises
    ------
    InputError
        No such network or size, or an encoder that does not fit.

    Notes
    -----
    Ridges and furrows of a rock glacier repeat every 4 to 8 pixels at 10 m. The small networks
    give up depth and width first: the U-Net starts its decoder at stride 16 on a ResNet-18;
    DeepLabV3+ has a ResNet-18 and a narrow decoder; HRNet is W18-small, one module a stage, with
    its full 64-channel stem, which is what sees the texture. A stem of stride 2 instead of 4 learnt
    more from a step and less in a minute, as its steps take 2.6 times as long.

    The pooled branch of DeepLabV3+ normalises one value a channel and chip, so that training needs
    at least two chips a batch.
    """
    keep_freed_memory()
    if ":" in name:
        return _plugged_in(name, channels, classes, encoder=encoder, pretrained=pretrained)
    if name not in ENCODERS or size not in ("small", "standard"):
        raise InputError(
            f"no network {name!r} of size {size!r}",
            expected=", ".join(ENCODERS) + " or package.module:build; small or standard",
        )
    chosen = encoder or (SMALL if size == "small" else STANDARD)[name]
    check_encoder(name, chosen)
    is_narrow = size == "small" and encoder is None
    makers = {"unet": _unet, "deeplabv3plus": _deeplabv3plus, "hrnet": _hrnet}
    network: Any = makers[name](chosen, channels, classes, is_narrow)
    if pretrained:
        trunk = network.streams if name == "hrnet" else network.encoder
        load_pretrained(trunk, pretrained, name=chosen, channels=channels)
    if name == "unet" and is_narrow:
        network.encoder.layer4 = nn.Identity()  # two thirds of all weights, and never called
    made: nn.Module = network
    return made


def encoder_of(name: str, *, size: Size = "standard", encoder: str | None = None) -> str | None:
    """Return the encoder that a network has; None for one from elsewhere."""
    return None if ":" in name else encoder or (SMALL if size == "small" else STANDARD)[name]


def folder_name(name: str) -> str:
    """Return the name of a network as a folder: ``package.module:build`` has a colon."""
    return name.replace(":", "-")


def is_installed_plugin(name: str) -> bool:
    """Say whether an installed package offers itself as the builder of networks."""
    return any(entry.value == name for entry in entry_points(group=PLUGINS))


def builder_of(name: str) -> Callable[..., Any]:
    """Import what builds a network from elsewhere, ``package.module:build``.

    Raises
    ------
    InputError
        There is no such module or function.
    """
    module_name, _, function = name.partition(":")
    try:
        build: Callable[..., Any] = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"network {name!r} cannot be imported: {error}",
            expected="package.module:build of an installed package",
            todo="install the package, or put its folder into PYTHONPATH, or mend train.networks",
        ) from error
    return build


def _plugged_in(
    name: str, channels: int, classes: int, *, encoder: str | None, pretrained: str | None
) -> nn.Module:
    if encoder or pretrained:
        raise InputError(
            f"network {name!r} with encoder {encoder!r} and weights {pretrained!r}",
            expected="neither: a network from elsewhere chooses its own",
            todo="have its function choose them",
        )
    network = builder_of(name)(channels=channels, classes=classes)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{name} returns {type(network).__name__}",
            expected="a torch.nn.Module: image (B, C, H, W) to logits (B, classes, H, W)",
        )
    _check_logits(name, network, channels, classes)
    return network


def _check_logits(name: str, network: nn.Module, channels: int, classes: int) -> None:
    was_training = network.training
    with torch.inference_mode():
        logits = network.eval()(torch.zeros(1, channels, 64, 64))
    network.train(was_training)
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (1, classes, 64, 64):
        raise InputError(
            f"network {name!r} answers an image of 64 x 64 with {shape}",
            expected=f"logits of shape (1, {classes}, 64, 64)",
            todo="resize the logits to the image at the end of its forward",
        )


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(weights.numel() for weights in network.parameters())


def _unet(encoder: str, channels: int, classes: int, is_narrow: bool) -> nn.Module:
    decoder: dict[str, Any] = (
        {"encoder_depth": 4, "decoder_channels": (96, 64, 32, 16)} if is_narrow else {}
    )
    return smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes, **decoder)


def _deeplabv3plus(encoder: str, channels: int, classes: int, is_narrow: bool) -> nn.Module:
    return smp.DeepLabV3Plus(
        encoder,
        encoder_weights=None,
        encoder_output_stride=16,
        decoder_channels=128 if is_narrow else 256,
        in_channels=channels,
        classes=classes,
    )


def _hrnet(encoder: str, channels: int, classes: int, is_narrow: bool) -> nn.Module:
    # feature_location="" gives the streams themselves; the default gives the classifier's features
    streams: Any = timm.create_model(
        f"hrnet_{encoder.replace('-', '_')}",
        pretrained=False,
        in_chans=channels,
        features_only=True,
        feature_location="",
        out_indices=HRNET_STREAMS,
    )
    widths = streams.feature_info.channels()
    return HRNetSegmenter(streams, widths=widths, hidden=sum(widths), classes=classes)
