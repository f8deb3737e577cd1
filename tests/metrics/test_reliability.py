"""Agreement of runs, and intraclass correlations against published numbers and pingouin."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from physode.metrics import icc, misclassified, reliability

LABELS = np.array([0, 1, 2, 2, 1, 0])
PREDICTED = np.array([[0, 1, 2, 2, 1, 0], [0, 2, 2, 0, 1, 0], [0, 1, 2, 0, 1, 1]])


def shares_of(predicted, sure, classes=3):
    shares = np.full((*predicted.shape, classes), (1 - sure) / (classes - 1))
    np.put_along_axis(shares, predicted[..., None], sure, axis=-1)
    return shares


def test_misclassified_are_those_that_any_run_gets_wrong():
    assert_array_equal(misclassified(PREDICTED, LABELS), [False, True, False, True, False, True])
    assert_array_equal(misclassified(shares_of(PREDICTED, 0.8), LABELS), misclassified(PREDICTED, LABELS))


def test_ratings_are_predicted_labels_unless_others_are_asked_for():
    found = reliability(PREDICTED, LABELS)
    assert found.whole == icc(PREDICTED.T)
    assert found.misclassified == icc(PREDICTED.T[[1, 3, 5]])
    assert found.as_dict()["ratings"] == "labels"


def test_ratings_may_be_whether_answers_are_right():
    found = reliability(PREDICTED, LABELS, ratings="correct")
    assert found.whole == icc((PREDICTED == LABELS).T)
    relabelled = reliability((PREDICTED + 1) % 3, (LABELS + 1) % 3, ratings="correct")
    assert relabelled == found


def test_ratings_may_be_the_probability_of_the_right_class():
    found = reliability(shares_of(PREDICTED, 0.8), LABELS, ratings="probability")
    assert found.whole.icc1 == pytest.approx(icc(np.where(PREDICTED == LABELS, 0.8, 0.1).T).icc1)
    with pytest.raises(ValueError, match="`ratings` 'probability' needs probabilities"):
        reliability(PREDICTED, LABELS, ratings="probability")


def test_two_models_can_be_held_to_the_same_samples():
    hard = np.array([True, True, False, True, False, True])
    assert reliability(PREDICTED, LABELS, among=hard).misclassified == icc(PREDICTED.T[hard])
    with pytest.raises(ValueError, match=r"`among` must be true or false for each of 6 samples, got int64 \(2,\)"):
        reliability(PREDICTED, LABELS, among=[1, 2])


def test_runs_that_are_always_right_have_no_misclassified_samples():
    found = reliability(np.stack([LABELS, LABELS]), LABELS)
    assert (found.whole.icc1, found.misclassified) == (1.0, None)
    assert found.as_dict()["misclassified"] is None
    assert np.isnan(reliability(np.stack([LABELS, LABELS]), LABELS, ratings="correct").whole.icc1)


@pytest.mark.parametrize(
    ("icc1", "low", "high"),
    [(0.9335, 0.932, 0.935), (0.944, 0.943, 0.945), (0.7635, 0.759, 0.768), (0.7715, 0.767, 0.776)],
)
def test_the_paper_s_intervals_are_those_of_ten_runs_on_ten_thousand_images_at_90_percent(rng, icc1, low, high):
    # Zhuang et al. (2020), Table 3, whole test set. Mean squares are set so that ICC1 is the middle of the interval.
    inner, outer = rng.normal(size=(10_000, 10)), rng.normal(size=(10_000, 1))
    inner -= inner.mean(axis=1, keepdims=True)
    inner /= np.sqrt((inner**2).sum() / 90_000)
    ratio = (1 + 9 * icc1) / (1 - icc1)
    outer = (outer - outer.mean()) / outer.std(ddof=1) * np.sqrt(ratio / 10)
    found = icc(inner + outer, level=0.9)
    assert found.icc1 == pytest.approx(icc1, abs=1e-9)
    assert found.icc1_interval == pytest.approx((low, high), abs=5.5e-4)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (PREDICTED[:1], "`answers` must be those of two runs or more on two samples or more, got 1 and 6"),
        (PREDICTED[0], r"`answers` must be predicted labels \(runs, samples\) or probabilities"),
        (PREDICTED / 2, "`answers` of two axes must be predicted labels, whole numbers from 0 on; got float64"),
        (PREDICTED - 1, "whole numbers from 0 on; got int64 from -1 on"),
        (shares_of(PREDICTED, 0.8) * 2, "`probabilities` must be at least 0 and sum to 1"),
    ],
)
def test_answers_of_other_kinds_are_refused(answers, message):
    with pytest.raises(ValueError, match=message):
        reliability(answers, LABELS)


def test_unknown_ratings_are_refused():
    with pytest.raises(ValueError, match="`ratings` must be one of labels, correct, probability; got 'votes'"):
        reliability(PREDICTED, LABELS, ratings="votes")


SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_it_is_shrout_and_fleiss_s_example():
    found = icc(SHROUT_FLEISS)
    assert (round(found.icc1, 2), round(found.icc1k, 2)) == (0.17, 0.44)
    # Mean squares of their Table 3: between 11.24, within 6.26.
    assert found.icc1 == pytest.approx((11.24 - 6.26) / (11.24 + 3 * 6.26), abs=5e-4)
    assert (found.targets, found.raters, found.level) == (6, 4, 0.95)


@pytest.mark.parametrize("shape", [(6, 4), (40, 2), (25, 10)])
def test_it_is_pingouin_s(rng, shape):
    pingouin = pytest.importorskip("pingouin")
    pandas = pytest.importorskip("pandas")
    table = SHROUT_FLEISS if shape == (6, 4) else rng.normal(size=(shape[0], 1)) + rng.normal(size=shape)
    rows, columns = np.indices(shape).reshape(2, -1)
    frame = pandas.DataFrame({"target": rows, "rater": columns, "rating": table.ravel()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pingouin's own, about pandas
        reference = pingouin.intraclass_corr(frame, targets="target", raters="rater", ratings="rating")
    found = icc(table)
    interval = next(name for name in reference.columns if name.startswith("CI95"))
    for row, value, limits in ((0, found.icc1, found.icc1_interval), (3, found.icc1k, found.icc1k_interval)):
        assert value == pytest.approx(reference["ICC"][row], abs=1e-12)
        assert limits == pytest.approx(tuple(reference[interval][row]), abs=5.1e-3)  # pingouin rounds them


def test_the_interval_holds_the_truth_as_often_as_it_says(rng):
    truth, held = 0.5, 0
    for _ in range(400):
        low, high = icc(rng.normal(size=(12, 1)) + rng.normal(size=(12, 4)), level=0.9).icc1_interval
        held += low < truth < high
    assert abs(held / 400 - 0.9) < 3 * math.sqrt(0.09 / 400)


def test_scale_offset_and_order_do_not_matter(rng):
    table = rng.normal(size=(20, 1)) + rng.normal(size=(20, 5))
    found = icc(3.0 * table[::-1, rng.permutation(5)] - 7.0)
    assert found.icc1 == pytest.approx(icc(table).icc1)
    assert found.icc1k_interval == pytest.approx(icc(table).icc1k_interval)


def test_the_mean_of_raters_follows_spearman_and_brown(rng):
    found = icc(rng.normal(size=(30, 1)) + rng.normal(size=(30, 10)))
    for one, mean in ((found.icc1, found.icc1k), *zip(found.icc1_interval, found.icc1k_interval, strict=True)):
        assert mean == pytest.approx(10 * one / (1 + 9 * one))


def test_full_agreement_is_1():
    found = icc(np.repeat([[0.1], [0.7], [0.3]], 3, axis=1))
    assert (found.icc1, found.icc1_interval, found.icc1k, found.icc1k_interval) == (1.0, (1.0, 1.0), 1.0, (1.0, 1.0))


def test_ratings_without_variance_have_no_correlation():
    found = icc(np.full((5, 3), 0.1))
    assert math.isnan(found.icc1)
    assert math.isnan(found.icc1k)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["icc1_interval"] == [None, None]


def test_targets_that_do_not_differ_have_the_lowest_value():
    found = icc([[0, 1], [1, 0], [0, 1]])
    assert (found.icc1, found.icc1k) == (-1.0, -math.inf)


@pytest.mark.parametrize("table", [[[1, 2, 3]], [[1], [2]], [1, 2, 3]])
def test_one_rater_or_one_target_is_refused(table):
    with pytest.raises(ValueError, match="`ratings` must have one row a target and one column a rater, two of each"):
        icc(table)


def test_missing_ratings_and_impossible_levels_are_refused():
    with pytest.raises(ValueError, match="`ratings` must be finite, 1 of 4 are not"):
        icc([[1, 2], [np.nan, 1]])
    with pytest.raises(ValueError, match="`level` must be between 0 and 1, got 95"):
        icc([[1, 2], [3, 1]], level=95)
