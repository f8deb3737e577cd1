"""Constants by epoch."""

from __future__ import annotations

import numpy as np
import pytest

from physode.plotting import plot_constants

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
