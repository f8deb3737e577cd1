"""Types of numeric options: finite, and of a size that can be worked with; what lies beyond is refused with why."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = [
    "ATOL", "EPOCHS", "NETWORK", "POSITIVE", "RTOL", "SECONDS", "SEED", "SHARE", "STEP", "THREADS",
    "WIDTH", "Real", "Whole", "finite_numbers",
]  # fmt: skip

LARGEST, SMALLEST = 1e150, 1e-150
"""Sizes of numbers whose squares double precision holds."""

_LARGE = "double precision cannot hold its square; choose other units"
_SMALL = "its square is 0 in double precision; give 0 where that is meant, or choose other units"


class Real(click.FloatRange):
    """A finite number.

    Parameters
    ----------
    least, above, most, below
        The range that the option has a meaning in: bounds that belong to it, and bounds that do not.
    largest, why
        The largest size that can be worked with, and why.
    smallest, why_small
        The smallest size apart from 0, and why.
    finite
        Whether to refuse what is not finite; else that is left to the library, which says what it is for.
    """

    def __init__(
        self,
        least: float | None = None,
        most: float | None = None,
        *,
        above: float | None = None,
        below: float | None = None,
        largest: float = LARGEST,
        why: str = _LARGE,
        smallest: float = SMALLEST,
        why_small: str = _SMALL,
        finite: bool = True,
    ) -> None:
        super().__init__(
            min=least if above is None else above,
            max=most if below is None else below,
            min_open=above is not None,
            max_open=below is not None,
        )
        self.largest, self.why, self.smallest, self.why_small = largest, why, smallest, why_small
        self.finite = finite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or fail."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            if not self.finite:
                return number
            self.fail(f"{value} is not a finite number.", param, ctx)
        if abs(number) > self.largest:
            self.fail(f"{value} is larger than {self.largest:g}: {self.why}.", param, ctx)
        if 0 < abs(number) < self.smallest:
            self.fail(f"{value} is smaller than {self.smallest:g}: {self.why_small}.", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number.

    Parameters
    ----------
    least, most
        The range that the option has a meaning in.
    largest, why
        The largest that can be worked with, and why.
    """

    def __init__(self, least: int = 0, most: int | None = None, *, largest: int = 10**9, why: str = "") -> None:
        super().__init__(min=least, max=most)
        self.largest, self.why = largest, why or "nobody could wait for it, or hold it; give less"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail."""
        number = int(super().convert(value, param, ctx))
        if self.max is None and number > self.largest:
            self.fail(f"{value} is larger than {self.largest}: {self.why}.", param, ctx)
        return number


POSITIVE = Real(above=0.0)
SECONDS = Real(above=0.0, largest=1e9, why="a run of decades has no limit; leave it out", smallest=1e-9)
SHARE = Real(above=0.0, below=1.0)

_WHY, _WHY_SMALL = "single precision cannot hold its square; give less", "single precision takes it for 0; give more"
NETWORK = Real(above=0.0, largest=1e18, why=_WHY, smallest=1e-30, why_small=_WHY_SMALL)
"""What networks, which compute in single precision, are to meet."""

ATOL = Real(above=0.0, largest=1e18, why="no step would be held to it; give less", smallest=1e-30,
            why_small="no step could meet it; give more")  # fmt: skip
RTOL = Real(above=0.0, largest=1.0, why="no step would be held to it; give 1 or less", smallest=1e-30,
            why_small="no step could meet it; give more")  # fmt: skip
STEP = Real(above=0.0, smallest=1e-12, why_small="so many steps take for ever; give more")

SEED = Whole(0, 2**63 - 1)
EPOCHS = Whole(1)
WIDTH = Whole(1, largest=65_536, why="no memory holds so many weights; give less")
THREADS = Whole(1, largest=1024, why="give no more than the machine has cores")


def finite_numbers(text: str, *, infinite: bool = False) -> tuple[float, ...]:
    """Return the numbers of a text with commas between them.

    Parameters
    ----------
    infinite
        Whether infinities stand for no bound.

    Raises
    ------
    click.BadParameter
        If it is none, or a number cannot be worked with.
    """
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not numbers with commas between them.") from error
    for number in numbers:
        if math.isnan(number) or (math.isinf(number) and not infinite):
            raise click.BadParameter(f"{text!r} has a number that is not finite.")
        if math.isfinite(number) and abs(number) > LARGEST:
            raise click.BadParameter(f"{text!r} has a number larger than {LARGEST:g}: {_LARGE}.")
    return numbers
