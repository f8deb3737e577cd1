"""Lorenz's system, a thousand and a hundred thousand samples: dopri5 at 1e-6 in double precision, the state at t = 1.

Every sample has constants and an initial state of its own: rho drawn from 20 to 30, sigma and beta within an eighth
of the usual. Gradients: in all of them. gradsolve's method is Tsit5.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.agreement import Bounds, reference
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode, torchode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.replay_peer import gradsolve
from benchmarks.report import Report, heat_section
from benchmarks.task import Answer, Task, Twin
from physode.rhs import Lorenz

__all__ = ["heat", "problem", "run", "title"]

_TOL = 1e-6
_JUDGED = 100  # samples whose answers are compared with tight ones
_MOST = 100_000


def run(settings: Settings) -> Report:
    """Race over batch sizes."""
    batches = (100, 1000) if settings.quick else (1000, 100_000)
    heats = [heat(settings, batch) for batch in batches if settings.only in title(batch)]
    notes = (
        f"Errors are those of {_JUDGED} samples, relative to a solution at a ten-thousandth of the tolerance. The time "
        "of gradsolve is that of the replay of steps that were recorded before, or of both."
    )
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def title(batch: int) -> str:
    """Return a heat's title."""
    return f"B = {batch:,}, float64: gradient of the end state"


def heat(settings: Settings, batch: int, peers: Sequence[Peer] | None = None) -> Heat:
    """Race one batch size."""
    return race(
        title(batch),
        problem(batch),
        contestants(batch) if peers is None else peers,
        settings,
        check=_tight_check(),
        right=_right_answer(),
        bounds=Bounds(1e-3, 1e-2),
        part=lambda answer: _judged(answer, batch),
    )


def contestants(batch: int) -> list[Peer]:
    """Return who runs at a batch size."""
    own: dict[str, Any] = {"step_control": "per-sample"}
    eager = [physode(**own), torchode()] if batch <= 1000 else []
    return [physode(compiled=True, **own), *eager, gradsolve(), gradsolve(recording=True), diffrax()]


def _judged(answer: Answer, batch: int) -> Answer:
    """Return the part of an answer that is compared: the first samples', as if there were no others."""
    share = batch / _JUDGED  # the loss is a mean over samples
    return Answer(answer.outputs[:, :_JUDGED], tuple(gradient[:_JUDGED] * share for gradient in answer.gradients))


@cache
def _right_answer() -> Answer:
    return reference(problem(_JUDGED, _TOL * 1e-4), True)


@cache
def _tight_check() -> Check:
    return Check(problem(_JUDGED, _TOL * 1e-2), _right_answer(), Bounds(1e-6, 1e-5))


def problem(batch: int, tol: float = _TOL) -> Task:
    """Return the task; the first samples are the same whatever the batch."""
    sigma, rho, beta, *y0 = _draws()[:, :batch]
    system = Lorenz(10 + sigma, 25 + 5 * rho, (8 + beta) / 3, learnable=True).double()
    start = torch.stack([1 + 0.1 * y0[0], 0.1 * y0[1], 0.1 * y0[2]], -1)
    return Task(
        f=system,
        params=tuple(system.parameters()),
        y0=start.requires_grad_(),
        t=torch.tensor([0.0, 1.0], dtype=torch.float64),
        tol=tol,
        end_only=True,
        twin=Twin(_in_jax, mapped=True),
    )


@cache
def _draws() -> Tensor:
    """Return six numbers of each sample, between -1 and 1."""
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(_MOST, 6, dtype=torch.float64, generator=generator).T.contiguous() - 1


def _in_jax(t: Any, y: Any, params: Any) -> Any:
    import jax.numpy as jnp

    sigma, rho, beta = params
    x1, x2, x3 = y[..., 0], y[..., 1], y[..., 2]
    return jnp.stack([sigma * (x2 - x1), x1 * (rho - x3) - x2, x1 * x2 - beta * x3], -1)
