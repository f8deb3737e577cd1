"""Positions' and momenta's rates of change as programs of their own."""

from __future__ import annotations

from dataclasses import dataclass

from physode.fused.differentiation import Pullback, Slots, pullback
from physode.fused.graph import Graph, Program

__all__ = ["Halves"]


@dataclass(frozen=True)
class Halves:
    """A right-hand side in two: what the first half of a state changes by, and what the second half does.

    Attributes
    ----------
    velocity, force
        Programs of as many outputs as a half has components.
    """

    velocity: Program
    force: Program

    @classmethod
    def of(cls, program: Program) -> Halves:
        """Return the halves of a right-hand side."""
        graph, half = Graph.of(program.nodes), program.dimension // 2
        return cls(
            *(
                graph.program(outputs, shared=program.shared, sample=program.sample)
                for outputs in (program.outputs[:half], program.outputs[half:])
            )
        )

    def pullbacks(self, *, time: bool, shared: Slots, sample: Slots) -> tuple[Pullback, Pullback]:
        """Return the gradients of the velocity and of the force times the leaves ``cotangent``."""
        dimension = len(self.velocity.outputs) + len(self.force.outputs)
        velocity, force = (
            pullback(part, time=time, shared=shared, sample=sample, state=dimension)
            for part in (self.velocity, self.force)
        )
        return velocity, force
