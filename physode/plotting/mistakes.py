"""Images that a classifier gets wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physode.metrics.arguments import checked_labels, checked_probabilities
from physode.plotting.style import MUTED, finish, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_mistakes"]

_COLUMNS, _CELL = 6, 1.45  # and inches


def plot_mistakes(
    images: np.ndarray[Any, Any],
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str],
    most: int = 24,
    title: str = "Misclassified",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the misclassified images of which the classifier was most sure, the surest first.

    Above each image stand its class and, in grey, the predicted one with its probability.

    Parameters
    ----------
    images
        (N, 3, H, W), uint8.
    probabilities
        Of the classes, (N, C).
    labels
        The right ones, (N,).
    classes
        Their names.
    most
        How many images at most.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If images, probabilities, labels and names do not belong together, or `most` is below 1.
    """
    shares = checked_probabilities(probabilities)
    truth = checked_labels(labels, samples=len(shares), classes=len(classes))
    if images.ndim != 4 or images.shape[:2] != (len(shares), 3) or images.dtype != np.uint8:
        raise ValueError(f"`images` must be uint8 ({len(shares)}, 3, H, W), got {images.dtype} {images.shape}")
    if shares.shape[1] != len(classes) or most < 1:
        raise ValueError(
            f"`classes` must hold {shares.shape[1]} names, and `most` be at least 1; got {len(classes)} and {most}"
        )
    predicted, sure = shares.argmax(axis=1), shares.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    heading = f"{title}: {len(wrong)} of {len(truth)} images" + (f", the surest {most}" if len(wrong) > most else "")
    rows = max(1, -(-len(shown) // _COLUMNS))
    with styled():
        figure = new_figure(_COLUMNS * _CELL, 0.5 + rows * (_CELL + 0.3))
        figure.suptitle(heading, x=0.01, ha="left", weight="bold")
        for axes in figure.subplots(rows, _COLUMNS, squeeze=False).ravel():
            axes.set_axis_off()
        for axes, index in zip(figure.axes, shown, strict=False):
            axes.imshow(images[index].transpose(1, 2, 0), interpolation="nearest")
            true, taken = (short(classes[each], 22) for each in (truth[index], predicted[index]))
            axes.text(0.0, 1.14, true, transform=axes.transAxes, va="bottom", size=7.5, weight="bold")
            axes.text(0.0, 1.02, f"{taken}, {100 * sure[index]:.0f} %", transform=axes.transAxes, size=7.5, color=MUTED)
        return finish(figure, path)
