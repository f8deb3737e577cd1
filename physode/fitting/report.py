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
from physode.fit_status import status_of
from physode.fitting.constants import true_constants
from physode.fitting.data import FitData
from physode.fitting.labels import initial_state_label
from physode.fitting.objective import Objective
from physode.fitting.parameters import raw_constants
from physode.fitting.sanity_checks import astray, plausibility_notes, share_left
from physode.fitting.uncertainty import Uncertainty, interval, uncertainty
from physode.solution import Solution
from physode.summary import Described, Summary, error_text, frame, rounded, short_number

_UNLIKELY = 5.0  # standard deviations of chi-square


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
    interval
        The ends of its 95 % interval.
    """

    name: str
    unit: str
    true: float | None
    fitted: float
    standard_error: float | None
    relative_error: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Correlations:
    """Correlations of the fitted unknowns, constants first, then initial states."""

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


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


@dataclass(frozen=True, repr=False)
class Report(Described):
    """What a fit found.

    Attributes
    ----------
    constants, initial_states
        What was fitted, element by element.
    errors
        Mean squared errors over the training span, beyond it, and over all times.
    loss
        That over the training span.
    epochs, parameters, ended
        Steps taken, free numbers, and why the fit ended.
    status
        How it ended by name: ``"converged"``, ``"max epochs"``, ``"out of time"``, ``"no progress"`` (nothing better
        than the start was seen), ``"diverged"`` (it ran away; what is kept is the best that was seen) or ``"explains
        nothing"`` (the data's means are closer to them than the fit is, :mod:`physode.fit_status`).
    chi_square
        Sum of squared residuals in standard deviations over degrees of freedom, where these deviations are known.
    correlations
        Of the constants and initial states.
    notes
        What a reader of the numbers should know.
    """

    constants: tuple[ConstantFit, ...]
    initial_states: tuple[ConstantFit, ...]
    errors: tuple[SpanError, ...]
    loss: float
    epochs: int
    parameters: int
    ended: str
    status: str
    chi_square: float | None = None
    correlations: Correlations | None = None
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> Summary:
        """Constants to the digits that are known, errors over the spans, how it ended."""
        fitted = (*self.constants, *self.initial_states)
        rows = tuple(
            (
                each.name,
                rounded(each.fitted, each.standard_error) or "-",
                error_text(each.standard_error) or "-",
                each.unit,
            )
            for each in fitted
        )
        facts = {
            "loss": short_number(self.loss),
            **{f"MSE {error.span}": short_number(error.mse) for error in self.errors},
            "epochs": str(self.epochs),
        }
        heads = ("name", "fitted", "standard error", "unit")
        return Summary(f"Report of a fit: {self.status}, {self.ended}", facts, heads, rows, self.notes)

    def to_frame(self) -> Any:
        """Return constants and initial states as a pandas DataFrame, a row each.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        fitted = (*self.constants, *self.initial_states)
        ends = [(None, None) if each.interval is None else each.interval for each in fitted]
        names = ("name", "unit", "true", "fitted", "standard_error", "relative_error")
        columns = {name: [getattr(each, name) for each in fitted] for name in names}
        return frame({**columns, "low": [end[0] for end in ends], "high": [end[1] for end in ends]}, index="name")

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can say."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def make_report(
    objective: Objective, trajectories: Trajectories, solution: Solution, *, epochs: int, ended: str
) -> Report:
    """Compare a fitted right-hand side with the data, and with the truth where the file knows it."""
    notes = _failure_notes(solution)
    found, more = _uncertainty(objective)
    chi_square = None if found is None else found.chi_square
    constants = _constants(objective, trajectories, found)
    notes += [note for note in trajectories.attrs.get("notes", []) if isinstance(note, str)]
    errors = span_errors(objective.data, trajectories, solution.y)
    left = share_left(objective.data, solution.y)
    ended = astray(ended, errors[0].mse, left, chi_square=chi_square, freedom=_freedom(objective, found))
    return Report(
        constants=constants,
        initial_states=_initial_states(objective, trajectories, found),
        errors=errors,
        loss=math.nan if errors[0].mse is None else errors[0].mse,
        epochs=epochs,
        parameters=int(objective.parameters.mask.sum()),
        ended=ended,
        status=status_of(ended),
        chi_square=chi_square,
        correlations=None if found is None else Correlations(found.labels, _rows(found.correlations)),
        notes=(*notes, *more, *plausibility_notes(objective, trajectories, left)),
    )


def _uncertainty(objective: Objective) -> tuple[Uncertainty | None, list[str]]:
    """Compute standard errors of constants and initial states.

    Beside a network, whose weights can stand in for physics, such errors would be too small: there are none.
    """
    raw = raw_constants(objective.rhs)
    if not raw and not objective.parameters.has_free_states:
        return None, []
    if len(raw) < len(objective.parameters.rhs_parameters):
        return None, ["no standard errors: a network beside the constants can take their place"] if raw else []
    try:
        found = uncertainty(objective)
    except (SolveError, ValueError) as error:
        return None, [f"no standard errors: {error}"]
    bounded = [f"{name} ended at its bound: the other errors hold with it fixed there" for name in found.at_bound]
    return found, [*bounded, *_rounding_notes(objective, found.loss), *_chi_square_notes(objective, found)]


def _constants(objective: Objective, trajectories: Trajectories, found: Uncertainty | None) -> tuple[ConstantFit, ...]:
    rhs, known, rows = objective.rhs, true_constants(trajectories), []
    units = getattr(rhs, "constant_units", {})
    for label, (name, place) in objective.parameters.free_constants().items():
        constant, truth = rhs.constants[name].detach(), known.get(name)
        true = None if truth is None or truth.shape != constant.shape else float(truth[place])
        rows.append(_fitted(label, units.get(name, ""), true, float(constant[place]), found))
    return tuple(rows)


def _initial_states(
    objective: Objective, trajectories: Trajectories, found: Uncertainty | None
) -> tuple[ConstantFit, ...]:
    parameters = objective.parameters
    if not parameters.has_free_states:
        return ()
    states = parameters.states.detach().double().cpu().numpy()
    batched, clean = states.ndim == 2, trajectories.y_clean
    rows = []
    for place in np.ndindex(states.shape):
        trajectory, column = place[0] if batched else 0, place[-1]
        label = initial_state_label(trajectories.columns[column], trajectory if batched else None)
        true = None if clean is None else float(clean[trajectory, 0, column])
        rows.append(_fitted(label, trajectories.units[column], true, float(states[place]), found))
    return tuple(rows)


def _fitted(label: str, unit: str, true: float | None, value: float, found: Uncertainty | None) -> ConstantFit:
    error = ends = None
    if found is not None and label in found.labels:
        error = float(found.deviations[found.labels.index(label)])
        ends = interval(value, error, found.quantile)
    relative = None if not true else abs(value - true) / abs(true)
    return ConstantFit(label, unit, true, value, error, relative, ends)


def _rows(matrix: np.ndarray[Any, Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in matrix)


def _rounding_notes(objective: Objective, loss: float) -> list[str]:
    """Say so where residuals are no larger than the solver's own errors, which are not random."""
    config, data = objective.config, objective.data
    assert config.rtol is not None
    assert config.atol is not None
    values = data.y if data.weights is None else data.y * data.weights
    size = math.sqrt(float(values[data.training].double().square().mean()))
    absolute = config.atol if data.weights is None else config.atol * float(data.weights[data.training].mean())
    if math.sqrt(loss) > 10 * (absolute + config.rtol * size):
        return []
    return ["the residuals are no larger than the solver's own errors, which standard errors know nothing of"]


def _freedom(objective: Objective, found: Uncertainty | None) -> int:
    """Return degrees of freedom: how many more values there are than unknowns, at least 1."""
    return max(int(objective.data.training.sum()) - (0 if found is None else len(found.labels)), 1)


def _chi_square_notes(objective: Objective, found: Uncertainty) -> list[str]:
    """Say so where the residuals are not of the size that they should be of."""
    if found.chi_square is None or objective.config.robust is not None:
        return []
    freedom = _freedom(objective, found)
    off = abs(found.chi_square - 1.0) / math.sqrt(2.0 / freedom)
    if off < _UNLIKELY:
        return []
    larger = found.chi_square > 1
    return [
        f"the residuals are {'larger' if larger else 'smaller'} than sigma says (chi-square {found.chi_square:.3g} a "
        f"degree of freedom): {'the model or' if larger else ''} sigma is off, and the standard errors with it"
    ]


def span_errors(data: FitData, trajectories: Trajectories, predicted: Tensor) -> tuple[SpanError, ...]:
    """Return mean squared errors of predicted states, (T, *y0.shape), over the training span, beyond it and overall."""
    t = data.t.cpu()
    masks = {"training": data.training, "beyond": data.beyond, "all": data.training | data.beyond}
    clean = None
    if trajectories.y_clean is not None:
        states = trajectories.y_clean.transpose(1, 0, 2)
        clean = torch.tensor(states if data.batched else states[:, 0])
    predicted, observed = predicted.detach().cpu().double(), data.y.cpu().double()
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
