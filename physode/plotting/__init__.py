"""Figures and animations; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physode.plotting.accuracies import plot_accuracies
    from physode.plotting.animation import animate_run
    from physode.plotting.calibration import plot_calibration
    from physode.plotting.comparison import Comparison
    from physode.plotting.confusion import plot_confusion
    from physode.plotting.constants import plot_constants
    from physode.plotting.curves import plot_history
    from physode.plotting.drift import plot_drift
    from physode.plotting.forces import plot_residual_force
    from physode.plotting.latent import plot_latent
    from physode.plotting.learning import plot_learning
    from physode.plotting.mistakes import plot_mistakes
    from physode.plotting.phase import plot_phase_planes
    from physode.plotting.profile import plot_profile
    from physode.plotting.receiver import compare_curves, plot_precision_recall, plot_roc
    from physode.plotting.residuals import plot_residuals
    from physode.plotting.run import draw_run
    from physode.plotting.series import plot_reconstructions, plot_samples
    from physode.plotting.series_run import draw_series_run
    from physode.plotting.sheet import plot_sheet
    from physode.plotting.trajectories import plot_orbits, plot_phase_portrait, plot_series

_HOMES = {
    "Comparison": "comparison",
    "animate_run": "animation",
    "compare_curves": "receiver",
    "draw_run": "run",
    "draw_series_run": "series_run",
    "plot_accuracies": "accuracies",
    "plot_calibration": "calibration",
    "plot_confusion": "confusion",
    "plot_constants": "constants",
    "plot_drift": "drift",
    "plot_history": "curves",
    "plot_latent": "latent",
    "plot_learning": "learning",
    "plot_mistakes": "mistakes",
    "plot_orbits": "trajectories",
    "plot_phase_planes": "phase",
    "plot_phase_portrait": "trajectories",
    "plot_precision_recall": "receiver",
    "plot_profile": "profile",
    "plot_reconstructions": "series",
    "plot_residual_force": "forces",
    "plot_residuals": "residuals",
    "plot_roc": "receiver",
    "plot_samples": "series",
    "plot_series": "trajectories",
    "plot_sheet": "sheet",
}

__all__ = [
    "Comparison",
    "animate_run",
    "compare_curves",
    "draw_run",
    "draw_series_run",
    "plot_accuracies",
    "plot_calibration",
    "plot_confusion",
    "plot_constants",
    "plot_drift",
    "plot_history",
    "plot_latent",
    "plot_learning",
    "plot_mistakes",
    "plot_orbits",
    "plot_phase_planes",
    "plot_phase_portrait",
    "plot_precision_recall",
    "plot_profile",
    "plot_reconstructions",
    "plot_residual_force",
    "plot_residuals",
    "plot_roc",
    "plot_samples",
    "plot_series",
    "plot_sheet",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"physode.plotting.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'physode.plotting' has no attribute {name!r}; it has {', '.join(__all__)}")
