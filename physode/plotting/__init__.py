"""Figures; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physode.plotting.curves import plot_history
    from physode.plotting.drift import plot_drift
    from physode.plotting.run import draw_run
    from physode.plotting.trajectories import Comparison, plot_orbits, plot_phase_portrait, plot_series

_HOMES = {
    "Comparison": "trajectories",
    "draw_run": "run",
    "plot_drift": "drift",
    "plot_history": "curves",
    "plot_orbits": "trajectories",
    "plot_phase_portrait": "trajectories",
    "plot_series": "trajectories",
}

__all__ = [
    "Comparison",
    "draw_run",
    "plot_drift",
    "plot_history",
    "plot_orbits",
    "plot_phase_portrait",
    "plot_series",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"physode.plotting.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'physode.plotting' has no attribute {name!r}; it has {', '.join(__all__)}")
