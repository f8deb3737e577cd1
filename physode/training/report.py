"""What a fit found: constants with their errors, and how far predictions are from the data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.datasets import Trajectories
from physode.errors import SolveError
from physode.rhs import System
from physode.sensitivity import covariance
from physode.solution import Solution
from physode.training.build import true_constants
from physode.training.objective import Objective

__all__ = ["ConstantFit", "Report", "SpanError", "make_report"]


@dataclass(frozen=True)
class ConstantFit:
    """One fitted number.

    Attributes
    ----------
    name, unit
        What it is; elements of vectors are counted from 1.
    true
        Its value, where the file knows it.
    fitted
        The fit's.
    standard_error
        Square root of its variance, where the data determine it.
    relative_error
        The difference from the true value, as a share of it.
    """

    name: str
    unit: str
    true: float | None
    fitted: float
    standard_error: float | None
    relative_error: float | None


@dataclass(frozen=True)
class SpanError:
    """Mean squared errors over a span of time, over the columns that the loss counts.

    Attributes
    ----------
    span
        ``"training"``, ``"beyond"`` or ``"all"``.
    start, end
        First and last time.
    values
        How many observed numbers it is the mean of.
    mse
        Against the observations; None where the solution ended early.
    mse_clean
        Against the states before noise, where the file knows them.
    """

    span: str
    start: float
    end: float
    values: int
    mse: float | None
    mse_clean: float | None


@dataclass(frozen=True)
class Report:
    """What a fit found."""

    constants: tuple[ConstantFit, ...]
    errors: tuple[SpanError, ...]
    loss: float
    epochs: int
    parameters: int
    ended: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can say."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def make_report(
    objective: Objective, trajectories: Trajectories, solution: Solution, *, epochs: int, ended: str
) -> Report:
    """Compare a fitted right-hand side with the data, and with the truth where the file knows it."""
    notes = _failure_notes(solution)
    constants, more = _constants(objective, trajectories)
    errors = _errors(objective, trajectories, solution)
    return Report(
        constants=constants,
        errors=errors,
        loss=math.nan if errors[0].mse is None else errors[0].mse,
        epochs=epochs,
        parameters=sum(parameter.numel() for parameter in objective.parameters),
        ended=ended,
        notes=(*notes, *more),
    )


def _constants(objective: Objective, trajectories: Trajectories) -> tuple[tuple[ConstantFit, ...], list[str]]:
    rhs = objective.rhs
    learnt = _learnt(rhs)
    if not learnt:
        return (), []
    errors, notes = _standard_errors(objective, learnt)
    known = true_constants(trajectories)
    units = getattr(rhs, "constant_units", {})
    rows = []
    for name in learnt:
        fitted = rhs.constants[name].detach().double().cpu().numpy()
        truth = known.get(name)
        if truth is not None and truth.shape != fitted.shape:
            truth = None
        for place in np.ndindex(fitted.shape):
            label = name if not place else f"{name}[{', '.join(str(index + 1) for index in place)}]"
            true = None if truth is None else float(truth[place])
            value = float(fitted[place])
            relative = None if not true else abs(value - true) / abs(true)
            error = None if errors is None else float(errors[name][place])
            rows.append(ConstantFit(label, units.get(name, ""), true, value, error, relative))
    return tuple(rows), notes


def _learnt(rhs: System) -> dict[str, Tensor]:
    """Return the raw parameters that are constants of physics, by the constants' names."""
    raw = {path.rpartition(".")[2]: parameter for path, parameter in rhs.named_parameters()}
    return {name: raw[f"raw_{name}"] for name in rhs.constants if f"raw_{name}" in raw}


def _standard_errors(objective: Objective, learnt: dict[str, Tensor]) -> tuple[dict[str, Any] | None, list[str]]:
    r"""Return the constants' standard errors from the Fisher information, :math:`\sigma^2 (J^T J)^{-1}`.

    Beside a network, whose weights can stand in for physics, such errors would be too small: there are none.
    """
    if len(learnt) < len(objective.parameters):
        return None, ["no standard errors: a network beside the constants can take their place"]
    try:
        found = objective.linearise(list(learnt.values()))
        variances = covariance(found.jacobian, residuals=found.residuals).diagonal()
    except (SolveError, ValueError) as error:
        return None, [f"no standard errors: {error}"]
    errors, begin = {}, 0
    for name, raw in learnt.items():
        value = objective.rhs.constants[name]
        # The derivative of the physical value by the stored one: 1, or the value itself where logarithms are stored.
        (slope,) = torch.autograd.grad(value.sum(), raw)
        raw_errors = variances[begin : begin + raw.numel()].sqrt().reshape(raw.shape)
        errors[name] = (slope.abs() * raw_errors).double().cpu().numpy()
        begin += raw.numel()
    return errors, _rounding_notes(objective, found.loss)


def _rounding_notes(objective: Objective, loss: float) -> list[str]:
    """Say so where residuals are no larger than the solver's own errors, which are not random."""
    config, data = objective.config, objective.data
    assert config.rtol is not None
    assert config.atol is not None
    size = math.sqrt(float(data.y[data.training].double().square().mean()))
    if math.sqrt(loss) > 10 * (config.atol + config.rtol * size):
        return []
    return ["the residuals are no larger than the solver's own errors, which standard errors know nothing of"]


def _errors(objective: Objective, trajectories: Trajectories, solution: Solution) -> tuple[SpanError, ...]:
    data = objective.data
    t = data.t.cpu()
    masks = {"training": data.training, "beyond": data.beyond, "all": data.training | data.beyond}
    clean = None
    if trajectories.y_clean is not None:
        states = trajectories.y_clean.transpose(1, 0, 2)
        clean = torch.tensor(states if data.batched else states[:, 0])
    predicted, observed = solution.y.detach().cpu().double(), data.y.cpu().double()
    found = []
    for span, mask in masks.items():
        counted = mask.cpu()
        if not bool(counted.any()):
            continue
        rows = counted.flatten(1).any(1)
        found.append(
            SpanError(
                span,
                float(t[rows].min()),
                float(t[rows].max()),
                int(counted.sum()),
                _mse(predicted, observed, counted),
                None if clean is None else _mse(predicted, clean, counted),
            )
        )
    return tuple(found)


def _mse(predicted: Tensor, observed: Tensor, counted: Tensor) -> float | None:
    value = float((predicted - observed)[counted].square().mean())
    return value if math.isfinite(value) else None


def _failure_notes(solution: Solution) -> list[str]:
    return [
        f"the prediction of trajectory {index} ended at t = {time:.6g}: {status.reason}"
        for index, (status, time) in solution.failures.items()
    ]
