"""Accuracies over runs as a picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from physode.plotting import plot_accuracies


def test_every_run_is_a_point_beside_mean_and_deviation(tmp_path):
    values = [0.94, 0.95, 0.95, 0.96]
    figure = plot_accuracies({"NODE18": values, "ResNet18": [0.93]}, path=tmp_path / "accuracies.png")
    axes = figure.axes[0]
    points = axes.get_lines()[0]
    assert_allclose(points.get_ydata(), np.multiply(values, 100))
    assert len(set(points.get_xdata())) == 4
    assert [text.get_text() for text in axes.texts] == [f"95.00\nsd {np.std([94, 95, 95, 96], ddof=1):.2f}", "93.00"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["NODE18", "ResNet18"]
    assert (tmp_path / "accuracies.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("accuracies", "message"),
    [
        ({}, "`accuracies` must hold at least one model, got none"),
        ({"NODE18": []}, r"`accuracies` of 'NODE18' must be shares from 0 to 1, one a run; got \[\]"),
        ({"NODE18": [95.0]}, "`accuracies` of 'NODE18' must be shares from 0 to 1"),
    ],
)
def test_no_runs_and_percents_are_refused(accuracies, message):
    with pytest.raises(ValueError, match=message):
        plot_accuracies(accuracies)
