"""What the experiments' figures share: one colour a method, and panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physode.plotting.style import COLOURS as PALETTE
from physode.plotting.style import INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "LABELS", "panels"]

COLOURS = {"aca": PALETTE[0], "adjoint": PALETTE[1], "naive": PALETTE[2], "forward": INK, "reverse": PALETTE[3]}
LABELS = {"aca": "ACA", "adjoint": "adjoint", "naive": "naive"}


def panels(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` x ``columns`` panels, ``width`` x ``height`` inches, and its axes."""
    figure = new_figure(width, height)
    return figure, figure.subplots(rows, columns, **options)
