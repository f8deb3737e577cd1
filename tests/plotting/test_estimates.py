"""Figures of estimates hold what was estimated."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch
from matplotlib.dates import num2date

from physode.equations.columns import observed_of, read_recordings
from physode.equations.model_file import read_model
from physode.estimation import bands, estimate, fit, profile
from physode.plotting import (
    plot_bands,
    plot_correlations,
    plot_estimate_residuals,
    plot_profiles,
    plot_starts,
)

T = np.linspace(0.0, 3.0, 13)
NOISE = 0.05 * np.cos(11 * T + 0.3)


@pytest.fixture(scope="module")
def fitted():
    second = np.exp(-0.7 * T) + NOISE
    second[4] += 0.9
    rows = {
        "t": np.tile(T, 2),
        "x": np.concatenate([2 * np.exp(-0.7 * T) + NOISE, second]),
        "experiment": ["A"] * 13 + ["B"] * 13,
    }
    return fit(lambda t, x, k: -k * x, rows, constants={"k": 1.0}, starts=1)


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_data_curves_and_bands_are_drawn(fitted, tmp_path):
    found = bands(fitted, points=21, until=4.0)
    figure = plot_bands(found, path=tmp_path / "bands.png")
    assert (tmp_path / "bands.png").stat().st_size > 10_000
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["x, A", "x, B"]
    axes, curve = figure.axes[0], found.observables[0]
    np.testing.assert_array_equal(lines(axes)["data"].get_data(), [curve.times, curve.values])
    inside = curve.t <= 3.0
    np.testing.assert_array_equal(lines(axes)["fit"].get_data(), [curve.t[inside], curve.mean[inside]])
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert dashed[0].get_xdata()[-1] == 4.0
    by_label = {one.get_label(): one for one in axes.collections}
    for name, low, high in (("mean", curve.low, curve.high), ("new measurements", curve.lowest, curve.highest)):
        corners = by_label[name].get_paths()[0].vertices
        assert corners[:, 1].min() == pytest.approx(low.min())
        assert corners[:, 1].max() == pytest.approx(high.max())
    (shade,) = [patch for patch in axes.patches if patch.get_label() == "extrapolated"]
    assert (shade.get_x(), shade.get_width()) == (3.0, 1.0)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "extrapolated",
        "new measurements",
        "mean",
        "fit",
        "data",
    ]
    assert figure.get_suptitle() == "Data and fit with 95 % bands"


def test_states_are_drawn_on_demand_and_panels_are_counted(fitted):
    found = bands(fitted, points=5)
    figure = plot_bands(found, states=True, most=1)
    assert len(figure.axes) == 1
    assert figure.get_suptitle() == "States with 95 % bands, the first 1 of 2"
    assert not [patch for patch in figure.axes[0].patches if patch.get_label() == "extrapolated"]
    assert "data" not in lines(figure.axes[0])
    with pytest.raises(ValueError, match="at least one curve"):
        plot_bands(dataclasses.replace(found, curves=()))


def test_a_band_that_is_not_determined_is_said_to_be(fitted):
    found = bands(fitted, points=5)
    nothing = np.full(5, np.nan)
    lost = dataclasses.replace(
        found.observables[0], error=nothing, low=nothing, high=nothing, lowest=nothing, highest=nothing
    )
    axes = plot_bands(dataclasses.replace(found, curves=(lost,))).axes[0]
    assert [text.get_text() for text in axes.texts] == ["band not determined"]


def test_residuals_are_drawn_in_spreads_with_far_ones_ringed(fitted):
    figure = plot_estimate_residuals(fitted)
    left, right = figure.axes
    drawn = np.concatenate([lines(left)[name].get_ydata() for name in "AB"])
    spread = fitted.spreads["x"]
    data = fitted.estimation.measurements
    np.testing.assert_allclose(drawn, (data.values - fitted.likelihood.prediction.values[0].numpy()) / spread)
    rings = [line for line in left.get_lines() if line.get_markerfacecolor() == "none"]
    assert [tuple(ring.get_xdata()) for ring in rings] == [(1.0,)]
    assert left.get_ylabel() == "residual / spread"
    assert sum(bar.get_width() * bar.get_height() for bar in right.patches) == pytest.approx(1.0)


def test_starts_fall_as_a_waterfall_and_those_that_met_are_counted(fitted):
    loss = torch.tensor([-10.0, -10.0 + 1e-3, -9.0, np.inf, -5.0, -10.0], dtype=torch.float64)
    several = dataclasses.replace(fitted.minima, z=fitted.z.expand(6, -1), loss=loss)
    axes = plot_starts(dataclasses.replace(fitted, minima=several)).axes[0]
    assert axes.get_title(loc="left") == "3 of 6 starts met"
    drawn = lines(axes)
    np.testing.assert_allclose(drawn["met at the best"].get_data(), [[1, 2, 3], [1e-4, 1e-4, 1e-3]])
    np.testing.assert_allclose(drawn["ended elsewhere"].get_data(), [[4, 5], [1.0, 5.0]])
    np.testing.assert_array_equal(drawn["could not be solved"].get_xdata(), [6])
    assert axes.get_yscale() == "log"


def test_profiles_are_drawn_with_thresholds_and_intervals(fitted):
    found = profile(fitted, "k", points=6)
    figure = plot_profiles([found, found])
    axes = figure.axes[0]
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["profile"].get_data(), [found.values, found.delta])
    assert drawn["95 % threshold"].get_ydata()[0] == found.threshold
    x, parabola = drawn["standard error"].get_data()
    np.testing.assert_allclose(parabola, 0.5 * ((x - found.value) / found.error) ** 2)
    ends = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert ends == list(found.interval)
    assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="at least one profile"):
        plot_profiles([])


def test_open_ends_and_missing_errors_leave_their_lines_out(fitted):
    found = dataclasses.replace(profile(fitted, "k", points=4), error=None, interval=(None, 0.8))
    (axes,) = plot_profiles([found]).axes
    assert "standard error" not in lines(axes)
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == [0.8]


def test_correlations_are_coloured_and_written(fitted):
    axes = plot_correlations(fitted).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), fitted.correlation)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["k", "x(0)[A]", "x(0)[B]"]
    written = [text.get_text() for text in axes.texts]
    assert written == [f"{value:.2f}" for value in fitted.correlation.reshape(-1)]


MODEL = """version = 1
time_unit = "h"
equations = "x' = -k*x"
constants.k = { guess = 0.1, bounds = [0, 5] }
states.x = {}
"""


def dated(tmp_path, name, begin, hours=(0, 6, 12, 30)):
    """Write a table whose times are dates, and return its file and these."""
    dates = [datetime.fromisoformat(begin) + timedelta(hours=hour) for hour in hours]
    values = 2 * np.exp(-0.05 * np.array(hours)) + 0.01 * np.cos(hours)
    rows = "".join(f"{date.isoformat()},{x:.5f}\n" for date, x in zip(dates, values, strict=True))
    (tmp_path / name).write_text(f"time,x\n{rows}")
    return tmp_path / name, [date.replace(tzinfo=None) for date in dates]


def test_times_that_were_dates_are_dates_on_the_axes(tmp_path):
    early, first = dated(tmp_path, "early.csv", "2024-02-28T18:00:00")
    late, second = dated(tmp_path, "late.csv", "2025-07-01T06:30:00", hours=(0, 3, 20))
    (tmp_path / "decay.toml").write_text(MODEL)
    found = estimate(read_model(tmp_path / "decay.toml").estimation(early, late), starts=1)
    figure = plot_bands(bands(found, points=9, until=60.0))
    for axes, dates in zip(figure.axes, (first, second), strict=True):
        assert lines(axes)["data"].get_xdata().astype("datetime64[s]").tolist() == dates
        assert axes.get_xlabel() == "date"
        axes.figure.canvas.draw()
        assert dates[0].strftime("%b") in "".join(
            [axes.xaxis.get_offset_text().get_text(), *(tick.get_text() for tick in axes.get_xticklabels())]
        )
    shade = next(patch for patch in figure.axes[0].patches if patch.get_label() == "extrapolated")
    assert num2date(shade.get_x()).replace(tzinfo=None) == first[-1]
    left = plot_estimate_residuals(found).axes[0]
    assert lines(left)["late"].get_xdata().astype("datetime64[s]").tolist() == second


def test_a_zone_is_told_and_numbers_beside_dates_make_an_axis_of_numbers(tmp_path):
    early, dates = dated(tmp_path, "early.csv", "2024-02-28T18:00:00+02:00")
    (recording,) = read_recordings([early], time_unit="d")
    assert recording.calendar.unit == 86_400
    assert recording.calendar.dates(recording.columns["x"].times).astype("datetime64[s]").tolist() == dates
    assert recording.calendar.zone == "UTC+02:00"
    (tmp_path / "plain.csv").write_text("time,x\n0,2\n6,1.5\n12,1.1\n")
    (tmp_path / "decay.toml").write_text(MODEL)
    found = estimate(read_model(tmp_path / "decay.toml").estimation(early, tmp_path / "plain.csv"), starts=1)
    first, second = plot_bands(bands(found, points=9)).axes
    assert first.get_xlabel() == "date (UTC+02:00)"
    assert second.get_xlabel() == "time (h)"
    assert plot_estimate_residuals(found).axes[0].get_xlabel() == "time (h)"


def test_a_function_s_data_keep_their_dates(tmp_path):
    early, dates = dated(tmp_path, "early.csv", "2024-02-28T18:00:00")
    (series,) = observed_of(read_recordings([early])).series
    assert series.calendar.unit == 1
    assert series.calendar.dates(series.t).astype("datetime64[s]").tolist() == dates
