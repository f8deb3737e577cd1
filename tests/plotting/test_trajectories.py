"""Trajectories, losses and invariants as pictures, read from their own artists."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from physode.plotting import (
    Comparison,
    plot_drift,
    plot_history,
    plot_orbits,
    plot_phase_planes,
    plot_phase_portrait,
    plot_series,
)
from physode.plotting.invariants import drift_of
from physode.rhs import body_columns


def comparison(columns, units, *, error=0.01):
    t = np.linspace(0.0, 2.0, 101)
    phases = np.arange(1, len(columns) + 1)
    observed = np.sin(t[:, None] * phases)
    return Comparison(
        t=t,
        observed=observed,
        fitted=observed + error * t[:, None],
        columns=columns,
        units=units,
        train_until=1.0,
        time_unit="yr",
    )


@pytest.fixture
def orbits():
    return comparison(body_columns(3), ("AU",) * 9 + ("AU/yr",) * 9)


def is_drawn(path):
    """A PNG in which there is more than its background."""
    pixels = np.ascontiguousarray((255 * imread(path)).astype(np.uint8)).view(np.uint32)
    return min(pixels.shape[:2]) > 300 and len(np.unique(pixels)) > 20


def test_orbits_show_true_and_fitted_paths_in_space_with_units(orbits, tmp_path):
    figure = plot_orbits(orbits, path=tmp_path / "orbits.png")
    assert is_drawn(tmp_path / "orbits.png")
    space = figure.axes[0]
    assert (space.get_xlabel(), space.get_ylabel(), space.get_zlabel()) == ("x (AU)", "y (AU)", "z (AU)")
    lines = space.get_lines()
    assert len(lines) == 3 * 5
    true, training, beyond = (np.array(line.get_data_3d()).T for line in lines[:3])
    np.testing.assert_array_equal(true, orbits.observed[:, :3])
    fitted = np.concatenate([training, beyond[1:]])
    t, exact = orbits.fine[0], np.sin(orbits.fine[0][:, None] * [1, 2, 3]) + 0.01 * orbits.fine[0][:, None]
    assert len(fitted) == len(t) == 601
    np.testing.assert_array_equal(fitted[::6], orbits.fitted[:, :3])
    np.testing.assert_allclose(fitted, exact, atol=1e-6)
    assert t[len(training) - 1] == pytest.approx(1.0)
    assert next(iter(space.get_legend().get_texts())).get_text() == "true"


def test_the_distance_between_orbits_is_drawn_over_time(orbits):
    errors = plot_orbits(orbits).axes[1]
    assert errors.get_yscale() == "log"
    assert (errors.get_xlabel(), errors.get_ylabel()) == ("time (yr)", "distance (AU)")
    np.testing.assert_allclose(errors.get_lines()[0].get_ydata()[1:], np.sqrt(3) * 0.01 * orbits.t[1:])
    assert [text.get_text() for text in errors.get_legend().get_texts()] == [
        "training span",
        "body 1",
        "body 2",
        "body 3",
    ]


def test_three_components_are_one_path():
    space, errors = plot_orbits(comparison(("x", "y", "z"), ("",) * 3)).axes
    assert (space.get_xlabel(), len(space.get_lines()), len(errors.get_lines())) == ("x", 5, 1)


def test_a_phase_portrait_shows_two_components_and_their_time(tmp_path):
    shown = comparison(("angle", "speed"), ("rad", "rad/s"))
    figure = plot_phase_portrait(shown, path=tmp_path / "phase.png")
    assert is_drawn(tmp_path / "phase.png")
    plane, first, second = figure.axes
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("angle (rad)", "speed (rad/s)")
    assert (first.get_ylabel(), second.get_ylabel(), second.get_xlabel()) == (
        "angle (rad)",
        "speed (rad/s)",
        "time (yr)",
    )
    np.testing.assert_array_equal(plane.get_lines()[0].get_xydata(), shown.observed)


def test_measured_values_are_points_and_fits_are_lines():
    shown = dataclasses.replace(comparison(("angle", "speed"), ("", "")), observed_is="observed")
    shown.observed[7:9] = np.nan
    plane, first, _ = plot_phase_portrait(shown).axes
    for axes in (plane, first):
        measured, fitted = axes.get_lines()[:2]
        assert (measured.get_linestyle(), measured.get_marker()) == ("None", "o")
        assert (fitted.get_linestyle(), np.isfinite(fitted.get_ydata()).all()) == ("-", True)
    assert plane.get_legend().get_texts()[0].get_text() == "observed"


def test_velocities_that_were_never_observed_break_no_figure(orbits):
    orbits.observed[:, 9:] = np.nan
    orbits.observed[20:30, :3] = np.nan
    space, errors = plot_orbits(orbits).axes
    assert np.isfinite(errors.get_lines()[0].get_ydata()).sum() == 100 - 10
    assert space.get_lines()[0].get_linestyle() == "None"
    planes = plot_phase_planes(orbits)
    assert np.isfinite(planes.axes[0].get_lines()[1].get_ydata()).all()
    assert planes.legends[0].get_texts()[0].get_text().startswith("trained on [0, ")
    assert len(plot_series(orbits, most=18).axes) == 18


def test_each_body_has_its_coordinates_against_their_velocities(orbits, tmp_path):
    figure = plot_phase_planes(orbits, path=tmp_path / "phase.png")
    assert is_drawn(tmp_path / "phase.png")
    assert len(figure.axes) == 9
    second = figure.axes[4]
    assert (second.get_xlabel(), second.get_ylabel()) == ("y (AU)", "v_y (AU/yr)")
    np.testing.assert_array_equal(second.get_lines()[0].get_xydata(), orbits.observed[:, [4, 13]])


def test_a_coordinate_in_which_nothing_moves_has_no_phase_portrait(orbits):
    for place in (2, 5, 8):
        orbits.fitted[:, place] = 0.3
    assert [axes.get_xlabel() for axes in plot_phase_planes(orbits).axes] == ["x (AU)", "y (AU)"] * 3


def test_bodies_go_by_their_names_and_these_are_no_mathematics(orbits, tmp_path):
    named = dataclasses.replace(orbits, names=("Sun", "a$^{$", "line\nbreak"))
    figure = plot_orbits(named, path=tmp_path / "orbits.png")
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()[1:]] == [
        "Sun",
        r"a\$^{\$",
        "line break",
    ]


def test_distances_of_one_size_have_an_even_scale(orbits):
    orbits.fitted[:] = orbits.observed + 0.01
    assert plot_orbits(orbits).axes[1].get_yscale() == "linear"


def test_series_draw_the_first_components():
    figure = plot_series(comparison(tuple("abcdefgh"), ("",) * 8), most=3)
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "b", "c"]


def test_a_fitted_path_that_escapes_is_not_followed(orbits):
    orbits.fitted[60:, 0] += 100.0
    space, errors = plot_orbits(orbits).axes
    assert max(abs(limit) for limit in space.get_xlim()) < 3
    assert errors.get_lines()[0].get_ydata()[-1] > 99


def test_missing_and_failed_values_leave_gaps(orbits):
    orbits.observed[3:6] = np.nan
    orbits.fitted[60:] = np.nan
    figure = plot_orbits(orbits)
    assert np.isnan(figure.axes[1].get_lines()[0].get_ydata()).sum() == 1 + 3 + 41


def test_a_time_that_falls_is_trained_on_from_its_start(orbits):
    falling = dataclasses.replace(orbits, t=orbits.t[::-1].copy(), train_until=1.5)
    training = plot_orbits(falling).axes[0].get_lines()[1]
    assert falling.fine[0][len(training.get_data_3d()[0]) - 1] == pytest.approx(1.5)


def test_the_loss_is_drawn_logarithmically_with_the_steps_below(tmp_path):
    history = [
        {"epoch": 0, "loss": 1.0, "accepted": 20, "rejected": 3},
        {"epoch": 1, "loss": None, "accepted": None, "rejected": None},
        {"epoch": 2, "loss": 0.01, "accepted": 18, "rejected": 2},
    ]
    figure = plot_history(history, path=tmp_path / "loss.png")
    assert is_drawn(tmp_path / "loss.png")
    loss, steps = figure.axes
    assert (loss.get_yscale(), loss.get_ylabel(), steps.get_xlabel()) == ("log", "mean squared error", "epoch")
    np.testing.assert_array_equal(loss.get_lines()[0].get_xydata(), [[0, 1.0], [2, 0.01]])
    assert [bar.get_height() for bar in steps.patches] == [20, 18, 3, 2]


def test_stages_of_a_schedule_are_marked():
    history = [{"epoch": epoch, "loss": 1.0 / (epoch + 1), "stage": 1 + (epoch > 2)} for epoch in range(6)]
    axes = plot_history(history).axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["stage 2"]
    assert axes.get_lines()[-1].get_xdata()[0] == 2.5


def test_a_loss_without_steps_is_one_panel():
    assert len(plot_history([{"epoch": 0, "loss": 1.0, "accepted": None}]).axes) == 1


def test_drift_is_relative_for_numbers_and_a_length_for_vectors():
    np.testing.assert_allclose(drift_of(np.array([-2.0, -2.5, -1.0])), [0.0, 0.25, 0.5])
    np.testing.assert_allclose(drift_of(np.array([0.0, 0.5])), [0.0, 0.5])
    np.testing.assert_allclose(drift_of(np.array([[1.0, 0.0, 0.0], [1.0, 3.0, 4.0]])), [0.0, 5.0])


def test_each_conserved_quantity_has_a_panel(tmp_path):
    t = np.linspace(0.0, 1.0, 50)
    curve = {"energy": 1.0 + 1e-6 * t, "momentum": np.outer(t, [1e-9, 0.0, 0.0])}
    figure = plot_drift(t, {"fitted": curve, "true": curve}, train_until=0.5, time_unit="yr", path=tmp_path / "d.png")
    assert is_drawn(tmp_path / "d.png")
    energy, momentum = figure.axes
    assert (energy.get_title(loc="left"), momentum.get_title(loc="left")) == ("Energy", "Momentum")
    assert (energy.get_ylabel(), momentum.get_ylabel()) == ("relative change", "change, norm")
    assert (energy.get_yscale(), momentum.get_xlabel()) == ("log", "time (yr)")
    np.testing.assert_allclose(energy.get_lines()[0].get_ydata()[1:], 1e-6 * t[1:], rtol=1e-6)


def test_drift_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one conserved quantity"):
        plot_drift(np.arange(2.0), {"fitted": {}}, train_until=1.0)


def test_matplotlib_is_loaded_with_the_first_figure_and_pyplot_never():
    script = """
import sys, physode.plotting
print("matplotlib" in sys.modules)
physode.plotting.plot_history([{"epoch": 0, "loss": 1.0}])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
