"""Runs: the folder that a computation leaves, and checkpoints to go on from."""

from __future__ import annotations

from physode.runs.checkpoints import load_weights, read_tensors, write_tensors
from physode.runs.folder import RunFolder, discard, has_fields, kind_of_run, making_folder, read_settings, write_text

__all__ = [
    "RunFolder",
    "discard",
    "has_fields",
    "kind_of_run",
    "load_weights",
    "making_folder",
    "read_settings",
    "read_tensors",
    "write_tensors",
    "write_text",
]
