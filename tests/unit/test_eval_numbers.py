"""Numbers of an evaluation, each against an independent calculation."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torchmetrics.classification import BinaryCalibrationError, BinaryJaccardIndex

from rockglacier.errors import ContractError
from rockglacier.evaluation.area import adjusted_area, adjusted_shares
from rockglacier.evaluation.boundary import Boundary, compare_boundaries
from rockglacier.evaluation.confusers import GroundErrors, terrain_kinds
from rockglacier.evaluation.paired import block_counts, block_edge, compare_networks
from rockglacier.grid import Window
from rockglacier.model.metrics import confusion_matrix, scores
from rockglacier.model.reliability import BINS, Reliability


def made_maps(seed=0, shape=(90, 110), noise=0.2):
    """Truth of a few rectangles, with unknown ground, and a map with scattered errors."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint8)
    for y, x in rng.integers(5, 70, (6, 2)):
        truth[y : y + 14, x : x + 18] = 1
    probability = np.clip(truth * 0.7 + rng.normal(0.15, noise, shape), 0, 1)
    truth[:, -6:] = 255
    return truth, probability


def test_scores_agree_with_torchmetrics_and_count_errors_by_class():
    truth, probability = made_maps()
    predicted = (probability >= 0.5).astype(np.uint8)
    matrix = confusion_matrix(truth, predicted)
    found = scores(matrix)
    index = BinaryJaccardIndex(ignore_index=255)
    expected = index(torch.from_numpy(predicted), torch.from_numpy(truth).long())
    assert found["iou_rock_glacier"] == pytest.approx(float(expected), abs=1e-6)
    known = truth != 255
    missed = (truth == 1) & (predicted == 0)
    false = (predicted == 1) & (truth == 0)
    assert found["omission_rock_glacier"] == pytest.approx(missed.sum() / (truth == 1).sum())
    called = (predicted == 1) & known
    assert found["commission_rock_glacier"] == pytest.approx(false.sum() / called.sum())


# boundaries


def brute_boundary(truth, predicted, tolerance):
    """Every boundary pixel by its four neighbours, every distance by itself."""

    def edge(image):
        found = []
        for y, x in np.argwhere((image == 1) & (truth != 255) & (predicted != 255)):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                v, u = y + dy, x + dx
                inside = 0 <= v < image.shape[0] and 0 <= u < image.shape[1]
                if inside and truth[v, u] != 255 and predicted[v, u] != 255 and image[v, u] == 0:
                    found.append((y, x))
                    break
        return np.array(found)

    ours, theirs = edge(predicted), edge(truth)
    distance = cdist(ours, theirs)
    return (
        (distance.min(axis=1) <= tolerance + 1e-6).mean(),
        (distance.min(axis=0) <= tolerance + 1e-6).mean(),
    )


@pytest.mark.parametrize("tolerance", [1.0, 2.0, 2**0.5])
def test_boundary_scores_agree_with_brute_force(tolerance):
    truth, probability = made_maps(seed=3)
    predicted = (probability >= 0.4).astype(np.uint8)
    precision, recall = brute_boundary(truth, predicted, tolerance)
    found = compare_boundaries(truth, predicted, tolerance=tolerance).scores()
    assert found["boundary_precision"] == pytest.approx(precision)
    assert found["boundary_recall"] == pytest.approx(recall)
    expected = 2 * precision * recall / (precision + recall)
    assert found["boundary_f"] == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (2, 1.0), (9, 0.0)])
def test_a_shifted_outline_agrees_within_the_tolerance_only(shift, expected):
    truth = np.zeros((60, 60), np.uint8)
    truth[20:24, 20:24] = 1
    found = compare_boundaries(truth, np.roll(truth, shift, axis=1), tolerance=2.0).scores()
    assert found["boundary_f"] == expected


def test_boundaries_of_pieces_add_up_and_none_is_not_zero():
    truth, probability = made_maps(seed=5)
    predicted = (probability >= 0.5).astype(np.uint8)
    one = compare_boundaries(truth, predicted)
    assert (one + one).scores() == one.scores()
    assert np.isnan(Boundary().scores()["boundary_f"])
    empty = compare_boundaries(truth, np.zeros_like(truth)).scores()
    assert empty["boundary_recall"] == 0
    assert np.isnan(empty["boundary_precision"])


# calibration


def test_calibration_error_agrees_with_torchmetrics_however_it_is_cut():
    truth, probability = made_maps(seed=1, noise=0.3)
    probability[:9] = np.nan
    found = Reliability()
    for rows in np.array_split(np.arange(len(truth)), 4):
        found.add(probability[rows], truth[rows])
    known = (truth != 255) & np.isfinite(probability)
    metric = BinaryCalibrationError(n_bins=BINS, norm="l1")
    largest = BinaryCalibrationError(n_bins=BINS, norm="max")
    pair = torch.from_numpy(probability[known]), torch.from_numpy(truth[known]).long()
    result = found.scores()
    assert result["ece"] == pytest.approx(float(metric(*pair)), abs=2e-4)
    assert result["mce"] == pytest.approx(float(largest(*pair)), abs=2e-3)
    assert result["brier"] == pytest.approx(np.mean((probability[known] - truth[known]) ** 2))
    assert sum(row["pixels"] for row in found.table()) == known.sum()


def test_frequencies_are_calibrated_and_boasts_are_not():
    rng = np.random.default_rng(2)
    probability = rng.random(200_000)
    truth = (rng.random(200_000) < probability).astype(np.uint8)
    honest, boasting = Reliability(), Reliability()
    honest.add(probability, truth)
    boasting.add(np.round(probability), truth)
    assert honest.scores()["ece"] < 0.01
    assert boasting.scores()["ece"] == pytest.approx(0.25, abs=0.01)  # mean of |p - round(p)|
    assert np.isnan(Reliability().scores()["ece"])


# paired differences


def test_blocks_add_up_to_the_whole_and_lie_on_one_lattice():
    truth, probability = made_maps(seed=4)
    predicted = (probability >= 0.5).astype(np.uint8)
    window = Window(y=37, x=5, height=90, width=110)
    found = block_counts(truth, predicted, window, edge=32)
    assert (sum(found.values()) == confusion_matrix(truth, predicted)).all()
    assert min(found) == (1, 0)
    part = np.s_[64 - 37 : 96 - 37, 32 - 5 : 64 - 5]
    assert (found[2, 1] == confusion_matrix(truth[part], predicted[part])).all()


def test_blocks_shrink_until_there_are_enough():
    assert block_edge([Window(y=0, x=0, height=4000, width=4000)], largest=256) == 256
    assert block_edge([Window(y=0, x=0, height=512, width=512)], largest=256) == 64
    assert block_edge([Window(y=0, x=0, height=64, width=64)], largest=256) == 32


def networks_of(blocks=60, seed=0):
    """Two networks that fail on the same blocks, the second a little more everywhere."""
    rng = np.random.default_rng(seed)
    hard = rng.uniform(0.2, 0.9, blocks)
    better, worse = {}, {}
    for k in range(blocks):
        hit = round(1000 * hard[k])
        better[0, k] = np.array([[9000, 100], [1000 - hit, hit]])
        lost = int(rng.integers(5, 60))
        worse[0, k] = np.array([[9000, 100], [1000 - hit + lost, hit - lost]])
    return better, worse


def test_a_paired_difference_is_sure_where_the_scores_are_not():
    better, worse = networks_of()
    found = compare_networks({"worse": worse, "better": better}, draws=500)
    (row,) = found["differences"]
    assert (row["first"], row["second"]) == ("better", "worse")
    assert 0.005 < row["iou_rock_glacier"]["low"] < row["iou_rock_glacier"]["value"]
    assert row["share_not_better"] == 0
    of = {name: part["iou_rock_glacier"] for name, part in found["networks"].items()}
    # alone, the two cannot be told apart: their intervals overlap by far
    assert of["better"]["low"] < of["worse"]["value"] < of["better"]["value"] < of["worse"]["high"]


def test_intervals_agree_with_drawing_blocks_one_by_one():
    better, worse = networks_of(blocks=25, seed=6)
    found = compare_networks({"a": better, "b": worse}, draws=2000, seed=1)
    rng = np.random.default_rng(9)
    one, other = (np.stack(list(counts.values())) for counts in (better, worse))

    def iou(m):
        return m[1, 1] / (m[1, 1] + m[0, 1] + m[1, 0])

    drawn = []
    for _ in range(2000):
        chosen = rng.integers(0, 25, 25)
        drawn.append(iou(one[chosen].sum(0)) - iou(other[chosen].sum(0)))
    (row,) = found["differences"]
    low, high = np.percentile(drawn, [2.5, 97.5])
    width = high - low
    assert row["iou_rock_glacier"]["low"] == pytest.approx(low, abs=0.1 * width)
    assert row["iou_rock_glacier"]["high"] == pytest.approx(high, abs=0.1 * width)
    assert row["iou_rock_glacier"]["value"] == pytest.approx(
        iou(one.sum(0)) - iou(other.sum(0)), abs=1e-6
    )


def test_networks_on_different_ground_are_not_compared():
    better, worse = networks_of()
    worse.pop((0, 3))
    with pytest.raises(ContractError, match="59 blocks"):
        compare_networks({"a": better, "b": worse})


def test_a_network_has_no_difference_from_itself():
    better, _ = networks_of(blocks=5)
    found = compare_networks({"a": better, "b": dict(better)}, draws=100)
    assert found["differences"][0]["iou_rock_glacier"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["few_blocks"]


# areas


def test_adjusted_areas_are_those_of_the_published_example():
    # Olofsson et al. 2014, section 5: deforestation, gain of forest, forest, no forest
    by_map = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    mapped = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09  # hectares
    shares, errors = adjusted_shares(by_map.T, mapped)
    hectares = shares * mapped.sum()
    assert hectares == pytest.approx([21_158, 11_686, 285_770, 581_386], abs=1)
    assert 1.96 * errors[:2] * mapped.sum() == pytest.approx([6_158, 3_756], abs=2)


def test_a_map_with_known_errors_gives_the_true_area():
    rng = np.random.default_rng(0)
    truth = rng.random((200, 64, 64)) < 0.1
    called = np.where(truth, rng.random(truth.shape) < 0.7, rng.random(truth.shape) < 0.02)
    blocks = np.stack(
        [
            confusion_matrix(t.astype(np.uint8), c.astype(np.uint8))
            for t, c in zip(truth, called, strict=True)
        ]
    )
    pixel = 1e-4
    test, whole = blocks[:80], blocks.sum(axis=0) * pixel
    found = adjusted_area(test, whole.sum(axis=0), draws=500)
    true_km2 = whole[1].sum()
    assert found["low_km2"] < true_km2 < found["high_km2"]
    assert found["adjusted_km2"] == pytest.approx(true_km2, rel=0.03)
    assert found["mapped_km2"] < 0.95 * true_km2
    assert not found["few_blocks"]


def test_pixels_that_fail_together_need_a_wider_interval():
    rng = np.random.default_rng(1)
    blocks = [[[2000, 96], [missed, 2000 - missed]] for missed in rng.choice([100, 1900], 40)]
    found = adjusted_area(np.array(blocks), (1.0, 0.2), draws=500)
    wide = found["high_km2"] - found["low_km2"]
    assert wide > 3 * (found["pixel_high_km2"] - found["pixel_low_km2"])


def test_an_area_cannot_be_adjusted_by_a_class_never_sampled():
    found = adjusted_area(np.array([[[50, 0], [3, 0]]]), (1.0, 0.2), draws=20)
    assert found["adjusted_km2"] is None
    with pytest.raises(ContractError, match="mapped areas"):
        adjusted_shares(np.zeros((2, 2)), (0.0, 0.0))


# kinds of ground


def test_errors_by_ground_agree_with_counting():
    truth, probability = made_maps(seed=8)
    predicted = (probability >= 0.45).astype(np.uint8)
    slope = np.tile(np.linspace(0, 50, truth.shape[1]), (truth.shape[0], 1))
    errors = GroundErrors()
    for rows in (np.s_[:40], np.s_[40:]):
        kinds = {"all": np.ones_like(truth[rows], bool), **terrain_kinds(slope=slope[rows])}
        errors.add(truth[rows], predicted[rows], kinds)
    table = {row["ground"]: row for row in errors.table()}
    steep = (slope >= 30) & (slope < 40)
    false, missed = (truth == 0) & (predicted == 1), (truth == 1) & (predicted == 0)
    row = table["slope 30-40"]
    assert row["false_alarm_rate"] == pytest.approx(
        (false & steep).sum() / ((truth == 0) & steep).sum(), abs=1e-6
    )
    assert row["miss_rate"] == pytest.approx(
        (missed & steep).sum() / ((truth == 1) & steep).sum(), abs=1e-6
    )
    assert row["share_of_false_alarms"] == pytest.approx(
        (false & steep).sum() / false.sum(), abs=1e-6
    )
    slopes = [part for name, part in table.items() if name.startswith("slope")]
    assert sum(part["pixels"] for part in slopes) == table["all"]["pixels"] == (truth != 255).sum()


def test_kinds_of_terrain_have_the_right_names():
    aspect = np.array([[350.0, 10, 44, 46, 180, 270, np.nan]])
    kinds = terrain_kinds(aspect=aspect, n_snow=np.array([[0, 1, 0, 0, 0, 0, 2]]))
    assert kinds["facing N"].tolist() == [[True, True, False, False, False, False, False]]
    assert kinds["facing NE"].sum() == 2
    assert kinds["facing S"].tolist()[0][4]
    assert kinds["SCL snow"].sum() == 2
    assert sum(where[0, 6] for name, where in kinds.items() if "facing" in name) == 0
