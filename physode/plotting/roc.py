"""ROC and precision-recall curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from physode.plotting.style import INK, MUTED, finish, new_figure, plain, short, stroke, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.metrics.curves import Curve, Curves, Kind


_TOLD_APART = 14  # classes that have a colour and a line of their own
_DEVIATION = "standard deviation"
_CROWDED = 0.9  # area from which the corner is drawn again, larger


class _Look(NamedTuple):
    x: str
    y: str
    area: str
    corner: tuple[float, float, float, float]  # where good classifiers are: x from and to, y from and to
    room: tuple[float, float, float, float]  # of its enlargement: left, bottom, width, height


_LOOKS = {
    "roc": _Look("false positive rate", "true positive rate", "AUC", (0.0, 0.2, 0.8, 1.0), (0.42, 0.1, 0.54, 0.54)),
    "precision-recall": _Look(
        "completeness (recall)", "precision", "average precision", (0.8, 1.0, 0.8, 1.0), (0.1, 0.1, 0.54, 0.54)
    ),
}


def plot_roc(
    curves: Curves,
    *,
    classes: Sequence[str],
    title: str = "ROC",
    spread: str = _DEVIATION,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the ROC curve of every class against the rest, and the micro and macro means.

    More than 14 classes are thin grey lines. Curves averaged over runs have bands of one `spread`. Where all
    areas are above 0.9 the corner is drawn again, larger.

    Parameters
    ----------
    curves
        Of :attr:`~physode.metrics.Classification.roc`, of one run or averaged.
    classes
        Names of the classes.
    title
        Of the figure.
    spread
        What the curves' deviations are, in words; the legend says it.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there is not one name a class, or these are no ROC curves.
    """
    return _plot_classes("roc", curves, classes, title, spread, path)


def plot_precision_recall(
    curves: Curves,
    *,
    classes: Sequence[str],
    title: str = "Precision and completeness",
    spread: str = _DEVIATION,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw precision against completeness (recall); parameters and errors are those of :func:`plot_roc`."""
    return _plot_classes("precision-recall", curves, classes, title, spread, path)


def compare_curves(
    kind: Kind,
    curves: Mapping[str, Curve],
    *,
    title: str = "",
    colours: Mapping[str, str] | None = None,
    spread: str = _DEVIATION,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw one curve a model, such as their macro means.

    Parameters
    ----------
    kind
        ``"roc"`` or ``"precision-recall"``.
    curves
        By the model's name.
    title
        Of the figure.
    colours
        By the model's name; None takes one after the other.
    spread
        What the curves' deviations are, in words; the legend says it.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no curves, or the kind is unknown.
    """
    if kind not in _LOOKS:
        raise ValueError(f"`kind` must be one of {', '.join(_LOOKS)}; got {kind!r}")
    if not curves:
        raise ValueError("`curves` must hold at least one curve, got none")
    own = {name: {"color": colour} for name, colour in (colours or {}).items()}
    lines = [
        (curve, {"label": plain(name), "lw": 1.8, **stroke(index), **own.get(name, {})})
        for index, (name, curve) in enumerate(curves.items())
    ]
    return _draw(kind, lines, title, spread, path)


def _plot_classes(
    kind: Kind, curves: Curves, classes: Sequence[str], title: str, spread: str, path: str | os.PathLike[str] | None
) -> Figure:
    if curves.kind != kind:
        raise ValueError(f"`curves` must be of kind {kind!r}, got {curves.kind!r}")
    if len(classes) != len(curves.each):
        raise ValueError(f"`classes` must hold one name for each of {len(curves.each)} classes, got {len(classes)}")
    known = [
        (name, index, curve) for index, (name, curve) in enumerate(zip(classes, curves.each, strict=True)) if curve
    ]
    lines: list[tuple[Curve, dict[str, Any]]] = []
    if len(classes) <= _TOLD_APART:
        lines += [(curve, {"label": short(name), "lw": 1.3, **stroke(index)}) for name, index, curve in known]
    else:
        lines += [(curve, {"color": MUTED, "lw": 0.5, "alpha": 0.6}) for _, _, curve in known]
    if curves.macro is not None:
        lines.append((curves.macro, {"label": "macro mean", "lw": 2.2, "color": INK}))
    lines.append((curves.micro, {"label": "micro mean", "lw": 2.2, "color": INK, "ls": (0, (1, 1))}))
    return _draw(kind, lines, title, spread, path)


def _draw(
    kind: Kind,
    lines: Sequence[tuple[Curve, dict[str, Any]]],
    title: str,
    spread: str,
    path: str | os.PathLike[str] | None,
) -> Figure:
    look = _LOOKS[kind]
    with styled():
        figure = new_figure(8.6, 5.4)
        axes = figure.subplots()
        panels = [axes]
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=look.x, ylabel=look.y, aspect="equal", title=title)
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color=MUTED, lw=0.9, ls=":", label="chance", zorder=1)
        if min(curve.area for curve, _ in lines) > _CROWDED:
            panels.append(_enlarge(axes, look))
        for curve, line in lines:
            for panel in panels:
                _trace(panel, kind, curve, line)
        unnamed = sum("label" not in line for _, line in lines)
        if unnamed:
            axes.plot([], [], color=MUTED, lw=0.8, label=_range([c.area for c, line in lines if "label" not in line]))
        several = any(curve.area_deviation is not None for curve, _ in lines)
        heading = f"{look.area} ± {spread}" if several else look.area
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, title=heading, alignment="left")
        return finish(figure, path)


def _enlarge(axes: Any, look: _Look) -> Any:
    left, right, bottom, top = look.corner
    inset = axes.inset_axes(look.room, xlim=(left, right), ylim=(bottom, top + 0.004))
    inset.tick_params(labelsize=8)
    inset.spines[:].set_visible(True)
    axes.indicate_inset_zoom(inset, edgecolor=MUTED, alpha=0.6)
    return inset


def _trace(axes: Any, kind: Kind, curve: Curve, line: Mapping[str, Any]) -> None:
    steps = kind == "precision-recall"
    options = dict(line)
    if "label" in options:
        deviation = curve.area_deviation
        area = f"{curve.area:.3f}" if deviation is None else f"{curve.area:.4f} ± {deviation:.4f}"
        options["label"] = f"{area}  {options['label']}"
    axes.plot(curve.x, curve.y, drawstyle="steps-pre" if steps else "default", **options)
    if curve.deviation is not None and "label" in line:
        low, high = np.clip([curve.y - curve.deviation, curve.y + curve.deviation], 0.0, 1.0)
        axes.fill_between(
            curve.x, low, high, step="pre" if steps else None, color=line["color"], alpha=0.15, lw=0, zorder=1.5
        )


def _range(areas: Sequence[float]) -> str:
    return f"{min(areas):.3f} to {max(areas):.3f}  {len(areas)} classes"
