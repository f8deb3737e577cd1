"""The units of length, time and velocity that data files may declare."""

from __future__ import annotations

from dataclasses import dataclass

from physode.errors import DataError

__all__ = ["Unit", "length_unit", "over", "time_unit", "velocity_unit"]


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
        ("h", 8_766.0, ("h", "hr", "hour", "hours")),
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
        raise DataError(f"{where} has the unit {label!r}, not a known time; use yr, d, h or s")
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
