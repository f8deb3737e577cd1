"""Settings of a run, each declared once: its default, what it is for, its choices or its range.

A frozen dataclass of :func:`setting` fields is checked when it is made, written to and read from a run's folder, and
described by its own docstring; the command line makes its options from the same fields (`physode.cli.options`). torch
is not imported here, and not by a module that only declares settings: ``--help`` shall not wait for it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints

from physode.errors import ConfigError

__all__ = [
    "ATOL", "EPOCHS", "NETWORK", "POSITIVE", "RTOL", "SEED", "SHARE", "STEP", "UNIT", "WIDTH",
    "Range", "Setting", "Settings", "setting", "whole",
]  # fmt: skip

_LARGE = "double precision cannot hold its square; choose other units"
_SMALL = "its square is 0 in double precision; give 0 where that is meant, or choose other units"


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be.

    Attributes
    ----------
    least, most, above, below
        The range in which it has a meaning: bounds that belong to it, and bounds that do not.
    largest, why
        The largest size that can be worked with, and why.
    smallest, why_small
        The smallest size apart from 0, and why.
    finite
        Whether infinities are refused.
    whole
        Whether only whole numbers belong to it.
    sized
        Whether settings made in Python are held to the sizes, too, not only those of the command line.
    """

    least: float | None = None
    most: float | None = None
    _: dataclasses.KW_ONLY
    above: float | None = None
    below: float | None = None
    largest: float = 1e150
    why: str = _LARGE
    smallest: float = 1e-150
    why_small: str = _SMALL
    finite: bool = True
    whole: bool = False
    sized: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether a value is a number of the range; its size is another matter."""
        kind = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number = float(value)
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
            and (math.isfinite(number) or (not self.finite and not math.isnan(number)))
        )

    def refusal(self, number: float) -> str | None:
        """Return why a number of the range cannot be worked with; None if it can."""
        if not math.isfinite(number):
            return None
        if abs(number) > self.largest:
            return f"larger than {self.largest if self.whole else format(self.largest, 'g')}: {self.why}"
        if 0 < abs(number) < self.smallest:
            return f"smaller than {self.smallest:g}: {self.why_small}"
        return None

    def __str__(self) -> str:
        """Say what belongs to it: "above 0, at most 1"."""
        least, most, above, below = map(self._word, (self.least, self.most, self.above, self.below))
        if above and below:
            return f"between {above} and {below}"
        if least and (most or below):
            return f"from {least} to {most}" if most else f"from {least} to below {below}"
        lower = f"above {above}" if above else f"at least {least}" if least else ""
        upper = f"at most {most}" if most else ""
        finite = "finite" if self.finite and not (self.whole or upper) else ""
        return ", ".join(filter(None, (lower, upper, finite)))

    def _word(self, bound: float | None) -> str:
        if bound is None:
            return ""
        return str(int(bound)) if self.whole else f"{bound:g}"


def whole(least: int = 0, most: int | None = None, *, largest: int = 10**9, why: str = "") -> Range:
    """Return a range of whole numbers; `largest` and `why` say what can be worked with where there is no `most`."""
    reason = why or "nobody could wait for it, or hold it; give less"
    size = largest if most is None else most
    return Range(least, most, largest=size, why=reason, smallest=0.0, whole=True, sized=True)


POSITIVE = Range(above=0.0)
SHARE = Range(above=0.0, below=1.0)
UNIT = Range(0, below=1)
NETWORK = Range(
    above=0.0,
    largest=1e18,
    why="single precision cannot hold its square; give less",
    smallest=1e-30,
    why_small="single precision takes it for 0; give more",
)
"""What networks, which compute in single precision, are to meet."""
ATOL = Range(
    above=0.0,
    largest=1e18,
    why="no step would be held to it; give less",
    smallest=1e-30,
    why_small="no step could meet it; give more",
)
RTOL = dataclasses.replace(ATOL, largest=1.0, why="no step would be held to it; give 1 or less")
STEP = Range(above=0.0, smallest=1e-12, why_small="so many steps take for ever; give more")
SEED = whole(0, 2**63 - 1)
EPOCHS = whole(1)
WIDTH = whole(1, largest=65_536, why="no memory holds so many weights; give less")


@dataclass(frozen=True)
class Setting:
    """What is known of one setting beside its name, type and default.

    Attributes
    ----------
    help
        What it is for: in the docstring and on the command line.
    choices
        What a text may be; empty for any.
    range
        What a number, or each of several, may be.
    example
        Of several numbers.
    default
        The default in words, where it is not the field's own.
    option
        The option of the command line, where it is not the name's.
    """

    help: str
    choices: tuple[str, ...] = ()
    range: Range | None = None
    example: tuple[float, ...] = ()
    default: str | None = None
    option: str | None = None


def setting(default: Any, help: str, within: Range | None = None, **about: Any) -> Any:  # noqa: A002
    """Return a dataclass's field that carries a :class:`Setting`; what is None is decided from the rest.

    Parameters
    ----------
    default
        The field's default.
    help, within, about
        The :class:`Setting`'s attributes, `within` its range; ``shown`` is its default in words.
    """
    about["default"] = about.pop("shown", None)
    metadata = {"setting": Setting(help, range=within, **about)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """A frozen dataclass of settings: checked when it is made, kept as what TOML can say."""

    def __init_subclass__(cls) -> None:
        """Describe every setting in the docstring."""
        fields = {name: getattr(cls, name, None) for name in vars(cls).get("__annotations__", {})}
        known = {n: f.metadata["setting"] for n, f in fields.items() if isinstance(f, dataclasses.Field) and f.metadata}
        lines = (line for name, each in known.items() for line in (name, f"    {each.help}"))
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes", "----------", *lines])

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` where a value is not of its setting's kind, choices or range."""
        for name, (kind, each) in self.declared().items():
            value = getattr(self, name)
            if value is not None:
                _check(name, value, kind, each)

    @classmethod
    def declared(cls) -> dict[str, tuple[Any, Setting]]:
        """Return each setting's type, without None, and what else is known of it, by name."""
        hints = get_type_hints(cls)
        return {
            each.name: (_without_none(hints[each.name]), each.metadata["setting"])
            for each in dataclasses.fields(cls)  # type: ignore[arg-type]
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what is set, as TOML can hold it."""
        return {name: _plain(value) for name in self.declared() if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_dict` returned.

        Raises
        ------
        ConfigError
            If a setting is unknown or cannot be.
        """
        declared = cls.declared()
        unknown = sorted(set(content) - set(declared))
        if unknown:
            raise ConfigError(f"unknown settings: {', '.join(unknown)}")
        return cls(**{name: _frozen(value) for name, value in content.items()})


def _without_none(kind: Any) -> Any:
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return kinds[0] if len(kinds) == 1 and len(get_args(kind)) == 2 and get_origin(kind) is not tuple else kind


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: list(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    """Return lists as tuples, and numbers by their names as tuples of floats where they are such."""
    if isinstance(value, Mapping):
        return {
            key: tuple(map(float, each)) if isinstance(each, list) and _are_real(each) else each
            for key, each in value.items()
        }
    return tuple(value) if isinstance(value, list) else value


def _are_real(values: Any) -> bool:
    return all(not isinstance(each, bool) and isinstance(each, numbers.Real) for each in values)


def _check(name: str, value: Any, kind: Any, about: Setting) -> None:
    """Raise ``ConfigError`` where a value is not of a kind, or not of the choices or the range."""
    if get_origin(kind) is tuple and get_args(kind)[0] is not str:
        several = isinstance(value, tuple | list)
        for each in value if several else (value,):
            _check_number(name, each, get_args(kind)[0], about, of=value, several=several)
    elif kind in (int, float):
        _check_number(name, value, kind, about, of=value, several=True)
    elif get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(v, tuple) and _are_real(v) for v in value.values()):
            raise ConfigError(f"`{name}` must hold lists of numbers; got {value!r}")
    elif about.choices and value not in about.choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(about.choices)}; got {value!r}")
    elif not isinstance(value, get_origin(kind) or kind):
        what = {bool: "true or false", str: "text"}.get(kind, "a list of names")
        raise ConfigError(f"`{name}` must be {what}; got {value!r}")


def _check_number(name: str, number: Any, kind: type, about: Setting, *, of: Any, several: bool) -> None:
    within = about.range or (whole() if kind is int else Range())
    if not several or number not in within:
        many = "s" if about.example else ""
        what = f"whole number{many}, {within}" if within.whole else str(within)
        what = f"numbers {what}" if many and not within.whole else what
        what = f"a {what}" if within.whole and not many else what
        example = f", such as {about.example}" if about.example else ""
        raise ConfigError(f"`{name}` must be {what}{example}; got {of!r}")
    refusal = within.refusal(number) if within.sized else None
    if refusal is not None:
        raise ConfigError(f"`{name}` must not be {refusal}; got {of!r}")
