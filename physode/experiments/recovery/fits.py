r"""The fits of the recovery study: by Levenberg-Marquardt one system after the other, by Adam all in one batch.

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
from physode.experiments.recovery.systems import Systems, several, simulated
from physode.fitting import Fit, FitConfig, fit
from physode.rhs import ThreeBody
from physode.simulators import simulate_three_body
from physode.solve import solve
from physode.status import Status
from physode.sweeps.cells import one_line


def fit_systems(*, data: Mapping[str, Any], schedule: str, sigma_known: bool) -> list[dict[str, Any]]:
    """Fit the masses of each system by itself; without noise its initial state is known, else it is fitted, too.

    Parameters
    ----------
    data
        Arguments of :func:`physode.experiments.recovery.systems.simulated`.
    schedule
        Of the fit: ``"growing"`` or ``"full"``.
    sigma_known
        Whether the fit is told the standard deviation of the noise.

    Returns
    -------
    list of dict
        One a system: ``system``, ``min_distance``, ``masses`` (true), ``start``, ``fitted``, ``errors`` (standard
        errors) and ``intervals`` (95 %), ``loss``, ``evaluations``, ``seconds`` of processor time, and ``failure``,
        None or the reason for which there is no fit. ``errors`` and ``intervals`` are None where a fit has none.
    """
    systems = simulated(**data)
    settings: dict[str, Any] = {
        "schedule": schedule,
        "train_until": data["t_end"],
        "initial_state": "fit" if data["noise"] else "known",
        "sigma": data["noise"] if sigma_known else None,
    }
    return [_fit_one(systems, index, settings) for index in range(len(systems.labels))]


def fit_preset(*, start: Sequence[float], t_end: float, points: int, train_until: float) -> dict[str, Any]:
    """Fit the masses of the preset ``"aca"`` with growing spans and over the full one at once, from the same start.

    Returns
    -------
    dict
        The ``true`` masses, and for ``"growing"`` and ``"full"`` the ``masses`` found, ``loss`` and ``evaluations``.
    """
    truth = simulate_three_body(preset="aca", t_end=t_end, points=points)
    init, found = {"masses": tuple(start)}, {}
    for schedule in ("growing", "full"):
        each = fit(truth, FitConfig(rhs="physical", schedule=schedule, train_until=train_until, init=init))
        found[schedule] = {"masses": _masses(each), "loss": each.report.loss, "evaluations": len(each.history)}
    return {"true": list(ThreeBody.find_preset("aca").config["masses"]), **found}


def _fit_one(systems: Systems, index: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    about = systems.about(index)
    init = {"masses": tuple(about["start"])}
    config = FitConfig(rhs="physical", init=init, trajectories=(index,), **settings)
    began = time.process_time()
    try:
        found = fit(systems.data, config)
    except Exception as error:  # noqa: BLE001 - whatever a fit raises is its outcome; the other systems go on
        return {**about, "failure": one_line(error), "seconds": time.process_time() - began}
    seconds = time.process_time() - began
    constants = found.report.constants
    sure = all(each.standard_error is not None and np.isfinite(each.standard_error) for each in constants)
    return {
        **about,
        "fitted": _masses(found),
        "errors": [each.standard_error for each in constants] if sure else None,
        "intervals": [each.interval for each in constants] if sure else None,
        "loss": found.report.loss,
        "evaluations": len(found.history),
        "ended": found.report.ended,
        "seconds": seconds,
        "failure": None,
    }


def _masses(found: Fit) -> list[float]:
    values: list[float] = found.rhs.constants["masses"].tolist()
    return values


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
        :func:`fit_systems` has them, with ``taken_back``, the number of
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
    about = {**part.about(index), "taken_back": int(found.failures[row])}
    if not bool(torch.isfinite(found.losses[row])):
        return {**about, "failure": "no solve succeeded from the initial guess on"}
    return {
        **about,
        "fitted": found.masses[row].tolist(),
        "errors": None,
        "intervals": None,
        "loss": float(found.losses[row]),
        "failure": None,
    }
