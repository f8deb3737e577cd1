"""Types of numeric options: finite, and of a size that can be worked with; what lies beyond is refused with why."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self, TypeVar

import click

from physode.training import settings
from physode.training.settings import Range, whole

__all__ = [
    "POSITIVE", "SECONDS", "STEP", "THREADS", "Real", "Whole", "finite_numbers", "numbers_between_commas",
]  # fmt: skip

Number = TypeVar("Number", int, float)


class Real(click.FloatRange):
    """A number of a :class:`~physode.training.settings.Range`, whose arguments it takes.

    What is not finite is refused, or, where the range says so, left to the library, which says what it is for.
    """

    def __init__(self, least: float | None = None, most: float | None = None, **limits: Any) -> None:
        self.range = Range(least, most, **limits)
        super().__init__(
            min=least if self.range.above is None else self.range.above,
            max=most if self.range.below is None else self.range.below,
            min_open=self.range.above is not None,
            max_open=self.range.below is not None,
        )

    def _describe_range(self) -> str:
        """Say nothing of a range without bounds."""
        return "" if self.min is None and self.max is None else super()._describe_range()

    @classmethod
    def of(cls, within: Range) -> Self:
        """Return the type of a setting's range."""
        return cls(**{name: value for name, value in vars(within).items() if name != "whole"})

    @property
    def finite(self) -> bool:
        """Whether what is not finite is refused."""
        return self.range.finite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or fail."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number) and self.finite:
            self.fail(f"{value} is not a finite number.", param, ctx)
        refusal = self.range.refusal(number)
        if refusal is not None:
            self.fail(f"{value} is {refusal}.", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number, see :func:`physode.training.settings.whole`."""

    def __init__(self, least: int = 0, most: int | None = None, *, largest: int = 10**9, why: str = "") -> None:
        super().__init__(min=least, max=most)
        self.range = whole(least, most, largest=largest, why=why)

    @classmethod
    def of(cls, within: Range) -> Self:
        """Return the type of a setting's range."""
        most = None if within.most is None else int(within.most)
        return cls(int(within.least or 0), most, largest=int(within.largest), why=within.why)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail."""
        number = int(super().convert(value, param, ctx))
        refusal = self.range.refusal(number)
        if refusal is not None:
            self.fail(f"{value} is {refusal}.", param, ctx)
        return number


POSITIVE, STEP = Real.of(settings.POSITIVE), Real.of(settings.STEP)
SECONDS = Real(above=0.0, largest=1e9, why="a run of decades has no limit; leave it out", smallest=1e-9)
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
        if math.isfinite(number) and abs(number) > Range().largest:
            raise click.BadParameter(f"{text!r} has a number {Range().refusal(number)}.")
    return numbers


def numbers_between_commas(
    number: type[Number], example: str
) -> Callable[[click.Context, click.Parameter, str | None], tuple[Number, ...] | None]:
    """Return a callback that reads numbers with commas between: finite ones, or whole ones, which are widths."""
    widths = number is int

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Number, ...] | None:
        if value is None:
            return None
        try:
            found = tuple(number(part) for part in value.split(",") if part.strip())
        except ValueError as error:
            what = "whole numbers" if widths else "numbers"
            raise click.BadParameter(f"{value!r} is not {what} with commas between, such as {example}.") from error
        for each in found:
            if widths and each < 1:
                raise click.BadParameter(f"{value!r} has a width below 1.")
            refusal = settings.WIDTH.refusal(each) if widths else None
            if refusal is not None:
                raise click.BadParameter(f"{value!r} has a width {refusal}.")
            if not math.isfinite(each):
                raise click.BadParameter(f"{value!r} has a number that is not finite.")
        return found

    return read
