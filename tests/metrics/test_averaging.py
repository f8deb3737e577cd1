"""Means and spreads over runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import sem

from physode.metrics import averaged, classify


def runs_of(rng, count, classes=3, samples=120):
    found = []
    for _ in range(count):
        labels = rng.integers(0, classes, samples)
        outputs = rng.normal(size=(samples, classes))
        outputs[np.arange(samples), labels] += 1.5
        shares = np.exp(outputs)
        found.append(classify(shares / shares.sum(axis=1, keepdims=True), labels))
    return found


def test_means_deviations_and_standard_errors_are_those_over_runs(rng):
    runs = runs_of(rng, 5)
    mean = averaged(runs)
    accuracies = [run.accuracy for run in runs]
    found = mean.numbers["accuracy"]
    assert (mean.runs, mean.classes) == (5, ("0", "1", "2"))
    assert found.mean == pytest.approx(np.mean(accuracies))
    assert found.deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert found.error == pytest.approx(sem(accuracies))
    assert_allclose(mean.numbers["completeness"].mean, np.mean([run.completeness for run in runs], axis=0))
    assert_allclose(mean.confusion.mean, np.mean([run.confusion for run in runs], axis=0))
    assert_allclose(mean.confusion.error, sem([run.confusion for run in runs]))


def test_mean_curves_have_a_band_and_the_mean_area(rng):
    runs = runs_of(rng, 4)
    mean = averaged(runs)
    curve = mean.roc.each[1]
    at_one_tenth = [np.interp(0.1, run.roc.each[1].x, run.roc.each[1].y) for run in runs]
    place = np.searchsorted(curve.x, 0.1)
    assert curve.y[place] == pytest.approx(np.mean(at_one_tenth))
    assert curve.deviation[place] == pytest.approx(np.std(at_one_tenth, ddof=1))
    areas = [run.roc.areas[1] for run in runs]
    assert (curve.area, curve.area_deviation) == pytest.approx((np.mean(areas), np.std(areas, ddof=1)))
    assert mean.numbers["auc_micro"].mean == pytest.approx(mean.roc.micro.area)
    assert mean.numbers["average_precision_macro"].mean == pytest.approx(mean.precision_recall.macro.area)


def test_one_run_has_no_spread(rng):
    mean = averaged(runs_of(rng, 1))
    assert np.isnan(mean.numbers["accuracy"].deviation)
    assert np.isnan(mean.numbers["f1"].error).all()
    assert mean.roc.macro.deviation is None


def test_the_order_of_runs_does_not_matter(rng):
    runs = runs_of(rng, 3)
    one, other = averaged(runs), averaged(runs[::-1])
    assert_allclose(one.roc.macro.y, other.roc.macro.y)
    for name, spread in one.numbers.items():
        assert_allclose(spread.error, other.numbers[name].error, err_msg=name)


def test_a_class_that_some_runs_lack_is_averaged_over_the_others(rng):
    without = classify([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], [0, 1])
    full = runs_of(rng, 2)
    mean = averaged([without, *full])
    assert mean.numbers["completeness"].mean[2] == pytest.approx(np.mean([run.completeness[2] for run in full]))
    assert mean.roc.each[2].area == pytest.approx(np.mean([run.roc.areas[2] for run in full]))
    nowhere = averaged([without, without])
    assert nowhere.roc.each[2] is None
    assert np.isnan(nowhere.numbers["completeness"].mean[2])


def test_runs_of_other_classes_are_refused(rng):
    with pytest.raises(ValueError, match=r"`runs` must share their classes; run 0 has \('0', '1', '2'\)"):
        averaged([*runs_of(rng, 1), *runs_of(rng, 1, classes=4)])
    with pytest.raises(ValueError, match="`runs` must hold at least one classification, got none"):
        averaged([])
