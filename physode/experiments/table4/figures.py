"""Figs. 10-12: test error by epoch, and by training time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physode.experiments.report import Result
from physode.experiments.table4.plan import MODELS
from physode.plotting import plot_learning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

_FIGURES = {0.1: "fig10", 0.2: "fig11", 0.5: "fig12"}


def draw(result: Result) -> dict[str, Figure]:
    """Draw the curves of all models for each share of points told."""
    figures = {}
    quick = "" if result.config["preset"] == "full" else f" ({result.config['preset']})"
    for share in result.config["shares"]:
        runs = {
            MODELS[key].label: [_history(run) for run in result.series[f"{share:g} {key}"]]
            for key in result.config["models"]
            if f"{share:g} {key}" in result.series
        }
        if runs:
            figures[_FIGURES.get(share, f"share-{share:g}")] = plot_learning(
                runs,
                quantities=("test_mse_by_range",),
                against=("epoch", "time"),
                title=f"The hopper, {share:.0%} of the points told{quick}",
            )
    return figures


def _history(run: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[dict[str, float]]:
    return [{"epoch": epoch, "test_mse_by_range": error, "seconds": seconds} for epoch, error, seconds in run.tolist()]
