"""Right-hand sides that jump at a time which is to be estimated: their solutions have no derivative that steps show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from physode.datasets.files import shown
from physode.equations.declarations import Declarations
from physode.equations.scope import TIME
from physode.equations.thresholds import find_times
from physode.equations.tree import Expression
from physode.errors import ConfigError
from physode.estimation.problem import Unknown

__all__ = ["check_jumps"]

_NEAR = 1e-7  # of a time: from where sides are compared


def check_jumps(
    declarations: Declarations, constants: Mapping[str, Expression], unknowns: Sequence[Unknown], where: str
) -> None:
    """Raise `ConfigError` where an equation jumps at a time that depends on a free unknown.

    A kink, such as that of ``max(t - lag, 0)``, is no jump. Both sides are compared at the guesses.

    Parameters
    ----------
    declarations
        The model.
    constants
        Each constant as an expression of unknowns.
    unknowns
        With their guesses.
    where
        The model file, for the message.
    """
    free = {unknown.name for unknown in unknowns if unknown.free}
    guesses = {unknown.name: torch.tensor(unknown.guess, dtype=torch.float64) for unknown in unknowns}
    values = {label: each(guesses).double() for label, each in constants.items()}
    varying = [*(state.name for state in declarations.states), *(each.name for each in declarations.inputs)]
    values |= {label: torch.tensor(0.7 + 0.11 * i, dtype=torch.float64) for i, label in enumerate(varying)}
    for state in declarations.states:
        for time in find_times(state.rate, varying):
            moved = sorted(label for label in time.names if constants[label].names & free)
            if moved and _jumps(state.rate, time, values):
                what = f"{state.name}' jumps at t = {shown(str(time))}, where a fit sees no derivative"
                remedy = f"keep {moved[0]} known, or make the jump smooth by sigmoid(.../width)"
                raise ConfigError(f"{where}, [constants] {moved[0]}: {what}; {remedy}")


def _jumps(rate: Expression, time: Expression, values: Mapping[str, torch.Tensor]) -> bool:
    """Whether the difference of both sides stays as their distance shrinks."""
    at = float(time(values))
    near, far = (_difference(rate, values, at, distance * max(1.0, abs(at))) for distance in (_NEAR, 10.0 * _NEAR))
    return near > 0.5 * far


def _difference(rate: Expression, values: Mapping[str, torch.Tensor], at: float, distance: float) -> float:
    before, after = (
        float(rate({**values, TIME: torch.tensor(at + side * distance, dtype=torch.float64)})) for side in (-1.0, 1.0)
    )
    return abs(after - before)
