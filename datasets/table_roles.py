"""Tables of trajectories and experiments whose columns have names of their own: what they are is said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from physode.datasets.files import shown
from physode.datasets.table import TIMES, Table, TableOptions, label_of_source, quoted, read_header, read_table
from physode.errors import DataError

__all__ = ["read_as_said"]


def read_as_said(
    source: str | os.PathLike[str] | Any,
    called: Mapping[str, str],
    *,
    words: frozenset[str],
    times: frozenset[str] = frozenset(TIMES),
    options: TableOptions | None = None,
    texts: bool = False,
) -> Table:
    """Read a table, and call those columns as is usual of which `options.columns` says what they are.

    They come first. Another column of a usual name that is given away is left out; so are all that are neither said nor
    known, where columns of values are said.

    Parameters
    ----------
    source, words, times, options, texts
        As of `read_table`.
    called
        By role, of ``ROLES``, the usual name.

    Raises
    ------
    DataError
        If a role, or ``--static``, has no part in such a table, or there is no column of a name that is said; and as of
        `read_table`.
    """
    options = options or TableOptions()
    said = options.columns or {}
    if not said and not options.static:
        return read_table(source, words=words, times=times, options=options, texts=texts)
    path = label_of_source(source)
    idle = "--static" if options.static else next((f"--columns {role}=" for role in said if role not in called), None)
    if idle is not None:
        raise DataError(f"{path}: {idle} has a part in tables of series only (physode train timeseries); leave it out")
    names = {name.casefold(): name for name in read_header(source, options=options, unnamed=True)}
    asked = {column.casefold(): role for role, columns in said.items() for column in columns}
    absent = [column for columns in said.values() for column in columns if column.casefold() not in names]
    if absent:
        raise DataError(
            f"{path}: it has no column {shown(absent[0])}, as --columns {asked[absent[0].casefold()]}= says; "
            f"the columns are {quoted(list(names.values()))}"
        )
    long = "channel" in said
    renamed = {column: called[role] for column, role in asked.items() if role != "value" or long}
    given = set(renamed.values())
    only = {name for name in names if name in renamed or name not in given}
    if "value" in said:
        usual = words | (frozenset() if "time" in said else times)
        only = {name for name in only if name in asked or name in usual or _deviates(name, asked)}
    table = read_table(
        source,
        words=words | {column for column, name in renamed.items() if name in words},
        times=times | {column for column, name in renamed.items() if name in times},
        options=options,
        texts=texts,
        only=frozenset(only),
    )
    return _renamed(table, renamed)


def _deviates(name: str, asked: Mapping[str, str]) -> bool:
    return name == "sigma" or name.removesuffix("_sigma") in asked


def _renamed(table: Table, renamed: Mapping[str, str]) -> Table:
    """Return a table with other names of some columns, which come first."""
    names = {name: renamed.get(name.casefold(), name) for name in table.units}
    order = sorted(names, key=lambda name: name.casefold() not in renamed)

    def of(columns: Mapping[str, Any]) -> dict[str, Any]:
        return {names[name]: columns[name] for name in order if name in columns}

    return replace(
        table,
        numbers=of(table.numbers),
        words=of(table.words),
        units=of(table.units),
        refused=of(table.refused),
        dated=frozenset(names[name] for name in table.dated),
    )
