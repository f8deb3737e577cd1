"""The figures of a run by name, for those who must not wait for matplotlib."""

from __future__ import annotations

__all__ = ["FIGURES", "SERIES_FIGURES"]

FIGURES = ("orbits", "phase_portrait", "series", "loss", "constants", "residuals", "drift", "residual_force")
"""Names in the order in which figures are drawn; a run has those that suit it."""

SERIES_FIGURES = ("interpolation", "extrapolation", "latent", "samples", "learning")
"""Those of a training on irregular series."""
