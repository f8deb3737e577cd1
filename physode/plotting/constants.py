"""How fitted constants find their values, and how well the data determine them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import (
    BOXED,
    COLOURS,
    INK,
    MUTED,
    finish,
    label,
    mark_stages,
    new_figure,
    plain,
    scale_by_spread,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.fitting.profile_likelihood import Profile


Array = np.ndarray[Any, Any]


def plot_constants(
    history: Sequence[Mapping[str, Any]],
    *,
    elements: Mapping[str, Mapping[int, float | None]] | None = None,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw constants by epoch, one panel a constant, and beside it their relative errors where true values are known.

    Parameters
    ----------
    history
        One entry an epoch with ``epoch`` and ``constants``, flat lists by name; and where known ``stage``, whose
        changes are marked.
    elements
        Which elements to draw, by name and counted from 0, and their true values, None where that is not known. By
        default all that the history holds, without true values.
    units
        Units by name.
    labels
        Names of the elements, by name; else they are counted from 1.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If no entry holds constants.
    """
    lines = [line for line in history if line.get("constants")]
    if not lines:
        raise ValueError("`history` must hold the constants of at least one epoch, got none")
    found = lines[0]["constants"]
    elements = {name: dict.fromkeys(range(len(found[name]))) for name in found} if elements is None else elements
    names = [name for name in found if elements.get(name)]
    units, labels = units or {}, labels or {}
    epochs = np.array([line["epoch"] for line in lines])
    errors = any(value for name in names for value in elements[name].values())
    with styled():
        figure = new_figure(9.5 if errors else 6.5, 0.8 + 2.6 * len(names))
        panels = figure.subplots(len(names), 1 + errors, sharex=True, squeeze=False)
        for name, row in zip(names, panels, strict=True):
            known = list(elements[name].values())
            values = np.array([[line["constants"][name][index] for index in elements[name]] for line in lines])
            called = labels.get(name) or [str(index + 1) for index in range(len(found[name]))]
            one = len(found[name]) == 1
            _draw_values(
                row[0], epochs, values, known, ["fitted" if one else called[index] for index in elements[name]]
            )
            row[0].set(title=name, ylabel=label("value", units.get(name, "")))
            if any(known):
                _draw_errors(row[1], epochs, values, known)
                row[1].set_title("Relative error")
            elif errors:
                row[1].set_visible(False)
            for axes in row:
                mark_stages(axes, lines)
                axes.tick_params(labelbottom=True)
                axes.set_xlabel("epoch")
                axes.xaxis.get_major_locator().set_params(integer=True)
        return finish(figure, path)


def _draw_values(axes: Any, epochs: Array, values: Array, true: Sequence[float | None], names: Sequence[str]) -> None:
    scale_by_spread(axes, values, np.array([value for value in true if value is not None]))
    for index in range(values.shape[1]):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(epochs, values[:, index], color=colour, label=plain(names[index]), **_marker(epochs))
        if true[index] is not None:
            axes.axhline(true[index], color=colour, lw=1.1, ls=(0, (5, 3)), alpha=0.8)
    if any(value is not None for value in true):
        axes.plot([], [], color=MUTED, lw=1.1, ls=(0, (5, 3)), label="true")
    axes.legend(loc="best", ncols=2 if values.shape[1] > 1 else 1, **BOXED)


def _draw_errors(axes: Any, epochs: Array, values: Array, true: Sequence[float | None]) -> None:
    for index, truth in enumerate(true):
        if truth:
            error = np.abs(values[:, index] / truth - 1.0)
            shown = np.where(error > 0, error, np.nan)
            axes.plot(epochs, shown, color=COLOURS[index % len(COLOURS)], **_marker(epochs))
    scale_by_spread(axes, *(line.get_ydata() for line in axes.get_lines()))


def _marker(epochs: Array) -> dict[str, Any]:
    return {"marker": "o", "ms": 4} if len(epochs) <= 60 else {}


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
        axes.legend(loc="upper center", ncols=3, fontsize=8, **BOXED)
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
