"""Residuals over time, and their distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from physode.plotting import plot_residuals
from physode.plotting.comparison import Group, group_columns
from physode.rhs import body_columns

T = np.linspace(0.0, 4.0, 401)


def of_one(values, **options):
    return plot_residuals(T, values[:, None], [Group("angle", (0,), ("angle",), "rad")], train_until=3.0, **options)


def test_residuals_are_drawn_in_their_unit_beside_their_distribution(rng, tmp_path):
    values = rng.normal(scale=0.2, size=401)
    figure = of_one(values, time_unit="s", path=tmp_path / "residuals.png")
    assert (tmp_path / "residuals.png").stat().st_size > 10_000
    left, right = figure.axes
    assert (left.get_title(loc="left"), left.get_ylabel(), left.get_xlabel()) == ("angle", "residual (rad)", "time (s)")
    drawn = left.get_lines()[1].get_ydata()
    inside = np.isfinite(drawn)
    np.testing.assert_array_equal(drawn[inside], values[inside])
    assert inside.sum() > 390
    bars = sum(bar.get_width() * bar.get_height() for bar in right.patches)
    assert bars == pytest.approx(1.0)


def test_the_curve_is_the_normal_density_of_their_mean_square(rng):
    values = rng.normal(scale=0.2, size=401)
    density, height = of_one(values).axes[1].get_lines()[0].get_data()
    rms = np.sqrt(np.mean(values[T <= 3.0] ** 2))
    np.testing.assert_allclose(density, norm.pdf(height, scale=rms), rtol=1e-12)


def test_residuals_in_standard_errors_are_held_against_the_unit_normal(rng):
    axes = of_one(3.0 * rng.normal(size=401), standardised=True).axes
    density, height = axes[1].get_lines()[0].get_data()
    np.testing.assert_allclose(density, norm.pdf(height), rtol=1e-12)
    assert axes[0].get_ylabel() == "residual / $\\sigma$"


def test_large_residuals_beyond_training_do_not_dwarf_the_others():
    values = 0.1 * np.sin(20 * T)
    values[350:] = -7.0
    left = of_one(values).axes[0]
    assert left.get_ylim() == pytest.approx((-0.125, 0.125), rel=1e-3)
    below = left.get_lines()[3]
    assert (below.get_marker(), len(below.get_xdata())) == ("v", 51)
    assert left.get_title(loc="center") == "triangles: beyond the frame, to 7"


def test_missing_values_are_left_out_and_exact_fits_are_drawn():
    values = np.zeros(401)
    values[5:] = np.nan
    left, right = of_one(values).axes
    assert np.isfinite(left.get_lines()[1].get_ydata()).sum() == 5
    assert (left.get_ylim(), len(right.patches)) == ((-1.0, 1.0), 0)


def test_a_body_s_coordinates_share_a_panel():
    columns, names = body_columns(2), ("Sun", "Jupiter")
    groups = group_columns(columns, ("AU",) * 6 + ("AU/yr",) * 6, np.arange(12) != 1, bodies=names)
    assert [(group.name, group.columns, group.labels) for group in groups[:2]] == [
        ("Sun", (0, 2), ("x", "z")),
        ("Jupiter", (3, 4, 5), ("x", "y", "z")),
    ]
    assert (groups[2].name, groups[2].unit) == ("Sun, velocity", "AU/yr")
    figure = plot_residuals(T, np.ones((401, 12)), groups, train_until=3.0, most=3)
    assert len(figure.axes) == 6
    assert figure.get_suptitle() == "Observed minus fitted, the first 3 of 4"
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["x", "y", "z"]


def test_residuals_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one group of columns"):
        plot_residuals(T, np.empty((401, 0)), [], train_until=3.0)
