"""The profile likelihood of a constant beside the parabola of its standard error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import COLOURS, INK, MUTED, finish, label, new_figure, plain, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.fitting.profile_likelihood import Profile

__all__ = ["plot_profile"]

_HEIGHT = 3.0  # thresholds that the figure is high
_PROFILE, _PARABOLA = COLOURS[0], COLOURS[1]


def plot_profile(profile: Profile, *, path: str | os.PathLike[str] | None = None) -> Figure:
    r"""Draw :math:`\Delta(\theta)`, its threshold, and both 95 % intervals as bars at the height of the threshold.

    Parameters
    ----------
    profile
        The profile.
    path
        Where to write the figure, if anywhere.
    """
    values, delta = np.array(profile.values), np.array(profile.delta)
    top = _HEIGHT * profile.threshold
    shown = _shown(profile, values, delta, top)
    with styled():
        figure = new_figure(6.5, 4.2)
        axes = figure.subplots()
        axes.axhline(profile.threshold, color=MUTED, lw=1.1, ls=(0, (5, 3)), label="95 % threshold")
        if profile.standard_error:
            x = np.linspace(*shown, 400)
            parabola = ((x - profile.fitted) / profile.standard_error) ** 2
            axes.plot(x, parabola, color=_PARABOLA, lw=1.2, label="parabola of the standard error")
        axes.plot(values, delta, "o-", ms=4, color=_PROFILE, label="profile")
        axes.axvline(profile.fitted, color=INK, lw=0.8, ls=":")
        if profile.parabola_interval is not None:
            _draw_interval(axes, profile.parabola_interval, 0.92 * profile.threshold, _PARABOLA, shown)
        _draw_interval(axes, profile.interval, profile.threshold, _PROFILE, shown)
        what = r"$\Delta\chi^2$" if profile.statistic == "chi-square" else r"$\Delta S\,/\,s^2$"
        axes.set(xlim=shown, ylim=(min(0.0, 1.1 * float(delta.min())), top), ylabel=what)
        axes.set_xlabel(label(profile.name, profile.unit))
        axes.set_title(f"Profile likelihood of {plain(profile.name)}")
        axes.legend(loc="upper center", ncols=3, fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
        return finish(figure, path)


def _shown(profile: Profile, values: Any, delta: Any, top: float) -> tuple[float, float]:
    """Return the range of values drawn: where the profile lies within the figure, and both intervals."""
    inside = np.flatnonzero(delta <= top)
    first, last = max(int(inside[0]) - 1, 0), min(int(inside[-1]) + 1, len(values) - 1)
    low, high = float(values[first]), float(values[last])
    room = 0.05 * (high - low) or 0.05 * abs(low) or 1.0
    ends = profile.parabola_interval
    if ends is not None and ends[1] - ends[0] < 2 * (
        high - low
    ):  # else the parabola would leave nothing of the profile
        low, high = min(low, ends[0]), max(high, ends[1])
    return low - room, high + room


def _draw_interval(
    axes: Any, ends: tuple[float | None, float | None], height: float, colour: str, shown: tuple[float, float]
) -> None:
    """Draw a bar between two ends, with an arrow in place of one that is not known."""
    left, right = (edge if end is None else end for end, edge in zip(ends, shown, strict=True))
    axes.plot([left, right], [height, height], color=colour, lw=3.5, solid_capstyle="butt", alpha=0.5)
    for end, edge, marker in zip(ends, shown, "<>", strict=True):
        place, symbol = (edge, marker) if end is None else (end, "|")
        axes.plot([place], [height], symbol, color=colour, ms=10, mew=2, clip_on=False)
