"""One look for every figure: colours that colour-blind readers tell apart, units on the axes, no global state.

Figures are made without ``pyplot``: nothing opens a window, needs a display, or must be closed.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.datasets.atomic_write import fill_bytes, replacing
from physode.datasets.files import check_outputs
from physode.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
"""For things side by side, after Okabe and Ito's palette for every kind of colour vision."""

_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # after every colour was used once, and twice

FIGURE_FORMATS = ("png", "pdf", "svg", "svgz", "eps", "ps", "jpg", "jpeg", "tif", "tiff", "webp", "gif")
"""What a figure's name may end with."""

INK, MUTED, SPAN = "#222222", "#8A8A8A", "#F1EEE6"
"""Text and lines that matter, those that do not, and the shade of the training span."""

BOXED: Any = {"frameon": True, "framealpha": 0.85, "edgecolor": "none"}
"""Of a legend that lies upon curves."""

_WIDE = 30.0  # ratio of the largest value to the smallest above which a logarithmic axis shows more

_RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in physode's style while the block runs; the caller's own style is left alone."""
    from matplotlib import rc_context

    with rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches whose parts are kept from overlapping; a notebook shows it inline."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _notebook_figure()(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@functools.cache
def _notebook_figure() -> type[Figure]:
    """Return matplotlib's figure with a picture for notebooks, which show its own only while pyplot is at work."""
    from matplotlib.figure import Figure

    class InlineFigure(Figure):
        def _repr_png_(self) -> bytes:
            drawn = io.BytesIO()
            self.savefig(drawn, format="png", dpi=100)
            return drawn.getvalue()

    return InlineFigure


def finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure if a path is given, whole or not at all; its suffix names the format."""
    if path is not None:
        save(figure, path, overwrite=True)
    return figure


def save(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a figure, whole or not at all; its suffix names the format.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is False, or it cannot be written.
    OSError
        If the disk is full.
    """
    with replacing(path, overwrite=overwrite) as part:
        _fill(figure, part, _format(Path(path)))


def save_all(
    drawings: Mapping[str, Callable[[], Figure]],
    folder: Path,
    overwrite: bool,
    *,
    only: Sequence[str] = (),
    owner: Path | None = None,
) -> dict[str, Path]:
    """Draw figures, or `only` some of them, into a folder, which is made, as PNG; return their files by name.

    Raises
    ------
    ConfigError
        If `only` names a figure that `owner`, whose they are, does not have.
    DataError
        If one exists, unless `overwrite` is set, or cannot be written; before any is drawn.
    """
    for name in only:
        if name not in drawings:
            raise ConfigError(f"`only` names {name!r}, which {owner} does not have; it has {', '.join(drawings)}")
    paths = {name: folder / f"{name}.png" for name in drawings if not only or name in only}
    check_outputs(paths.values(), overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        save(drawings[name](), path, overwrite=overwrite)
    return paths


@contextmanager
def claiming_figure(path: Path, *, overwrite: bool = False) -> Iterator[Callable[[Figure], None]]:
    """Claim the file of a figure before the work; yields what writes the figure when it is there.

    Raises
    ------
    ConfigError
        If the suffix is not one of `FIGURE_FORMATS`.
    DataError, OSError
        As :func:`save`.
    """
    if _format(path) not in FIGURE_FORMATS:
        raise ConfigError(f"the figure {path} must end with {', '.join(f'.{name}' for name in FIGURE_FORMATS)}")
    with replacing(path, overwrite=overwrite) as part:
        yield lambda figure: _fill(figure, part, _format(path))


def _fill(figure: Figure, part: Path, kind: str) -> None:
    drawn = io.BytesIO()  # its writers do not all say why they fail
    with styled():
        figure.savefig(drawn, format=kind)
    fill_bytes(part, drawn.getbuffer())


def _format(path: Path) -> str:
    return path.suffix[1:].lower() or "png"


def label(name: str, unit: str = "") -> str:
    """Return a quantity's name with its unit."""
    return plain(f"{name} ({unit})" if unit else name)


def plain(text: str) -> str:
    """Return text from a file so that matplotlib takes none of it for mathematics."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("$", r"\$")


def short(name: str, letters: int = 20) -> str:
    """Return a name from a file as plain text, cut where it is long."""
    return plain(name if len(name) <= letters else f"{name[: letters - 1]}…")


def stroke(index: int) -> dict[str, Any]:
    """Return colour and dashes that tell a line from those of other numbers; they repeat after 21 lines."""
    turn, colour = divmod(index, len(COLOURS))
    return {"color": COLOURS[colour], "ls": _DASHES[turn % len(_DASHES)]}


def headline(figure: Figure, text: str) -> None:
    """Write the title of a whole figure, to the left as those of panels are."""
    figure.suptitle(text, x=0.01, ha="left", weight="bold")


def time_panels(figure: Figure, count: int, time_unit: str) -> Any:
    """Return axes one below the other, (count,), that share the time."""
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    panels[-1].set_xlabel(label("time", time_unit))
    return panels


def scale_by_spread(axes: Axes, *curves: np.ndarray[Any, Any]) -> None:
    """Make the vertical axis logarithmic where the curves' values, all above 0, spread over more than a decade."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if values.size and values.min() > 0 and values.max() > _WIDE * values.min():
        axes.set_yscale("log")


def mark_training(axes: Axes, start: float, end: float) -> None:
    """Shade the training span behind a function of time."""
    axes.axvspan(start, end, color=SPAN, zorder=0, label="training span")


def mark_stages(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw a line, under the title, where a stage of a fit's schedule begins.

    Parameters
    ----------
    axes
        Of something by epoch, its title set.
    history
        One entry an epoch, with ``epoch`` and where known ``stage``.
    """
    stages = [line.get("stage", 1) for line in history]
    starts = [index for index in range(1, len(stages)) if stages[index] != stages[index - 1]]
    if starts:
        axes.set_title(axes.get_title(loc="left"), pad=18)
    for count, index in enumerate(starts):
        place = history[index]["epoch"] - 0.5
        axes.axvline(place, color=MUTED, lw=1.0, ls=":")
        text = f" stage {stages[index]}" if count == 0 else f" {stages[index]}"
        axes.text(place, 1.0, text, transform=axes.get_xaxis_transform(), va="bottom", size=8, color=MUTED)
