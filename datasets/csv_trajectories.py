"""The user's tables: CSV, workbooks and MATLAB files in two layouts, described in ``docs/data.md``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physode.datasets.align_times import Series, check_order, missing_notes, side_by_side, stacked
from physode.datasets.bodies import body_notes, body_trajectories, body_units, check_bodies, columns_of
from physode.datasets.files import naming
from physode.datasets.observations import Observations, groups, labels_of, observe, prune, time_column
from physode.datasets.table import WORDS, Table, TableOptions, Words, quoted
from physode.datasets.table_roles import read_as_said
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

_CALLED = {"series": "trajectory", "time": "time", "value": "value"}


def read_csv(path: str | os.PathLike[str], *, options: TableOptions | None = None) -> Trajectories:
    """Read a table with a header.

    With a column ``body`` each row is one body at one time (the long layout); without, each row is one time and each
    column a component (the wide layout). Bodies whose lengths and times have declared units come in AU, years and
    AU/yr, the year being 365.25 days; other values stay as they are.

    Parameters
    ----------
    path
        The file.
    options
        What is known of how it is written.

    Returns
    -------
    Trajectories
        Missing values are NaN, velocities that are not in the file too. ``attrs`` hold ``notes`` (what is missing, a
        list of lines), ``source`` (the file's name), ``time_unit`` where it is declared, ``time_origin`` where times
        were dates (ISO 8601), and ``understood`` where the file is more than plain CSV; for bodies also ``system``,
        ``bodies`` (their names) and, in AU and years, ``rhs``.

    Raises
    ------
    DataError
        If the file cannot be read as such a table; the message names the file, and the row where one is to blame.
    """
    path = Path(path)
    with naming(path):
        table = read_as_said(path, _CALLED, words=WORDS, options=options)
        trajectories = read_long(table) if "body" in table.words else read_wide(table)
        check_bodies(trajectories)
    trajectories.attrs.update(source=path.name, **table.attributes)
    return trajectories


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


_MOST_BODIES = 1000
_POSITION = ("x", "y", "z")
_VELOCITY = ("vx", "vy", "vz")


@dataclass(frozen=True)
class _Columns:
    """The columns of a table by what they hold; None where there is none."""

    time: str
    values: tuple[str | None, ...]  # x, y, z, vx, vy, vz
    sigmas: tuple[str | None, ...]


def read_long(table: Table) -> Trajectories:
    """Make trajectories of a table with the columns ``time, body, x, y, z`` and perhaps others.

    The others are ``vx, vy, vz``; ``sigma``, the standard deviation of each coordinate of the position, or ``x_sigma``,
    ..., ``vz_sigma`` of one component; ``trajectory``; and ``unit``, that of positions.

    Raises
    ------
    DataError
        If columns are missing or unknown, units or standard deviations wrong, or times out of order; if a body has no
        rows in a trajectory; or if there are fewer than two bodies.
    """
    columns = _columns(table)
    table, notes = prune(table, columns.time, [name for name in columns.values if name])
    units = body_units(table, columns.values, columns.time)
    scales = units.scales(table, columns.sigmas)
    observed = units.converted(observe(table, columns.time, columns.values, columns.sigmas, scales))
    bodies = labels_of(table, "body")
    if not 2 <= len(bodies.labels) <= _MOST_BODIES:
        raise DataError(f"its column body names {quoted(bodies.labels)}; give 2 to {_MOST_BODIES} bodies")
    series, labels = _series_of_bodies(table, observed, bodies, table.numbers[columns.time])
    t, y, sigma = stacked(series, labels)
    names = list(bodies.labels)
    return Trajectories(
        t=t,
        y=y,
        sigma=sigma,
        columns=columns_of(len(names)),
        units=tuple(label for half in (units.labels[0:3], units.labels[3:6]) for label in half * len(names)),
        attrs={
            "system": "n_body",
            "bodies": names,
            "notes": notes + units.notes + body_notes(t, y, names, units.time_label),
            **units.attributes,
        },
    )


def _columns(table: Table) -> _Columns:
    time = time_column(table)
    by_name = {name.casefold(): name for name in table.numbers}
    missing = [name for name in _POSITION if name not in by_name]
    if missing:
        raise DataError(f"it names bodies, but has no column {missing[0]}; the columns are {quoted(table.names)}")
    velocities = [name for name in _VELOCITY if name in by_name]
    if velocities and len(velocities) < len(_VELOCITY):
        raise DataError(f"it has a column {velocities[0]}, but not all of vx, vy and vz; give all three or none")
    both = (*_POSITION, *_VELOCITY)
    allowed = {time.casefold(), "sigma", *both, *(f"{name}_sigma" for name in both if name in by_name)}
    unknown = [name for key, name in by_name.items() if key not in allowed]
    if unknown:
        raise DataError(f"column {quoted(unknown[:1])} is none that a table of bodies may have; remove or rename it")
    common = by_name.get("sigma")
    return _Columns(
        time,
        tuple(by_name.get(name) for name in both),
        tuple(by_name.get(f"{name}_sigma", common if name in _POSITION else None) for name in both),
    )


def _series_of_bodies(
    table: Table, observed: Observations, bodies: Words, times: Array
) -> tuple[list[Series], list[str]]:
    """Return one series of all bodies for each trajectory, and the trajectories' labels; `times` as in the file."""
    runs = labels_of(table, "trajectory")
    parts: dict[tuple[int, ...], Series] = {}
    for key, rows in groups(runs, bodies):
        run, body = runs.labels[key[0]], bodies.labels[key[1]]
        who = f"body {body} in trajectory {run}" if run else f"body {body}"
        check_order(times[rows], observed.lines[rows], who)
        sigma = None if observed.sigma is None else observed.sigma[rows]
        parts[key] = Series(observed.t[rows], observed.y[rows], sigma)
    joined = []
    for i, label in enumerate(runs.labels):
        absent = [name for j, name in enumerate(bodies.labels) if (i, j) not in parts]
        if absent:
            raise DataError(f"trajectory {label} has no rows of body {absent[0]}; give each the same bodies")
        own = [parts[i, j] for j in range(len(bodies.labels))]
        joined.append(body_trajectories(side_by_side(own, bodies.labels), len(own)))
    return joined, list(runs.labels)
