"""Results as people read them: a few facts and a table, as text on a terminal and as HTML in a notebook.

Numbers have the digits that their errors leave: :func:`rounded` shows an estimate to the second digit of its standard
error, so that what differs by less than that looks the same, and intervals differ where they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

__all__ = ["Described", "Summary", "decimals", "error_text", "frame", "rounded", "short_number"]

_MOST_ROWS = 20
_MOST_DECIMALS = 17  # what a number in double precision can have
_LARGE = 1e6


@dataclass(frozen=True)
class Summary:
    """What there is to say of a result.

    Attributes
    ----------
    title
        What it is, and how it ended.
    facts
        Short texts by name.
    columns, rows
        A table of texts, of which twenty rows are shown.
    notes
        Sentences that a reader should know.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Lines: the title, the table, the facts, the notes."""
        lines = [self.title]
        if self.rows:
            table = [self.columns, *self.rows[:_MOST_ROWS]]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
            lines += [f"  ... {more} more"] if (more := len(self.rows) - _MOST_ROWS) > 0 else []
        lines += ["  " + ", ".join(f"{name} {value}" for name, value in self.facts.items())] if self.facts else []
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    @property
    def html(self) -> str:
        """The same for a notebook; names that came from files are escaped."""
        parts = [f"<strong>{escape(self.title)}</strong>"]
        if self.rows:
            parts.append(_html_table(self.columns, self.rows[:_MOST_ROWS]))
            parts += [f"<p>... {more} more</p>"] if (more := len(self.rows) - _MOST_ROWS) > 0 else []
        if self.facts:
            parts.append(_html_table((), [(name, value) for name, value in self.facts.items()]))
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        return "<div>" + "".join(parts) + "</div>"


class Described:
    """A result whose ``repr`` is its summary, in a notebook as HTML."""

    @property
    def summary(self) -> Summary:
        """What there is to say of it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.summary.text

    def _repr_html_(self) -> str:
        return self.summary.html


def rounded(value: float | None, error: float | None) -> str | None:
    """Return a number to the second digit of an error, or, where the error is not known, to six digits.

    Parameters
    ----------
    value
        None where there is none.
    error
        The standard error that says how many digits are known. The ends of an interval are shown to the same decimals.

    Examples
    --------
    >>> rounded(1.0999999994, 5.5e-8), rounded(0.148112, 0.00045), rounded(123456.7, 1200.0), rounded(2 / 3, None)
    ('1.099999999', '0.14811', '123500', '0.666667')
    """
    if value is None:
        return None
    places = decimals(error)
    if places is None or not math.isfinite(value):
        return short_number(value)
    if abs(value) >= _LARGE or (value and abs(value) < 1e-4):
        digits = places + math.floor(math.log10(abs(value)))
        return f"{value:.{min(max(digits, 1), _MOST_DECIMALS)}e}"
    return f"{round(value, places):.{max(places, 0)}f}"


def decimals(error: float | None) -> int | None:
    """Return how many decimals the second digit of an error has, negative before the point; None where it says none."""
    if error is None or not math.isfinite(error) or error <= 0:
        return None
    return min(1 - math.floor(math.log10(error)), _MOST_DECIMALS)


def error_text(error: float | None) -> str | None:
    """Return a standard error with two digits; None where there is none."""
    return None if error is None else f"{error:.2g}"


def short_number(value: float | None) -> str:
    """Return a number with six digits, a dash for none."""
    return "-" if value is None else f"{value:.6g}"


def frame(columns: Mapping[str, Any], *, index: str | None = None, what: str = "a table") -> Any:
    """Return columns as a pandas DataFrame; `what` they are is said where pandas is missing.

    Raises
    ------
    ConfigError
        If pandas is not installed.
    """
    from physode.optional_imports import needs

    pd = needs("pandas", extra="frames", purpose=f"{what} as a DataFrame")
    table = pd.DataFrame(columns)
    return table if index is None else table.set_index(index)


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return "<table>" + (f"<thead><tr>{head}</tr></thead>" if heads else "") + f"<tbody>{body}</tbody></table>"
