"""A right-hand side with a method: its program, its derivatives, and the kernels that have been made from them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused.compilers import is_kept, libraries, vector_functions
from physode.fused.differentiation import Pullback, pullback
from physode.fused.emission import Entry, Kernel, gradient_slots, source
from physode.fused.launch import Library
from physode.fused.linearisation import Linearisation, linearise
from physode.fused.lowering import Lowered
from physode.fused.seeds import Moving
from physode.solvers.tableaus import Tableau

__all__ = ["Fusion", "Wanted"]


@dataclass
class Fusion:
    """A right-hand side with a method: the program, and the kernels made from it so far."""

    lowered: Lowered
    tableau: Tableau
    single: bool
    groups: tuple[int, ...]
    _pullbacks: dict[Hashable, Pullback] = field(default_factory=dict)
    _linearisations: dict[Hashable, Linearisation] = field(default_factory=dict)
    _slots: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _texts: dict[Hashable, str] = field(default_factory=dict)
    _libraries: dict[Hashable, Library] = field(default_factory=dict)

    def pullback(self, wanted: Wanted) -> Pullback:
        """Return the vector-Jacobian product with the gradients that are wanted."""
        if wanted not in self._pullbacks:
            self._pullbacks[wanted] = pullback(
                self.lowered.program, time=wanted.clock, shared=wanted.shared, sample=wanted.sample
            )
        return self._pullbacks[wanted]

    def slots(self, wanted: Wanted) -> tuple[Tensor, Tensor]:
        """Return which numbers, shared and each sample's, the entries of a pass back's gradients belong to."""
        if wanted not in self._slots:
            pulled = self.pullback(wanted)
            shared, sample = gradient_slots(pulled), [slot for slot, _ in pulled.sample]
            self._slots[wanted] = torch.tensor(shared, dtype=torch.int64), torch.tensor(sample, dtype=torch.int64)
        return self._slots[wanted]

    def linearisation(self, moving: Moving) -> Linearisation:
        """Return the derivatives by the state and the numbers that move."""
        if moving not in self._linearisations:
            self._linearisations[moving] = linearise(self.lowered.program, shared=moving.shared, sample=moving.sample)
        return self._linearisations[moving]

    def text(self, entry: Entry, wanted: Wanted | Moving | None = None) -> str:
        """Return the source of a kernel."""
        if (entry, wanted) not in self._texts:
            kernel = Kernel(entry, self.lowered.program, self.tableau, self.single, self.groups)
            if isinstance(wanted, Wanted):
                kernel = replace(kernel, pullback=self.pullback(wanted), clock_too=wanted.clock)
            if isinstance(wanted, Moving):
                kernel = replace(kernel, linear=self.linearisation(wanted))
            self._texts[entry, wanted] = source(kernel, vector_functions=vector_functions())
        return self._texts[entry, wanted]

    def kernels(self, entry: Entry, wanted: Wanted | Moving | None) -> tuple[Library, Library | None]:
        """Return the kernel of a solve, and that of its derivatives where any are wanted, compiled if need be."""
        keys = _keys(entry, wanted)
        missing = [key for key in keys if key not in self._libraries]
        if missing:
            made = libraries([self.text(*key) for key in missing])
            self._libraries.update(zip(missing, made, strict=True))
        return self._libraries[keys[0]], self._libraries[keys[1]] if wanted is not None else None

    def at_hand(self, entry: Entry, wanted: Wanted | Moving | None) -> bool:
        """Whether no kernel need be compiled."""
        missing = [key for key in _keys(entry, wanted) if key not in self._libraries]
        return not missing or is_kept([self.text(*key) for key in missing])


class Wanted(NamedTuple):
    """Which gradients are asked for beside that of the initial state: slots of numbers, and the clock."""

    shared: frozenset[int]
    sample: frozenset[int]
    clock: bool


def _keys(entry: Entry, wanted: Wanted | Moving | None) -> list[tuple[Entry, Wanted | Moving | None]]:
    """Return the kernels of a solve."""
    if wanted is None:
        return [(entry, None)]
    return [(entry, None), ("pull" if isinstance(wanted, Wanted) else "push", wanted)]
