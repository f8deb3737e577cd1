"""How well conserved quantities are conserved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import BOXED, COLOURS, finish, mark_training, new_figure, styled, time_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]


def drift_of(values: Array) -> Array:
    """Return the change since the start, (T,): relative for a number (T,), the norm for a vector (T, 3).

    A number that starts at 0 has its change as it is.
    """
    change = values - values[:1]
    if values.ndim > 1:
        size: Array = np.linalg.norm(change, axis=-1)
        return size
    scale = abs(float(values[0]))
    relative: Array = np.abs(change) / (scale if scale > 0 else 1.0)
    return relative


def plot_drift(
    t: Array,
    invariants: Mapping[str, Mapping[str, Array]],
    *,
    train_until: float,
    time_unit: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the drift of each conserved quantity over time, logarithmically.

    Parameters
    ----------
    t
        Times, (T,).
    invariants
        By curve (such as "true"), then by quantity: (T,) for a number, (T, 3) for a vector.
    train_until
        End of the training span.
    time_unit
        Unit of `t`.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no quantities.
    """
    names = list(dict.fromkeys(name for curves in invariants.values() for name in curves))
    if not names:
        raise ValueError("`invariants` must hold at least one conserved quantity, got none")
    with styled():
        figure = new_figure(7.5, 1.0 + 2.0 * len(names))
        panels = time_panels(figure, len(names), time_unit)
        for name, axes in zip(names, panels, strict=True):
            mark_training(axes, float(t[0]), train_until)
            for i, (curve, quantities) in enumerate(invariants.items()):
                if name in quantities:
                    _draw(axes, t, quantities[name], curve, i)
            vector = any(quantities[name].ndim > 1 for quantities in invariants.values() if name in quantities)
            axes.set(yscale="log", title=name.replace("_", " ").capitalize())
            axes.set_ylabel("change, norm" if vector else "relative change")
            axes.margins(x=0)
        panels[0].legend(loc="lower right", ncols=3, **BOXED)
        return finish(figure, path)


def _draw(axes: Any, t: Array, values: Array, curve: str, index: int) -> None:
    drift = drift_of(values)
    shown = np.where(drift > 0, drift, np.nan)
    axes.plot(t, shown, color=COLOURS[index], lw=(1.8, 1.2, 1.0)[min(index, 2)], alpha=0.9, label=curve)
