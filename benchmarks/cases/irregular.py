"""Latent states at irregular times: 50 sequences, D = 10, a network 64 wide, each with 100 times of its own.

physode (per-sample steps), torchode and diffrax take every sample's own times. torchdiffeq has one time axis: the usual
way is to solve for the union of all times and to pick each sample's. Gradients: in all weights and initial states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.agreement import Bounds, reference
from benchmarks.cases import mlp
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.networks import MLP_TWIN
from benchmarks.peers import Peer, on_union, physode, torchdiffeq, torchode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Report, heat_section
from benchmarks.task import Task

__all__ = ["irregular_times", "problem", "run"]


def run(settings: Settings) -> Report:
    """Race the solve alone, and with gradients."""
    heats = [heat(settings, gradient=gradient) for gradient in (True, False)]
    heats = [found for found in heats if settings.only in found.title]
    notes = "`on the union`: solved for all 5000 times, then each sample's picked."
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def heat(settings: Settings, *, gradient: bool) -> Heat:
    """Race with or without gradients."""
    points = 20 if settings.quick else 100
    right = reference(problem(points, torch.float64, 1e-9), gradient)
    return race(
        f"B = 50, D = 10, {points} own times, float32: {'forward and gradient' if gradient else 'forward'}",
        problem(points, torch.float32, 1e-5),
        contestants(gradient),
        settings,
        gradient=gradient,
        check=Check(problem(points, torch.float32, 1e-6), right, Bounds(1e-3, 1e-2)),
        right=right,
        bounds=Bounds(1e-2, 2e-2),
    )


def contestants(gradient: bool) -> list[Peer]:
    """Return who runs."""
    ours = [physode(step_control="per-sample"), physode(compiled=True, step_control="per-sample"), on_union(physode())]
    adjoint = [on_union(torchdiffeq(adjoint=True))] if gradient else []
    return [*ours, on_union(torchdiffeq()), *adjoint, torchode(), diffrax()]


def problem(points: int, dtype: torch.dtype, tol: float, batch: int = 50) -> Task:
    """Return the task, with times ``(points, batch)``."""
    base = mlp.problem(10, batch, dtype, tol)
    return Task(base.f, base.params, base.y0, irregular_times(points, batch).to(dtype), tol, twin=MLP_TWIN)


def irregular_times(points: int, batch: int) -> Tensor:
    """Return times that rise for each sample from 0 into [0, 1], no two alike: ``(points, batch)``, float64."""
    generator = torch.Generator().manual_seed(2)
    ranks = 1 + torch.randperm((points - 1) * batch, generator=generator).reshape(points - 1, batch)
    times = ranks.double() / ((points - 1) * batch)
    return torch.cat([torch.zeros(1, batch, dtype=torch.float64), times.sort(0).values])
