"""Figures of tables: a mark for every number found, and a hollow one for the paper's beside it; methods' colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from physode.plotting.style import COLOURS as PALETTE
from physode.plotting.style import INK, new_figure, plain, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METHODS = {"aca": PALETTE[0], "adjoint": PALETTE[1], "naive": PALETTE[2], "forward": INK, "reverse": PALETTE[3]}
LABELS = {"aca": "ACA", "adjoint": "adjoint", "naive": "naive"}
"""Names of the gradient methods in figures."""

_OTHERS = {"rnn-gru": PALETTE[5], "gru-d": PALETTE[5], "rnn": PALETTE[6], "lstm": PALETTE[4], "resnet": PALETTE[3]}


def colour_of(name: str) -> str:
    """Return the colour of a method or network, the same in every figure, by what its name contains.

    The gradient methods come first: NODE18-ACA has ACA's colour. Of anything else, the colour is that of text.
    """
    lower = name.lower()
    return next((colour for part, colour in {**_METHODS, **_OTHERS}.items() if part in lower), INK)


_MARKS = "osD^v"
_APART = 0.2  # of lines, between marks of one


@dataclass(frozen=True)
class Mark:
    """A number, and from where to where it may be; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def within(cls, value: float | None, error: float | None) -> Self:
        """Return a number with an error to either side; without one where that is not known."""
        return cls(value) if value is None or error is None else cls(value, value - error, value + error)


def draw_comparison(
    names: Sequence[str],
    ours: Mapping[str, Sequence[Mark]],
    paper: Mapping[str, Sequence[Mark]],
    *,
    quantity: str,
    title: str,
) -> Figure:
    """Draw one line a name, with ours, filled, and the paper's, hollow.

    Parameters
    ----------
    names
        Of the lines, from the top.
    ours
        A mark for each line, by what is compared, at most five things: a colour and a shape each. A single one may have
        an empty name.
    paper
        The same of the paper; empty where it has no such numbers.
    quantity
        What the marks say, with its unit.
    title
        Of the figure; broken after its first colon.
    """
    with styled():
        figure = new_figure(7.6, 1.5 + (0.26 + 0.1 * len(ours)) * len(names))
        axes: Any = figure.add_subplot()
        for number, (key, marks) in enumerate(ours.items()):
            shift = _APART * (number - (len(ours) - 1) / 2)
            colour = PALETTE[number % len(PALETTE)]
            _draw(axes, marks, shift, label=key or "here", mfc=colour, mec=colour, marker=_MARKS[number], ms=5.5)
            if key in paper:
                label = f"{key}, the paper" if key else "the paper"
                _draw(axes, paper[key], shift, label=label, mfc="none", mec=colour if key else INK, marker="d", ms=7)
        axes.set_yticks(range(len(names)), list(map(plain, names)))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(quantity)
        figure.suptitle(title.replace(": ", ":\n", 1), x=0.01, ha="left", weight="bold", size=11)
        figure.legend(loc="outside lower center", ncols=3)
        return figure


def _draw(axes: Any, marks: Sequence[Mark], shift: float, **look: Any) -> None:
    known = [(place + shift, mark) for place, mark in enumerate(marks) if mark.value is not None]
    for place, mark in known:
        if mark.low is not None and mark.high is not None:
            axes.plot([mark.low, mark.high], [place, place], color=look["mec"], lw=1.0)
    axes.plot([mark.value for _, mark in known], [place for place, _ in known], ls="", **look)
