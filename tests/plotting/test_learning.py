"""Learning curves as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from physode.plotting import plot_learning


def history(accuracies, *, seconds=60.0, first=1):
    return [
        {"epoch": first + i, "test_accuracy": value, "test_loss": 10.0 ** (-i), "rhs_forward": 20.0, "seconds": seconds}
        for i, value in enumerate(accuracies)
    ]


def band(axes):
    return axes.collections[0].get_paths()[0].vertices[:, 1]


def test_several_runs_are_their_mean_within_one_deviation(tmp_path):
    runs = {"NODE": [history([0.5, 0.7]), history([0.6, 0.9])]}
    figure = plot_learning(runs, quantities=["test_accuracy"], path=tmp_path / "learning.png")
    axes = figure.axes[0]
    assert_allclose(axes.get_lines()[0].get_data(), [[1, 2], [55.0, 80.0]])
    spread = np.std([70.0, 90.0], ddof=1)
    assert (band(axes).max(), band(axes).min()) == pytest.approx((80 + spread, 55 - np.std([50, 60], ddof=1)))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "test accuracy (%)")
    assert (tmp_path / "learning.png").stat().st_size > 5_000


def test_time_is_that_of_training_so_far_in_a_unit_that_suits():
    runs = {"fast": [history([0.5, 0.6, 0.7])], "slow": [history([0.4, 0.5, 0.6], seconds=3600.0)]}
    figure = plot_learning(runs, quantities=["test_accuracy"], against=["epoch", "time"])
    right = figure.axes[1]
    assert right.get_xlabel() == "training time (h)"
    assert_allclose(right.get_lines()[0].get_xdata(), np.array([1, 2, 3]) / 60)
    assert_allclose(right.get_lines()[1].get_xdata(), [1, 2, 3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fast", "slow"]


def test_runs_of_unequal_length_are_averaged_where_all_are():
    axes = plot_learning({"NODE": [history([0.5, 0.7, 0.8]), history([0.6, 0.9])]}, quantities=["test_accuracy"]).axes[
        0
    ]
    assert_allclose(axes.get_lines()[0].get_xdata(), [1, 2])


def test_losses_over_decades_are_logarithmic_and_evaluations_are_not():
    figure = plot_learning({"NODE": [history([0.1] * 4)]}, quantities=["test_loss", "rhs_forward"])
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert figure.axes[1].get_ylabel().startswith("rhs evaluations")
    assert not figure.legends


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ({}, {}, "`runs` must hold at least one history a model, got {}"),
        ({"NODE": []}, {}, "`runs` must hold at least one history a model, got {'NODE': 0}"),
        ({"NODE": [[]]}, {}, "`runs` of 'NODE' must have epochs in common, got none"),
        ({"NODE": [history([0.1]), history([0.1], first=2)]}, {}, "`runs` of 'NODE' must have epochs in common"),
        (
            {"NODE": [history([0.1])]},
            {"quantities": ["memory"]},
            "`runs` of 'NODE' have no 'memory'; their entries hold",
        ),
        ({"NODE": [history([0.1])]}, {"against": ["steps"]}, r"`against` must be of epoch, time"),
    ],
)
def test_what_cannot_be_drawn_is_refused(runs, options, message):
    with pytest.raises(ValueError, match=message):
        plot_learning(runs, **options)
