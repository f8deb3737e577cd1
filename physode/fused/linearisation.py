"""dy/dt with its derivatives by the state and the time as a program of its own, which can be pulled back in turn."""

from __future__ import annotations

from dataclasses import dataclass

from physode.fused.differentiation import Pullback, Slots, jacobian, pullback
from physode.fused.graph import Program

__all__ = ["Linearisation"]


@dataclass(frozen=True)
class Linearisation:
    """The values that a linear approximation takes, at one point.

    Attributes
    ----------
    program
        Its outputs are the Jacobian's entries that are not always 0, those of the derivatives by the time, and all of
        dy/dt, in this order.
    entries
        Row and column of each entry.
    drifts
        The components of dy/dt whose derivative by the time is not always 0.
    """

    program: Program
    entries: tuple[tuple[int, int], ...]
    drifts: tuple[int, ...]

    @classmethod
    def of(cls, program: Program) -> Linearisation:
        """Return the linearisation of a right-hand side."""
        derivatives = jacobian(program)
        outputs = (
            *(node for *_, node in derivatives.entries),
            *(node for _, node in derivatives.time),
            *derivatives.outputs,
        )
        return cls(
            Program(derivatives.nodes, outputs, program.shared, program.sample),
            tuple((row, column) for row, column, _ in derivatives.entries),
            tuple(row for row, _ in derivatives.time),
        )

    def pullback(self, *, time: bool, shared: Slots, sample: Slots) -> Pullback:
        """Return the gradients of the outputs times the leaves ``cotangent``: second derivatives of the program."""
        dimension = len(self.program.outputs) - len(self.entries) - len(self.drifts)
        return pullback(self.program, time=time, shared=shared, sample=sample, state=dimension)

    def asked_entries(self, pulled: Pullback, *, clock: bool) -> tuple[int, ...]:
        """Return the entries whose cotangents count: those that vary, or all if steps' sizes are asked about."""
        if clock:
            return tuple(range(len(self.entries)))
        places = {node.place for node in pulled.nodes if node.op == "cotangent"}
        return tuple(place for place in range(len(self.entries)) if place in places)
