"""The wide layout: one row for each time, one column for each component."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from physode.datasets.bodies import body_notes, columns_of
from physode.datasets.body_units import body_units
from physode.datasets.grid import Series, check_order, missing_notes, stacked
from physode.datasets.observations import Observations, groups, labels_of, observe, prune, time_column
from physode.datasets.table import Table, quoted
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

__all__ = ["read_wide"]

_OF_BODY = re.compile(r"[rv][1-9][0-9]*_[xyz]")


def read_wide(table: Table) -> Trajectories:
    """Make trajectories of a table with a column of times and one for each component.

    A column ``sigma`` holds the standard deviation of all components (of bodies: of all positions), ``<name>_sigma``
    that of one; ``trajectory`` divides the rows. Columns ``r1_x`` ... ``rn_z``, perhaps with ``v1_x`` ... ``vn_z``, are
    positions and velocities of bodies.

    Raises
    ------
    DataError
        If there is no column of times or no other, if a standard deviation has no component, if some columns are those
        of bodies and others not, if units or standard deviations are wrong, or if times are out of order.
    """
    time = time_column(table)
    data = _components(table, time)
    table, notes = prune(table, time, data)
    bodies = _of_bodies(data)
    made = _read_bodies(table, time, bodies) if bodies else _read_others(table, time, data)
    made.attrs["notes"] = notes + made.attrs["notes"]
    return made


def _read_bodies(table: Table, time: str, columns: Sequence[str | None]) -> Trajectories:
    half = len(columns) // 2
    sigmas = _deviations(table, columns[:half], common=True) + _deviations(table, columns[half:], common=False)
    units = body_units(table, columns, time)
    observed = units.converted(observe(table, time, columns, sigmas, units.scales(table, sigmas)))
    t, y, sigma = stacked(*_series(table, observed, table.numbers[time]))
    names = [str(i) for i in range(1, half // 3 + 1)]
    notes = units.notes + body_notes(t, y, names, units.time_label)
    attrs = {"system": "n_body", "bodies": names, "notes": notes, **units.attributes}
    return Trajectories(t=t, y=y, sigma=sigma, columns=columns_of(half // 3), units=units.labels, attrs=attrs)


def _read_others(table: Table, time: str, columns: Sequence[str]) -> Trajectories:
    rows = [name for name in ("unit", "units") if name in table.words]
    if rows:
        raise DataError(f"column {rows[0]} has a meaning for bodies only; write units into the header, such as x [m]")
    sigmas = _deviations(table, columns, common=True)
    for name, sigma in zip(columns, sigmas, strict=True):
        label = table.units[sigma] if sigma else ""
        if label and label != table.units[name]:
            raise DataError(
                f"column {sigma} has the unit {label!r}, column {name} {table.units[name]!r}; give both in the same"
            )
    observed = observe(table, time, columns, sigmas, [1.0] * len(columns))
    t, y, deviations = stacked(*_series(table, observed, table.numbers[time]))
    unit = table.units[time]
    notes = missing_notes(t, np.isnan(y), [f"column {name}" for name in columns], unit)
    return Trajectories(
        t=t,
        y=y,
        sigma=deviations,
        columns=tuple(columns),
        units=tuple(table.units[name] for name in columns),
        attrs={"notes": notes, **({"time_unit": unit} if unit else {})},
    )


def _components(table: Table, time: str) -> list[str]:
    """The columns that are neither times nor standard deviations."""
    others = [name for name in table.numbers if name != time]
    known = {name.casefold() for name in others}
    data = []
    for name in others:
        of = name.casefold().removesuffix("_sigma")
        if name.casefold() == "sigma":
            continue
        if of == name.casefold():
            data.append(name)
        elif of not in known:
            raise DataError(f"column {quoted([name])} holds deviations of {quoted([of])}, no column; rename it")
    if not data:
        raise DataError(f"it has no column beside the times; the columns are {quoted(table.names)}")
    return data


def _deviations(table: Table, columns: Sequence[str | None], *, common: bool) -> list[str | None]:
    """The column of each component's standard deviations; `common`: the column ``sigma`` where it has none."""
    names = {name.casefold(): name for name in table.numbers}
    shared = names.get("sigma") if common else None
    return [None if name is None else names.get(f"{name.casefold()}_sigma", shared) for name in columns]


def _of_bodies(data: Sequence[str]) -> tuple[str | None, ...]:
    """Return the columns of bodies in physode's order, None for velocities that are not there; empty for no bodies."""
    found = {name.casefold(): name for name in data if _OF_BODY.fullmatch(name.casefold())}
    if not found:
        return ()
    strangers = [name for name in data if name.casefold() not in found]
    if strangers:
        raise DataError(f"column {quoted(strangers[:1])} stands beside columns of bodies and is none; remove it")
    positions = sum(name.startswith("r") for name in found)
    n = max(2, -(-positions // 3))
    wanted = columns_of(n)
    if positions == len(found):
        wanted = wanted[: 3 * n]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"the columns are those of {n} bodies, but {missing[0]} is missing; give x, y and z of two bodies or more"
        )
    return tuple(found.get(name) for name in columns_of(n))


def _series(table: Table, observed: Observations, times: Array) -> tuple[list[Series], list[str]]:
    """Return one series for each trajectory, and the trajectories' labels; `times` are as the file has them."""
    runs = labels_of(table, "trajectory")
    series = []
    for (run,), rows in groups(runs):
        label = runs.labels[run]
        check_order(times[rows], observed.lines[rows], f"trajectory {label}" if label else "")
        sigma = None if observed.sigma is None else observed.sigma[rows]
        series.append(Series(observed.t[rows], observed.y[rows], sigma))
    return series, list(runs.labels)
