"""Sensitivities by a kernel: tangents carried along the accepted steps of a solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused.forward import Posed, Walked
from physode.fused.kernel import LANES
from physode.fused.launch import Entries, blank, threads_for
from physode.fused.seeds import Seeds, find_seeds
from physode.fused.solving import Prepared, fused, pack, walk_packed
from physode.fused.steps import StepsTaken
from physode.fused.unsupported import Unsupported
from physode.problem.problem import Problem
from physode.solvers.driver import Plan
from physode.solvers.tableaus import Tableau

__all__ = ["Moved", "WithTangents", "prepare_tangents", "push_forward", "solve_with_tangents"]

_MOST_COLUMNS = 32  # of a lane: what is computed once in a step hardly counts beside so many


class WithTangents(NamedTuple):
    """A solve with tangents that can be fused."""

    prepared: Prepared
    seeds: Seeds
    initial_state: bool

    @property
    def at_hand(self) -> bool:
        """Whether its kernels need not be compiled."""
        return self.prepared.at_hand


class Moved(NamedTuple):
    """A solution with its tangents.

    Attributes
    ----------
    outputs, tangents
        ``(outputs, samples, D)``, and ``(outputs, samples, D, columns)``; NaN where a sample had failed.
    steps
        The record.
    """

    outputs: Tensor
    tangents: Tensor
    steps: StepsTaken


def prepare_tangents(
    problem: Problem, plan: Plan, parameters: Sequence[Tensor], *, own: bool, initial_state: bool
) -> WithTangents:
    """Record the right-hand side, and find its program and how its numbers move with parameters.

    Parameters
    ----------
    problem, plan
        What to solve; the right-hand side and its arguments lead back to the parameters.
    parameters
        Tensors that require gradients.
    own
        Whether they have one row a sample.
    initial_state
        Whether the initial state's components are directions too, behind the parameters' elements.

    Raises
    ------
    Unsupported
        If this cannot be fused.
    """
    with torch.enable_grad():
        prepared = fused(problem, plan)
        if not isinstance(prepared.fusion.method, Tableau):
            raise Unsupported(f"sensitivities by the method {problem.tableau.name} are not fused")
        if prepared.device.type != "cpu":
            raise Unsupported(f"sensitivities on {prepared.device.type} are not fused")
        like = problem.y0.detach().reshape(prepared.shape.samples, -1)
        seeds = find_seeds(prepared.fusion.lowered, prepared.recorded.inputs, parameters, own=own, like=like)
    return WithTangents(prepared._replace(wanted=seeds.moving), seeds, initial_state)


def solve_with_tangents(problem: Problem, plan: Plan, given: WithTangents) -> Moved:
    """Solve by the kernels of a prepared problem, compiled now where they are not at hand.

    Raises
    ------
    Unsupported
        If a compiler fails.
    """
    prepared, seeds = given.prepared, given.seeds
    with torch.no_grad():
        forward, push = prepared.fusion.kernels(prepared.entry, prepared.wanted, prepared.device)
        assert push is not None
        packed = pack(problem, prepared)
        steps = walk_packed(problem, plan, prepared, forward, packed, nodes=True)
        known = seeds.tangents
        if given.initial_state:
            known = torch.cat([known, known.new_zeros(len(known), packed.posed.y0.shape[1], known.shape[-1])], 1)
        tangents = push_forward(push, packed.posed, steps.walked, known, initial_state=given.initial_state)
    return Moved(steps.walked.outputs, tangents, steps)


def push_forward(kernel: Entries, posed: Posed, walked: Walked, seeds: Tensor, *, initial_state: bool) -> Tensor:
    """Return the tangents of all outputs, ``(outputs, samples, D, columns)``.

    Parameters
    ----------
    kernel, posed, walked
        The kernel, what was solved, and the record.
    seeds
        Tangents of the numbers, ``(samples or 1, columns, numbers)``.
    initial_state
        Whether the last columns are those of the initial state's components.
    """
    samples, dimension = posed.y0.shape
    columns = seeds.shape[1]
    outputs = len(posed.t)
    tangents = posed.y0.new_zeros(samples, columns, dimension)
    if initial_state:
        tangents[:, columns - dimension :] = torch.eye(dimension, dtype=tangents.dtype)
    jacobian = blank(outputs, samples, dimension, columns, dtype=tangents.dtype, device=tangents.device)
    jacobian[0] = tangents.transpose(1, 2)
    if not columns:
        return jacobian
    threads = threads_for(samples * columns)
    parts = -(-LANES * threads // samples)  # so that every lane has something to do
    width = min(_MOST_COLUMNS, -(-columns // min(parts, columns)))
    parts = -(-columns // width)
    memory = kernel.group_bytes + (width * (dimension + seeds.shape[2]) * LANES * tangents.element_size() + 63)
    scratch = torch.empty(threads * (memory + 64) + 64, dtype=torch.uint8)
    counter = torch.zeros(1, dtype=torch.int64)
    arguments = posed.arguments() | {
        "count": outputs, "threads": threads, "columns": columns, "width": width, "parts": parts,
        "seeds_by_sample": columns if len(seeds) > 1 else 0, "seeds": seeds.contiguous(), "tangents": tangents,
        "jacobian": jacobian, "written": walked.written, "counter": counter,
        "last_output": torch.ones(samples, parts, dtype=torch.int64),
        "scratch": scratch[-scratch.data_ptr() % 64 :],
    }  # fmt: skip
    for block in walked.blocks:
        assert block.nodes is not None
        kernel.launch("push", arguments | block.arguments())
        counter.zero_()
    if bool((walked.status != 0).any()):
        there = torch.isfinite(walked.outputs).unsqueeze(-1)
        jacobian = torch.where(there, jacobian, torch.nan)
    return jacobian
