r"""Cells of the recovery study that are fitted by Adam, all systems in one batch.

Adam works on each number by itself. With per-sample steps a system's solution and loss do not depend on the others, and
the gradient of the losses' sum is each system's own: one Adam over the batch takes the steps of as many separate ones.
The adjoint method's backward solve is the exception, whose step sizes all systems share: they are those of the system
that needs the smallest, and the gradients of the others a little better than alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.errors import SolveError
from physode.experiments.recovery.systems import Systems, several
from physode.rhs import ThreeBody
from physode.solve import solve
from physode.status import Status

__all__ = ["Batch", "Descent", "descend", "fit_together", "gradients"]


def fit_together(
    *,
    data: Mapping[str, Any],
    noises: Sequence[float],
    gradient: str,
    epochs: int,
    lr: float,
    lr_decay: float,
    method: str,
    rtol: float,
    atol: float,
    max_steps: int,
) -> dict[str, Any]:
    """Fit the masses of each system at each noise from its known initial state.

    Parameters
    ----------
    data
        Arguments of :func:`physode.experiments.recovery.systems.several`, but the noise.
    noises
        Standard deviations of the observed positions.
    gradient, epochs, lr, lr_decay
        How gradients are computed; steps of Adam, the rate of the first, and its factor from step to step.
    method, rtol, atol, max_steps
        Of solves, as :func:`physode.solve` has them.

    Returns
    -------
    dict
        ``fits``: for each noise a list with one entry a system, as
        :func:`physode.experiments.recovery.least_squares.fit_systems` has them, with ``taken_back``, the number of
        solves that failed. ``seconds`` are the batch's processor time, shared out equally.
    """
    groups = [(noise, part) for noise in noises for part in several(**data, noise=noise)]
    batch = Batch.of([part for _, part in groups])
    options = {"gradient": gradient, "method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    began = time.process_time()
    found = descend(batch, epochs=epochs, lr=lr, lr_decay=lr_decay, options=options)
    seconds = (time.process_time() - began) / len(batch.starts)
    fits: dict[float, list[dict[str, Any]]] = {noise: [] for noise in noises}
    row = 0
    for noise, part in groups:
        for index in range(len(part.labels)):
            fits[noise].append(_record(part, index, found, row) | {"seconds": seconds})
            row += 1
    return {"fits": [fits[noise] for noise in noises]}


@dataclass(frozen=True)
class Batch:
    """Systems to be fitted beside each other.

    Attributes
    ----------
    t
        Times, (T,).
    states
        Exact initial states, (B, 18).
    positions
        Observed, (T, B, 9).
    starts
        Masses at the start, (B, 3).
    """

    t: Tensor
    states: Tensor
    positions: Tensor
    starts: Tensor

    @classmethod
    def of(cls, parts: Sequence[Systems]) -> Batch:
        """Join systems that were observed at the same times."""
        observed = np.concatenate([part.data.y[..., :9] for part in parts])
        return cls(
            t=torch.tensor(parts[0].data.t),
            states=torch.tensor(np.concatenate([part.states for part in parts])),
            positions=torch.tensor(observed.transpose(1, 0, 2)),
            starts=torch.tensor(np.concatenate([part.starts for part in parts])),
        )

    def some(self, rows: Tensor) -> Batch:
        """Return the systems at `rows`."""
        return Batch(self.t, self.states[rows], self.positions[:, rows], self.starts[rows])


@dataclass(frozen=True)
class Descent:
    """Where Adam came to: the masses (B, 3) of each system's best epoch, its loss (B,), and failed solves (B,)."""

    masses: Tensor
    losses: Tensor
    failures: Tensor


def descend(batch: Batch, *, epochs: int, lr: float, lr_decay: float, options: Mapping[str, Any]) -> Descent:
    r"""Take `epochs` steps of Adam at the rates :math:`\mathrm{lr} \cdot \mathrm{decay}^{\mathrm{epoch}}`.

    A system whose solve fails stays out of that step, and goes half-way back to its last masses that could be solved.
    """
    masses = batch.starts.clone().requires_grad_()
    optimizer = torch.optim.Adam([masses], lr=lr)
    good, best = batch.starts.clone(), batch.starts.clone()
    least = torch.full((len(best),), torch.inf, dtype=torch.float64)
    failures = torch.zeros(len(best), dtype=torch.int64)
    for epoch in range(epochs + 1):
        here = masses.detach().clone()
        losses, slopes = gradients(here, batch, options)
        solved = torch.isfinite(losses) & torch.isfinite(slopes).all(-1)
        failures += ~solved
        better = solved & (losses < least)
        least, best = torch.where(better, losses, least), torch.where(better[:, None], here, best)
        if epoch == epochs:
            break
        good = torch.where(solved[:, None], here, good)
        optimizer.param_groups[0]["lr"] = lr * lr_decay**epoch
        masses.grad = torch.where(solved[:, None], slopes, 0.0)
        optimizer.step()
        with torch.no_grad():
            masses.copy_(torch.where(solved[:, None], masses, (good + here) / 2))
    return Descent(best, least, failures)


def gradients(masses: Tensor, batch: Batch, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    r"""Return each system's mean squared error of positions after the first, (B,), and its slopes in the masses (B, 3).

    They are NaN where a solve fails. The adjoint method gives nothing for a batch in which one solve fails, forwards or
    backwards: it is then asked without those that fail forwards, or else, half by half.
    """
    try:
        return _gradients(masses, batch, options)
    except SolveError:
        failed = _unsolved(masses, batch, options)
    count = len(masses)
    if bool(failed.all()) or count == 1:
        return masses.new_full((count,), torch.nan), torch.full_like(masses, torch.nan)
    rows = torch.arange(count)
    parts = [rows[~failed]] if bool(failed.any()) else [rows[: count // 2], rows[count // 2 :]]
    losses, slopes = masses.new_full((count,), torch.nan), torch.full_like(masses, torch.nan)
    for part in parts:
        losses[part], slopes[part] = gradients(masses[part], batch.some(part), options)
    return losses, slopes


def _gradients(masses: Tensor, batch: Batch, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    rhs = _system(masses)
    found = solve(rhs, batch.states, batch.t, step_control="per-sample", throw=False, **options)
    losses = (found.y[1:, :, :9] - batch.positions[1:]).square().mean((0, 2))
    (parameter,) = rhs.parameters()
    # Where a solve failed its NaN is left out of the sum, so that the others' gradients do not meet it.
    (slopes,) = torch.autograd.grad(torch.where(torch.isfinite(losses), losses, 0.0).sum(), parameter)
    return losses.detach(), slopes


def _system(masses: Tensor) -> ThreeBody:
    """Return the system with a mass a sample; on their way masses may be below 0, which the constructor refuses."""
    rhs = ThreeBody(torch.ones_like(masses), learnable=True)
    with torch.no_grad():
        for parameter in rhs.parameters():
            parameter.copy_(masses)
    return rhs


def _unsolved(masses: Tensor, batch: Batch, options: Mapping[str, Any]) -> Tensor:
    with torch.no_grad():
        found = solve(_system(masses), batch.states, batch.t, step_control="per-sample", throw=False, **options)
    return found.status != Status.SUCCESS


def _record(part: Systems, index: int, found: Descent, row: int) -> dict[str, Any]:
    solved = bool(torch.isfinite(found.losses[row]))
    about = {
        "system": part.labels[index],
        "min_distance": float(part.distances[index]),
        "masses": part.masses[index].tolist(),
        "start": part.starts[index].tolist(),
        "taken_back": int(found.failures[row]),
    }
    if not solved:
        return {**about, "failure": "no solve succeeded from the initial guess on"}
    return {
        **about,
        "fitted": found.masses[row].tolist(),
        "errors": None,
        "intervals": None,
        "loss": float(found.losses[row]),
        "failure": None,
    }
