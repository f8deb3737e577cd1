"""Agreement of runs."""

from __future__ import annotations

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
