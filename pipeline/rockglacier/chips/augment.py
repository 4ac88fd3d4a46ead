"""Turns, mirrors and light that could have been: what changes with direction changes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rockglacier.chips.ranks import ALONE, Rank
from rockglacier.errors import ContractError

ASPECT = ("aspect_sin", "aspect_cos")
BRIGHTNESS = 0.1
"""Largest relative change of a chip's reflectance: what is left between dates after harmonising."""


class Augment:
    """Turn, mirror and light the chips of a batch at random, each by itself.

    Parameters
    ----------
    channels
        Names of the image's channels. ``aspect_sin`` and ``aspect_cos`` are turned with the ground;
        no other channel may depend on direction.
    mean, std
        A channel's value is ``z * std + mean`` for its stored z.
    bands
        Names of the reflectance bands among the channels; others are ignored.
    brightness
        Largest relative change of reflectance, 0 for none; one factor a chip.
    seed
        What is drawn depends on it and on the step alone; without a step batches differ from one
        another and repeat from one object to the next.

    Raises
    ------
    ContractError
        A channel holds the plain aspect, or only one of sine and cosine: neither can be turned.
    """

    def __init__(
        self,
        channels: Sequence[str],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        bands: Sequence[str] = (),
        brightness: float = BRIGHTNESS,
        seed: int = 0,
    ) -> None:
        known = set(channels)
        if "aspect" in known or len(known & set(ASPECT)) == 1:
            raise ContractError(
                f"channels {', '.join(channels)} cannot be turned",
                expected=f"both {ASPECT[0]} and {ASPECT[1]}, or no aspect",
            )
        self.channels = tuple(channels)
        self.mean, self.std = torch.tensor(mean).float(), torch.tensor(std).float()
        self.bands = [number for number, name in enumerate(channels) if name in set(bands)]
        self.brightness = brightness
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(
        self,
        batch: dict[str, Any],
        *,
        step: tuple[int, int] | None = None,
        rank: Rank = ALONE,
    ) -> dict[str, Any]:
        """Return a new batch with ``image`` (B, C, H, W) and ``mask`` (B, H, W) changed alike.

        Parameters
        ----------
        batch
            Chips must be square. Pixels without features, 0 in every channel, stay 0. What else
            the batch holds stays as it is.
        step
            Epoch and number of the batch in it.
        rank
            Whose part of the whole batch it is.
        """
        if step is not None:
            mixed = np.random.SeedSequence([self.seed, *step]).generate_state(1)[0]
            self.generator.manual_seed(int(mixed))
        count = len(batch["image"]) * rank.count
        moves = torch.randint(8, (count,), generator=self.generator)[rank.share].tolist()
        drawn = (2 * torch.rand(count, generator=self.generator) - 1)[rank.share]
        images, masks = [], []
        for image, mask, move, light in zip(
            batch["image"], batch["mask"], moves, drawn, strict=True
        ):
            symmetry = {"quarter_turns": move % 4, "is_mirrored": move >= 4}
            lit = self.lit(image, 1 + self.brightness * float(light))
            images.append(self.turned(lit, **symmetry))
            masks.append(moved(mask, **symmetry))
        return {**batch, "image": torch.stack(images), "mask": torch.stack(masks)}

    def turned(self, image: Tensor, *, quarter_turns: int, is_mirrored: bool) -> Tensor:
        """Return an image (C, H, W) as it is after mirroring and turning the ground.

        Parameters
        ----------
        image
            Standardised features.
        quarter_turns
            Counter-clockwise, after the mirror.
        is_mirrored
            Swap east and west first.

        Notes
        -----
        Aspect counts from true north. A turn is exact; a mirror is off by twice the meridian
        convergence, which is at most three degrees inside a UTM zone.
        """
        turned = moved(image, quarter_turns=quarter_turns, is_mirrored=is_mirrored)
        if ASPECT[0] not in self.channels:
            return turned
        numbers = [self.channels.index(name) for name in ASPECT]
        mean, std = (
            values[numbers, None, None].to(image.device) for values in (self.mean, self.std)
        )
        is_missing = _without_features(turned)
        sine, cosine = turned[numbers] * std + mean
        if is_mirrored:
            sine = -sine
        for _ in range(quarter_turns % 4):
            sine, cosine = -cosine, sine
        turned[numbers] = (torch.stack([sine, cosine]) - mean) / std
        if is_missing is not None:
            turned[:, is_missing] = 0
        return turned

    def lit(self, image: Tensor, factor: float) -> Tensor:
        """Return an image (C, H, W) whose reflectance is ``factor`` times as large."""
        if not self.bands or factor == 1:
            return image
        is_missing = _without_features(image)
        lit = image.clone()
        for band in self.bands:
            # (factor * (z * std + mean) - mean) / std
            lit[band].mul_(factor).add_((factor - 1) * float(self.mean[band] / self.std[band]))
        if is_missing is not None:
            lit[:, is_missing] = 0
        return lit


def moved(values: Tensor, *, quarter_turns: int, is_mirrored: bool) -> Tensor:
    """Return a copy of (..., H, W) with east and west swapped and then turned counter-clockwise."""
    turns = quarter_turns % 4
    is_crossed = turns % 2 == 1
    view = values.transpose(-2, -1) if is_crossed else values
    is_upside_down = turns in (1, 2)
    is_back_to_front = turns in (2, 3)
    if is_mirrored and is_crossed:
        is_upside_down = not is_upside_down
    elif is_mirrored:
        is_back_to_front = not is_back_to_front
    # one flip along both axes copies once, where rot90 after flip copies three times
    return view.flip(
        [axis for axis, flips in ((-2, is_upside_down), (-1, is_back_to_front)) if flips]
    )


def _without_features(image: Tensor) -> Tensor | None:
    """Say which pixels of (C, H, W) are 0 in every channel; None if there are none."""
    is_missing = image[0] == 0
    candidates = image[:, is_missing]  # few: all channels of a whole chip would cost as a copy
    if not candidates.numel():
        return None
    is_missing[is_missing.clone()] = (candidates == 0).all(dim=0)
    return is_missing if is_missing.any() else None
