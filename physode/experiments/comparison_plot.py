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

_OTHERS = {"rnn-gru": PALETTE[5], "gru-d": PALETTE[5], "rnn": PALETTE[6], "lstm": PALETTE[4], "resnet": PALETTE[3]} | {
    "node, rk4": PALETTE[4],
    "node, euler": PALETTE[5],
}


def colour_of(name: str) -> str:
    """Return the colour of a method or network, the same in every figure, by what its name contains.

    The gradient methods come first: NODE18-ACA has ACA's colour. The galaxy paper's NODE, without more, is trained by
    the adjoint method. Of anything else, the colour is that of text.
    """
    lower = "adjoint" if name == "NODE" else name.lower()
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
    colours: Sequence[str] = (),
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
        Of the figure; broken after its first colon and its semicolons.
    colours
        Of the lines, see :func:`colour_of`; without them, of what is compared.
    """
    with styled():
        figure = new_figure(7.6, 1.5 + (0.26 + 0.1 * len(ours)) * len(names))
        axes: Any = figure.add_subplot()
        for number, (key, marks) in enumerate(ours.items()):
            shift = _APART * (number - (len(ours) - 1) / 2)
            own = PALETTE[number % len(PALETTE)] if colour_of(key) == INK else colour_of(key)
            of_lines = list(colours) or [own] * len(marks)
            here = _Look(key or "here", INK if colours else own, _MARKS[number], 5.5, filled=True)
            _draw(axes, marks, shift, of_lines, here)
            if key in paper:
                ink = not (key or colours)
                theirs = _Look(f"{key}, the paper" if key else "the paper", INK if ink else here.colour, "d", 7.0)
                _draw(axes, paper[key], shift, [INK] * len(marks) if ink else of_lines, theirs)
        axes.set_yticks(range(len(names)), list(map(plain, names)))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(quantity)
        figure.suptitle(title.replace(": ", ":\n", 1).replace("; ", ";\n"), x=0.01, ha="left", weight="bold", size=11)
        figure.legend(loc="outside lower center", ncols=3)
        return figure


@dataclass(frozen=True)
class _Look:
    """How marks look; their colour is that of the legend, lines may have others."""

    label: str
    colour: str
    marker: str
    size: float
    filled: bool = False

    def point(self, axes: Any, values: Sequence[float], places: Sequence[float], colour: str, **more: Any) -> None:
        """Draw marks in a colour."""
        face = colour if self.filled else "none"
        axes.plot(values, places, ls="", mfc=face, mec=colour, marker=self.marker, ms=self.size, **more)


def _draw(axes: Any, marks: Sequence[Mark], shift: float, colours: Sequence[str], look: _Look) -> None:
    """Draw a mark a line, with its interval, in the lines' colours."""
    look.point(axes, [], [], look.colour, label=look.label)
    for place, (mark, colour) in enumerate(zip(marks, colours, strict=True)):
        if mark.low is not None and mark.high is not None and mark.value is not None:
            axes.plot([mark.low, mark.high], [place + shift] * 2, color=colour, lw=1.0)
        if mark.value is not None:
            look.point(axes, [mark.value], [place + shift], colour)
