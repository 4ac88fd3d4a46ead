"""A trained network on disk and in memory, and the arithmetic in which networks run."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from rockglacier.config import fingerprint
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.model.networks import make_network
from rockglacier.storage import local_copy, read_json

if TYPE_CHECKING:
    from rockglacier.features.fusion import Fusion

Precision = Literal["32-true", "bf16-mixed"]
WEIGHTS = "model.ckpt"
SETTINGS = "model.json"


def best_device() -> torch.device:
    """Return the first CUDA device, or the processor where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision_for(device: torch.device) -> Precision:
    """Return the arithmetic for a device, by Lightning's name.

    bfloat16 where the hardware multiplies it natively: AMX or AVX-512 BF16 processors, and GPUs
    since Ampere. Elsewhere it is emulated and slower than float32.
    """
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "32-true"
    able = torch.cpu.get_capabilities()
    fast = able.get("amx_bf16", False) or able.get("avx512_bf16", False)
    return "bf16-mixed" if device.type == "cpu" and fast else "32-true"


def autocast_for(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a forward pass runs in :func:`precision_for` the device."""
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision_for(device) == "bf16-mixed"
    )


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network with all that is needed to use it."""

    network: nn.Module
    """In evaluation mode, channels last, without gradients."""
    settings: dict[str, Any]
    """The content of ``model.json``."""

    @property
    def name(self) -> str:
        """Name of the network: ``unet``, ``deeplabv3plus`` or ``hrnet``."""
        return str(self.settings["network"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the features that it reads, in order."""
        return tuple(self.settings["channels"])

    @property
    def fusion_hash(self) -> str:
        """Hash of the fusion that made these features."""
        return str(self.settings["fusion"])

    @property
    def threshold(self) -> float:
        """Probability from which a pixel is a rock glacier."""
        return float(self.settings["threshold"])

    @property
    def temperature(self) -> float:
        """What logits are divided by, so that probabilities are frequencies."""
        return float(self.settings["temperature"])

    def at_temperature(self, temperature: float | None) -> TrainedModel:
        """Return the model at another temperature, its own if None; the threshold moves with it.

        The pixels that reach the threshold stay the same: a temperature changes how sure a network
        sounds, not what it finds.
        """
        if temperature is None:
            return self
        margin = math.log(self.threshold / (1 - self.threshold)) * self.temperature
        threshold = 1 / (1 + math.exp(-margin / temperature))
        settings = {**self.settings, "temperature": temperature, "threshold": threshold}
        return TrainedModel(network=self.network, settings=settings)

    @property
    def chip(self) -> int:
        """Edge of the chips that it was trained on, pixels."""
        return int(self.settings["chip"])

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.network.parameters()).device

    @property
    def fingerprint(self) -> str:
        """Short hash of its settings, which hold a hash of its weights."""
        return fingerprint(self.settings)

    def probability(self, image: Tensor, *, exact: bool = False) -> Tensor:
        """Return the calibrated probability of a rock glacier.

        Parameters
        ----------
        image
            Float (B, C, H, W), standardised features, H and W multiples of 32, on any device.
        exact
            Use float32 whatever the hardware: the same answer on every machine to about 1e-5.

        Returns
        -------
        Tensor
            float32 (B, H, W), 0..1, on the network's device.
        """
        device = self.device
        image = image.to(device, dtype=torch.float32, memory_format=torch.channels_last)
        with torch.inference_mode(), _arithmetic(device, exact=exact):
            logits = self.network(image).float()
        return torch.softmax(logits / self.temperature, dim=1)[:, 1]

    def check_fusion(self, fusion: Fusion) -> None:
        """Raise :class:`InputError` where features are not those that it was trained on."""
        self.check_features(channels=tuple(fusion.channels), fusion_hash=fusion.hash)

    def check_features(self, *, channels: tuple[str, ...], fusion_hash: str) -> None:
        """Raise :class:`InputError` where features are not those that it was trained on."""
        if channels != self.channels:
            raise InputError(
                f"a model made for other bands or features: it reads {len(self.channels)} "
                f"({', '.join(self.channels)})",
                expected=f"the {len(channels)} of this basin ({', '.join(channels)})",
                todo="choose another model, or set cube.bands and features.set to the model's",
            )
        if fusion_hash != self.fusion_hash:
            raise InputError(
                f"a model made for other bands or features: fusion {self.fusion_hash!r}",
                expected=f"the fusion of this basin's features, {fusion_hash!r}",
                todo="build the features with the model's own fusion (`map` does), or train again",
            )


def _arithmetic(device: torch.device, *, exact: bool) -> AbstractContextManager[object]:
    if exact:
        return torch.autocast(device.type, enabled=False)
    return autocast_for(device)


def load_model(folder: Path, *, device: torch.device | None = None) -> TrainedModel:
    """Read a trained model from its folder (``models/NETWORK/trial-N``).

    Raises
    ------
    NotFoundError
        The folder holds no finished model.
    ContractError
        Weights and settings do not belong together.
    """
    weights, settings = folder / WEIGHTS, folder / SETTINGS
    if not (weights.is_file() and settings.is_file()):
        raise NotFoundError(
            f"no trained model in {str(folder)!r}",
            expected=f"{WEIGHTS} and {SETTINGS}",
            todo="rockglacier train STUDY.yaml",
        )
    with local_copy(weights) as copy, copy.open("rb") as file:
        return restore_model(read_json(settings), file, device=device)


def restore_model(
    settings: dict[str, Any], weights: IO[bytes], *, device: torch.device | None = None
) -> TrainedModel:
    """Build the network that ``settings`` describe and give it its weights.

    Weights are read without unpickling objects, so that a stranger's file runs no code.

    Raises
    ------
    ContractError
        The weights are not those of this network.
    """
    network = make_network(
        settings["network"],
        size=settings["size"],
        encoder=settings.get("encoder"),
        channels=len(settings["channels"]),
    )
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:
        raise ContractError(
            f"the weights of model {settings['network']!r} cannot be used: "
            f"{str(error).splitlines()[0]}",
            expected=f"weights of a {settings['size']} {settings['network']} with "
            f"{len(settings['channels'])} channels",
            todo="train or pack the model again",
        ) from error
    network = network.eval().requires_grad_(False)
    network = network.to(device or best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedModel(network=network, settings=settings)
