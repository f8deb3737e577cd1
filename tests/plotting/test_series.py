"""Figures of models of series."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from physode.plotting import plot_latent, plot_reconstructions, plot_samples
from physode.plotting.series import principal
from physode.series import Forecast
from physode.series.reconstruction import Reconstruction


def reconstruction(*, channels=2, name="a", until=None, seed=0):
    """A series of which every other point is told, and a path of its own."""
    rng = np.random.default_rng(seed)
    t, at = np.arange(6.0), np.linspace(0.0, 5.0, 11)
    y = rng.standard_normal((6, channels))
    y[1, 0] = np.nan
    mean = np.sin(at)[None, :, None] + np.arange(channels)
    path = Forecast(at[None], mean, np.full_like(mean, 0.5), mean[None], mean)
    return Reconstruction(name, t, y, t % 2 == 0, until, path)


def draw(found, **options):
    channels = found[0].y.shape[1]
    names = [f"c{i}" for i in range(channels)]
    return plot_reconstructions(found, channels=names, units=["m"] * channels, **options)


def drawn(axes):
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.get_lines()}


def test_points_told_and_not_told_stand_beside_the_mean_and_its_band(tmp_path):
    one = reconstruction()
    figure = draw([one], time_unit="s", path=tmp_path / "series.png")
    upper, lower = figure.axes
    lines = drawn(upper)
    assert_allclose(lines["the model's mean"], np.column_stack([one.path.t[0], one.path.mean[0, :, 0]]))
    assert_allclose(lines["told to the model"][:, 0], [0, 2, 4])
    assert_allclose(lines["not told"], np.column_stack([[1, 3, 5], one.y[[1, 3, 5], 0]]))  # a missing one is not drawn
    band = upper.collections[0].get_paths()[0].vertices
    assert (band[:, 1].max(), band[:, 1].min()) == pytest.approx(
        (one.path.mean[0, :, 0].max() + 0.98, one.path.mean[0, :, 0].min() - 0.98), abs=1e-4
    )
    assert (upper.get_ylabel(), lower.get_xlabel(), upper.get_title(loc="left")) == ("c0 (m)", "time (s)", "series a")
    assert (tmp_path / "series.png").stat().st_size > 5_000


@pytest.mark.parametrize("channels", [1, 2])
def test_title_and_legend_of_a_single_series_fit_into_its_figure(channels):
    title = "latent-ode, extrapolation from 50 % of the points before"
    figure = draw([reconstruction(channels=channels, until=2.5)], title=title)
    figure.draw_without_rendering()
    for part in (figure.legends[0], figure._suptitle):
        box = part.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_a_line_shows_where_extrapolation_begins():
    figure = draw([reconstruction(until=2.5), reconstruction(until=3.5, name="b")])
    assert [line.get_xdata()[0] for axes in figure.axes for line in axes.get_lines() if line.get_ls() == "--"] == [
        2.5,
        3.5,
        2.5,
        3.5,
    ]
    assert "extrapolation begins" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_of_many_channels_the_first_are_drawn_and_the_rest_is_said():
    figure = draw([reconstruction(channels=9), reconstruction(channels=9, name="b")], title="model")
    assert len(figure.axes) == 12
    assert figure.get_suptitle() == "model (the first 6 of 9 channels)"


def test_of_one_channel_each_series_has_a_panel():
    found = [reconstruction(channels=1, name=name) for name in "abcd"]
    figure = draw(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["series a", "series b", "series c", "series d"]


def test_names_from_files_are_no_mathematics(tmp_path):
    one = reconstruction(name="$\\frac")
    plot_reconstructions([one], channels=["$x", "y\n"], units=["$", ""], path=tmp_path / "series.png")


def test_samples_are_a_line_each(tmp_path):
    series = np.random.default_rng(0).standard_normal((3, 5, 2))
    figure = plot_samples(np.arange(5.0), series, channels=["x", "v"], units=["m", ""], path=tmp_path / "samples.png")
    for channel, axes in enumerate(figure.axes):
        assert_allclose([line.get_ydata() for line in axes.get_lines()], series[:, :, channel])
    assert figure.axes[0].get_ylabel() == "x (m)"


# Latent paths.


def test_principal_directions_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    states = rng.standard_normal((50, 4)) * [1.0, 5.0, 0.1, 3.0] @ np.linalg.qr(rng.standard_normal((4, 4)))[0] + 7.0
    mean, directions, shares = principal(states)
    values, vectors = np.linalg.eigh(np.cov(states.T))
    assert_allclose(mean, states.mean(0))
    assert_allclose(np.abs(np.sum(directions * vectors[:, [3, 2]].T, axis=1)), 1.0)
    assert_allclose(shares, values[[3, 2]] / values.sum())


@pytest.mark.parametrize("states", [np.arange(4.0)[:, None], np.ones((3, 5))])
def test_states_of_one_component_or_at_rest_have_a_plane_too(states):
    _, directions, shares = principal(states)
    assert directions.shape == (2, states.shape[1])
    assert shares[1] == 0.0


def test_paths_are_coloured_by_the_time_since_their_own_start(tmp_path):
    rng = np.random.default_rng(0)
    times = [np.array([5.0, 6.0, 8.0]), np.array([0.0, 1.0])]
    paths = [rng.standard_normal((3, 4)), rng.standard_normal((2, 4))]
    figure = plot_latent(times, paths, time_unit="s", path=tmp_path / "latent.png")
    axes, bar = figure.axes
    assert_allclose(axes.collections[0].get_array(), [0.5, 2.0])
    mean, directions, _ = principal(np.concatenate(paths))
    assert_allclose(axes.collections[0].get_segments()[1], ((paths[0] - mean) @ directions.T)[1:])
    assert axes.collections[0].norm.vmax == 3.0
    assert len(axes.get_lines()) == 2  # starts
    assert bar.get_ylabel() == "time since the start (s)"


@pytest.mark.parametrize(("call", "name"), [(lambda: draw_nothing(), "found"), (lambda: plot_latent([], []), "paths")])
def test_nothing_to_draw_is_refused(call, name):
    with pytest.raises(ValueError, match=f"`{name}` must hold at least one"):
        call()


def draw_nothing():
    return plot_reconstructions([], channels=[], units=[])
