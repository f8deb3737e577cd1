"""Images as pictures: a contact sheet of each class, and those that a classifier gets wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physode.metrics.arguments import checked_labels, checked_probabilities
from physode.metrics.classification import surest_mistakes
from physode.plotting.style import MUTED, finish, headline, new_figure, plain, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.datasets.images import Images


_ROWS = 20  # classes at most
_PIXELS = 256  # of an image along a side at most; of larger ones every second or n-th is drawn
_CELL, _TITLE, _EDGE = 0.78, 0.4, 0.1  # inches
_LETTER, _BOLD = 0.085, 0.1  # inches that a letter of a name takes, and of the title
_GAP = 0.06  # between images, of their sides

_COLUMNS, _MISTAKE = 6, 1.45  # of misclassified images: columns, and inches of one

Array = np.ndarray[Any, Any]


def plot_sheet(images: Images, *, each: int = 10, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw images of each class, a class a row, beside its name and how many images it has.

    The images of a row are spread evenly over those of the class. Of more than 20 classes the first 20 are drawn.

    Parameters
    ----------
    images
        The images, one or more.
    each
        How many of a class at most.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no images, or `each` is below 1.
    """
    if len(images) == 0 or each < 1:
        raise ValueError(
            f"`images` must hold at least one image and `each` be at least 1, got {len(images)} and {each}"
        )
    rows = min(len(images.classes), _ROWS)
    chosen = [_spread(np.flatnonzero(images.y == label), each) for label in range(rows)]
    columns = max(1, *(len(places) for places in chosen))
    mosaic, height, width = _mosaic(images.x, chosen, columns)
    names = [_row_name(images, label) for label in range(rows)]
    title = _title(images, rows)
    left = _EDGE + _LETTER * max(len(line) for name in names for line in f"{name} ".split("\n"))
    across, down = columns * _CELL, rows * _CELL * height / width
    whole = (max(left + across, _BOLD * len(title)) + _EDGE, _TITLE + down + _EDGE)
    with styled():
        figure = new_figure(*whole)
        figure.set_layout_engine("none")
        axes = figure.add_axes((left / whole[0], _EDGE / whole[1], across / whole[0], down / whole[1]))
        axes.imshow(mosaic, interpolation="nearest")
        axes.set(xticks=[], yticks=(np.arange(rows) + 0.5) * height)
        axes.set_yticklabels(names)
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        figure.suptitle(title, x=_EDGE / whole[0], y=1 - _EDGE / whole[1], ha="left", va="top", size=11, weight="bold")
        return finish(figure, path)


def _spread(places: Array, count: int) -> Array:
    """Return at most `count` of some places, evenly spaced, the first among them."""
    shown = min(count, len(places))
    return places[np.arange(shown) * len(places) // max(shown, 1)]


def _mosaic(x: Array, chosen: list[Array], columns: int) -> tuple[Array, int, int]:
    """Lay images out in rows on white; return the picture, and height and width of a cell with its gap."""
    step = max(1, -(-max(x.shape[2:]) // _PIXELS))
    high, wide = (-(-side // step) for side in x.shape[2:])
    gap = max(1, round(_GAP * wide))
    picture = np.full(((high + gap) * len(chosen), (wide + gap) * columns, 3), 255, dtype=np.uint8)
    for row, places in enumerate(chosen):
        for column, place in enumerate(places):
            top, left = row * (high + gap), column * (wide + gap)
            picture[top : top + high, left : left + wide] = x[place, :, ::step, ::step].transpose(1, 2, 0)
    return picture, high + gap, wide + gap


def _row_name(images: Images, label: int) -> str:
    return f"{short(images.classes[label])}\n{np.count_nonzero(images.y == label):,}"


def _title(images: Images, rows: int) -> str:
    name = plain(str(images.attrs.get("name", "images")))
    tests = int(np.count_nonzero(images.test))
    parts = [f"{len(images):,} images of {images.x.shape[3]} x {images.x.shape[2]} pixels"]
    parts += [f"{tests:,} for the test"] if tests else []
    parts += [f"{rows} of {len(images.classes)} classes"] if rows < len(images.classes) else []
    return f"{name}: {', '.join(parts)}"


def plot_mistakes(
    images: np.ndarray[Any, Any],
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str],
    names: Sequence[str] = (),
    most: int = 24,
    title: str = "Misclassified",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the misclassified images of which the classifier was most sure, the surest first.

    Above each image stand its class and, in grey, the predicted one with its probability; below it, its file's name.

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
    names
        Of the images, paths of their files; none where they have none.
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
    if len(names) not in (0, len(shares)):
        raise ValueError(f"`names` must be {len(shares)} names or none, got {len(names)}")
    predicted, sure, wrong = shares.argmax(axis=1), shares.max(axis=1), surest_mistakes(shares, truth)
    shown = wrong[:most]
    heading = f"{title}: {len(wrong)} of {len(truth)} images" + (f", the surest {most}" if len(wrong) > most else "")
    rows = max(1, -(-len(shown) // _COLUMNS))
    with styled():
        figure = new_figure(_COLUMNS * _MISTAKE, 0.5 + rows * (_MISTAKE + (0.45 if names else 0.3)))
        headline(figure, heading)
        for axes in figure.subplots(rows, _COLUMNS, squeeze=False).ravel():
            axes.set_axis_off()
        for axes, index in zip(figure.axes, shown, strict=False):
            axes.imshow(images[index].transpose(1, 2, 0), interpolation="nearest")
            true, taken = (short(classes[each], 22) for each in (truth[index], predicted[index]))
            axes.text(0.0, 1.14, true, transform=axes.transAxes, va="bottom", size=7.5, weight="bold")
            axes.text(0.0, 1.02, f"{taken}, {100 * sure[index]:.0f} %", transform=axes.transAxes, size=7.5, color=MUTED)
            if names:
                name = short(PurePosixPath(names[index]).name, 26)
                axes.text(0.0, -0.03, name, transform=axes.transAxes, va="top", size=6.5, color=MUTED)
        return finish(figure, path)
