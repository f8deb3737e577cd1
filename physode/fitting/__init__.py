"""Fits: from trajectories to constants, networks and what they predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.fitting.config import FitConfig
    from physode.fitting.fit import Fit, effective_config, fit
    from physode.fitting.report import ConstantFit, Report, SpanError
    from physode.fitting.run import Run, create_run, open_run
    from physode.fitting.state import Epoch

__all__ = [
    "ConstantFit",
    "Epoch",
    "Fit",
    "FitConfig",
    "Report",
    "Run",
    "SpanError",
    "create_run",
    "effective_config",
    "fit",
    "open_run",
]

import_when_used(
    __name__,
    {
        "ConstantFit": "report",
        "Epoch": "state",
        "Fit": "fit",
        "FitConfig": "config",
        "Report": "report",
        "Run": "run",
        "SpanError": "report",
        "create_run": "run",
        "effective_config": "fit",
        "fit": "fit",
        "open_run": "run",
    },
)
