"""The cells of Table 5: one model fitted once, and how far its prediction is from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from physode.datasets import Trajectories
from physode.fitting import Fit, FitConfig, fit
from physode.fitting.recurrent import fit_sequences
from physode.models import TrajectoryLSTM
from physode.models.windows import cut
from physode.simulators import simulate_three_body
from physode.solve import solve

Array = np.ndarray[Any, Any]

_LOST = 1e100  # what is further off than this has no mean square


def fit_equation(*, data: Mapping[str, Any], settings: Mapping[str, Any], shown: int) -> dict[str, Any]:
    """Fit a right-hand side and predict the whole span, at the fit's tolerance and accurately.

    Parameters
    ----------
    data
        Arguments of :func:`physode.simulators.simulate_three_body`.
    settings
        Of the fit, as :meth:`physode.fitting.FitConfig.from_dict` reads them.
    shown
        Number of points of the prediction to return.

    Returns
    -------
    dict
        ``mse`` and ``failed_at`` of the accurate prediction (dopri8, rtol 1e-9, atol 1e-11); ``recipe_mse`` and
        ``recipe_failed_at`` of the one at the fit's tolerance; ``training_mse``, ``masses``, ``epochs``, ``ended``,
        ``rhs_evaluations`` (of forward and backward passes, where the optimiser counts them), and ``positions`` of the
        accurate prediction, (shown, 9).
    """
    truth = simulate_three_body(**data)
    found = fit(truth, FitConfig.from_dict(settings))
    accurate = _predict(found, truth)
    masses = found.rhs.constants.get("masses")
    return {
        **_error(truth, accurate),
        **{f"recipe_{name}": value for name, value in _error(truth, found.predictions.y[0]).items()},
        "training_mse": _number(found.report.loss),
        "masses": None if masses is None else masses.tolist(),
        "epochs": found.report.epochs,
        "ended": found.report.ended,
        "rhs_evaluations": _evaluations(found),
        "positions": _positions(accurate, shown),
    }


def fit_lstm(
    *,
    data: Mapping[str, Any],
    augmented: bool,
    predicts: str,
    seed: int,
    epochs: int,
    lr: float,
    lr_decay: float,
    train_until: float,
    sequence: int,
    given: int,
    shown: int,
    betas: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Fit an LSTM to sequences of `sequence` points, and continue the first `given` points over the whole span.

    Returns
    -------
    dict
        ``mse``, ``failed_at``, ``training_mse`` (of what is predicted, standardised), ``epochs``, ``ended`` and
        ``positions``, as :func:`fit_equation`.
    """
    truth = simulate_three_body(**data)
    positions = torch.from_numpy(truth.y[0, :, :9])
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = TrajectoryLSTM(bodies=3, augmented=augmented, predicts=predicts).double()
    sequences = cut(positions[truth.t <= train_until], sequence)
    state = fit_sequences(model, sequences, epochs=epochs, lr=lr, lr_decay=lr_decay, betas=betas, seed=seed)
    predicted = model.forecast(positions[None, :given], len(positions) - given)[0].numpy()
    return {
        **_error(truth, predicted),
        "training_mse": _number(state.best_loss),
        "epochs": state.epoch,
        "ended": state.finished,
        "positions": _positions(predicted, shown),
    }


def constant_error(data: Mapping[str, Any]) -> float:
    r"""Return the mean squared error of the best constant prediction, the positions' own mean over the whole span.

    That is their variance, the mean over times after the first and the nine coordinates: what predicts worse has learnt
    nothing on this measure.
    """
    positions = simulate_three_body(**data).y[0, 1:, :9]
    return float(positions.var(0).mean())


def true_positions(data: Mapping[str, Any], shown: int) -> Array:
    """Return the true positions at the times that cells return theirs, (shown, 9)."""
    truth = simulate_three_body(**data)
    found: Array = truth.y[0, _rows(len(truth.t), shown), :9]
    return found


def shown_times(data: Mapping[str, Any], shown: int) -> Array:
    """Return the times that cells return positions of."""
    times = np.linspace(0.0, data["t_end"], data["points"])
    found: Array = times[_rows(len(times), shown)]
    return found


def _predict(found: Fit, truth: Trajectories) -> Array:
    start, times = torch.from_numpy(truth.y[0, 0]), torch.from_numpy(truth.t)
    with torch.no_grad():
        solution = solve(found.rhs, start, times, method="dopri8", rtol=1e-9, atol=1e-11, throw=False)
    predicted: Array = solution.y.numpy()
    return predicted


def _evaluations(found: Fit) -> int | None:
    counts = [count for each in found.history for count in (each.rhs_forward, each.rhs_backward) if count is not None]
    return sum(counts) if counts else None


def _error(truth: Trajectories, predicted: Array) -> dict[str, float | None]:
    """Return the mean squared error of the positions after the first, or None and the time that none is known from."""
    missed = predicted[1:, :9] - truth.y[0, 1:, :9]
    lost = ~(np.abs(missed) < _LOST).all(-1)  # NaN, too
    if lost.any():
        return {"mse": None, "failed_at": float(truth.t[1:][lost][0])}
    return {"mse": float(np.square(missed).mean()), "failed_at": None}


def _positions(predicted: Array, shown: int) -> list[list[float | None]]:
    rows = predicted[_rows(len(predicted), shown), :9]
    return [[_number(round(value, 6)) for value in row] for row in rows.tolist()]


def _rows(points: int, shown: int) -> Array:
    return np.linspace(0, points - 1, min(shown, points)).round().astype(int)


def _number(value: float) -> float | None:
    return value if abs(value) < _LOST else None
