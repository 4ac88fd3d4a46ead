"""Scores by hand: what each name means, and what an empty class gives."""

import math

import numpy as np
import pytest

from rockglacier.errors import ContractError
from rockglacier.model.metrics import as_json, best_threshold, confusion_matrix, scores

TN, FP, FN, TP = 50, 5, 10, 35
MATRIX = np.array([[TN, FP], [FN, TP]])


def test_rows_are_truth_and_columns_are_prediction():
    truth = np.array([[0, 0, 1], [1, 1, 255]], dtype=np.uint8)
    predicted = np.array([[0, 1, 1], [0, 1, 1]], dtype=np.uint8)
    assert confusion_matrix(truth, predicted).tolist() == [[1, 1], [1, 2]]


def test_pixels_without_data_are_not_counted():
    truth, predicted = np.array([1, 0]), np.array([255, 0])
    assert confusion_matrix(truth, predicted).tolist() == [[1, 0], [0, 0]]


def test_an_unknown_label_is_refused():
    with pytest.raises(ContractError, match="label 7 among 2 classes"):
        confusion_matrix(np.array([7]), np.array([0]))


def test_scores_agree_with_the_closed_forms():
    found = scores(MATRIX)
    assert found["iou_rock_glacier"] == pytest.approx(TP / (TP + FP + FN))
    assert found["iou_background"] == pytest.approx(TN / (TN + FP + FN))
    assert found["recall_rock_glacier"] == pytest.approx(TP / (TP + FN))
    assert found["precision_rock_glacier"] == pytest.approx(TP / (TP + FP))
    assert found["f1_rock_glacier"] == pytest.approx(2 * TP / (2 * TP + FP + FN))
    assert found["accuracy"] == pytest.approx((TP + TN) / 100)
    assert found["miou"] == pytest.approx((found["iou_rock_glacier"] + found["iou_background"]) / 2)


def test_the_paper_and_the_code_mean_different_things_by_mpa():
    found = scores(MATRIX)
    assert found["mpa_code"] == found["mean_recall"]
    assert found["mpa_paper_text"] == found["mean_precision"]
    assert found["mpa_paper_text"] == pytest.approx((TN / (TN + FN) + TP / (TP + FP)) / 2)
    assert found["mpa_code"] != pytest.approx(found["mpa_paper_text"], abs=1e-4)


def test_a_class_that_never_occurs_has_no_score():
    found = scores(np.array([[9, 0], [0, 0]]))
    assert math.isnan(found["iou_rock_glacier"])
    assert found["miou"] == 1
    assert as_json(found)["iou_rock_glacier"] is None


def test_scores_of_nothing_are_nan():
    assert all(math.isnan(value) for value in scores(np.zeros((2, 2), int)).values())


def test_threshold_with_the_largest_iou_is_chosen():
    probability = np.array([0.1, 0.2, 0.35, 0.4, 0.9, np.nan])
    truth = np.array([0, 0, 0, 1, 1, 0])
    threshold, iou = best_threshold(probability, truth)
    assert 0.35 < threshold <= 0.4
    assert iou == 1


def test_threshold_without_landforms_is_a_half():
    threshold, iou = best_threshold(np.array([0.2, 0.9]), np.array([0, 255]))
    assert threshold == 0.5
    assert math.isnan(iou)
