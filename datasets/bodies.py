"""Bodies: the columns that are their positions and velocities, and the units that tables of them declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physode.datasets.align_times import Series, missing_notes
from physode.datasets.observations import Observations
from physode.datasets.table import Table
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

ASTRONOMICAL = {"G": (0.01720209895 * 365.25) ** 2, "velocity_scale": 1.0, "softening": 0.0}
"""Arguments of the right-hand side of bodies in AU, Julian years and solar masses: `physode.rhs.G_GAUSS`."""

BODY_UNITS = ("AU", "AU/yr")


def columns_of(n: int) -> tuple[str, ...]:
    """Return the column names r1_x .. rn_z, v1_x .. vn_z of `n` bodies."""
    from physode.rhs import body_columns  # it loads torch, which few readers of files need

    return body_columns(n)


def body_names(trajectories: Trajectories) -> tuple[str, ...]:
    """Return the names of the bodies whose positions and velocities the columns are: numbers where none is kept.

    Returns
    -------
    tuple
        Empty where the columns are something else.
    """
    columns = trajectories.columns
    if columns[0] != "r1_x" or len(columns) % 6 or columns != columns_of(len(columns) // 6):
        return ()
    n = len(columns) // 6
    names = trajectories.attrs.get("bodies")
    return (
        tuple(map(str, names))
        if isinstance(names, list) and len(names) == n
        else tuple(str(i) for i in range(1, n + 1))
    )


def check_bodies(trajectories: Trajectories) -> None:
    """Check trajectories whose columns are those of bodies; others pass.

    Raises
    ------
    DataError
        If two bodies are at one place at one time, where their attraction is infinite.
    """
    names = body_names(trajectories)
    n = len(names)
    if not n:
        return
    samples, times, _ = trajectories.y.shape
    r = trajectories.y[..., : 3 * n].reshape(samples, times, n, 3)
    # Sorted by x, then y, then z, bodies at one place are neighbours.
    order = np.lexsort((r[..., 2], r[..., 1], r[..., 0]), axis=-1)
    r = np.take_along_axis(r, order[..., None], axis=2)
    same = (r[:, :, 1:] == r[:, :, :-1]).all(axis=-1)
    if same.any():
        sample, k, first = (int(index) for index in np.argwhere(same)[0])
        one, other = (names[i] for i in sorted(order[sample, k, first : first + 2]))
        t = np.broadcast_to(trajectories.t, (samples, times))[sample, k]
        when = f"{t:.12g} {trajectories.attrs.get('time_unit', '')}".rstrip()
        which = f" of trajectory {sample}" if samples > 1 else ""
        raise DataError(
            f"bodies {one} and {other} are at one place at time {when}{which}; "
            "correct the positions, or leave one body out"
        )


def body_trajectories(joined: Series, n: int) -> Series:
    """Reorder components (x, y, z, vx, vy, vz) of one body after another, (K, 6 n), as `columns_of` names them."""

    def reordered(values: Array) -> Array:
        return values.reshape(-1, n, 2, 3).transpose(0, 2, 1, 3).reshape(-1, 6 * n)

    return Series(joined.t, reordered(joined.y), None if joined.sigma is None else reordered(joined.sigma))


def body_notes(t: Array, y: Array, names: Sequence[str], unit: str) -> list[str]:
    """Return a note for each body whose position is missing at some times of `y`, (N, T, 6 n)."""
    n = len(names)
    missing = np.any(np.isnan(y[..., : 3 * n]).reshape(*y.shape[:2], n, 3), axis=-1)
    return missing_notes(t, missing, [f"body {name}" for name in names], unit)


@dataclass(frozen=True)
class Unit:
    """A unit of length, time or velocity.

    Attributes
    ----------
    label
        How physode writes it.
    per
        How many of it make one AU, one year or one AU/yr: a value divided by it is in those.
    """

    label: str
    per: float


_AU = 149_597_870_700.0  # m, exactly (IAU 2012, Resolution B2)
_LENGTHS = {unit.label.casefold(): unit for unit in (Unit("AU", 1.0), Unit("km", _AU / 1e3), Unit("m", _AU))}

# The year is the Julian one, of 365.25 days of 86400 s.
_TIMES = {
    word: Unit(label, per)
    for label, per, words in (
        ("yr", 1.0, ("yr", "year", "years")),
        ("d", 365.25, ("d", "day", "days")),
        ("week", 365.25 / 7, ("week", "weeks", "w")),
        ("h", 8_766.0, ("h", "hr", "hour", "hours")),
        ("min", 525_960.0, ("min", "minute", "minutes")),
        ("s", 31_557_600.0, ("s", "sec", "second", "seconds")),
    )
    for word in words
}


def length_unit(label: str, where: str) -> Unit:
    """Return a unit of length by its label; `where` begins the error of an unknown one."""
    unit = _LENGTHS.get(label.strip().casefold())
    if unit is None:
        raise DataError(f"{where} has the unit {label!r}, not a known length; use AU, km or m")
    return unit


def time_unit(label: str, where: str) -> Unit:
    """Return a unit of time by its label; `where` begins the error of an unknown one."""
    unit = _TIMES.get(label.strip().casefold())
    if unit is None:
        raise DataError(f"{where} has the unit {label!r}, not a known time; use yr, week, d, h, min or s")
    return unit


def velocity_unit(label: str, where: str) -> Unit:
    """Return a unit of velocity, a length ``/`` a time; `where` begins the error of an unknown one."""
    length, _, time = (part.strip().casefold() for part in label.partition("/"))
    if length not in _LENGTHS or time not in _TIMES:
        raise DataError(f"{where} has the unit {label!r}, not a known velocity; use a length / a time, such as km/s")
    return over(_LENGTHS[length], _TIMES[time])


def over(length: Unit, time: Unit) -> Unit:
    """Return the unit of velocity `length` / `time`."""
    return Unit(f"{length.label}/{time.label}", length.per / time.per)


@dataclass(frozen=True)
class BodyUnits:
    """Units of components, positions in the first half and velocities in the second; None where undeclared."""

    components: tuple[Unit | None, ...]
    time: Unit | None

    @property
    def declared(self) -> bool:
        """Whether every unit is known, so that values can be converted to AU, years and AU/yr."""
        return self.time is not None and all(unit is not None for unit in self.components)

    @property
    def labels(self) -> tuple[str, ...]:
        """The components' units after `converted`."""
        if self.declared:
            half = len(self.components) // 2
            return tuple(label for label in BODY_UNITS for _ in range(half))
        return tuple("" if unit is None else unit.label for unit in self.components)

    @property
    def attributes(self) -> dict[str, Any]:
        """What trajectories say of their units: ``rhs`` in AU and years, and ``time_unit`` where it is known."""
        unit = {"time_unit": self.time_label} if self.time_label else {}
        return {"rhs": dict(ASTRONOMICAL), **unit} if self.declared else dict(unit)

    @property
    def time_label(self) -> str:
        """The unit of times after `converted`."""
        return "yr" if self.declared else "" if self.time is None else self.time.label

    @property
    def notes(self) -> list[str]:
        """A note where some units are declared and others not."""
        if self.declared or (self.time is None and not any(self.components)):
            return []
        lacking = "times" if self.time is None else "positions or velocities"
        return [f"no unit is declared for {lacking}; nothing is converted to AU and years"]

    def converted(self, observed: Observations) -> Observations:
        """Observations in AU, years and AU/yr where every unit is known, else as they are."""
        if self.time is None or not self.declared:
            return observed
        per = np.array([unit.per for unit in self.components if unit])
        sigma = None if observed.sigma is None else observed.sigma / per
        return replace(observed, t=observed.t / self.time.per, y=observed.y / per, sigma=sigma)

    def scales(self, table: Table, sigmas: Sequence[str | None]) -> list[float]:
        """Return what standard deviations are to be multiplied by, so that they have their components' units.

        Raises
        ------
        DataError
            If a column of `sigmas` declares a unit that is unknown, or that its component has not.
        """
        half = len(self.components) // 2
        found = []
        for i, (name, unit) in enumerate(zip(sigmas, self.components, strict=True)):
            label = "" if name is None else table.units[name]
            if not label:
                found.append(1.0)
                continue
            if unit is None:
                raise DataError(f"column {name} has the unit {label!r}, its values have none; declare both or neither")
            own = (length_unit if i < half else velocity_unit)(label, f"column {name}")
            found.append(unit.per / own.per)
        return found


def body_units(table: Table, columns: Sequence[str | None], time: str) -> BodyUnits:
    """Find the units of bodies' components.

    Parameters
    ----------
    columns
        The columns of positions, then those of velocities; None for one that is not in the table. A velocity without a
        unit of its own has that of its position over that of time.
    time
        The column of times.

    Raises
    ------
    DataError
        If a unit is unknown, declared for some positions or velocities only, declared twice, or changes between rows.
    """
    half = len(columns) // 2
    common = _unit_of_rows(table)
    _check_alike(table, columns[:half])
    _check_alike(table, columns[half:])
    positions: list[Unit | None] = []
    for name in columns[:half]:
        label = table.units[name] if name else ""
        if label and common:
            raise DataError(f"column {name} declares the unit {label!r} and a column of units too; keep one")
        positions.append(length_unit(label, f"column {name}") if label else common)
    label = table.units[time]
    clock = time_unit(label, f"column {time}") if label else None
    velocities = []
    for name, position in zip(columns[half:], positions, strict=True):
        label = table.units[name] if name else ""
        implied = over(position, clock) if position and clock else None
        velocities.append(velocity_unit(label, f"column {name}") if label else implied)
    return BodyUnits((*positions, *velocities), clock)


def _unit_of_rows(table: Table) -> Unit | None:
    """The one unit of length in a column ``unit`` or ``units``."""
    names = [name for name in ("unit", "units") if name in table.words]
    if not names:
        return None
    words = table.words[names[0]]
    first = words.labels[words.codes[0]]
    other = np.array([label.casefold() != first.casefold() for label in words.labels])[words.codes]
    if other.any():
        row = int(np.argmax(other))
        raise DataError(
            f"the unit changes from {first!r} in row {table.lines[0]} to {words.labels[words.codes[row]]!r} in row "
            f"{table.lines[row]}; give all positions in one unit"
        )
    return length_unit(first, f"row {table.lines[0]}, column {names[0]},") if first else None


def _check_alike(table: Table, columns: Sequence[str | None]) -> None:
    """Units of positions (or of velocities) are all declared, or none is."""
    names = [name for name in columns if name]
    without = [name for name in names if not table.units[name]]
    if without and len(without) < len(names):
        raise DataError(f"column {without[0]} has no unit, others of its kind have; declare all of them or none")
