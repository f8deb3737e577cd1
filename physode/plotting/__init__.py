"""Figures and animations; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physode.plotting.animation import animate_run
    from physode.plotting.classification import plot_accuracies, plot_calibration, plot_confusion
    from physode.plotting.comparison import Comparison
    from physode.plotting.constants import plot_constants, plot_profile
    from physode.plotting.estimates import (
        plot_bands,
        plot_correlations,
        plot_estimate_residuals,
        plot_profiles,
        plot_starts,
    )
    from physode.plotting.images import plot_mistakes, plot_sheet
    from physode.plotting.invariants import plot_drift
    from physode.plotting.learned_terms import plot_residual_force
    from physode.plotting.learning import plot_history, plot_learning
    from physode.plotting.residuals import plot_residuals
    from physode.plotting.roc import compare_curves, plot_precision_recall, plot_roc
    from physode.plotting.run import draw_run
    from physode.plotting.series import draw_series_run, plot_latent, plot_reconstructions, plot_samples
    from physode.plotting.trajectories import plot_orbits, plot_phase_planes, plot_phase_portrait, plot_series

FIGURES = ("orbits", "phase_portrait", "series", "loss", "constants", "residuals", "drift", "residual_force")
"""The figures of a fit in the order in which they are drawn; a run has those that suit it."""

SERIES_FIGURES = ("interpolation", "extrapolation", "latent", "samples", "learning")
"""Those of a training on irregular series."""

ESTIMATE_FIGURES = ("fit", "residuals", "starts", "correlations", "states")
"""Those of a fit of an equation of the user's own; the last only where it is asked for."""

_HOMES = {
    "Comparison": "comparison",
    "animate_run": "animation",
    "compare_curves": "roc",
    "draw_run": "run",
    "draw_series_run": "series",
    "plot_accuracies": "classification",
    "plot_bands": "estimates",
    "plot_calibration": "classification",
    "plot_confusion": "classification",
    "plot_constants": "constants",
    "plot_correlations": "estimates",
    "plot_drift": "invariants",
    "plot_estimate_residuals": "estimates",
    "plot_history": "learning",
    "plot_latent": "series",
    "plot_learning": "learning",
    "plot_mistakes": "images",
    "plot_orbits": "trajectories",
    "plot_phase_planes": "trajectories",
    "plot_phase_portrait": "trajectories",
    "plot_precision_recall": "roc",
    "plot_profile": "constants",
    "plot_profiles": "estimates",
    "plot_reconstructions": "series",
    "plot_residual_force": "learned_terms",
    "plot_residuals": "residuals",
    "plot_roc": "roc",
    "plot_samples": "series",
    "plot_series": "trajectories",
    "plot_sheet": "images",
    "plot_starts": "estimates",
}

__all__ = [
    "ESTIMATE_FIGURES",
    "FIGURES",
    "SERIES_FIGURES",
    "Comparison",
    "animate_run",
    "compare_curves",
    "draw_run",
    "draw_series_run",
    "plot_accuracies",
    "plot_bands",
    "plot_calibration",
    "plot_confusion",
    "plot_constants",
    "plot_correlations",
    "plot_drift",
    "plot_estimate_residuals",
    "plot_history",
    "plot_latent",
    "plot_learning",
    "plot_mistakes",
    "plot_orbits",
    "plot_phase_planes",
    "plot_phase_portrait",
    "plot_precision_recall",
    "plot_profile",
    "plot_profiles",
    "plot_reconstructions",
    "plot_residual_force",
    "plot_residuals",
    "plot_roc",
    "plot_samples",
    "plot_series",
    "plot_sheet",
    "plot_starts",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"physode.plotting.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'physode.plotting' has no attribute {name!r}; it has {', '.join(__all__)}")
