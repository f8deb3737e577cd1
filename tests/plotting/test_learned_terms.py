"""Learnt residuals beside what is truly missing."""

from __future__ import annotations

import numpy as np
import pytest

from physode.plotting import plot_residual_force
from physode.plotting.comparison import Group, group_columns
from physode.rhs import body_columns

T = np.linspace(0.0, 2.0, 101)
DRAG = [Group("speed", (1,), ("speed",), "rad/s")]


def test_what_was_learnt_lies_over_what_is_missing(tmp_path):
    true = np.stack([np.zeros(101), np.sin(3 * T)], axis=1)
    path = tmp_path / "residual_force.png"
    figure = plot_residual_force(T, 1.1 * true, DRAG, true=true, train_until=1.0, time_unit="s", path=path)
    assert path.stat().st_size > 10_000
    (axes,) = figure.axes
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == ("speed: off by 10 % in training", "d/dt (rad/s²)")
    missing, learnt = axes.get_lines()[1:3]
    np.testing.assert_array_equal(missing.get_ydata(), true[:, 1])
    np.testing.assert_array_equal(learnt.get_ydata(), 1.1 * true[:, 1])
    assert len(figure.legends[0].get_texts()) == 2


@pytest.mark.parametrize("true", [None, np.zeros((101, 2))])
def test_nothing_known_to_be_missing_gives_no_share(true):
    figure = plot_residual_force(T, np.ones((101, 2)), DRAG, true=true, train_until=1.0)
    assert figure.axes[0].get_title(loc="left") == "speed"
    assert len(figure.legends[0].get_texts()) == (1 if true is None else 2)


def test_a_body_s_accelerations_share_a_panel():
    groups = group_columns(body_columns(2), ("",) * 12, np.arange(12) >= 6, bodies=("Sun", "Jupiter"))
    figure = plot_residual_force(T, np.ones((101, 12)), groups, train_until=1.0)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Sun, velocity", "Jupiter, velocity"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["x", "y", "z"]


def test_a_residual_that_acts_on_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one group of columns"):
        plot_residual_force(T, np.ones((101, 2)), [], train_until=1.0)
