"""The recovery study's figures: shares, pulls, errors by distance, and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.comparison_plot import colour_of
from physode.experiments.recovery.aggregate import CLOSE, RECOVERED, Share
from physode.experiments.recovery.config import METHODS
from physode.experiments.report import Result
from physode.plotting.style import COLOURS, INK, MUTED, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_COLOUR = {key: colour_of(key) for key in METHODS} | {"sigma": COLOURS[3], "plain": COLOURS[4]}
_MARKS = dict(zip(METHODS, "osD^v<", strict=True))
_REACH = 5.0  # standard errors to which pulls are shown; those beyond are in the outermost bars
_TALLEST, _SMALLEST = 1e2, 1e-12  # errors beyond are shown there
_UNKNOWN = 10.0  # AU; where systems are shown whose cell failed


def draw(result: Result) -> dict[str, Figure]:
    """Draw the share recovered, the pulls, the errors against the closest encounter, and the times."""
    with styled():
        figures = {"shares": _shares(result), "distance": _distances(result), "time": _times(result)}
        noisy = [noise for noise in _noises(result) if noise > 0]
        return figures | ({"pulls": _pulls(result, noisy)} if noisy else {})


def _noises(result: Result) -> list[float]:
    return list(result.config["noises"])


def _shares(result: Result) -> Figure:
    figure = new_figure(7.2, 4.4)
    axes: Any = figure.add_subplot()
    noises = _noises(result)
    for number, key in enumerate(METHODS):
        places = [place for place, noise in enumerate(noises) if _series(result, key, noise, "errors") is not None]
        shares = []
        for place in places:
            errors = result.series[_name(key, noises[place], "errors")]
            shares.append(Share(int((errors <= RECOVERED).sum()), len(errors)))
        axes.errorbar(
            np.array(places) + 0.05 * (number - (len(METHODS) - 1) / 2),
            [100 * share.value for share in shares],
            [100 * share.error for share in shares],
            color=_COLOUR[key], marker=_MARKS[key], ms=5, lw=1.2, capsize=2, label=METHODS[key].label,
        )  # fmt: skip
    axes.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
    axes.set_ylim(-3, 104)
    axes.set(
        xlabel="noise of positions (AU)",
        ylabel="systems (%), ± standard error",
        title="All three masses right within 1 %",
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _pulls(result: Result, noises: list[float]) -> Figure:
    figure = new_figure(4.0 * len(noises), 3.6)
    edges = np.linspace(-_REACH, _REACH, 41)
    grid = np.linspace(-_REACH, _REACH, 200)
    for place, noise in enumerate(noises, start=1):
        axes: Any = figure.add_subplot(1, len(noises), place)
        found = result.series[_name("growing", noise, "pulls")]
        beyond = int((np.abs(found) > _REACH).sum())
        weights = np.full(len(found), 1.0 / (max(len(found), 1) * (edges[1] - edges[0])))  # a density, of nothing too
        axes.hist(np.clip(found, -_REACH, _REACH), edges, weights=weights, color=_COLOUR["growing"], alpha=0.55)
        axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color=INK, label="normal")
        axes.set(xlabel="(fitted - true) / standard error", ylabel="density")
        axes.set_title(f"noise {noise:g} AU: {len(found)} masses, {beyond} beyond {_REACH:g}")
        axes.legend(loc="upper left")
    return figure


def _distances(result: Result) -> Figure:
    noises = _noises(result)
    figure = new_figure(3.9 * len(noises), 4.2)
    for place, noise in enumerate(noises, start=1):
        axes: Any = figure.add_subplot(1, len(noises), place)
        for key in METHODS:
            errors = _series(result, key, noise, "errors")
            if errors is not None and key != "sigma":
                distances = np.nan_to_num(result.series[_name(key, noise, "distances")], nan=_UNKNOWN)
                axes.plot(
                    distances, np.clip(errors, _SMALLEST, _TALLEST), ls="",
                    marker=_MARKS[key], ms=3.5, color=_COLOUR[key], alpha=0.7, label=METHODS[key].label,
                )  # fmt: skip
        axes.axhline(RECOVERED, color=MUTED, lw=1.0, ls="--")
        axes.axvline(CLOSE, color=MUTED, lw=1.0, ls=":")
        axes.set(xscale="log", yscale="log", xlabel="closest encounter (AU)", title=f"noise {noise:g} AU")
        if place == 1:
            axes.set_ylabel("largest relative error of a mass")
            handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def _times(result: Result) -> Figure:
    figure = new_figure(7.2, 3.6)
    axes: Any = figure.add_subplot()
    kinds = [(key, noise) for key in METHODS for noise in _noises(result) if _known(result, key, noise).size]
    for place, (key, noise) in enumerate(kinds):
        seconds = _known(result, key, noise)
        axes.plot(seconds, np.full(len(seconds), place), "|", color=_COLOUR[key], ms=9, alpha=0.6)
        axes.plot(np.median(seconds), place, marker=_MARKS[key], color=_COLOUR[key], mec="white", ms=8)
    axes.set_yticks(range(len(kinds)), [f"{METHODS[key].label}, {noise:g}" for key, noise in kinds])
    axes.invert_yaxis()
    if kinds:
        axes.set_xscale("log")
    axes.set(xlabel="processor time a fit (s); Adam's: the batch's, shared out", title="Time a fit, by noise (AU)")
    return figure


def _known(result: Result, key: str, noise: float) -> Array:
    seconds = _series(result, key, noise, "seconds")
    found: Array = np.empty(0) if seconds is None else seconds[np.isfinite(seconds)]
    return found


def _series(result: Result, key: str, noise: float, what: str) -> Array | None:
    return result.series.get(_name(key, noise, what))


def _name(key: str, noise: float, what: str) -> str:
    return f"{key} {noise:g} {what}"
