"""How trainings and fits went: accuracy, loss and work by epoch or by time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import (
    COLOURS,
    MUTED,
    finish,
    headline,
    mark_stages,
    new_figure,
    plain,
    scale_by_spread,
    stroke,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]
History = Sequence[Mapping[str, Any]]

_NAMES = {
    "accuracy": "training accuracy (%)",
    "test_accuracy": "test accuracy (%)",
    "loss": "training loss",
    "test_loss": "test loss",
    "test_mse": "test MSE\n(as scaled)",
    "test_mse_by_range": "test MSE\n(by range)",
    "lr": "learning rate",
    "rhs_forward": "rhs evaluations\nforward, a batch",
    "rhs_backward": "rhs evaluations\nbackward, a batch",
    "test_rhs": "rhs evaluations\na test batch",
    "accepted": "accepted steps a batch",
    "rejected": "rejected steps a batch",
    "seconds": "seconds an epoch",
}
_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
_AGAINST = ("epoch", "time")


def plot_learning(
    runs: Mapping[str, Sequence[History]],
    *,
    quantities: Sequence[str] = ("test_accuracy", "test_loss"),
    against: Sequence[str] = ("epoch",),
    title: str = "",
    colours: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw quantities by epoch, by training time, or by both; several runs are their mean with a band of one deviation.

    Means are over epochs that all runs of a model have. Losses that spread over more than a decade have a logarithmic
    axis.

    Parameters
    ----------
    runs
        Histories by the model's name: one a run, with one entry an epoch, which has ``epoch``, ``seconds`` (of that
        epoch) if time is asked for, and the quantities.
    quantities
        Keys of the entries, one row of panels each; accuracies are shares from 0 to 1 and are shown in percent.
    against
        ``"epoch"``, ``"time"``, or both: the columns.
    title
        Of the figure.
    colours
        By the model's name; None takes one after the other.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no runs, a run has no epochs or lacks a quantity, or `against` names something else.
    """
    if not runs or not all(runs.values()):
        raise ValueError(
            f"`runs` must hold at least one history a model, got { ({n: len(h) for n, h in runs.items()}) }"
        )
    if not quantities or not against or set(against) - set(_AGAINST):
        raise ValueError(f"`against` must be of {', '.join(_AGAINST)}, and `quantities` not empty; got {against!r}")
    with styled():
        figure = new_figure(1.2 + 5.8 * len(against), 1.0 + 2.6 * len(quantities))
        panels = figure.subplots(len(quantities), len(against), sharex="col", sharey="row", squeeze=False)
        span = _span(runs) if "time" in against else 1.0
        unit, scale = next(pair for pair in _UNITS if span >= 1.5 * pair[1] or pair[1] == 1.0)
        for quantity, row in zip(quantities, panels, strict=True):
            for x, axes in zip(against, row, strict=True):
                _draw(axes, runs, quantity, x, scale, colours or {})
            row[0].set_ylabel(_NAMES.get(quantity, plain(quantity.replace("_", " "))))
        for x, axes in zip(against, panels[-1], strict=True):
            axes.set_xlabel("epoch" if x == "epoch" else f"training time ({unit})")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        if len(handles) > 1:
            figure.legend(handles, labels, loc="outside upper right", ncols=min(len(handles), 4))
        headline(figure, title)
        return finish(figure, path)


def _draw(
    axes: Any,
    runs: Mapping[str, Sequence[History]],
    quantity: str,
    against: str,
    scale: float,
    colours: Mapping[str, str],
) -> None:
    drawn = []
    for index, (name, histories) in enumerate(runs.items()):
        epochs = sorted(set.intersection(*({line["epoch"] for line in history} for history in histories)))
        values = np.stack([_column(name, history, quantity, epochs) for history in histories])
        if quantity.endswith("accuracy"):
            values = 100.0 * values
        if against == "time":
            x = np.mean([_clock(name, history, epochs) for history in histories], axis=0) / scale
        else:
            x = np.array(epochs)
        mean = values.mean(axis=0)
        look = {**stroke(index), **({"color": colours[name], "ls": "-"} if name in colours else {})}
        axes.plot(x, mean, marker="o" if len(x) <= 12 else "", ms=4, label=plain(name), **look)
        if len(histories) > 1:
            spread = values.std(axis=0, ddof=1)
            axes.fill_between(x, mean - spread, mean + spread, color=look["color"], alpha=0.18, lw=0)
        drawn.append(mean)
    if any(len(histories) > 1 for histories in runs.values()):
        axes.fill_between([], [], color=MUTED, alpha=0.3, lw=0, label="± standard deviation of runs")
    if quantity.endswith("loss") or quantity.startswith("test_mse") or quantity == "lr":
        scale_by_spread(axes, *drawn)
    if against == "epoch":
        axes.xaxis.get_major_locator().set_params(integer=True)


def _column(name: str, history: History, quantity: str, epochs: Sequence[int]) -> Array:
    """Return a quantity at epochs; NaN where it is None."""
    if not epochs:
        raise ValueError(f"`runs` of {name!r} must have epochs in common, got none")
    found = {line["epoch"]: line.get(quantity) for line in history}
    column = np.array([found[epoch] for epoch in epochs], dtype=np.float64)
    if np.isnan(column).all():
        raise ValueError(f"`runs` of {name!r} have no {quantity!r}; their entries hold {', '.join(history[0])}")
    return column


def _clock(name: str, history: History, epochs: Sequence[int]) -> Array:
    """Return the seconds of training until the ends of epochs."""
    total = np.cumsum(_column(name, history, "seconds", [line["epoch"] for line in history]))
    return np.array([dict(zip((line["epoch"] for line in history), total, strict=True))[epoch] for epoch in epochs])


def _span(runs: Mapping[str, Sequence[History]]) -> float:
    totals = [list(accumulate(line.get("seconds") or 0.0 for line in h))[-1:] for hs in runs.values() for h in hs]
    return max((total[0] for total in totals if total), default=0.0)


def plot_history(
    history: Sequence[Mapping[str, Any]],
    *,
    unit: str = "",
    title: str = "Loss",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the loss on a logarithmic scale, and the solver's steps where they are known.

    Parameters
    ----------
    history
        One entry an epoch with ``epoch`` and ``loss`` (None where the solve failed), and where known ``accepted`` and
        ``rejected`` steps, and ``stage``, whose changes are marked.
    unit
        Unit of the loss.
    title
        Of the upper panel.
    path
        Where to write the figure, if anywhere.
    """
    known = [line for line in history if line["loss"] is not None]
    failed = [line["epoch"] for line in history if line["loss"] is None]
    steps = [line for line in history if line.get("accepted") is not None]
    with styled():
        figure = new_figure(7.5, 5.6 if steps else 3.8)
        panels = figure.subplots(
            2 if steps else 1, 1, sharex=True, squeeze=False, height_ratios=(2, 1)[: 1 + bool(steps)]
        )
        loss = panels[0, 0]
        marker = "o" if len(history) <= 60 else ""
        loss.plot(
            [line["epoch"] for line in known], [line["loss"] for line in known], color=COLOURS[0], marker=marker, ms=4
        )
        for epoch in failed:
            loss.axvline(epoch, color=COLOURS[1], lw=1, ls=":", label="solve failed" if epoch == failed[0] else None)
        loss.set(yscale="log", ylabel=f"mean squared error{f' ({unit})' if unit else ''}", title=title)
        mark_stages(loss, history)
        if failed:
            loss.legend()
        if steps:
            _draw_steps(panels[1, 0], steps)
        bottom = panels[-1, 0]
        bottom.set_xlabel("epoch")
        bottom.xaxis.get_major_locator().set_params(integer=True)
        return finish(figure, path)


def _draw_steps(axes: Any, steps: Sequence[Mapping[str, Any]]) -> None:
    epochs, accepted = [line["epoch"] for line in steps], [line["accepted"] for line in steps]
    rejected = [line.get("rejected") or 0 for line in steps]
    axes.bar(epochs, accepted, width=0.8, color=COLOURS[0], label="accepted")
    if any(rejected):
        axes.bar(epochs, rejected, bottom=accepted, width=0.8, color=COLOURS[4], label="rejected")
        axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    axes.set(ylabel="steps per solve", title="Work")
