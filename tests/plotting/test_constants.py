"""Fitted constants by epoch, and their profile likelihood."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.fitting.profile_likelihood import Profile
from physode.plotting import plot_constants, plot_profile

HISTORY = [
    {"epoch": epoch, "loss": 1.0, "constants": {"masses": [1.0 + 0.5**epoch, 2.0, 0.3], "mu": [epoch]}, "stage": stage}
    for epoch, stage in enumerate((1, 1, 1, 2, 2, 3))
]


def test_constants_approach_their_dashed_true_values(tmp_path):
    elements = {"masses": {0: 1.0, 2: 0.25}}
    labels = {"masses": ("Sun", "Jupiter", "Saturn")}
    path = tmp_path / "constants.png"
    figure = plot_constants(HISTORY, elements=elements, units={"masses": "Msun"}, labels=labels, path=path)
    assert path.stat().st_size > 10_000
    values, errors = figure.axes
    assert (values.get_title(loc="left"), values.get_ylabel(), values.get_xlabel()) == (
        "masses",
        "value (Msun)",
        "epoch",
    )
    sun, true, saturn, also_true = values.get_lines()[:4]
    np.testing.assert_array_equal(sun.get_ydata(), [1.0 + 0.5**epoch for epoch in range(6)])
    np.testing.assert_array_equal(saturn.get_ydata(), [0.3] * 6)
    assert (true.get_ydata()[0], also_true.get_ydata()[0], true.get_linestyle()) == (1.0, 0.25, "--")
    assert [text.get_text() for text in values.get_legend().get_texts()] == ["Sun", "Saturn", "true"]
    np.testing.assert_allclose(errors.get_lines()[0].get_ydata(), [0.5**epoch for epoch in range(6)])
    assert errors.get_yscale() == "log"


def test_stages_are_marked_where_they_begin():
    axes = plot_constants(HISTORY).axes[0]
    assert [(text.get_text().strip(), text.get_position()[0]) for text in axes.texts] == [("stage 2", 2.5), ("3", 4.5)]


def test_without_true_values_there_is_a_panel_a_constant_and_no_errors():
    figure = plot_constants(HISTORY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["masses", "mu"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["1", "2", "3"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["fitted"]


def test_masses_of_the_sun_and_of_planets_fit_one_panel():
    history = [{"epoch": epoch, "constants": {"masses": [1.0, 1e-3]}} for epoch in range(3)]
    assert plot_constants(history).axes[0].get_yscale() == "log"
    assert plot_constants(HISTORY).axes[0].get_yscale() == "linear"


def test_a_true_value_of_zero_has_no_relative_error():
    history = [{"epoch": 0, "constants": {"damping": [0.1]}}]
    assert len(plot_constants(history, elements={"damping": {0: 0.0}}).axes) == 1


def test_a_history_without_constants_is_refused():
    with pytest.raises(ValueError, match="constants of at least one epoch"):
        plot_constants([{"epoch": 0, "loss": 1.0, "constants": {}}, {"epoch": 1, "loss": 0.5}])


VALUES = np.linspace(1.0, 3.0, 9)
BENT = Profile(
    name="masses[2]",
    unit="kg",
    fitted=2.0,
    standard_error=0.25,
    values=tuple(VALUES),
    losses=tuple(1.0 + (VALUES - 2.0) ** 2),
    delta=tuple(16.0 * (VALUES - 2.0) ** 2 * np.exp(VALUES - 2.0)),
    threshold=3.84,
    statistic="chi-square",
    interval=(1.4, 2.4),
    parabola_interval=(1.51, 2.49),
    others={},
)


def lines_of(axes):
    return {line.get_label(): np.array(line.get_data()) for line in axes.get_lines() if line.get_label()[0] != "_"}


def test_the_profile_and_its_parabola_are_drawn(tmp_path):
    (axes,) = plot_profile(BENT, path=tmp_path / "profile.png").axes
    assert (tmp_path / "profile.png").stat().st_size > 10_000
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("masses[2] (kg)", r"$\Delta\chi^2$")
    lines = lines_of(axes)
    np.testing.assert_array_equal(lines["profile"], [BENT.values, BENT.delta])
    x, parabola = lines["parabola of the standard error"]
    np.testing.assert_allclose(parabola, 16.0 * (x - 2.0) ** 2)
    assert axes.get_ylim() == (0.0, pytest.approx(3 * 3.84))


def test_both_intervals_are_bars(tmp_path):
    (axes,) = plot_profile(BENT).axes
    bars = [tuple(line.get_xdata()) for line in axes.get_lines() if line.get_linewidth() == 3.5]
    assert sorted(bars) == [(1.4, 2.4), (1.51, 2.49)]


def test_an_open_end_is_an_arrow_at_the_edge():
    unbounded = dataclasses.replace(
        BENT, standard_error=None, parabola_interval=None, interval=(None, 2.4), statistic="F", unit=""
    )
    (axes,) = plot_profile(unbounded).axes
    assert sorted(lines_of(axes)) == ["95 % threshold", "profile"]
    arrows = [line for line in axes.get_lines() if line.get_marker() == "<"]
    assert [line.get_xdata()[0] for line in arrows] == [axes.get_xlim()[0]]
    assert axes.get_ylabel() == r"$\Delta S\,/\,s^2$"
