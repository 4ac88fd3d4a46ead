"""The same ground seen mirrored and turned: what a network says of it, turned back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from rockglacier.chips.augment import Augment, moved
from rockglacier.errors import ContractError
from rockglacier.model.trained import TrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One of the eight symmetries of a square: mirrored east to west, then turned."""

    quarter_turns: int = 0
    """Counter-clockwise."""
    is_mirrored: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is the ground as it is."""
        return not (self.quarter_turns or self.is_mirrored)

    def undone(self, values: Tensor) -> Tensor:
        """Return (..., H, W) that was seen in this view as it lies on the ground."""
        turns = self.quarter_turns if self.is_mirrored else -self.quarter_turns
        return moved(values, quarter_turns=turns, is_mirrored=self.is_mirrored)


PLAIN: Final = View()
VIEWS: Final = (
    PLAIN,
    View(is_mirrored=True),
    View(quarter_turns=2),
    View(quarter_turns=2, is_mirrored=True),
    View(quarter_turns=1),
    View(quarter_turns=1, is_mirrored=True),
    View(quarter_turns=3),
    View(quarter_turns=3, is_mirrored=True),
)
"""In the order in which ``predict.views`` takes them: the first four are flips."""


class Viewer:
    """Shows images to a model in a view, and turns back what it says.

    Parameters
    ----------
    model
        Its channels say which of them hold a direction.
    view
        How it is shown.

    Raises
    ------
    ContractError
        The model does not say how its aspect was standardised, or reads a plain aspect, which
        cannot be turned.
    """

    def __init__(self, model: TrainedModel, view: View) -> None:
        self.model, self.view = model, view
        self._augment = None if view.is_plain else _augment(model)

    def probability(self, image: Tensor) -> Tensor:
        """Return the probability (B, H, W) of square images (B, C, H, W), as the ground lies."""
        if self._augment is None:
            return self.model.probability(image)
        found = self.model.probability(torch.stack(self._shown(image, self._augment)))
        return self.view.undone(found)

    def _shown(self, images: Tensor, augment: Augment) -> list[Tensor]:
        view = self.view
        return [
            augment.turned(image, quarter_turns=view.quarter_turns, is_mirrored=view.is_mirrored)
            for image in images
        ]


def _augment(model: TrainedModel) -> Augment:
    scales = model.settings.get("normalisation")
    if scales is None:
        raise ContractError(
            f"the model {model.name!r} does not say how its features were standardised",
            expected="`normalisation` in its settings",
            todo="set predict.views to 1, or train it again",
        )
    return Augment(model.channels, mean=scales["mean"], std=scales["std"])
