"""Settings as TOML text; Python reads TOML but does not write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["dumps"]

_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dumps(settings: Mapping[str, Any]) -> str:
    """Write nested mappings of strings, numbers, truth values and lists of these as TOML.

    Floats keep every digit, so that reading the text gives the same settings back.

    Raises
    ------
    TypeError
        For a value that TOML has no place for; None is one.
    """
    return "\n".join(_table(settings, ())).strip() + "\n"


def _table(settings: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(name)} = {_value(name, value)}" for name, value in settings.items() if not _is_table(value)]
    for name, value in settings.items():
        if _is_table(value):
            inner = (*path, _key(name))
            lines += ["", f"[{'.'.join(inner)}]", *_table(value, inner)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _text(name)


def _value(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_value(name, item) for item in value)}]"
        case _:
            raise TypeError(f"`{name}` cannot be written as TOML: {type(value).__name__}")


def _text(value: str) -> str:
    return f'"{"".join(map(_letter, value))}"'


def _letter(letter: str) -> str:
    if letter in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[letter]
    return f"\\u{ord(letter):04X}" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter
