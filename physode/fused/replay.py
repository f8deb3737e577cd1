"""A fused solve's steps once more as plain operations, with their graph: for derivatives of its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused.evaluation import evaluate
from physode.fused.forward import Posed
from physode.fused.graph import Program
from physode.fused.steps import StepsTaken
from physode.problem.problem import Problem
from physode.solvers.clock import Number
from physode.solvers.interpolation import Location, interpolate, locate
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step

__all__ = ["Inputs", "replayed_outputs"]


class Inputs(NamedTuple):
    """What outputs are differentiated by.

    ``theta``: how far into its step each output lies; ``starts`` and ``sizes`` of the steps; the initial states,
    ``(samples, D)``; the numbers that all samples share, ``(P,)``, and those of each, ``(samples, Q)``.
    """

    theta: Tensor
    starts: Tensor
    sizes: Tensor
    y0: Tensor
    shared: Tensor
    sample: Tensor

    @classmethod
    def of(cls, problem: Problem, posed: Posed, steps: StepsTaken) -> Inputs:
        """Return them without graphs."""
        grid = steps.clock()
        theta = locate(problem.t.detach(), *grid).theta
        return cls(theta, grid.starts, grid.sizes, posed.y0, posed.shared, posed.sample)


def replayed_outputs(problem: Problem, program: Program, steps: StepsTaken, inputs: Inputs) -> Tensor:
    """Return the outputs, ``(outputs, samples, D)``, by plain operations on the inputs."""
    grid = steps.clock()
    low, high = problem.dynamics.low, problem.dynamics.high
    tableau = problem.tableau

    def rhs(t: Number, y: Tensor) -> Tensor:
        time = torch.clamp(torch.as_tensor(t, dtype=torch.float64), low, high).to(y.dtype).reshape(-1, 1)
        leaves = {"state": y, "shared": inputs.shared, "sample": inputs.sample, "time": time}
        return evaluate(program.nodes, leaves, program.outputs).expand_as(y)  # type: ignore[arg-type]

    states, dense = [inputs.y0], []
    for start, size in zip(inputs.starts, inputs.sizes, strict=True):
        step = take_step(rhs, tableau, start, states[-1], size)
        dense.append(interpolant(rhs, tableau, start, states[-1], size, step, end_derivative(rhs, start, size, step)))
        states.append(step.y)
    where = locate(problem.t.detach(), *grid).step
    return interpolate(Location(where, inputs.theta), _rows(states[:-1]), _rows(dense), _rows(states[1:]))


def _rows(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts))
