"""Ensembles: one equation fitted to, or simulated for, thousands of members, batched, each as if it were alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.ensembles.fit import fit_ensemble
    from physode.ensembles.simulate import simulate_ensemble

__all__ = ["fit_ensemble", "simulate_ensemble"]

import_when_used(__name__, {"fit_ensemble": "fit", "simulate_ensemble": "simulate"})
