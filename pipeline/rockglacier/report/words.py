"""The words that the report uses, for readers who do not train networks."""

from __future__ import annotations

from typing import Final

WORDS_USED: Final = {
    "candidate": "An outline that a model drew. It becomes a rock glacier of the inventory when a "
    "person confirms it.",
    "probability, threshold": "What the network says of a pixel, 0 to 1, and from where on it "
    "counts as rock glacier.",
    "training ground": "Where the network was shown the answer. What it draws there is no finding.",
    "validation ground": "Where threshold and best epoch were chosen: its scores are too good.",
    "test ground": "Where nothing was learnt or chosen. Only its scores tell how good the map is.",
    "guard band": "Unused ground between the others, so that no pixel of one is seen from another.",
    "unseen": "All ground that is neither training nor validation ground.",
    "reference": "The outlines that the network learned from and is compared with.",
    "IoU": "Intersection over union: the area that two outlines share over the area that either "
    "covers; 1 is the same ground, 0 none in common.",
    "precision": "Share of what was found that is in the reference, or that people confirmed.",
    "recall": "Share of the reference that was found.",
    "F1": "One number for precision and recall, their harmonic mean.",
    "count ratio": "Number found over number in the reference; 1 says nothing of being right.",
    "agreement, spread": "Of several networks: the share that calls a pixel a rock glacier, and "
    "the standard deviation of their probabilities.",
    "chip": "A square of pixels that a network is trained on.",
}
"""Word to what it means here."""
