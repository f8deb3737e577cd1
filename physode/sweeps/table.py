"""The table that a sweep ends in: a row a case, with a status; written as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physode.datasets.atomic_write import replacing, write_text
from physode.datasets.files import check_output
from physode.errors import ConfigError
from physode.optional_imports import needs
from physode.summary import Described, Summary, short_number

__all__ = ["DONE", "FAILED", "LOST", "Table", "check_table"]

DONE, FAILED, LOST = "done", "failed", "lost"
"""Of a case: there is a result; it raised; what computed it died."""


@dataclass(frozen=True, repr=False)
class Table(Described):
    """Rows of values.

    Attributes
    ----------
    columns
        Their names: what the sweep ran over, ``status``, ``reason``, then what was found.
    rows
        Numbers, text, truth values, or None where there is nothing.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @staticmethod
    def of(rows: Iterable[Mapping[str, Any]]) -> Table:
        """Make it of rows by name, which need not have the same names; columns in the order of their appearance."""
        listed = list(rows)
        columns = tuple(dict.fromkeys(name for row in listed for name in row))
        return Table(columns, tuple(tuple(_cell(row.get(name)) for name in columns) for row in listed))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __getitem__(self, name: str) -> list[Any]:
        """Return a column."""
        if name not in self.columns:
            raise KeyError(f"the table has no column {name!r}; it has {', '.join(self.columns)}")
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    @property
    def statuses(self) -> dict[str, int]:
        """How many rows have each status, the most frequent first."""
        return dict(Counter(self["status"]).most_common()) if "status" in self.columns else {}

    def to_frame(self) -> Any:
        """Return it as a pandas DataFrame.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        pd = needs("pandas", extra="frames", purpose="a table as a DataFrame")
        return pd.DataFrame(list(self.rows), columns=list(self.columns))

    def text(self) -> str:
        """Return it as CSV: numbers with all their digits, nothing where there is none."""
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_written(value) for value in row] for row in self.rows)
        return content.getvalue()

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write it, whole or not at all: Parquet where the name ends in .parquet, else CSV.

        Raises
        ------
        ConfigError
            If Parquet is asked for and pyarrow is not installed, or the name ends otherwise.
        DataError
            If the file exists, and `overwrite` is not set, or cannot be written.
        """
        if check_table(path) == ".csv":
            write_text(path, self.text(), overwrite=overwrite)
            return
        arrow = needs("pyarrow", extra="parquet", purpose="Parquet")
        parquet = needs("pyarrow.parquet", extra="parquet", purpose="Parquet")
        columns = {name: arrow.array(_alike(self[name])) for name in self.columns}
        with replacing(path, overwrite=overwrite) as part:
            parquet.write_table(arrow.table(columns), part)

    @property
    def summary(self) -> Summary:
        """What there is to say of it."""
        counts = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        rows = tuple(tuple(_shown(value) for value in row) for row in self.rows)
        return Summary(
            f"Table of {len(self)} rows" + (f": {counts}" if counts else ""), columns=self.columns, rows=rows
        )


def check_table(path: str | os.PathLike[str], *, overwrite: bool = True) -> str:
    """Return the ending of a table's name; to be called before the work.

    Raises
    ------
    ConfigError
        If it is neither .csv nor .parquet, or Parquet's package is not installed.
    DataError
        If there is such a file, and `overwrite` is not set, or it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{path} is neither .csv nor .parquet; a table is written as one of them")
    if suffix == ".parquet":
        needs("pyarrow", extra="parquet", purpose="Parquet")
    check_output(Path(path), overwrite=overwrite)
    return suffix


def _cell(value: Any) -> Any:
    """Return a value as a cell has it: text of what is neither number, truth value nor text; None of NaN."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:
    return short_number(value) if isinstance(value, float) else "" if value is None else str(value)


def _alike(values: Sequence[Any]) -> list[Any]:
    """Return a column of values of one kind: floats where whole numbers stand beside them, text where text does."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2:
        return list(values)
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else _written(value) for value in values]
