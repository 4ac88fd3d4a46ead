"""What holds between scores whatever the counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rockglacier.model.metrics import THRESHOLDS, best_threshold, confusion_matrix, scores

COUNTS = arrays(np.int64, (2, 2), elements=st.integers(0, 10**9))
LABELS = arrays(np.uint8, 60, elements=st.sampled_from([0, 1, 255]))
PROBABILITIES = arrays(np.float64, 60, elements=st.floats(0, 1))


@given(COUNTS)
def test_f1_follows_from_iou(matrix):
    found = scores(matrix)
    for name in ("background", "rock_glacier"):
        iou = found[f"iou_{name}"]
        assert found[f"f1_{name}"] == pytest.approx(2 * iou / (1 + iou), nan_ok=True)


@given(COUNTS)
def test_swapping_truth_and_prediction_swaps_recall_and_precision(matrix):
    here, there = scores(matrix), scores(matrix.T)
    assert here["mean_recall"] == pytest.approx(there["mean_precision"], nan_ok=True)
    assert here["iou_rock_glacier"] == pytest.approx(there["iou_rock_glacier"], nan_ok=True)


@given(LABELS, LABELS)
def test_confusion_counts_each_judged_pixel_once(truth, predicted):
    judged = (truth != 255) & (predicted != 255)
    assert confusion_matrix(truth, predicted).sum() == judged.sum()


@given(PROBABILITIES, LABELS)
def test_no_other_threshold_has_a_larger_iou(probability, truth):
    threshold, iou = best_threshold(probability, truth)
    if not (truth == 1).any():
        return

    def iou_at(limit):
        called = (probability + 1e-9 >= limit).astype(np.uint8)
        return scores(confusion_matrix(truth, called))["iou_rock_glacier"]

    assert iou == pytest.approx(iou_at(threshold))
    assert iou >= max(iou_at(limit) for limit in THRESHOLDS) - 1e-12
