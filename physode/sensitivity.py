r"""Exact discrete Jacobians of a solution, and what statistics makes of them.

From the accepted steps :math:`y_{i+1} = \psi(t_i, y_i, h_i; \theta)` of one solve, with
:math:`J_i = \partial\psi_i/\partial y_i` and :math:`B_i = \partial\psi_i/\partial\theta` of all steps computed in one
batched evaluation, the sensitivities :math:`S_i = dy_i/d\theta` follow the forward recurrence

.. math:: S_{i+1} = J_i S_i + B_i .

They are derivatives of the numerical solution itself on its accepted steps, not of a further approximation, so that
Gauss-Newton methods converge to rounding.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from physode.gradients.outputs import StepTable, fetch_recorded, read_outputs
from physode.problem.checks import pose
from physode.problem.problem import Problem
from physode.solution import raise_failures
from physode.solvers.clock import Grid
from physode.solvers.driver import Plan, forward
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.solvers.symplectic.alf import Paired
from physode.typing import Progress

__all__ = ["Sensitivities", "correlation", "covariance", "sensitivities"]

_CHUNK_ELEMENTS = 2**25  # of Jacobians held at a time


@dataclass(frozen=True)
class Sensitivities:
    """A solution and its derivatives.

    Attributes
    ----------
    y
        The solution, ``(time, *y0.shape)``.
    jacobian
        dy/dtheta, ``(time, *y0.shape, P)``: the parameters' elements in the order given, then (``initial_state``) those
        of ``y0``; with per-sample steps those of each sample's own initial state.
    """

    y: Tensor
    jacobian: Tensor


def sensitivities(
    f: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float],
    parameters: Sequence[Tensor],
    *,
    args: Sequence[Any] = (),
    initial_state: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Sensitivities:
    """Solve and differentiate the solution with respect to parameters, forwards.

    Parameters
    ----------
    f, y0, t, args, progress, options
        As for :func:`physode.solve`; ``y0`` is one real tensor. With ``step_control="per-sample"`` all samples share
        the parameters.
    parameters
        Tensors that ``f`` depends on: registered parameters of the module ``f``, or members of ``args``.
    initial_state
        Whether to differentiate with respect to ``y0`` too.

    Raises
    ------
    SolveError
        If the solve fails.
    TypeError, ValueError
        If a parameter is neither registered in ``f`` nor in ``args``, or the state is not one real tensor.
    """
    if not isinstance(y0, Tensor) or y0.is_complex():
        raise TypeError("`y0` must be one real tensor for sensitivities")
    args = tuple(args)
    bind = _binder(f, args, parameters)
    with torch.no_grad():
        problem = pose(f, y0.detach(), t, args=args, **options)
        if isinstance(problem.dynamics.packing, Paired):
            raise ValueError(f"`method` must not be {problem.tableau.name!r} for sensitivities; use 'dopri5'")
        problem, plan = problem.started(), Plan(progress=progress)
        record = forward(problem, plan)
        raise_failures(record)
        grid = record.clock()
        y = read_outputs(problem, plan, record, grid, fetch_recorded(record)).outputs
        flat = torch.cat([p.detach().reshape(-1) for p in parameters]) if parameters else y0.new_empty(0)
        steps = _Steps(problem, bind, flat, any(dense is not None for dense in record.dense))
        nodes = torch.stack(record.nodes[:-1])
        states, coefficients = _propagate(steps, grid, nodes, initial_state=initial_state)
        table = StepTable(torch.sign(problem.t[-1] - problem.t[0]), grid, states[:-1], coefficients, states[1:])
        return Sensitivities(y, table.read(problem.t))


Bind = Callable[[Tensor], tuple[Callable[..., Any], tuple[Any, ...]]]
"""From the parameters, flat, to a right-hand side and its further arguments."""


@dataclass
class _Steps:
    """The step function of parameters, one step of one group at a time, to be mapped over."""

    problem: Problem
    bind: Bind
    theta: Tensor
    has_dense: bool

    def __call__(self, t: Tensor, y: Tensor, h: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state and the interpolant's coefficients, flat; per-sample groups as batches of one."""
        per_sample, tableau = self.problem.per_sample, self.problem.tableau
        f, args = self.bind(theta)
        own = self.problem.dynamics
        dynamics = replace(own, f=f, args=args, low=own.low.min(), high=own.high.max())
        if per_sample:
            t, y, h = t[None], y[None], h[None]
        step = take_step(dynamics, tableau, t, y, h)
        if not self.has_dense:
            return step.y.flatten(), y.new_empty(0)
        k_end = end_derivative(dynamics, t, h, step)
        return step.y.flatten(), interpolant(dynamics, tableau, t, y, h, step, k_end).flatten()


def _propagate(steps: _Steps, grid: Grid, nodes: Tensor, *, initial_state: bool) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence; return S at all nodes, ``(steps + 1, *state, P)``, and the interpolants' dF/dtheta."""
    per_sample = steps.problem.per_sample
    state = nodes.shape[1 + per_sample :]
    groups = nodes.shape[1] if per_sample else 1
    dimension = math.prod(state)
    known = len(steps.theta)
    columns = known + dimension * initial_state
    sensitivity = nodes.new_zeros(groups, dimension, columns)
    if initial_state:
        sensitivity[:, :, known:] = torch.eye(dimension, dtype=nodes.dtype, device=nodes.device)
    direct = torch.zeros(known, columns, dtype=nodes.dtype, device=nodes.device)
    direct[:, :known] = torch.eye(known, dtype=nodes.dtype, device=nodes.device)

    found, coefficients = [sensitivity], []
    chunk = max(1, _CHUNK_ELEMENTS // max(1, groups * dimension * (dimension + columns) * 8))
    for begin in range(0, len(nodes), chunk):
        rows = slice(begin, begin + chunk)
        t, h, y = grid.starts[rows], grid.sizes[rows], nodes[rows]
        lead = y.shape[: 1 + per_sample]
        pairs = (t.reshape(-1), y.reshape(-1, *state), h.reshape(-1))
        by_state, by_theta = _step_jacobians(steps, *pairs)
        by_state, by_theta = (part.reshape(len(t), groups, dimension, -1) for part in (by_state, by_theta))
        starts = []
        for jacobian, forcing in zip(by_state, by_theta, strict=True):
            starts.append(sensitivity)
            sensitivity = jacobian @ sensitivity + forcing @ direct
            found.append(sensitivity)
        if steps.has_dense:
            tangents = torch.stack(starts).reshape(-1, *state, columns)
            moved = _dense_tangents(steps, *pairs, tangents, direct)
            moved = moved.reshape(*lead, -1, *state, columns)
            coefficients.append(moved.movedim(1 + per_sample, 1))
    shape = ((groups,) if per_sample else ()) + (*state, columns)
    nodes_found = torch.stack(found).reshape(-1, *shape)
    return nodes_found, torch.cat(coefficients) if coefficients else None


def _step_jacobians(steps: _Steps, t: Tensor, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return d(psi)/dy and d(psi)/dtheta of every step, by as many pull-backs as the state has components."""

    def end_state(y: Tensor, theta: Tensor, t: Tensor, h: Tensor) -> Tensor:
        return steps(t, y, h, theta)[0]

    jacobian = torch.func.jacrev(end_state, argnums=(0, 1))
    by_state, by_theta = _mapped(jacobian, (0, None, 0, 0), y, steps.theta, t, h)
    return by_state.flatten(2), by_theta


def _dense_tangents(steps: _Steps, t: Tensor, y: Tensor, h: Tensor, tangents: Tensor, direct: Tensor) -> Tensor:
    """Push S through the interpolants' coefficients: one forward derivative a column, all steps at once."""

    def pushed(t: Tensor, y: Tensor, h: Tensor, dy: Tensor, dtheta: Tensor) -> Tensor:
        moved = torch.func.jvp(lambda y, theta: steps(t, y, h, theta)[1], (y, steps.theta), (dy, dtheta))
        tangent: Tensor = moved[1]
        return tangent

    def all_columns(t: Tensor, y: Tensor, h: Tensor, dy: Tensor) -> Tensor:
        columns = torch.func.vmap(pushed, in_dims=(None, None, None, -1, -1), out_dims=-1)
        return columns(t, y, h, dy, direct)

    with warnings.catch_warnings():  # torch's forward mode scripts its own formulas, and warns of it
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        pushed_through: Tensor = _mapped(all_columns, (0, 0, 0, 0), t, y, h, tangents)
    return pushed_through


def _mapped(function: Callable[..., Any], in_dims: tuple[int | None, ...], *inputs: Tensor) -> Any:
    """Map over steps at once, or one by one where the right-hand side cannot be mapped."""
    try:
        return torch.func.vmap(function, in_dims=in_dims)(*inputs)
    except RuntimeError:
        count = next(len(part) for part, dim in zip(inputs, in_dims, strict=True) if dim is not None)
        rows = [
            function(*[part if dim is None else part[i] for part, dim in zip(inputs, in_dims, strict=True)])
            for i in range(count)
        ]
        if isinstance(rows[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))
        return torch.stack(rows)


def _binder(f: Callable[..., Any], args: tuple[Any, ...], parameters: Sequence[Tensor]) -> Bind:
    registered = {id(p): name for name, p in f.named_parameters()} if isinstance(f, nn.Module) else {}
    places = {id(arg): i for i, arg in enumerate(args) if isinstance(arg, Tensor)}
    for parameter in parameters:
        if id(parameter) not in registered and id(parameter) not in places:
            raise ValueError(
                f"a parameter of shape {tuple(parameter.shape)} is neither registered in `f` nor in `args`; "
                "register it in the module, or pass it in `args`"
            )
    sizes, shapes = [p.numel() for p in parameters], [p.shape for p in parameters]

    def bind(theta: Tensor) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        values = [part.reshape(shape) for part, shape in zip(torch.split(theta, sizes), shapes, strict=True)]
        own = {registered[id(p)]: v for p, v in zip(parameters, values, strict=True) if id(p) in registered}
        replaced = list(args)
        for parameter, value in zip(parameters, values, strict=True):
            if id(parameter) in places:
                replaced[places[id(parameter)]] = value
        if not own:
            return f, tuple(replaced)
        assert isinstance(f, nn.Module)
        return (lambda *inputs: torch.func.functional_call(f, own, inputs)), tuple(replaced)

    return bind


def covariance(jacobian: Tensor, *, sigma: Tensor | float | None = None, residuals: Tensor | None = None) -> Tensor:
    r"""Return the parameters' covariance :math:`\sigma^2 (J^\top J)^{-1}`, the inverse of the Fisher information.

    Parameters
    ----------
    jacobian
        ``(..., P)``: the derivatives of every observed value.
    sigma
        Standard deviation of the observations, a number or one a value (broadcast against ``jacobian[..., 0]``).
    residuals
        Where ``sigma`` is unknown: observed minus fitted values, from which
        :math:`\hat\sigma^2 = \sum r^2 / (n - P)` is estimated.

    Raises
    ------
    ValueError
        If neither is given, there are too few values, or the data do not determine some parameter.
    """
    parameters = jacobian.shape[-1]
    rows = jacobian.reshape(-1, parameters).double()
    if len(rows) < parameters:
        raise ValueError(f"{len(rows)} values do not determine {parameters} parameters")
    if sigma is not None:
        weights = torch.as_tensor(sigma, dtype=torch.float64, device=rows.device)
        rows = rows / weights.expand(jacobian.shape[:-1]).reshape(-1, 1)
        variance = 1.0
    elif residuals is not None:
        if len(rows) <= parameters:
            raise ValueError(f"{len(rows)} values cannot give a variance for {parameters} parameters; give `sigma`")
        variance = float(residuals.double().square().sum()) / (len(rows) - parameters)
    else:
        raise ValueError("give `sigma`, or `residuals` to estimate it from")
    scale = rows.norm(dim=0)
    triangle = torch.linalg.qr(rows / torch.where(scale > 0, scale, 1.0), mode="r")[1]
    singular = torch.linalg.svdvals(triangle)
    if bool((scale == 0).any()) or float(singular[-1]) < 1e-13 * float(singular[0]):
        raise ValueError("the data do not determine every parameter: some combination of them leaves no trace")
    inverse: Tensor = torch.linalg.inv(triangle) / scale[:, None]
    return variance * (inverse @ inverse.T)


def correlation(covariance: Tensor) -> Tensor:
    """Return the correlation matrix of a covariance matrix."""
    deviation = covariance.diagonal().sqrt()
    return covariance / (deviation[:, None] * deviation)
