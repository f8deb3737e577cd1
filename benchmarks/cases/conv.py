"""An ODE block of image classifiers: 64 channels of 32x32, B = 64, heun_euler at 1e-2, t in [0, 1], the end state.

Two 3x3 convolutions with batch norm (training mode) and ReLU; gradients in all weights and in the input. The floor is
what no method that checkpoints steps can go below: the same evaluations of the right-hand side forward, once more
with a graph, and backward, timed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import physode as po
from benchmarks.agreement import Bounds
from benchmarks.figures import bars
from benchmarks.floor import Floor, floor_peer
from benchmarks.networks import ConvBlock
from benchmarks.peers import Peer, physode, torch_diff_eq_pack_aca, torchdiffeq
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.reference import reference
from benchmarks.report import Report, heat_section, markdown_table
from benchmarks.task import Task

__all__ = ["SMALL", "heat", "problem", "run"]

SMALL: dict[str, Any] = {"batch": 8, "channels": 16}
"""The quick size."""

_TOL = 1e-2


def run(settings: Settings) -> Report:
    """Race the gradient of one training step; quickly, with 16 channels and 8 images."""
    found = heat(settings, **(SMALL if settings.quick else {}))
    notes = (
        "torchdiffeq's adaptive_heun takes the derivative at Euler's end point for that at the next step's start, and "
        "so evaluates once a step where the method needs two: half the work, another solution."
    )
    return Report("\n\n".join([notes, heat_section(found), *over_floor(found)]), lambda: bars([found]))


def heat(settings: Settings, *, batch: int = 64, channels: int = 64, peers: Sequence[Peer] | None = None) -> Heat:
    """Race the block, and the floor of physode's evaluations."""
    task = problem(batch, channels, torch.float32, _TOL)
    stats = po.solve(task.f, task.y0.detach(), task.t, method=task.method, rtol=_TOL, atol=_TOL).stats
    steps, rejected = int(stats.accepted), int(stats.rejected)
    floor = Floor(forward=stats.rhs_forward, again=2 * steps)
    small = problem(4, channels, torch.float32, 1e-4, size=16)
    right = reference(problem(4, channels, torch.float64, 1e-6, size=16), True)
    found = race(
        f"{channels}x32x32, B = {batch}, float32: gradient of the end state",
        task,
        [*(contestants() if peers is None else peers), floor_peer(floor)],
        settings,
        check=Check(small, right, Bounds(1e-2, 5e-2)),
        bounds=Bounds(5e-2, 0.5),  # the tolerance is 1e-2
        peaks=True,
    )
    note = f"the floor: {floor.forward} evaluations forward, {floor.again} again with a graph and backward"
    return Heat(found.title, found.placings, (*found.notes, f"{note} ({steps} steps accepted, {rejected} rejected)"))


def over_floor(found: Heat) -> list[str]:
    """Return a table of every median over the floor's."""
    floor = found.find("floor")
    if floor is None:
        return []
    rows = [[p.name, f"{p.median / floor.median:.2f}"] for p in found.placings if p is not floor]
    return [markdown_table(["", "times the floor"], rows)]


def contestants() -> list[Peer]:
    """Return who runs."""
    ours = [physode(), physode(compiled=True), physode("naive"), physode("adjoint")]
    return [*ours, torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]


def problem(batch: int, channels: int, dtype: torch.dtype, tol: float, size: int = 32) -> Task:
    """Return the task for states ``(batch, channels, size, size)``."""
    f = ConvBlock(channels).to(dtype)
    y0 = torch.randn(batch, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return Task(
        f=f,
        params=tuple(f.parameters()),
        y0=y0.to(dtype).requires_grad_(),
        t=torch.tensor([0.0, 1.0], dtype=dtype),
        tol=tol,
        method="heun_euler",
        end_only=True,
    )
