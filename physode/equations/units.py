"""Units as text: their dimensions, and how many of one are another."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from physode.datasets.files import shown
from physode.errors import ConfigError

__all__ = ["DIMENSIONLESS", "Unit", "conversion", "known_unit", "unit_of"]

_LONGEST = 100  # letters of a unit
_LARGEST_POWER = 20

_BASES = ("m", "g", "s", "A", "K", "mol", "cd")

# Of other units: how many of which.
_DERIVED: dict[str, tuple[float, str]] = {
    "N": (1e3, "g m s-2"), "J": (1e3, "g m2 s-2"), "W": (1e3, "g m2 s-3"), "Pa": (1e3, "g m-1 s-2"), "Hz": (1, "s-1"),
    "C": (1, "A s"), "V": (1e3, "g m2 s-3 A-1"), "F": (1e-3, "g-1 m-2 s4 A2"), "Ω": (1e3, "g m2 s-3 A-2"),
    "ohm": (1e3, "g m2 s-3 A-2"), "S": (1e-3, "g-1 m-2 s3 A2"), "T": (1e3, "g s-2 A-1"), "Wb": (1e3, "g m2 s-2 A-1"),
    "H": (1e3, "g m2 s-2 A-2"), "lm": (1, "cd"), "lx": (1, "cd m-2"), "Bq": (1, "s-1"), "Gy": (1, "m2 s-2"),
    "Sv": (1, "m2 s-2"), "kat": (1, "mol s-1"), "L": (1e-3, "m3"), "l": (1e-3, "m3"), "M": (1e3, "mol m-3"),
    "eV": (1.602176634e-16, "g m2 s-2"), "bar": (1e8, "g m-1 s-2"), "cal": (4184, "g m2 s-2"),
    "Da": (1.66053906892e-24, "g"), "t": (1e6, "g"), "pc": (3.0856775814913673e16, "m"), "degC": (1, "K"),
}  # fmt: skip
# These take no prefix.
_PLAIN: dict[str, tuple[float, str]] = {
    "rad": (1, ""), "sr": (1, ""), "deg": (math.pi / 180, ""), "°": (math.pi / 180, ""), "%": (0.01, ""),
    "ppm": (1e-6, ""), "ppb": (1e-9, ""), "°C": (1, "K"), "rpm": (1 / 60, "s-1"),
    "sec": (1, "s"), "second": (1, "s"), "seconds": (1, "s"), "min": (60, "s"), "minute": (60, "s"),
    "minutes": (60, "s"), "h": (3600, "s"), "hr": (3600, "s"), "hour": (3600, "s"), "hours": (3600, "s"),
    "d": (86400, "s"), "day": (86400, "s"), "days": (86400, "s"), "week": (604800, "s"), "weeks": (604800, "s"),
    "a": (31557600, "s"), "yr": (31557600, "s"), "year": (31557600, "s"), "years": (31557600, "s"),
    "atm": (101325e3, "g m-1 s-2"), "mmHg": (133322.387415, "g m-1 s-2"), "Torr": (101325e3 / 760, "g m-1 s-2"),
    "u": (1.66053906892e-24, "g"), "AU": (149597870700, "m"), "au": (149597870700, "m"),
    "ly": (9460730472580800, "m"), "in": (0.0254, "m"), "ft": (0.3048, "m"), "mi": (1609.344, "m"),
    "lb": (453.59237, "g"), "oz": (28.349523125, "g"), "mph": (0.44704, "m s-1"), "ha": (1e4, "m2"),
}  # fmt: skip
_PREFIXES = {
    "Y": 1e24, "Z": 1e21, "E": 1e18, "P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "h": 1e2, "da": 1e1,
    "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18,
}  # fmt: skip

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d_](?:[^\W\d]|_)*|[°%]C?|1(?![\w.]))(?:\s*(?:\^|\*\*)\s*\(?(?P<power>[+-]?\d+(?:\.\d+|/\d+)?)\)?"
    r"|(?P<short>[+-]?\d+))?|(?P<sign>[*/()]))"
)
_HIGH = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TIMES = str.maketrans({"·": "*", "⋅": "*", "×": "*", "−": "-"})  # noqa: RUF001


Powers = tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True)
class Unit:
    """A unit: its size, in bases, and their powers.

    Attributes
    ----------
    size
        How many products of its bases it is: of metre, gram, second, ampere, kelvin, mole, candela, and of names that
        are no other unit.
    powers
        Of the bases that it is made of, in alphabetical order; none is 0.
    words
        Powers of the units that it was written with, which print it.
    """

    size: float
    powers: Powers = ()
    words: Powers = field(default=(), compare=False)

    @property
    def is_count(self) -> bool:
        """Whether it is made of names that are no units: cells, pelts."""
        return bool(self.powers) and not any(base in _BASES for base, _ in self.powers)

    def __mul__(self, other: Unit) -> Unit:
        return Unit(self.size * other.size, _joined(self.powers, other.powers), _joined(self.words, other.words))

    def __truediv__(self, other: Unit) -> Unit:
        return self * other**-1

    def __pow__(self, exponent: float | Fraction) -> Unit:
        power = Fraction(exponent).limit_denominator(1000)
        return Unit(self.size ** float(power), _raised(self.powers, power), _raised(self.words, power))

    def __str__(self) -> str:
        up = [_power(word, power) for word, power in self.words if power > 0]
        down = [_power(word, -power) for word, power in self.words if power < 0]
        text = " ".join(up) or "1"
        return text if not down else f"{text}/{down[0]}" if len(down) == 1 else f"{text}/({' '.join(down)})"


def _joined(one: Powers, other: Powers) -> Powers:
    powers = dict(one)
    for base, power in other:
        powers[base] = powers.get(base, Fraction(0)) + power
    return tuple(sorted((base, power) for base, power in powers.items() if power))


def _raised(powers: Powers, exponent: Fraction) -> Powers:
    return tuple((base, power * exponent) for base, power in powers) if exponent else ()


def _power(base: str, power: Fraction) -> str:
    return base if power == 1 else f"{base}^{power}" if power.denominator == 1 else f"{base}^({power})"


DIMENSIONLESS = Unit(1.0)


@lru_cache(maxsize=1024)
def unit_of(text: str) -> Unit:
    """Read a unit, such as ``m/s^2``, ``1/min``, ``mg*L^-1``, ``kg m s-2``, ``mol/(L s)``; ``1`` and ``""`` have none.

    Products and quotients are taken from left to right. A name that is no unit of the SI or one used beside it, with or
    without prefix, is a dimension of its own: cells, pelts.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    clean = unicodedata.normalize("NFC", text).replace("µ", "μ").translate(_TIMES)
    clean = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda high: "^" + high[0].translate(_HIGH), clean).strip()
    if len(clean) > _LONGEST:
        raise ConfigError(f"the unit {shown(text)!r} has {len(clean)} letters; shorten it")
    try:
        unit, place = _product(clean, 0) if clean else (DIMENSIONLESS, 0)
    except (ValueError, ZeroDivisionError, OverflowError, RecursionError):
        place = -1
    if place != len(clean) or not 1e-200 < unit.size < 1e200:
        raise ConfigError(f"{shown(text)!r} is no unit; write it as in m/s^2, mg/L or 1/min")
    return unit


def known_unit(text: str | None) -> Unit | None:
    """Return what a table's own words say of a unit; None where they say nothing, or nothing that can be read."""
    if not text:
        return None
    try:
        return unit_of(text)
    except ConfigError:
        return None


def conversion(one: str | None, other: str | None) -> float | None:
    """Return how many of the other unit are one; None where that is not known, or they are of different dimensions."""
    source, target = known_unit(one), known_unit(other)
    if source is None or target is None or source.powers != target.powers:
        return None
    return source.size / target.size


def _product(text: str, place: int) -> tuple[Unit, int]:
    """Read units up to the end or a closing bracket."""
    unit, divided, empty = DIMENSIONLESS, False, True
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(text)
        sign = token["sign"]
        if sign == ")":
            break
        place = token.end()
        if sign in ("*", "/"):
            if (empty and sign == "*") or text[place:].strip() in ("", ")"):
                raise ValueError(text)
            divided, empty = sign == "/", False
            continue
        if sign == "(":
            factor, place = _product(text, place)
            closing = re.compile(r"\s*\)(?:\s*(?:\^|\*\*)\s*(?P<power>[+-]?\d+))?").match(text, place)
            if closing is None:
                raise ValueError(text)
            factor, place = factor ** int(closing["power"] or 1), closing.end()
        else:
            power = Fraction(token["power"] or token["short"] or 1)
            if abs(power) > _LARGEST_POWER:
                raise ValueError(text)
            factor = _named(token["name"]) ** power
        unit, divided, empty = (unit / factor if divided else unit * factor), False, False
    return unit, place


@lru_cache(maxsize=1024)
def _named(name: str) -> Unit:
    """Return the unit of a name, with or without prefix."""
    if name == "1":
        return DIMENSIONLESS
    exact = _without_prefix(name) or _listed(_PLAIN, name)
    if exact is None:
        for letters, size in _PREFIXES.items():
            rest = _without_prefix(name[len(letters) :]) if name.startswith(letters) else None
            if rest is not None:
                exact = Unit(size * rest.size, rest.powers)
                break
    unit = exact or Unit(1.0, ((name, Fraction(1)),))
    return Unit(unit.size, unit.powers, ((name, Fraction(1)),))


def _without_prefix(name: str) -> Unit | None:
    return Unit(1.0, ((name, Fraction(1)),)) if name in _BASES else _listed(_DERIVED, name)


def _listed(table: Mapping[str, tuple[float, str]], name: str) -> Unit | None:
    if name not in table:
        return None
    size, bases = table[name]
    parts = re.findall(r"([A-Za-z]+)(-?\d*)", bases)
    return Unit(size, tuple(sorted((base, Fraction(power or 1)) for base, power in parts)))
