"""Van der Pol's oscillator, a thousand samples with mu from 0.1 to 100: each needs other steps.

mu is spread evenly in the logarithm, t to 50. With shared steps the whole batch goes at the pace of whichever sample is
hardest at the time. What counts is how many rows (samples times evaluations) of the right-hand side are evaluated, and
the time. Gradients: in every mu and in the initial states.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.agreement import Bounds, reference
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode, torchdiffeq, torchode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Report, heat_section
from benchmarks.task import Task, Twin
from physode.rhs import VanDerPol

__all__ = ["heat", "heats_of_end_states", "problem", "run"]

_LOWEST, _EQUAL, _HIGHEST, _HIGHEST_FOR_GRADIENTS = 0.1, 10.0, 100.0, 10.0
_PER_SAMPLE: dict[str, Any] = {"step_control": "per-sample"}


def run(settings: Settings) -> Report:
    """Race the solve alone, and with gradients."""
    batch = 100 if settings.quick else 1000
    heats = [heat(settings, batch, gradient=gradient) for gradient in (False, True)]
    heats = [found for found in heats if settings.only in found.title]
    notes = (
        "torchdiffeq and `physode aca` have one step size for all samples; the others one a sample. `rows` are those "
        "that the right-hand side was called with; accepted and rejected steps are means over samples. Gradients are "
        f"asked for up to mu = {_HIGHEST_FOR_GRADIENTS:g}: where stability bounds the steps, the exact gradient of an "
        "explicit method on given steps (physode's ACA, diffrax) need not be near that of the equation."
    )
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def heat(settings: Settings, batch: int, *, gradient: bool, peers: list[Peer] | None = None) -> Heat:
    """Race one batch."""
    highest = _HIGHEST_FOR_GRADIENTS if gradient else _HIGHEST
    right, few = reference(problem(batch, 1e-9, highest), gradient), min(batch, 100)
    tight = reference(problem(few, 1e-9, highest), gradient) if few < batch else right
    check = Check(problem(few, 1e-7, highest), tight, Bounds(1e-2, 5e-2))
    return race(
        f"B = {batch}, mu to {highest:g}, float64: {'forward and gradient' if gradient else 'forward'}",
        problem(batch, 1e-5, highest),
        contestants() if peers is None else peers,
        settings,
        gradient=gradient,
        check=check,
        right=right,
        bounds=Bounds(1.0, 10.0),  # relaxation oscillations jump: a small delay is a large error
    )


def contestants() -> list[Peer]:
    """Return who runs."""
    ours = [physode(**_PER_SAMPLE), physode(compiled=True, **_PER_SAMPLE), physode(), physode(compiled=True)]
    return [*ours, torchdiffeq(), torchode(), diffrax()]


def heats_of_end_states(settings: Settings, batch: int, peers: list[Peer]) -> tuple[Heat, Heat]:
    """Race a spread batch and one of equal samples, none of which waits for another; both for the end state."""
    tasks = {
        f"mu to {_HIGHEST:g}": problem(batch, 1e-5, points=2),
        f"mu = {_EQUAL:g} for all": problem(batch, 1e-5, _EQUAL, lowest=_EQUAL, points=2),
    }
    spread, equals = (
        race(f"B = {batch}, {which}, end state, float64: forward", task, peers, settings, gradient=False)
        for which, task in tasks.items()
    )
    return spread, equals


def problem(
    batch: int,
    tol: float,
    highest: float = _HIGHEST,
    end: float = 50.0,
    *,
    lowest: float = _LOWEST,
    points: int = 101,
) -> Task:
    """Return the task: mu evenly spread in the logarithm."""
    exponents = torch.linspace(math.log(lowest), math.log(highest), batch, dtype=torch.float64)
    system = VanDerPol(exponents.exp(), learnable=True).double()
    params = tuple(parameter for parameter in system.parameters() if parameter.numel() == batch)
    for parameter in system.parameters():
        parameter.requires_grad_(parameter.numel() == batch)
    return Task(
        f=system,
        params=params,
        y0=torch.tensor([[2.0, 0.0]], dtype=torch.float64).repeat(batch, 1).requires_grad_(),
        t=torch.linspace(0.0, end, points, dtype=torch.float64),
        tol=tol,
        twin=Twin(_in_jax, mapped=True, max_steps=2**16),
    )


def _in_jax(t: Any, y: Any, params: Any) -> Any:
    import jax.numpy as jnp

    (mu,) = params
    y1, y2 = y[..., 0], y[..., 1]
    return jnp.stack([y2, mu * (1 - y1 * y1) * y2 - y1], -1)
