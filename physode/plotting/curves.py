"""How a fit went: its loss and its work, epoch by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from physode.plotting.style import COLOURS, finish, mark_stages, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_history"]


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
