"""Fits: from trajectories to constants, networks and what they predict."""

from __future__ import annotations

from physode.training.config import FitConfig
from physode.training.fit import Fit, effective_config, fit
from physode.training.report import ConstantFit, Report, SpanError
from physode.training.run import Run, create_run, open_run
from physode.training.state import Epoch

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
