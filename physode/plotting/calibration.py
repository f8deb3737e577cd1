"""Whether a classifier is right as often as it says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from physode.plotting.style import COLOURS, INK, finish, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.metrics.calibration import Calibration

__all__ = ["plot_calibration"]


def plot_calibration(
    calibration: Calibration,
    *,
    title: str = "Calibration",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw accuracy against confidence, bin by bin, over the number of samples in each.

    Bars from the diagonal to the accuracy show by how much a classifier is too sure (below) or too shy (above).

    Parameters
    ----------
    calibration
        Of :func:`physode.metrics.calibrate`.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.
    """
    known = calibration.counts > 0
    confidence, accuracy = calibration.confidence[known], calibration.accuracy[known]
    widths = np.diff(calibration.edges)
    with styled():
        figure = new_figure(5.6, 6.2)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=INK, lw=1.0, ls=":", label="as often as it says")
        upper.bar(
            confidence,
            accuracy - confidence,
            0.8 * widths[known],
            confidence,
            color=COLOURS[1],
            alpha=0.35,
            label="gap",
        )
        upper.plot(confidence, accuracy, "o-", color=COLOURS[0], ms=4, label="accuracy")
        upper.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlim=(0, 1), title=title)
        upper.legend(loc="upper left", title=f"expected calibration error {calibration.error:.3f}", alignment="left")
        lower.bar(
            calibration.edges[:-1], calibration.counts, widths, align="edge", color=COLOURS[0], ec="white", lw=0.5
        )
        if calibration.counts.max() > 50 * calibration.counts[known].min():
            lower.set_yscale("log")
        lower.set(xlabel="probability of the predicted class", ylabel="samples")
        return finish(figure, path)
