"""Figures of the experiments: drawn on a canvas of their own, without a display and without global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "LABELS", "panels"]

# Okabe and Ito's colours, told apart by colour-blind readers too; one meaning each in every figure.
COLORS = {
    "aca": "#0072B2",
    "adjoint": "#D55E00",
    "naive": "#009E73",
    "forward": "#444444",
    "reverse": "#CC79A7",
}
LABELS = {"aca": "ACA", "adjoint": "adjoint", "naive": "naive"}


def panels(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` x ``columns`` panels, ``width`` x ``height`` inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)
