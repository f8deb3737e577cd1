"""Where constants come from: numbers, unknowns and formulas in one pool, and matrices that index it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.problem import Entry, Formula, Unknown


@dataclass(frozen=True)
class Pool:
    """All values that constants are taken from, as a function of the unknowns: these, then numbers, then formulas.

    Attributes
    ----------
    names
        Of the unknowns.
    free
        Places of those that are estimated.
    numbers
        (N,), float64.
    formulas
        Of unknowns.
    """

    names: tuple[str, ...]
    free: tuple[int, ...]
    numbers: Tensor
    formulas: tuple[Formula, ...]

    def values(self, theta: Tensor) -> Tensor:
        """Return the pool, (S, M), at unknowns (S, P)."""
        columns = [theta, self.numbers.to(theta).expand(len(theta), -1)]
        if self.formulas:
            named = dict(zip(self.names, theta.unbind(1), strict=True))
            columns.append(torch.stack([formula(named).expand(len(theta)) for formula in self.formulas], 1))
        return torch.cat(columns, 1)

    def tangents(self, theta: Tensor) -> Tensor:
        """Return the pool's derivatives by the free unknowns, (S, M, F)."""
        count, free = len(self.names), list(self.free)
        derivative = theta.new_zeros(len(theta), self.size, len(free))
        derivative[:, free, range(len(free))] = 1.0
        if self.formulas:
            with torch.enable_grad():
                point = theta.detach().requires_grad_()
                computed = self.values(point)[:, count + len(self.numbers) :]
                for i, column in enumerate(computed.unbind(1)):
                    if column.requires_grad:
                        (slopes,) = torch.autograd.grad(column.sum(), point, retain_graph=True)
                        derivative[:, count + len(self.numbers) + i] = slopes[:, free]
        return derivative

    @property
    def size(self) -> int:
        """The number of values."""
        return len(self.names) + len(self.numbers) + len(self.formulas)

    def depends(self) -> Tensor:
        """Return which of the values depend on a free unknown, (M,)."""
        free = {self.names[i] for i in self.free}
        flags = [name in free for name in self.names] + [False] * len(self.numbers)
        return torch.tensor(flags + [bool(formula.names & free) for formula in self.formulas], dtype=torch.bool)


class PoolBuilder:
    """Collects entries, each once."""

    def __init__(self, unknowns: Sequence[Unknown]) -> None:
        self._unknowns = tuple(unknowns)
        self._names = {unknown.name: i for i, unknown in enumerate(unknowns)}
        if len(self._names) < len(self._unknowns):
            twice = next(u.name for i, u in enumerate(unknowns) if self._names[u.name] != i)
            raise ConfigError(f"the unknown {twice!r} is declared twice; give each a name of its own")
        self._numbers: dict[float, int] = {}
        self._formulas: dict[Formula, int] = {}

    def place(self, entry: Entry, what: str) -> tuple[int, int]:
        """Return an entry's kind and its place among those of its kind; `what` takes its value."""
        if isinstance(entry, str):
            if entry not in self._names:
                raise ConfigError(f"{what} is {entry!r}, which is no unknown of this estimation")
            return 0, self._names[entry]
        if isinstance(entry, (int, float)):
            return 1, self._numbers.setdefault(float(entry), len(self._numbers))
        missing = sorted(entry.names - self._names.keys())
        if missing:
            raise ConfigError(f"{what} is {entry}, where {missing[0]!r} is no unknown of this estimation")
        return 2, self._formulas.setdefault(entry, len(self._formulas))

    def pool(self) -> Pool:
        """Return the pool of what was collected."""
        return Pool(
            names=tuple(self._names),
            free=tuple(i for i, unknown in enumerate(self._unknowns) if unknown.free),
            numbers=torch.tensor(list(self._numbers), dtype=torch.float64),
            formulas=tuple(self._formulas),
        )

    def index(self, places: Sequence[Sequence[tuple[int, int]]], width: int) -> Tensor:
        """Return places as indices into the pool, (rows, width)."""
        begin = (0, len(self._names), len(self._names) + len(self._numbers))
        rows = [[begin[kind] + i for kind, i in row] for row in places]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), width)
