"""What an estimate is worth: curves with bands, residuals, where starts ended, profiles and correlations."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import BOXED, COLOURS, INK, MUTED, SPAN, finish, headline, label, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.estimation.bands import Bands, Curve
    from physode.estimation.estimate import Estimate
    from physode.estimation.problem import Calendar, Estimation
    from physode.estimation.profile_likelihood import Profile

Array = np.ndarray[Any, Any]

_MOST = 12  # panels
_NUMBERED = 12  # constants, up to which correlations are written
_FLOOR = 1e-4  # of -log L above the best: what is nearer is drawn there


def plot_bands(
    bands: Bands, *, states: bool = False, most: int = _MOST, path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw data, curve, and the 95 % bands of the mean and of new measurements: a panel for each curve.

    What lies behind the last measurement is dashed, on a shaded ground.

    Parameters
    ----------
    bands
        The curves.
    states
        Whether to draw states in place of observables.
    most
        How many panels at most.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no curves.
    """
    curves = bands.states if states else bands.observables
    if not curves:
        raise ValueError("`bands` must hold at least one curve, got none")
    shown, several = curves[:most], len({curve.experiment for curve in curves}) > 1
    with styled():
        figure, panels = _panels(len(shown))
        for curve, axes in zip(shown, panels, strict=True):
            _draw_curve(axes, curve)
            names = [short(curve.name), *([short(curve.experiment)] if several else []), *map(short, curve.own)]
            axes.set(title=", ".join(names), ylabel=label(curve.name, curve.unit))
            _name_times(axes, curve.calendar, bands.time_unit)
        _legend(figure, panels)
        what = "States" if states else "Data and fit"
        more = f", the first {len(shown)} of {len(curves)}" if len(curves) > len(shown) else ""
        headline(figure, f"{what} with {100 * bands.level:g} % bands{more}")
        return finish(figure, path)


def _name_times(axes: Any, calendar: Calendar | None, unit: str) -> None:
    """Label the axis of times: as dates where they are, else as numbers with their unit."""
    if calendar is None:
        axes.set_xlabel(label("time", unit))
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel(label("date", calendar.zone))


def _draw_curve(axes: Any, curve: Curve) -> None:
    end = float(curve.t[-1])
    t, times, until, last = (
        each if curve.calendar is None else curve.calendar.dates(each)
        for each in (curve.t, curve.times, np.asarray(curve.until), np.asarray(end))
    )
    if end > curve.until:
        axes.axvspan(until, last, color=SPAN, zorder=0, label="extrapolated")
    colour = COLOURS[0]
    if np.isfinite(curve.lowest).any():
        axes.fill_between(t, curve.lowest, curve.highest, color=COLOURS[5], alpha=0.3, lw=0, label="new measurements")
    axes.fill_between(t, curve.low, curve.high, color=colour, alpha=0.35, lw=0, label="mean")
    inside = curve.t <= curve.until
    later = curve.t >= max(curve.until, float(curve.t[inside][-1]) if inside.any() else -math.inf)
    axes.plot(t[inside], curve.mean[inside], color=colour, label="fit")
    if end > curve.until:
        axes.plot(t[later], curve.mean[later], color=colour, ls=(0, (4, 2)))
    finite = np.isfinite(curve.times)
    if finite.any():
        size = 4.0 if finite.sum() <= 100 else 2.0
        axes.plot(
            times[finite], curve.values[finite], "o", ms=size, mew=0, color=INK, alpha=0.8, label="data", zorder=3
        )
    if not np.isfinite(curve.error).any():
        axes.text(0.97, 0.05, "band not determined", transform=axes.transAxes, ha="right", color=MUTED, fontsize=9)
    axes.margins(x=0.01)


def plot_estimate_residuals(estimate: Estimate, *, most: int = 6, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw residuals in spreads over time, by observable, and beside them how they are distributed.

    Experiments differ in colour; residuals of more than four spreads are ringed.

    Parameters
    ----------
    estimate
        What was estimated.
    most
        How many observables at most.
    path
        Where to write the figure, if anywhere.
    """
    from scipy.stats import laplace, norm

    estimation, data = estimate.estimation, estimate.estimation.measurements
    facing = estimate.problem.facing
    predicted = facing.scaled(estimate.likelihood.prediction)[0][0]
    r = ((facing.values - predicted) / estimate.noise).numpy()
    names = [experiment.name for experiment in estimation.experiments]
    times, calendar = _dates_of(estimation)
    present = [k for k in range(len(estimation.observables)) if (data.observable == k).any()]
    with styled():
        figure = new_figure(9.5, 1.0 + 1.8 * len(present[:most]))
        panels = figure.subplots(len(present[:most]), 2, sharex="col", sharey="row", squeeze=False, width_ratios=(4, 1))
        for k, (left, right) in zip(present[:most], panels, strict=True):
            observable, mine = estimation.observables[k], data.observable == k
            left.axhline(0.0, color=INK, lw=0.8)
            left.axhspan(-1.96, 1.96, color=SPAN, zorder=0)
            for e in np.unique(data.experiment[mine]):
                rows = mine & (data.experiment == e) & np.isfinite(data.times)
                colour = COLOURS[int(e) % len(COLOURS)]
                left.plot(times[rows], r[rows], "o", ms=4, mew=0, color=colour, label=short(names[int(e)]))
            far = mine & np.isfinite(data.times) & (np.abs(r) > 4.0)
            left.plot(times[far], r[far], "o", ms=10, mfc="none", color=COLOURS[1])
            left.set(title=short(observable.name), ylabel="residual / spread")
            left.margins(x=0.01)
            bins = int(np.clip(np.sqrt(mine.sum()), 6, 40))
            right.hist(r[mine], bins=bins, density=True, orientation="horizontal", color=COLOURS[5], alpha=0.6)
            bottom, top = left.get_ylim()
            height = np.linspace(bottom, top, 200)
            law = laplace if "laplace" in observable.distribution else norm
            right.plot(law.pdf(height), height, color=INK, lw=1.2)
            right.grid(visible=False)
        _name_times(panels[-1, 0], calendar, estimation.model.time_unit)
        panels[-1, 1].set_xlabel("density")
        if 1 < len(names) <= 8:
            panels[0, 0].legend(loc="upper right", ncols=4, **BOXED)
        more = f", the first {most} of {len(present)} observables" if len(present) > most else ""
        headline(figure, f"Observed minus fitted, in spreads{more}")
        return finish(figure, path)


def _dates_of(estimation: Estimation) -> tuple[Array, Calendar | None]:
    """Return when all values were measured: dates where these are known of every experiment, with one of their
    calendars; else numbers.
    """
    data = estimation.measurements
    calendars = [experiment.calendar for experiment in estimation.experiments]
    times = np.empty(len(data), "datetime64[us]")
    for i, calendar in enumerate(calendars):
        if calendar is None:
            return data.times, None
        mine = data.experiment == i
        times[mine] = calendar.dates(np.where(np.isfinite(data.times[mine]), data.times[mine], 0.0))
    return times, calendars[0]


def plot_starts(estimate: Estimate, *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw how far above the best the starts of a search ended, sorted: a waterfall, with those that met coloured.

    Parameters
    ----------
    estimate
        What was estimated.
    path
        Where to write the figure, if anywhere.
    """
    from physode.estimation.scoring import MET

    loss, count = np.sort(estimate.minima.loss.numpy()), estimate.met
    above = loss - loss[0]
    solved = np.isfinite(above)
    number = np.arange(1, len(loss) + 1)
    met = number <= count

    with styled():
        figure = new_figure(6.5, 4.0)
        axes = figure.subplots()
        drawn = np.maximum(above, _FLOOR)
        rest = solved & ~met
        axes.plot(number[solved], drawn[solved], color=MUTED, lw=0.8, zorder=1)
        axes.plot(number[met], drawn[met], "o", ms=6, color=COLOURS[2], label="met at the best")
        if rest.any():
            axes.plot(number[rest], drawn[rest], "o", ms=6, color=MUTED, label="ended elsewhere")
        axes.axhline(MET, color=MUTED, lw=1.0, ls=(0, (5, 3)), label=f"{MET:g} above the best")
        axes.set_yscale("log")
        top = 10.0 * max(float(drawn[solved].max()), 1.0)
        axes.set_ylim(0.5 * _FLOOR, top)
        if not solved.all():
            lost = number[~solved]
            axes.plot(lost, np.full(len(lost), 0.6 * top), "x", ms=6, color=COLOURS[1], label="could not be solved")
        axes.set_xlim(0.5, len(loss) + 0.5)
        axes.locator_params(axis="x", integer=True)
        axes.set(xlabel="start, from best to worst", ylabel="$-\\log L$ above the best")
        axes.set_title(f"{count} of {len(loss)} starts met")
        axes.legend(loc="best", **BOXED)
        return finish(figure, path)


def plot_profiles(profiles: Sequence[Profile], *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw profile likelihoods side by side, each with its threshold, its interval and the standard error's parabola.

    Parameters
    ----------
    profiles
        One a panel.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not profiles:
        raise ValueError("`profiles` must hold at least one profile, got none")
    with styled():
        figure, panels = _panels(len(profiles))
        for profile, axes in zip(profiles, panels, strict=True):
            _draw_profile(axes, profile)
        _legend(figure, panels)
        headline(figure, "Profile likelihoods")
        return finish(figure, path)


def _draw_profile(axes: Any, profile: Profile) -> None:
    top = 3.0 * profile.threshold
    rows = np.flatnonzero(profile.delta <= top)
    first, last = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 1, len(profile.values) - 1)
    low, high = float(profile.values[first]), float(profile.values[last])
    axes.axhline(profile.threshold, color=MUTED, lw=1.1, ls=(0, (5, 3)), label="95 % threshold")
    if profile.error:
        x = np.linspace(low, high, 300)
        axes.plot(x, 0.5 * ((x - profile.value) / profile.error) ** 2, color=COLOURS[1], lw=1.1, label="standard error")
    axes.plot(profile.values, profile.delta, "o-", ms=3, color=COLOURS[0], label="profile")
    axes.plot([profile.value], [0.0], "D", ms=6, color=INK, label="estimate", clip_on=False, zorder=4)
    for end in profile.interval:
        if end is not None:
            axes.axvline(end, color=COLOURS[0], lw=1.0, ls=":")
    if high > low:
        axes.set_xlim(low, high)
    axes.set_ylim(min(0.0, 1.1 * float(profile.delta.min())), top)
    axes.set(
        xlabel=label(profile.name, profile.unit), ylabel="$-\\log L$ above the estimate", title=short(profile.name)
    )


def plot_correlations(estimate: Estimate, *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the correlations of the constants that were estimated; grey where the data do not determine them.

    Parameters
    ----------
    estimate
        What was estimated.
    path
        Where to write the figure, if anywhere.
    """
    matrix = estimate.correlation
    names = [short(unknown.name, 16) for unknown in estimate.problem.scales.free]
    size = float(np.clip(2.2 + 0.45 * len(names), 4.0, 12.0))
    with styled():
        figure = new_figure(size + 1.0, size)
        axes = figure.subplots()
        axes.set_facecolor("#DDDDDD")
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.grid(visible=False)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        if len(names) <= _NUMBERED:
            for i, j in np.argwhere(np.isfinite(matrix)):
                strong = abs(matrix[i, j]) > 0.6
                axes.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", size=8, color="w" if strong else INK)
        figure.colorbar(image, ax=axes, label="correlation", shrink=0.8)
        axes.set_title("Correlation of constants")
        return finish(figure, path)


def _panels(count: int) -> tuple[Figure, list[Any]]:
    """Return a figure of a number of panels, up to three in a row."""
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    rows = math.ceil(count / columns)
    figure = new_figure(6.5 if columns == 1 else 3.4 * columns + 0.6, 0.9 + (3.4 if count == 1 else 2.6) * rows)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def _legend(figure: Figure, panels: Sequence[Any]) -> None:
    """Name below the panels what is drawn in any of them."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    columns = min(len(entries), 5)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)
