"""The sections of the report, in order; each says what it lacks where its product is absent.

One that a study cannot have at all is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rockglacier.report import ablated, closing, finding, ground, judging, learning, trusting
from rockglacier.report.layers import Products
from rockglacier.report.overview import overview
from rockglacier.report.parts import Section
from rockglacier.report.periods import periods

SECTIONS: Final[tuple[Callable[[Products], Section | None], ...]] = (
    overview,
    periods,
    ground.basin,
    ground.scenes,
    ground.quality,
    ground.colours,
    finding.composite,
    finding.probability,
    finding.reference,
    finding.sizes,
    finding.elevation,
    finding.aspect,
    finding.terrain,
    finding.reviews,
    finding.water,
    learning.split,
    learning.features,
    learning.chips,
    learning.curves,
    trusting.trust,
    trusting.checked,
    judging.scores,
    judging.outputs,
    judging.compared,
    judging.landforms,
    trusting.calibration,
    trusting.boundaries,
    trusting.errors,
    trusting.leak,
    ablated.ablation,
    trusting.corrected,
    closing.thin,
    closing.provenance,
    closing.sources,
)

# SCIENCE: what the 2025 paper (doi 10.3390/rs17243942) shows of the same kind, by its numbers
PAPER_NUMBERS: Final = {
    "scenes": "Table 1",
    "features": "Figure 4",
    "colours": "Figure 5",
    "chips": "Figure 6",
    "curves": "Figures 7, 9, 11",
    "outputs": "Figures 8, 10, 12",
    "areas": "Figure 13",
    "composite": "Figure 14",
    "scores": "Table 2",
    "landforms": "Table 3",
    "basin": "Figure 15",
    "elevation": "Figure 16",
    "aspect": "Figure 17",
}
"""Section to the numbers of the paper; told only of studies that follow its protocol."""
