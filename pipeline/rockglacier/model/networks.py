"""The three networks of the comparison, in two sizes, from random weights.

Nothing is downloaded: weights that were trained on colour photographs help little with eleven bands
and terrain, and would have to be fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rockglacier.config import NetworkName
from rockglacier.errors import InputError

Size = Literal["small", "standard"]
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
    name: NetworkName, *, size: Size = "standard", channels: int, classes: int = 2
) -> nn.Module:
    """Return a network with random weights.

    Parameters
    ----------
    name
        ``unet``, ``deeplabv3plus`` or ``hrnet``.
    size
        ``standard``: ResNet-34 U-Net, DeepLabV3+ on MobileNetV2 at output stride 16, HRNetV2-W32.
        ``small``: versions for a processor, see the notes.
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
        No such network or size.

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
    makers = _MAKERS.get(size, {})
    if name not in makers:
        raise InputError(
            f"no network {name!r} of size {size!r}",
            expected=", ".join(_MAKERS["standard"]) + "; small or standard",
        )
    return makers[name](channels, classes)


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(weights.numel() for weights in network.parameters())


def _unet(channels: int, classes: int) -> nn.Module:
    return smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes)


def _small_unet(channels: int, classes: int) -> nn.Module:
    return smp.Unet(
        "resnet18",
        encoder_weights=None,
        encoder_depth=4,
        decoder_channels=(96, 64, 32, 16),
        in_channels=channels,
        classes=classes,
    )


def _deeplabv3plus(channels: int, classes: int) -> nn.Module:
    return smp.DeepLabV3Plus(
        "mobilenet_v2",
        encoder_weights=None,
        encoder_output_stride=16,
        in_channels=channels,
        classes=classes,
    )


def _small_deeplabv3plus(channels: int, classes: int) -> nn.Module:
    return smp.DeepLabV3Plus(
        "resnet18",
        encoder_weights=None,
        encoder_output_stride=16,
        decoder_channels=128,
        in_channels=channels,
        classes=classes,
    )


def _hrnet(channels: int, classes: int) -> nn.Module:
    return _hrnet_on("hrnet_w32", channels, classes)


def _small_hrnet(channels: int, classes: int) -> nn.Module:
    return _hrnet_on("hrnet_w18_small", channels, classes)


def _hrnet_on(backbone: str, channels: int, classes: int) -> nn.Module:
    # feature_location="" gives the streams themselves; the default gives the classifier's features
    streams: Any = timm.create_model(
        backbone,
        pretrained=False,
        in_chans=channels,
        features_only=True,
        feature_location="",
        out_indices=HRNET_STREAMS,
    )
    widths = streams.feature_info.channels()
    return HRNetSegmenter(streams, widths=widths, hidden=sum(widths), classes=classes)


_MAKERS: dict[str, dict[str, Callable[[int, int], nn.Module]]] = {
    "standard": {"unet": _unet, "deeplabv3plus": _deeplabv3plus, "hrnet": _hrnet},
    "small": {
        "unet": _small_unet,
        "deeplabv3plus": _small_deeplabv3plus,
        "hrnet": _small_hrnet,
    },
}
