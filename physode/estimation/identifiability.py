"""What the data determine, and what not: open combinations, constants that move together, and those at bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from physode.estimation.estimate import Estimate

_CORRELATED = 0.99


@dataclass(frozen=True)
class Identifiability:
    """What keeps unknowns from being determined, each on its own.

    Attributes
    ----------
    combinations
        That are not determined: by name, how much the value moves relative to itself (absolutely where it is 0), the
        largest by 1. One name alone is an unknown that nothing measured depends on.
    pairs
        Names and correlation of unknowns whose estimates are correlated by more than 0.99.
    at_bounds
        Names of unknowns that ended at a bound, and the bounds.
    """

    combinations: tuple[Mapping[str, float], ...]
    pairs: tuple[tuple[str, str, float], ...]
    at_bounds: tuple[tuple[str, float], ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What this means; one sentence where there is nothing to complain about."""
        return self.complaints or ("the data determine all constants",)

    @property
    def complaints(self) -> tuple[str, ...]:
        """What keeps unknowns from being determined, a sentence each."""
        lines = [_open_sentence(combination) for combination in self.combinations]
        lines += [
            f"{one} and {other} are correlated by {correlation:.4g}: the data determine a combination of them far "
            "better than either"
            for one, other, correlation in self.pairs
        ]
        lines += [
            f"{name} ended at its bound {bound:g}: widen the bound, or ask whether the equation needs it"
            for name, bound in self.at_bounds
        ]
        return tuple(lines)


def identifiability(estimate: Estimate) -> Identifiability:
    """Return what keeps unknowns from being determined, to first order at the estimate."""
    correlation, names = estimate.correlation, [unknown.name for unknown in estimate.problem.scales.free]
    pairs = [
        (names[i], names[j], float(correlation[i, j]))
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > _CORRELATED
    ]
    return Identifiability(
        combinations=open_combinations(estimate),
        pairs=tuple(sorted(((b, a, value) for a, b, value in pairs), key=lambda pair: -abs(pair[2]))),
        at_bounds=tuple((names[i], estimate.values[names[i]]) for i in estimate.at_bound.nonzero().flatten().tolist()),
    )


def open_combinations(estimate: Estimate) -> tuple[Mapping[str, float], ...]:
    """Return the combinations of free unknowns that the data leave undetermined: by name, how far each value moves.

    They are eigenvectors of the information, scaled to a unit diagonal, whose eigenvalues vanish beside the largest:
    moving the unknowns along one changes nothing that was measured. Moves are relative to the values, absolute where
    these are 0, and the largest is 1. Unknowns that nothing measured depends on come first, alone.
    """
    scales, directions = estimate.problem.scales, estimate.modes.open
    values = scales.values(estimate.z[None])[0]
    moves = directions * scales.slopes(estimate.z) / torch.where(values == 0, 1.0, values)
    names = [unknown.name for unknown in scales.free]
    found = []
    for move in moves:
        largest = move[(move.abs() > 0.999 * move.abs().amax()).nonzero()[0, 0]]
        found.append({name: float(x / largest) for name, x in zip(names, move, strict=True) if float(x)})
    return tuple(found)


def _open_sentence(moves: Mapping[str, float]) -> str:
    names = list(moves)
    if len(names) == 1:
        return f"nothing that was measured depends on {names[0]}: fix it, or measure something that does"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    such = ""
    if len(names) == 2:
        together = abs(moves[names[0]] + moves[names[1]])
        apart = abs(moves[names[0]] - moves[names[1]])
        such = ", such as their product" if together < 0.01 else ", such as their ratio" if apart < 0.01 else ""
    steps = [f"{name} by {move:+.3g} %" for name, move in moves.items()]
    return (
        f"the data determine only a combination of {listed}{such}: moving {', '.join(steps[:-1])} and {steps[-1]} "
        f"changes nothing that was measured; fix one of them, or measure it"
    )
