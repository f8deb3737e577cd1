"""The long layout: one row for each body at each time."""

from __future__ import annotations

from dataclasses import dataclass

from physode.datasets.bodies import body_notes, body_trajectories, columns_of
from physode.datasets.body_units import body_units
from physode.datasets.grid import Series, check_order, side_by_side, stacked
from physode.datasets.observations import Observations, groups, labels_of, observe, prune, time_column
from physode.datasets.table import Table, Words, quoted
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

__all__ = ["read_long"]

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
    series, labels = _series(table, observed, bodies, table.numbers[columns.time])
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


def _series(table: Table, observed: Observations, bodies: Words, times: Array) -> tuple[list[Series], list[str]]:
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
