"""The units that a table of bodies declares, in its header or in a column ``unit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physode.datasets.bodies import ASTRONOMICAL, BODY_UNITS
from physode.datasets.observations import Observations
from physode.datasets.table import Table
from physode.datasets.units import Unit, length_unit, over, time_unit, velocity_unit
from physode.errors import DataError

__all__ = ["BodyUnits", "body_units"]


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
