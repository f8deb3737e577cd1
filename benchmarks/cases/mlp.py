"""A neural right-hand side: 64 wide, two hidden layers of tanh, B = 256, t in [0, 1], 10 outputs, dopri5 at 1e-5.

Gradients: in all weights and in the initial states.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.agreement import Bounds, reference
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.networks import MLP, MLP_TWIN
from benchmarks.peers import Peer, physode, torch_diff_eq_pack, torch_diff_eq_pack_aca, torchdiffeq, torchode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Report, heat_section
from benchmarks.task import Task

__all__ = ["heat", "problem", "run"]

_SPREAD = 3.0  # of the initial states, and the weights' factor: some dozens of evaluations at 1e-5


def run(settings: Settings) -> Report:
    """Race a small and a wide state."""
    sizes = [d for d in (2, 64) if settings.only in f"D = {d}, B = 256"]
    heats = [heat(settings, d, gradient=gradient) for d in sizes for gradient in (True, False)]
    notes = (
        "Errors are relative to a solution in double precision at a tenthousandth of the tolerance. TorchDiffEqPack's "
        "ACA gives the end state only: it solves from output to output."
    )
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def heat(
    settings: Settings, dimension: int, *, gradient: bool = True, peers: Sequence[Peer] | None = None, batch: int = 256
) -> Heat:
    """Race one size of state."""
    right = reference(problem(dimension, batch, torch.float64, 1e-9), gradient)
    check = Check(problem(dimension, batch, torch.float32, 1e-6), right, Bounds(1e-3, 1e-2))
    what = "forward and gradient" if gradient else "forward"
    return race(
        f"D = {dimension}, B = {batch}, float32: {what}",
        problem(dimension, batch, torch.float32, 1e-5),
        contestants(gradient) if peers is None else peers,
        settings,
        gradient=gradient,
        check=check,
        right=right,
        bounds=Bounds(1e-2, 2e-2),
    )


def contestants(gradient: bool) -> list[Peer]:
    """Return who runs."""
    both = [physode(), physode(compiled=True), physode(mean_norm=True)]
    adjoints = [physode("adjoint"), torchdiffeq(adjoint=True)] if gradient else []
    packs = [torch_diff_eq_pack(), torch_diff_eq_pack_aca()]
    others = [torchdiffeq(), *packs, torchode(), diffrax(), diffrax(shared=True)]
    return [*both, *([physode("naive")] if gradient else []), *adjoints, *others]


def problem(dimension: int, batch: int, dtype: torch.dtype, tol: float, *, points: int = 10, end: float = 1.0) -> Task:
    """Return the task for states ``(batch, dimension)``."""
    f = MLP(dimension)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.mul_(_SPREAD)
    f = f.to(dtype)
    y0 = torch.randn(batch, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Task(
        f=f,
        params=tuple(f.parameters()),
        y0=y0.to(dtype).requires_grad_(),
        t=torch.linspace(0.0, end, points, dtype=dtype),
        tol=tol,
        twin=MLP_TWIN,
    )
