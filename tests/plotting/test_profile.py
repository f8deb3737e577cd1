"""Figures of profile likelihoods."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.fitting.profile_likelihood import Profile
from physode.plotting import plot_profile

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
