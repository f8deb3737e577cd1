"""What a kernel is made from, and the numbers that its source is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from physode.fused.coefficients import FusedMethod, coefficients, interpolant_terms
from physode.fused.differentiation import Pullback
from physode.fused.graph import Node, Program
from physode.fused.halves import Halves
from physode.fused.linearisation import Linearisation
from physode.fused.places import GradientPlaces
from physode.fused.tangent_map import TangentMap
from physode.status import Status

__all__ = ["LANES", "Entry", "Kernel", "Pullbacks", "numbers"]

Entry: TypeAlias = Literal["walk", "walk_shared", "walk_grid", "pull", "push"]

LANES = 8  # samples beside one another on a CPU

_PREFERENCE = 10.0  # of pivots on the diagonal, to others in their columns


class Pullbacks(NamedTuple):
    """The vector-Jacobian products that a pass back takes, by the names of the functions that they are of."""

    named: Mapping[str, Pullback]

    @property
    def places(self) -> GradientPlaces:
        """Where their gradients lie."""
        return GradientPlaces.of(*self.named.values())


@dataclass(frozen=True)
class Kernel:
    """What a kernel is made from.

    Attributes
    ----------
    entry
        What it does: adaptive steps by each sample's own clock (``"walk"``) or by one (``"walk_shared"``), given steps
        (``"walk_grid"``), ACA's pass back (``"pull"``), or tangents carried along recorded steps (``"push"``).
    program
        The right-hand side.
    method
        The method.
    single
        Whether states are of single precision.
    groups
        Where the parts of a state begin whose norms are taken by themselves, and where the last one ends.
    derived
        What methods evaluate beside the right-hand side: it with its derivatives, or one half of it by itself.
    pullbacks
        For the pass back.
    clock_too
        Whether gradients in steps' starts and sizes are asked for.
    tangents
        For tangents that are carried along.
    """

    entry: Entry
    program: Program
    method: FusedMethod
    single: bool
    groups: tuple[int, ...]
    derived: Linearisation | Halves | None = None
    pullbacks: Pullbacks | None = None
    clock_too: bool = False
    tangents: TangentMap | None = None

    @property
    def nodes(self) -> list[Node]:
        """All that is evaluated."""
        nodes = [*self.program.nodes]
        if isinstance(self.derived, Linearisation):
            nodes += self.derived.program.nodes
        if self.pullbacks is not None:
            nodes += [node for one in self.pullbacks.named.values() for node in one.nodes]
        if self.tangents is not None:
            nodes += [*self.tangents.once, *self.tangents.each]
        return nodes


def numbers(kernel: Kernel) -> str:
    """Return the method's and the problem's numbers as C's constants."""
    program, method, own = kernel.program, kernel.method, coefficients(kernel.method)
    places = GradientPlaces.of() if kernel.pullbacks is None else kernel.pullbacks.places
    defined: dict[str, object] = {
        "IS_SINGLE": int(kernel.single),
        "D": program.dimension,
        "P": program.shared,
        "Q": program.sample,
        "TERMS": interpolant_terms(method),
        "ERROR_ORDER": method.error_order,
        "SMALLEST_ROOT": 1e-12 ** (1.0 / (method.error_order + 1.0)),
        "GROUPS": len(kernel.groups) - 1,
        "SHARED_GRADIENTS": len(places.slots),
        "SINGLE_GRADIENTS": len(places.shared),
        "SAMPLE_GRADIENTS": len(places.sample),
        "CLOCK_TOO": int(kernel.clock_too),
        "SLOTS": 0 if kernel.tangents is None else len(kernel.tangents.shared) + len(kernel.tangents.sample),
        "KEPT": 0 if kernel.tangents is None else len(kernel.tangents.kept),
        "NON_FINITE": float(Status.NON_FINITE),
        "STEP_UNDERFLOW": float(Status.STEP_UNDERFLOW),
        "MAX_STEPS": float(Status.MAX_STEPS),
        **own.defined,
    }
    defined[f"ENTRY_{kernel.entry.upper()}"] = 1
    tables = [*own.tables, _integers("GROUP", kernel.groups)]
    if isinstance(kernel.derived, Linearisation):
        tables += _derivatives(kernel, kernel.derived, defined)
    return "\n".join([*(f"#define {name} {value}" for name, value in defined.items()), *tables])


def _derivatives(kernel: Kernel, linearisation: Linearisation, defined: dict[str, object]) -> list[str]:
    """Return tables of where the Jacobian has entries; their sizes are added to the numbers that are defined."""
    rows, columns = [row for row, _ in linearisation.entries], [column for _, column in linearisation.entries]
    pulled: tuple[int, ...] = ()
    if kernel.pullbacks is not None:
        pulled = linearisation.asked_entries(kernel.pullbacks.named["linearise"], clock=kernel.clock_too)
    defined |= {
        "ENTRIES": len(rows),
        "DRIFTS": len(linearisation.drifts),
        "PULLED": len(pulled),
        "PREFERENCE": _PREFERENCE,
    }
    named = {"ENTRY_ROW": rows, "ENTRY_COLUMN": columns, "DRIFT": linearisation.drifts, "PULLED_ENTRY": pulled}
    return [_integers(name, values) for name, values in named.items()]


def _integers(name: str, values: Sequence[int]) -> str:
    return f"TABLE int {name}[] = {{{', '.join(map(str, values)) or '0'}}};"
