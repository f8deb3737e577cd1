"""Stiff reactions, a thousand samples with rates of their own: Robertson's to t = 1e4, and HIRES, in double precision.

Every rate of every sample is the published one times a factor between 1/2 and 2, drawn evenly in the logarithm; the
tolerances are 1e-6, and absolute ones as small as the scarcest species ask. Gradients of the end state: in all rates
and initial states. physode and gradsolve have rodas5p, diffrax has Kvaerno5; every sample has its own steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.agreement import Bounds, reference
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.replay_peer import gradsolve
from benchmarks.report import Report, heat_section
from benchmarks.task import Answer, Task, Twin

__all__ = ["HIRES", "KINETICS", "ROBERTSON", "heat", "problem", "run", "title"]

_TOL = 1e-6
_JUDGED = 20  # samples whose answers are compared with tight ones
_MOST = 1000
_SPREAD = math.log(2.0)


@dataclass(frozen=True)
class Kinetics:
    """Reactions with rates of their own: ``change(stack, y, rates)`` for species and rates apart, last axis taken off.

    ``absolute`` is the absolute tolerance over the relative one; ``diffrax`` is the factor of diffrax's tolerances at
    which its errors are those of rodas5p: at the same tolerances they are far smaller, by far more steps.
    """

    name: str
    rates: tuple[float, ...]
    y0: tuple[float, ...]
    end: float
    absolute: float
    diffrax: float
    change: Callable[..., list[Any]]


def _robertson(y: Sequence[Any], rates: Sequence[Any]) -> list[Any]:
    a, b, c = y
    slow, fastest, fast = rates[0] * a, rates[1] * b * b, rates[2] * b * c
    return [fast - slow, slow - fast - fastest, fastest]


def _hires(y: Sequence[Any], rates: Sequence[Any]) -> list[Any]:
    y1, y2, y3, y4, y5, y6, y7, y8 = y
    k1, k2, k3, k4, k5, k6, source, bind, loosen, leave = rates
    bound = bind * y6 * y8 - (k2 + loosen + leave) * y7
    return [
        -k1 * y1 + k2 * y2 + k6 * y3 + source,
        k1 * y1 - (k2 + k3) * y2,
        -(k6 + k1) * y3 + k2 * y4 + k5 * y5,
        k3 * y2 + k1 * y3 - (k4 + k2) * y4,
        -(k5 + k1) * y5 + k2 * (y6 + y7),
        -bind * y6 * y8 + k4 * y4 + k1 * y5 - k2 * y6 + loosen * y7,
        bound,
        -bound,
    ]


ROBERTSON = Kinetics("Robertson", (0.04, 3e7, 1e4), (1.0, 0.0, 0.0), 1e4, 1e-6, 1e3, _robertson)
HIRES = Kinetics(
    "HIRES",
    (1.71, 0.43, 8.32, 0.69, 0.035, 8.32, 0.0007, 280.0, 0.69, 0.69),
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
    321.8122,
    1e-4,
    1e2,
    _hires,
)
KINETICS = (ROBERTSON, HIRES)


class Mixture(torch.nn.Module):
    """Reactions in many vessels, with rates ``(batch, number)``."""

    def __init__(self, kinetics: Kinetics, rates: Tensor) -> None:
        super().__init__()
        self.kinetics, self.rates = kinetics, torch.nn.Parameter(rates)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(self.kinetics.change(y.unbind(-1), self.rates.unbind(-1)), -1)


def run(settings: Settings) -> Report:
    """Race both reactions."""
    batch = 100 if settings.quick else _MOST
    heats = [heat(settings, kinetics, batch) for kinetics in KINETICS if settings.only in title(kinetics, batch)]
    notes = (
        f"Errors are those of {_JUDGED} samples, relative to diffrax's solution at a tenth of the tolerance, which "
        "is good to some 1e-9. The time of gradsolve is that of the replay of steps that were recorded before, or of "
        "both. diffrax runs at the multiple of the tolerances at which its errors are those of the others."
    )
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def title(kinetics: Kinetics, batch: int) -> str:
    """Return a heat's title."""
    return f"{kinetics.name}, B = {batch:,}, float64: gradient of the end state"


def heat(settings: Settings, kinetics: Kinetics, batch: int, peers: Sequence[Peer] | None = None) -> Heat:
    """Race one of the reactions."""
    return race(
        title(kinetics, batch),
        problem(kinetics, batch),
        contestants(kinetics) if peers is None else peers,
        settings,
        check=_tight_check(kinetics),
        right=_right_answer(kinetics),
        bounds=Bounds(1e-4, 1e-3),
        part=lambda answer: _judged(answer, batch),
    )


def contestants(kinetics: Kinetics) -> list[Peer]:
    """Return who runs."""
    own: dict[str, Any] = {"step_control": "per-sample"}
    ours = [physode(compiled=True, **own), physode(**own)]
    return [*ours, gradsolve(), gradsolve(recording=True), diffrax().held_to(kinetics.diffrax)]


def _judged(answer: Answer, batch: int) -> Answer:
    """Return the part of an answer that is compared: the first samples', as if there were no others."""
    share = batch / _JUDGED  # the loss is a mean over samples
    return Answer(answer.outputs[:, :_JUDGED], tuple(gradient[:_JUDGED] * share for gradient in answer.gradients))


@cache
def _right_answer(kinetics: Kinetics) -> Answer:
    return reference(problem(kinetics, _JUDGED, _TOL * 1e-1), True)


@cache
def _tight_check(kinetics: Kinetics) -> Check:
    return Check(problem(kinetics, _JUDGED, _TOL * 1e-1), _right_answer(kinetics), Bounds(1e-6, 1e-5))


def problem(kinetics: Kinetics, batch: int, tol: float = _TOL) -> Task:
    """Return the task; the first samples are the same whatever the batch."""
    nominal = torch.tensor(kinetics.rates, dtype=torch.float64)
    system = Mixture(kinetics, nominal * _factors(len(nominal))[:batch])
    return Task(
        f=system,
        params=(system.rates,),
        y0=torch.tensor(kinetics.y0, dtype=torch.float64).repeat(batch, 1).requires_grad_(),
        t=torch.tensor([0.0, kinetics.end], dtype=torch.float64),
        tol=tol,
        atol=tol * kinetics.absolute,
        method="rodas5p",
        end_only=True,
        twin=_twin(kinetics),
    )


@cache
def _factors(count: int) -> Tensor:
    draws = torch.rand(_MOST, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return ((2 * draws - 1) * _SPREAD).exp()


@cache
def _twin(kinetics: Kinetics) -> Twin:
    def in_jax(t: Any, y: Any, params: Any) -> Any:
        import jax.numpy as jnp

        (rates,) = params
        species = [y[..., i] for i in range(len(kinetics.y0))]
        return jnp.stack(kinetics.change(species, [rates[..., i] for i in range(len(kinetics.rates))]), -1)

    return Twin(in_jax, mapped=True, max_steps=2**13)
