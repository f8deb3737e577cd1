"""Sweeps: independent cells in turn, in processes or on a cluster, kept as they end, and the table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.sweeps.cells import Cell, Outcome
    from physode.sweeps.schedulers import run_cells
    from physode.sweeps.sweep import sweep
    from physode.sweeps.table import Table

__all__ = ["Cell", "Outcome", "Table", "run_cells", "sweep"]

import_when_used(
    __name__,
    {"Cell": "cells", "Outcome": "cells", "Table": "table", "run_cells": "schedulers", "sweep": "sweep"},
)
