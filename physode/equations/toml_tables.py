"""Tables of a TOML file, read key by key; what is wrong in them is one line that names file, table and key."""

from __future__ import annotations

import difflib
import math
import tomllib
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from physode.datasets.files import check_file, shown
from physode.errors import ConfigError, DataError

__all__ = ["Section", "near", "read_toml"]

_LARGEST = 1_000_000  # bytes of a file


def read_toml(path: Path) -> Section:
    """Read a file of TOML.

    Raises
    ------
    ConfigError
        If it is missing, larger than 1 MB, or no TOML.
    """
    try:
        check_file(path, largest=_LARGEST)
        return Section(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
    except DataError as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} holds bytes that are no text; save it in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} cannot be read as TOML: {shown(str(error), longest=200)}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep") from None


def near(name: str, names: Collection[str]) -> str:
    """Return which of some names was meant, for the end of a message."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    listed = ", ".join(shown(each) for each in list(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"there are {listed}" if names else "there are none"


class Section:
    """One table of a file.

    Parameters
    ----------
    content
        Its keys and values.
    file
        The file's name.
    path
        The names of the tables that it lies in, and its own.
    """

    def __init__(self, content: Mapping[str, Any], file: str, path: tuple[str, ...] = ()) -> None:
        self.content = content
        self.file = file
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def where(self, key: str | None = None) -> str:
        """Say where a key is: ``model.toml, [constants] k``."""
        table = f", [{'.'.join(map(shown, self.path))}]" if self.path else ""
        return f"{self.file}{table}" + ("" if key is None else f"{'' if self.path else ','} {shown(key)}")

    def refusal(self, reason: str, key: str | None = None) -> ConfigError:
        """Return the error that says what is wrong with a key."""
        return ConfigError(f"{self.where(key)}: {reason}")

    def take(self, key: str) -> Any:
        """Return a value as it stands; None where there is none."""
        return self.content.get(key)

    def only(self, *keys: str) -> None:
        """Refuse all keys but some."""
        for key in self.content:
            if key not in keys:
                raise self.refusal(f"there is no such key; {near(key, keys)}", key)

    def text(self, key: str, default: str | None = None, choices: Sequence[str] = ()) -> str | None:
        """Return a text; `default` where there is none."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str) or (choices and value not in choices):
            wanted = f"one of {', '.join(choices)}" if choices else "text in quotation marks"
            raise self.refusal(f"must be {wanted}, not {_as_written(value)}", key)
        return value

    def number(self, key: str, *, finite: bool = True) -> float | None:
        """Return a number; None where there is none."""
        value = self.take(key)
        return None if value is None else self.as_number(value, key, finite=finite)

    def as_number(self, value: Any, key: str, *, finite: bool = True) -> float:
        """Return a value as a number, unless it is none."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(f"must be a number, not {_as_written(value)}", key)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isnan(number) or (finite and math.isinf(number)):
            raise self.refusal(f"must be a finite number, not {_as_written(value)}", key)
        return number

    def numbers(self, key: str, *, finite: bool = True, count: int | None = None) -> tuple[float, ...] | None:
        """Return a list of numbers; None where there is none."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, list) or (count is not None and len(value) != count):
            wanted = "a list of numbers" if count is None else f"a list of {count} numbers"
            raise self.refusal(f"must be {wanted}, not {_as_written(value)}", key)
        return tuple(self.as_number(each, key, finite=finite) for each in value)

    def flag(self, key: str, default: bool | None = None) -> bool | None:
        """Return true or false; `default` where there is neither."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refusal(f"must be true or false, not {_as_written(value)}", key)
        return value

    def of_names(self) -> Section:
        """Return it with keys as expressions have names: letters that look alike are the same (NFKC)."""
        content = {unicodedata.normalize("NFKC", key): value for key, value in self.content.items()}
        return Section(content, self.file, self.path)

    def table(self, key: str) -> Section:
        """Return a table in this one; an empty one where there is none."""
        value = self.take(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.refusal(f"must be a table, not {_as_written(value)}", key)
        return Section(value, self.file, (*self.path, key))

    def tables(self, key: str) -> list[Section]:
        """Return a list of tables; an empty one where there is none."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            raise self.refusal(f"must be a list of tables, not {_as_written(value)}", key)
        return [Section(each, self.file, (*self.path, f"{key} {i}")) for i, each in enumerate(value, 1)]


def _as_written(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {shown(value)!r}"
        case Mapping():
            return "a table"
        case list():
            return "a list" if any(isinstance(each, list | Mapping) for each in value) else shown(str(value))
        case _:
            return shown(str(value))
