"""Classifiers judged, against counts by hand and other formulas of the same quantities."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest, mannwhitneyu, norm

from physode.errors import ConfigError
from physode.metrics import averaged, calibrate, classify, wilson_interval

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 2, 1, 0])


def answers(predicted, classes, sure=0.7):
    """Probabilities whose largest is that of the predicted class."""
    shares = np.full((len(predicted), classes), (1 - sure) / (classes - 1))
    shares[np.arange(len(predicted)), predicted] = sure
    return shares


def random_answers(rng, samples=300, classes=4):
    labels = rng.integers(0, classes, samples)
    outputs = rng.normal(size=(samples, classes))
    outputs[np.arange(samples), labels] += 1.0
    shares = np.exp(outputs)
    return shares / shares.sum(axis=1, keepdims=True), labels


def test_counts_by_hand_give_confusion_precision_completeness_and_f1():
    found = classify(answers(PREDICTED, 3), TRUTH, classes=("round", "disc", "spiral"))
    assert_array_equal(found.confusion, [[3, 1, 0], [1, 2, 0], [1, 1, 1]])
    assert_array_equal(found.support, [4, 3, 3])
    assert_allclose(found.precision, [3 / 5, 2 / 4, 1 / 1])
    assert_allclose(found.completeness, [3 / 4, 2 / 3, 1 / 3])
    assert_allclose(found.f1, [2 * 3 / (5 + 4), 2 * 2 / (4 + 3), 2 * 1 / (1 + 3)])
    assert found.accuracy == 0.6
    assert found.macro.completeness == pytest.approx((3 / 4 + 2 / 3 + 1 / 3) / 3)
    assert found.weighted.completeness == pytest.approx(found.accuracy)
    assert found.weighted.precision == pytest.approx(0.4 * 0.6 + 0.3 * 0.5 + 0.3 * 1.0)
    assert found.log_loss == pytest.approx(-0.6 * np.log(0.7) - 0.4 * np.log(0.15))
    assert found.calibration.error == pytest.approx(0.1)


def test_each_class_s_auc_is_the_chance_to_rank_a_member_above_another(rng):
    shares, labels = random_answers(rng)
    roc = classify(shares, labels).roc
    for index, area in enumerate(roc.areas):
        inside, outside = shares[labels == index, index], shares[labels != index, index]
        assert area == pytest.approx(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))
    pairs, hits = shares.ravel(), (labels[:, None] == np.arange(4)).ravel()
    ranked = mannwhitneyu(pairs[hits], pairs[~hits]).statistic / (hits.sum() * (~hits).sum())
    assert roc.micro.area == pytest.approx(ranked)
    assert roc.macro.area == pytest.approx(roc.areas.mean())


def test_average_precision_is_the_mean_precision_at_the_ranks_of_members(rng):
    shares, labels = random_answers(rng)
    found = classify(shares, labels).precision_recall
    for index, area in enumerate(found.areas):
        member = labels[np.argsort(-shares[:, index])] == index
        precision = np.cumsum(member) / np.arange(1, len(member) + 1)
        assert area == pytest.approx(precision[member].mean())
    assert found.macro.area == pytest.approx(found.areas.mean())


def test_the_mean_roc_curve_lies_between_those_of_the_classes_and_has_their_mean_area(rng):
    roc = classify(*random_answers(rng)).roc
    middle = np.stack([np.interp(0.2, curve.x, curve.y) for curve in roc.each])
    at = np.interp(0.2, roc.macro.x, roc.macro.y)
    assert at == pytest.approx(middle.mean())
    assert np.trapezoid(roc.macro.y, roc.macro.x) == pytest.approx(roc.macro.area, abs=2e-3)
    assert (roc.macro.x[0], roc.macro.y[0], roc.macro.x[-1], roc.macro.y[-1]) == (0, 0, 1, 1)


def test_a_mean_precision_curve_has_the_precision_of_the_step_that_reaches_a_completeness():
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    curve = classify(shares, [0, 1, 0, 1]).precision_recall.macro
    # Class 0 is found at ranks 1 and 3 (precisions 1, 2/3), class 1 at ranks 1 and 3 of its own order.
    assert_allclose(curve.y[np.searchsorted(curve.x, [0.25, 0.5, 0.75, 1.0])], [1, 1, 2 / 3, 2 / 3])
    assert curve.area == pytest.approx((1 + 2 / 3) / 2)


def test_the_order_of_samples_does_not_matter(rng):
    shares, labels = random_answers(rng)
    order = rng.permutation(len(labels))
    one, other = classify(shares, labels).numbers(), classify(shares[order], labels[order]).numbers()
    for name, value in one.items():
        assert_allclose(other[name], value, rtol=1e-12, err_msg=name)


def test_the_order_of_classes_only_permutes_what_is_given_by_class(rng):
    shares, labels = random_answers(rng)
    order = np.array([2, 0, 3, 1])
    one, other = classify(shares, labels), classify(shares[:, order], np.argsort(order)[labels])
    assert_array_equal(other.confusion, one.confusion[np.ix_(order, order)])
    assert_allclose(other.roc.areas, one.roc.areas[order])
    assert other.precision_recall.macro.area == pytest.approx(one.precision_recall.macro.area)


def test_a_class_without_samples_counts_in_no_average():
    found = classify(np.pad(answers(PREDICTED, 3), ((0, 0), (0, 1))), TRUTH)
    without = classify(answers(PREDICTED, 3), TRUTH)
    assert np.isnan([found.precision[3], found.completeness[3], found.f1[3], found.roc.areas[3]]).all()
    assert found.roc.each[3] is None
    assert found.macro == without.macro
    assert found.weighted == without.weighted
    assert found.roc.macro.area == pytest.approx(without.roc.macro.area)


def test_a_class_that_is_predicted_and_absent_has_precision_0():
    found = classify(answers([0, 1, 2], 3), [0, 1, 1])
    assert_array_equal(found.precision, [1, 1, 0])
    assert_array_equal(found.f1, [1, 2 / 3, 0])
    assert np.isnan(found.completeness[2])


def test_a_class_that_is_never_predicted_has_precision_0_and_counts():
    found = classify(answers([0, 0, 1], 3), [0, 2, 1])
    assert_array_equal(found.precision, [0.5, 1, 0])
    assert found.macro.precision == 0.5


def test_samples_of_one_class_have_no_curves_by_class():
    found = classify(answers([0, 0, 1], 2), [0, 0, 0])
    assert found.roc.each == (None, None)
    assert (found.roc.macro, found.accuracy) == (None, pytest.approx(2 / 3))
    assert np.isfinite(found.roc.micro.area)
    assert found.as_dict()["auc_macro"] is None


def test_certainty_of_a_wrong_class_has_a_large_and_finite_log_loss():
    assert classify([[1.0, 0.0]], [1]).log_loss == pytest.approx(-np.log(np.finfo(np.float64).eps))


def test_single_precision_answers_are_taken(rng):
    shares, labels = random_answers(rng)
    assert classify(shares.astype(np.float32), labels).log_loss == pytest.approx(classify(shares, labels).log_loss)


def test_numbers_are_json_without_nan():
    found = classify(np.pad(answers(PREDICTED, 3), ((0, 0), (0, 1))), TRUTH)
    read = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert read["confusion"][0] == [3, 1, 0, 0]
    assert read["completeness"][3] is None
    assert (read["samples"], read["classes"]) == (10, ["0", "1", "2", "3"])
    json.dumps(averaged([found, found]).as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("shares", "labels", "message"),
    [
        ([[0.5, np.nan], [1, 0]], [0, 1], r"`probabilities` of 1 of 2 samples are not finite, the first in row 0"),
        ([[1.0, 0.0], [2.5, -1.5]], [0, 1], r"row 1 sums to 1 with a smallest value of -1.5; apply softmax"),
        ([[0.5, 0.2]], [0], r"row 0 sums to 0.7"),
        ([[1.0], [1.0]], [0, 0], r"two classes or more; got shape \(2, 1\)"),
        (np.zeros((0, 3)), [], r"got shape \(0, 3\)"),
        ([["a", "b"]], [0], r"`probabilities` must be numbers"),
        ([[0.5, 0.5]], [0, 1], r"`labels` must be one number a sample, shape \(1,\); got shape \(2,\)"),
        ([[0.5, 0.5]], [2], r"`labels` must be from 0 to 1, since there are 2 classes; label 0 is 2"),
        ([[0.5, 0.5]], [-1], r"label 0 is -1"),
        ([[0.5, 0.5]], [0.0], r"`labels` must be whole numbers, got an array of float64"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(shares, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        classify(shares, labels)
    assert "\n" not in str(caught.value)


def test_names_must_be_those_of_the_classes():
    with pytest.raises(ValueError, match="`classes` must hold one name for each of the 2 columns, got 1"):
        classify([[0.5, 0.5]], [0], classes=("cat",))


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.metrics", raising=False)
    with pytest.raises(ConfigError, match=r"needs scikit-learn; install it with: pip install 'physode\[images\]'$"):
        classify([[0.5, 0.5]], [0])


def test_bins_by_hand():
    shares = np.array([[0.55, 0.45], [0.6, 0.4], [0.1, 0.9], [0.05, 0.95]])
    found = calibrate(shares, [0, 1, 1, 1], bins=5)
    assert_array_equal(found.counts, [0, 0, 2, 0, 2])
    assert_allclose(found.confidence[[2, 4]], [0.575, 0.925])
    assert_allclose(found.accuracy[[2, 4]], [0.5, 1.0])
    assert np.isnan(found.accuracy[[0, 1, 3]]).all()
    assert found.error == pytest.approx(0.5 * 0.075 + 0.5 * 0.075)


def test_answers_as_right_as_they_say_are_calibrated(rng):
    sure = rng.uniform(0.5, 1.0, 50_000)
    labels = (rng.uniform(size=sure.size) > sure).astype(int)
    assert calibrate(np.stack([sure, 1 - sure], axis=1), labels).error < 0.01


def test_certain_and_always_wrong_is_an_error_of_one():
    found = calibrate([[1.0, 0.0], [1.0, 0.0]], [1, 1])
    assert (found.error, found.counts[-1]) == (1.0, 2)


def test_bins_there_must_be():
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        calibrate([[1.0, 0.0]], [0], bins=0)


@pytest.mark.parametrize(("hits", "samples"), [(0, 10), (10, 10), (1, 1), (81, 263), (9477, 10_000)])
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_it_is_scipy_s(hits, samples, level):
    reference = binomtest(hits, samples).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, samples, level=level) == pytest.approx(tuple(reference), abs=1e-15)


def test_it_is_newcombe_s_published_example():
    # Newcombe (1998), Statistics in Medicine 17, 857, Table I: 81 of 263 and 0 of 20, score method.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_its_limits_solve_the_score_equation():
    low, high = wilson_interval(30, 40)
    for p in (low, high):
        assert abs(0.75 - p) / (p * (1 - p) / 40) ** 0.5 == pytest.approx(norm.ppf(0.975))


@pytest.mark.parametrize(("hits", "samples"), [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, samples):
    with pytest.raises(ValueError, match="`hits` must be from 0 to `samples`"):
        wilson_interval(hits, samples)


def test_a_level_in_percent_is_refused():
    with pytest.raises(ValueError, match="`level` must be between 0 and 1, got 95"):
        wilson_interval(1, 2, level=95)
