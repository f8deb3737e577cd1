"""Training: the folder that a run leaves, and checkpoints to go on from.

Fits lived here under this name once; ``physode.training.fit`` and its like still lead to `physode.fitting`.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from physode.training.checkpoints import load_weights, read_tensors, write_tensors
from physode.training.folder import (
    RunFolder,
    check_new_folder,
    claimed_run,
    discard,
    has_fields,
    kind_of_run,
    making_folder,
    read_settings,
)

__all__ = [
    "RunFolder",
    "check_new_folder",
    "claimed_run",
    "discard",
    "has_fields",
    "kind_of_run",
    "load_weights",
    "making_folder",
    "read_settings",
    "read_tensors",
    "write_tensors",
]


def __getattr__(name: str) -> Any:
    fitting = importlib.import_module("physode.fitting")
    if name not in fitting.__all__:
        raise AttributeError(f"module 'physode.training' has no attribute {name!r}; it has {', '.join(__all__)}")
    warnings.warn(f"physode.training.{name} is physode.fitting.{name} now", DeprecationWarning, stacklevel=2)
    return getattr(fitting, name)
