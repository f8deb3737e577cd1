"""An ODE block of image classifiers: 64 channels of 32x32, B = 64, heun_euler at 1e-2, t in [0, 1], the end state.

Two 3x3 convolutions with batch norm (training mode) and ReLU; gradients in all weights and in the input. The floors
are what no method can go below that takes these steps: their evaluations of the right-hand side, timed alone. Where
graphs are kept from the forward pass, each evaluation of an accepted step is made once, with a graph, and pulled back
after the last of them; where steps are checkpointed, all are made without one, and those of accepted steps once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import physode as po
from benchmarks.agreement import Bounds, reference
from benchmarks.figures import bars
from benchmarks.floor import Floor, floor_peer
from benchmarks.networks import ConvBlock
from benchmarks.peers import Peer, checkpoints, physode, torch_diff_eq_pack_aca, torchdiffeq
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Report, heat_section, markdown_table
from benchmarks.task import Task

__all__ = ["FLOOR_CHECKPOINTED", "FLOOR_KEPT", "SMALL", "floors", "heat", "heat_of_one_method", "problem", "run"]

SMALL: dict[str, Any] = {"batch": 8, "channels": 16}
"""The quick size."""

_TOL = 1e-2

FLOOR_KEPT, FLOOR_CHECKPOINTED = "floor, graphs kept", "floor, checkpoints"


def run(settings: Settings) -> Report:
    """Race the gradient of one training step; quickly, with 16 channels and 8 images."""
    found = heat(settings, **(SMALL if settings.quick else {}))
    same = heat_of_one_method(settings, **(SMALL if settings.quick else {}))
    notes = (
        "torchdiffeq's adaptive_heun takes the derivative at Euler's end point for that at the next step's start, and "
        "so evaluates once a step where the method needs two: half the work, another solution. The second table is of "
        "a method that all have."
    )
    sections = [notes, heat_section(found), *over_floor(found), heat_section(same)]
    return Report("\n\n".join(sections), lambda: bars([found, same]))


def heat(settings: Settings, *, batch: int = 64, channels: int = 64, peers: Sequence[Peer] | None = None) -> Heat:
    """Race the block, and the floors of physode's evaluations."""
    task = problem(batch, channels, torch.float32, _TOL)
    kept, checkpointed = floors(task)
    found = _race(
        task, channels, [*(contestants() if peers is None else peers), *map(floor_peer, (kept, checkpointed))], settings
    )
    note = (
        f"floors: {checkpointed.plain} evaluations forward, {kept.pulled} of them of accepted steps, with graphs made "
        "at once or in a second evaluation"
    )
    return Heat(found.title, found.placings, (*found.notes, note))


def heat_of_one_method(settings: Settings, *, batch: int = 16, channels: int = 64) -> Heat:
    """Race the block by a method that all contestants have, at a tolerance that suits it."""
    task = problem(batch, channels, torch.float32, 1e-3, method="dopri5")
    return _race(task, channels, same_contestants(), settings)


def _race(task: Task, channels: int, peers: Sequence[Peer], settings: Settings) -> Heat:
    small = problem(4, channels, torch.float32, 1e-4, size=16, method=task.method)
    right = reference(problem(4, channels, torch.float64, 1e-6, size=16), True)
    return race(
        f"{channels}x32x32, B = {len(task.y0)}, {task.method}, float32: gradient of the end state",
        task,
        peers,
        settings,
        check=Check(small, right, Bounds(1e-2, 5e-2)),
        bounds=Bounds(5e-2, 0.5),  # the tolerance is 1e-2
        peaks=True,
    )


def floors(task: Task) -> tuple[Floor, Floor]:
    """Return what a solve needs at least: with graphs kept from the forward pass, and with checkpoints."""
    options: dict[str, Any] = {"method": task.method, "rtol": task.tol, "atol": task.absolute, "compile": False}
    stats = po.solve(task.f, task.y0.detach(), task.t, **options).stats
    pulled = 2 * int(stats.accepted)  # heun_euler's stages; a step's last derivative is the next one's first
    return (
        Floor(FLOOR_KEPT, stats.rhs_forward - pulled, pulled, True),
        Floor(FLOOR_CHECKPOINTED, stats.rhs_forward, pulled, False),
    )


def over_floor(found: Heat) -> list[str]:
    """Return a table of every median over the floors'."""
    floors = [place for place in found.placings if place.name in (FLOOR_KEPT, FLOOR_CHECKPOINTED)]
    if not floors:
        return []
    rows = [[place.name, *(f"{place.median / floor.median:.2f}" for floor in floors)] for place in found.placings]
    return [markdown_table(["times", *(floor.name for floor in floors)], rows)]


def contestants() -> list[Peer]:
    """Return who runs."""
    ours = [physode(), checkpoints(), physode(compiled=True), physode("naive"), physode("adjoint")]
    return [*ours, torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]


def same_contestants() -> list[Peer]:
    """Return who runs by one method."""
    return [physode(), checkpoints(), torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]


def problem(
    batch: int, channels: int, dtype: torch.dtype, tol: float, size: int = 32, method: str = "heun_euler"
) -> Task:
    """Return the task for states ``(batch, channels, size, size)``."""
    f = ConvBlock(channels).to(dtype)
    y0 = torch.randn(batch, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return Task(
        f=f,
        params=tuple(f.parameters()),
        y0=y0.to(dtype).requires_grad_(),
        t=torch.tensor([0.0, 1.0], dtype=dtype),
        tol=tol,
        method=method,
        end_only=True,
    )
