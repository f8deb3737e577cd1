"""A PEtab problem, read into an estimation."""

from __future__ import annotations

from pathlib import Path

from physode.datasets.files import naming
from physode.estimation.problem import Estimation
from physode.petab.assembly import assembled
from physode.petab.files import problem_files
from physode.petab.linter import check_by_petab
from physode.petab.sbml import read_sbml
from physode.petab.version1 import tables_of_version_1
from physode.petab.version2 import tables_of_version_2


def read_problem(path: Path | str) -> Estimation:
    """Read a problem in PEtab, of version 1 or 2, with its SBML model.

    Parameters
    ----------
    path
        Its YAML file; the files that this lists lie beside it.

    Returns
    -------
    Estimation
        Measurements in the order of the measurement table's rows, unknowns in that of the parameter table's.

    Raises
    ------
    ConfigError
        If a package of the extra ``petab`` is missing.
    DataError
        If a file is missing or damaged, PEtab's own linter refuses the problem, or it uses what physode does not
        support: one line that says what.
    """
    files = problem_files(Path(path))
    model = read_sbml(files.model)
    check_by_petab(files)
    with naming(files.path):
        if files.version == 1:
            return assembled(model, tables_of_version_1(files), {})
        return assembled(model, *tables_of_version_2(files))
