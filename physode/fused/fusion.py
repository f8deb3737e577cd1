"""A right-hand side with a method: its program, its derivatives, and the kernels that have been made from them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused import cuda
from physode.fused.coefficients import FusedMethod
from physode.fused.compilers import is_kept, libraries, vector_functions
from physode.fused.differentiation import pullback
from physode.fused.emission import source
from physode.fused.halves import Halves
from physode.fused.kernel import Entry, Kernel, Pullbacks
from physode.fused.launch import Entries
from physode.fused.linearisation import Linearisation
from physode.fused.lowering import Lowered
from physode.fused.seeds import Moving
from physode.fused.tangent_map import TangentMap, tangent_map
from physode.solvers.implicit.rosenbrock import Rosenbrock
from physode.solvers.symplectic.splitting import Splitting

__all__ = ["Fusion", "Wanted"]


@dataclass
class Fusion:
    """A right-hand side with a method: the program, and the kernels made from it so far."""

    lowered: Lowered
    method: FusedMethod
    single: bool
    groups: tuple[int, ...]
    _pullbacks: dict[Hashable, Pullbacks] = field(default_factory=dict)
    _tangents: dict[Hashable, TangentMap] = field(default_factory=dict)
    _slots: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _texts: dict[Hashable, str] = field(default_factory=dict)
    _kernels: dict[Hashable, Entries] = field(default_factory=dict)

    @cached_property
    def derived(self) -> Linearisation | Halves | None:
        """What the method evaluates beside the right-hand side."""
        if isinstance(self.method, Splitting):
            return Halves.of(self.lowered.program)
        return Linearisation.of(self.lowered.program) if isinstance(self.method, Rosenbrock) else None

    def pullbacks(self, wanted: Wanted) -> Pullbacks:
        """Return the vector-Jacobian products with the gradients that are wanted."""
        if wanted not in self._pullbacks:
            shared, sample, time = wanted
            if isinstance(self.derived, Halves):
                velocity, force = self.derived.pullbacks(time=time, shared=shared, sample=sample)
                named = {"velocity": velocity, "force": force}
            else:
                named = {"rhs": pullback(self.lowered.program, time=time, shared=shared, sample=sample)}
            if isinstance(self.derived, Linearisation):
                named["linearise"] = self.derived.pullback(time=time, shared=shared, sample=sample)
            self._pullbacks[wanted] = Pullbacks(named)
        return self._pullbacks[wanted]

    def slots(self, wanted: Wanted, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return which numbers, shared and each sample's, the entries of a pass back's gradients belong to."""
        if (wanted, device) not in self._slots:
            places = self.pullbacks(wanted).places
            shared, sample = (
                torch.tensor(slots, dtype=torch.int64, device=device) for slots in (places.slots, places.sample)
            )
            self._slots[wanted, device] = shared, sample
        return self._slots[wanted, device]

    def tangents(self, moving: Moving) -> TangentMap:
        """Return the derivatives by the state and the numbers that move."""
        if moving not in self._tangents:
            self._tangents[moving] = tangent_map(self.lowered.program, shared=moving.shared, sample=moving.sample)
        return self._tangents[moving]

    def text(self, entry: Entry, wanted: Wanted | Moving | None = None) -> str:
        """Return the source of a kernel."""
        if (entry, wanted) not in self._texts:
            kernel = Kernel(entry, self.lowered.program, self.method, self.single, self.groups, self.derived)
            if isinstance(wanted, Wanted):
                kernel = replace(kernel, pullbacks=self.pullbacks(wanted), clock_too=wanted.clock)
            if isinstance(wanted, Moving):
                kernel = replace(kernel, tangents=self.tangents(wanted))
            self._texts[entry, wanted] = source(kernel, vector_functions=vector_functions())
        return self._texts[entry, wanted]

    def kernels(
        self, entry: Entry, wanted: Wanted | Moving | None, device: torch.device
    ) -> tuple[Entries, Entries | None]:
        """Return the kernel of a solve, and that of its derivatives where any are wanted, compiled if need be."""
        keys = _keys(entry, wanted)
        missing = [key for key in keys if (*key, device) not in self._kernels]
        if missing:
            made = _compiled([self.text(*key) for key in missing], device)
            self._kernels.update({(*key, device): one for key, one in zip(missing, made, strict=True)})
        forward, *others = (self._kernels[*key, device] for key in keys)
        return forward, others[0] if others else None

    def at_hand(self, entry: Entry, wanted: Wanted | Moving | None, device: torch.device) -> bool:
        """Whether no kernel need be compiled."""
        texts = [self.text(*key) for key in _keys(entry, wanted) if (*key, device) not in self._kernels]
        return not texts or (is_kept(texts) if device.type == "cpu" else cuda.is_kept(texts, device))


def _keys(entry: Entry, wanted: Wanted | Moving | None) -> list[tuple[Entry, Wanted | Moving | None]]:
    """Return the kernels of a solve."""
    if wanted is None:
        return [(entry, None)]
    return [(entry, None), ("pull" if isinstance(wanted, Wanted) else "push", wanted)]


def _compiled(texts: Sequence[str], device: torch.device) -> Sequence[Entries]:
    """Return the kernels of some sources, for the device that states are on."""
    return libraries(texts) if device.type == "cpu" else cuda.modules(texts, device)


class Wanted(NamedTuple):
    """Which gradients are asked for beside that of the initial state: slots of numbers, and the clock."""

    shared: frozenset[int]
    sample: frozenset[int]
    clock: bool
