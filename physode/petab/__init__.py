"""PEtab: the tables and SBML models of parameter estimation in systems biology, read into an estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.petab.files import is_petab
    from physode.petab.read import read_problem
    from physode.petab.results import write_parameters, write_simulations

__all__ = ["is_petab", "read_problem", "write_parameters", "write_simulations"]

import_when_used(
    __name__,
    {
        "is_petab": "files",
        "read_problem": "read",
        "write_parameters": "results",
        "write_simulations": "results",
    },
)
