r"""A start for networks: parameters whose right-hand side has the slopes that the data show.

With states :math:`\hat y_i` and slopes :math:`\dot{\hat y}_i` from splines through the observations, this minimises

.. math:: \sum_i \bigl| S^{-1} \bigl( f(t_i, \hat y_i; \theta) - \dot{\hat y}_i \bigr) \bigr|^2

(S: the slopes' spreads), which takes no solve and has none of the wrong minima of long trajectories; for a right-hand
side that is linear in its parameters it is linear least squares. Also known as gradient matching or collocation
(Varah 1982). Its answer carries the splines' errors: it is where a fit of trajectories begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physode.errors import DataError
from physode.fitting.config import FitConfig
from physode.fitting.data import FitData
from physode.fitting.initial_state import complete_states
from physode.fitting.levenberg_marquardt import compressed
from physode.fitting.parameters import FitParameters
from physode.rhs import System

Array = np.ndarray[Any, Any]

_DEGREE = 7  # of splines through exact values
_ITERATIONS = 30
_TOLERANCE = 1e-3
_DAMPING = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4)  # in units of the scaled Jacobian's columns, squared
_CONDITION = 1e-8  # directions of the scaled Jacobian that are weaker than this share of the strongest are left alone
_MOST_PARAMETERS = 2000  # for least squares on a Jacobian; more are left to L-BFGS


def match_slopes(rhs: System, data: FitData, config: FitConfig, *, free: dict[str, Tensor]) -> None:
    """Set the parameters of `rhs` to those that match the slopes of the training data best."""
    times, states, slopes = _paths(rhs, data)
    dummy = nn.Parameter(states[0], requires_grad=False)
    parameters = FitParameters(rhs, dummy, torch.zeros_like(dummy, dtype=torch.bool), free, config)
    spread = slopes.std(0)
    usable = spread > 0
    scale = torch.where(usable, spread, 1.0)

    def residuals() -> Tensor:
        found: Tensor = torch.func.vmap(rhs)(times, states)
        return ((found - slopes) / scale)[:, usable]

    if int(parameters.mask.sum()) <= _MOST_PARAMETERS:
        _least_squares(parameters, residuals, times, states, scale, usable)
    else:
        _lbfgs(parameters, residuals)


def smooth(t: Array, values: Array, at: Array, *, exact: bool) -> tuple[Array, Array]:
    """Return values and slopes at times of a spline: through exact values, else smoothed by cross-validation.

    Fewer than five values are joined by straight lines.
    """
    from scipy.interpolate import make_interp_spline, make_smoothing_spline

    rising = t if t[-1] > t[0] else t[::-1]
    ordered = values if t[-1] > t[0] else values[::-1]
    if exact or len(t) < 5:
        spline = make_interp_spline(rising, ordered, k=max(1, min(_DEGREE, (len(t) - 1) // 2 * 2 - 1)))
    else:
        spline = make_smoothing_spline(rising, ordered)
    return np.asarray(spline(at)), np.asarray(spline.derivative()(at))


def _paths(rhs: System, data: FitData) -> tuple[Tensor, Tensor, Tensor]:
    """Return times (M,), states (M, D) and slopes (M, D) of all trajectories at the times where they are known."""
    y = data.y if data.batched else data.y.unsqueeze(1)
    counted = data.training if data.batched else data.training.unsqueeze(1)
    start = data.y0 if data.batched else data.y0.unsqueeze(0)
    parts = []
    for row in range(y.shape[1]):
        own = data.t if data.t.ndim == 1 else data.t[:, row]
        t = own[: data.steps].double().cpu().numpy()
        observed = torch.where(counted[: data.steps, row], y[: data.steps, row], torch.nan).double().cpu().numpy()
        if data.known:  # exact, though it is not counted
            known = np.isfinite(observed[1:]).any(0)
            observed[0, known] = start[row].double().cpu().numpy()[known]
        parts.append(_path(rhs, t, observed, exact=data.exact))
    times, states, slopes = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return (
        torch.as_tensor(times, device=y.device),
        torch.as_tensor(states, dtype=y.dtype, device=y.device),
        torch.as_tensor(slopes, dtype=y.dtype, device=y.device),
    )


def _path(rhs: System, t: Array, observed: Array, *, exact: bool) -> tuple[Array, Array, Array]:
    """Return times that lie within every observed component's own, and states and slopes there."""
    present = np.isfinite(observed)
    seen: Array = np.asarray(present.sum(0) > 1)
    ends = [np.flatnonzero(present[:, column])[[0, -1]] for column in np.flatnonzero(seen)]
    at = t[max(first for first, _ in ends) : min(last for _, last in ends) + 1] if ends else t[:0]
    if len(at) < 2:
        raise DataError("no time lies between observations of every component; a fit cannot begin at their slopes")
    states, slopes = np.zeros((len(at), observed.shape[1])), np.zeros((len(at), observed.shape[1]))
    for column in np.flatnonzero(seen):
        rows = present[:, column]
        states[:, column], slopes[:, column] = smooth(t[rows], observed[rows, column], at, exact=exact)
    if not seen.all():
        states = complete_states(rhs, at, states, slopes, seen)
        for column in np.flatnonzero(~seen):
            slopes[:, column] = smooth(at, states[:, column], at, exact=exact)[1]
    return at, states, slopes


def _least_squares(
    parameters: FitParameters,
    residuals: Callable[[], Tensor],
    times: Tensor,
    states: Tensor,
    scale: Tensor,
    usable: Tensor,
) -> None:
    """Take Gauss-Newton steps, damped until they lead down (Levenberg 1944); of a problem that is linear, one.

    Undamped steps are the shortest of those that minimise the linearised problem, in units of the Jacobian's columns:
    what the data do not determine stays as it was.
    """
    names = [name for name, parameter in parameters.rhs.named_parameters() if parameter.requires_grad]

    def jacobian() -> Tensor:
        weights = {name: value.detach() for name, value in parameters.rhs.named_parameters() if name in names}

        def one(values: dict[str, Tensor], t: Tensor, y: Tensor) -> Tensor:
            found: Tensor = torch.func.functional_call(parameters.rhs, values, (t, y))
            return (found / scale)[usable]

        parts = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0, 0))(weights, times, states)
        flat = [parts[name].reshape(len(times), int(usable.sum()), -1) for name in names]
        return torch.cat(flat, -1)[..., parameters.mask].flatten(0, 1)

    def misfit() -> Tensor:
        with torch.no_grad():
            return residuals().reshape(-1).double()

    def size(x: Array) -> float:
        parameters.move(np.clip(x, low, high))
        return float(misfit().norm())

    low, high = parameters.bounds()
    x = np.clip(parameters.vector(), low, high)
    best = size(x)
    for _ in range(_ITERATIONS):
        parameters.move(x)
        steps = _steps(jacobian().double(), misfit())
        step = next((step for step in steps if size(x + step) < best), None)
        if step is None:
            break
        x = np.clip(x + step, low, high)
        before, best = best, size(x)
        if best > (1.0 - _TOLERANCE) * before:
            break
    parameters.move(x)


def _steps(jacobian: Tensor, misfit: Tensor) -> Iterator[Array]:
    """Yield steps, each more damped than the one before."""
    from scipy.linalg import lstsq

    acts = jacobian.abs().amax(1) > 0  # rows in which no parameter takes part
    columns = jacobian.norm(dim=0)
    columns = torch.where(columns > 0, columns, 1.0)
    residuals, scaled = compressed(misfit[acts], jacobian[acts] / columns)
    matrix, right, units = scaled.cpu().numpy(), -residuals.cpu().numpy(), columns.cpu().numpy()
    yield lstsq(matrix, right, cond=_CONDITION)[0] / units
    for damping in _DAMPING:
        more = np.sqrt(damping) * np.eye(matrix.shape[1])
        yield lstsq(np.vstack([matrix, more]), np.concatenate([right, np.zeros(len(more))]))[0] / units


def _lbfgs(parameters: FitParameters, residuals: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters.tensors, max_iter=10 * _ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        found = residuals().square().mean()
        found.backward()  # type: ignore[no-untyped-call]
        parameters.mask_gradients()
        return float(found.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    parameters.project()
