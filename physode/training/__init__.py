"""What every training shares: settings, a run's folder, checkpoints to go on from, and the loop over epochs.

Fits lived here under this name once; ``physode.training.fit`` and its like still lead to `physode.fitting`.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    fitting = importlib.import_module("physode.fitting")
    if name not in fitting.__all__:
        raise AttributeError(f"module 'physode.training' has no attribute {name!r}")
    warnings.warn(f"physode.training.{name} is physode.fitting.{name} now", DeprecationWarning, stacklevel=2)
    return getattr(fitting, name)
