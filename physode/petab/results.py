"""Results in PEtab's own tables: simulations beside the measurements, and parameters with their estimates."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from physode.datasets.atomic_write import write_text
from physode.errors import DataError
from physode.petab.files import Cells, problem_files, rows_of_tables


def write_simulations(
    problem: Path | str, simulated: Sequence[float] | Iterable[float], path: Path | str, *, overwrite: bool = False
) -> None:
    """Write a simulation table: that of measurements, with what a model gives in place of what was measured.

    Parameters
    ----------
    problem
        The problem's YAML file.
    simulated
        Values of the observables, (n,), in the order of the measurement table's rows.
    path
        The table to write.
    overwrite
        Whether it may be there already.

    Raises
    ------
    DataError
        If there are as many values as measurements not, or the table is there already.
    """
    rows = rows_of_tables(problem_files(Path(problem)).measurements)
    values = [float(value) for value in simulated]
    if len(values) != len(rows):
        raise DataError(f"{len(values)} simulated values for {len(rows)} measurements of {problem}")
    written: list[Cells] = []
    for row, value in zip(rows, values, strict=True):
        written.append({
            ("simulation" if column == "measurement" else column): repr(value) if column == "measurement" else text
            for column, text in row.items()
        })  # fmt: skip
    _write(Path(path), written, overwrite=overwrite)


def write_parameters(
    problem: Path | str, values: Mapping[str, float], path: Path | str, *, overwrite: bool = False
) -> None:
    """Write the parameter table with other nominal values: it can take the place of the problem's own.

    Parameters
    ----------
    problem
        The problem's YAML file.
    values
        Of parameters by their names, not scaled; others keep theirs.
    path
        The table to write.
    overwrite
        Whether it may be there already.

    Raises
    ------
    DataError
        If the problem has no parameter of a name, or the table is there already.
    """
    rows = rows_of_tables(problem_files(Path(problem)).parameters)
    names = {row.get("parameterId", "") for row in rows}
    if unknown := sorted(values.keys() - names):
        raise DataError(f"{problem} has no parameter {unknown[0]}")
    written = [
        {**row, "nominalValue": repr(float(values[label]))} if (label := row.get("parameterId", "")) in values else row
        for row in rows
    ]
    _write(Path(path), written, overwrite=overwrite)


def _write(path: Path, rows: list[Cells], *, overwrite: bool) -> None:
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, restval="", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), overwrite=overwrite)
