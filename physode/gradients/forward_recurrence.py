r"""The solution's derivatives forwards through the recorded steps, by PyTorch.

With :math:`J_i = \partial\psi_i/\partial y_i` and :math:`B_i = \partial\psi_i/\partial\theta` of all accepted steps
:math:`y_{i+1} = \psi(t_i, y_i, h_i; \theta)` computed in one batched evaluation, :math:`S_i = dy_i/d\theta` follow
:math:`S_{i+1} = J_i S_i + B_i`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from physode.gradients.outputs import StepTable, fetch_recorded, read_outputs
from physode.problem.problem import Problem
from physode.solvers.clock import Grid
from physode.solvers.driver import Plan
from physode.solvers.interpolation import Location, locate
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.solvers.trace import Trace

__all__ = ["Binding", "differentiated"]

_CHUNK_ELEMENTS = 2**25  # of Jacobians held at a time


def differentiated(
    problem: Problem, plan: Plan, record: Trace, binding: Binding, *, initial_state: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs of a solve, ``(time, *state)``, and their derivatives, ``(time, *state, P)``.

    Parameters
    ----------
    problem, plan, record
        A solve that has ended.
    binding
        How the right-hand side takes the parameters.
    initial_state
        Whether to differentiate with respect to the initial state too.
    """
    grid = record.clock()
    y = read_outputs(problem, plan, record, grid, fetch_recorded(record)).outputs
    steps = _Steps(problem, binding, max((len(dense) for dense in record.dense if dense is not None), default=0))
    if len(record.nodes) == 1:  # no sample took a step: the start alone is known
        jacobian = _at_start(y, problem.per_sample, binding, initial_state=initial_state)
        return y, torch.where(torch.isfinite(y).unsqueeze(-1), jacobian, torch.nan)
    nodes = torch.stack(record.nodes[:-1])
    read = _read_within(locate(problem.t, *grid), len(nodes))
    states, coefficients = _propagate(steps, grid, nodes, read, initial_state=initial_state)
    table = StepTable(torch.sign(problem.t[-1] - problem.t[0]), grid, states[:-1], coefficients, states[1:])
    return y, table.read(problem.t)


def _at_start(y: Tensor, per_sample: bool, binding: Binding, *, initial_state: bool) -> Tensor:
    """Return the derivatives of the initial state for outputs (T, ...): no parameter moves it."""
    state = y.shape[1 + per_sample :]
    dimension, known = math.prod(state), binding.flat(y).shape[-1]
    jacobian = y.new_zeros(*y.shape, known + dimension * initial_state)
    if initial_state:
        jacobian[..., known:] = torch.eye(dimension, dtype=y.dtype, device=y.device).reshape(*state, dimension)
    return jacobian


@dataclass(frozen=True)
class Binding:
    """How a right-hand side takes its parameters, flat, and what else it has one row of a sample.

    Attributes
    ----------
    f, args
        The right-hand side and its further arguments.
    parameters
        Tensors, detached.
    names, places
        Of each parameter: its registered name, or its place among the arguments.
    rows
        Places of the arguments with one row a sample.
    own
        Whether the parameters have one row a sample.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    parameters: tuple[Tensor, ...]
    names: tuple[str | None, ...]
    places: tuple[int | None, ...]
    rows: tuple[int, ...]
    own: bool

    @staticmethod
    def of(
        f: Callable[..., Any], args: tuple[Any, ...], by_sample: Sequence[bool], parameters: Sequence[Tensor]
    ) -> Binding:
        """Look for the parameters in a module and in the arguments."""
        registered = {id(p): name for name, p in f.named_parameters()} if isinstance(f, nn.Module) else {}
        at = {id(arg): i for i, arg in enumerate(args) if isinstance(arg, Tensor)}
        for parameter in parameters:
            if id(parameter) not in registered and id(parameter) not in at:
                raise ValueError(
                    f"a parameter of shape {tuple(parameter.shape)} is neither registered in `f` nor in `args`; "
                    "register it in the module, or pass it in `args`"
                )
        places = tuple(at.get(id(parameter)) for parameter in parameters)
        rows = tuple(i for i, flag in enumerate(by_sample) if flag)
        own = [place in rows for place in places]
        if any(own) and not all(own):
            raise ValueError("`parameters` must all have one row a sample (`sample_args`), or none")
        return Binding(
            f=f,
            args=args,
            parameters=tuple(parameter.detach() for parameter in parameters),
            names=tuple(registered.get(id(parameter)) for parameter in parameters),
            places=places,
            rows=rows,
            own=any(own),
        )

    def flat(self, like: Tensor) -> Tensor:
        """Return the parameters in a row, (P,), or with one row a sample (groups, P)."""
        if not self.parameters:
            return like.new_empty(0)
        return torch.cat([part.flatten(1 if self.own else 0) for part in self.parameters], -1)

    def others(self) -> tuple[Tensor, ...]:
        """Return the arguments with one row a sample that are no parameters."""
        return tuple(self.args[i] for i in self.rows if i not in self.places)

    def bind(self, theta: Tensor, others: Sequence[Tensor]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return right-hand side and arguments at parameters (P,), and, where rows count, of one sample."""
        args = list(self.args)
        for i, row in zip((i for i in self.rows if i not in self.places), others, strict=True):
            args[i] = row[None]
        shapes = [part.shape[1:] if self.own else part.shape for part in self.parameters]
        parts = torch.split(theta, [math.prod(shape) for shape in shapes])
        values = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        for i, (value, at) in enumerate(zip(values, self.places, strict=True)):
            values[i] = value[None] if self.own and at is not None else value
        return self._with(args, values, dict(zip(self.names, values, strict=True)))

    def placed(self, values: Sequence[Tensor]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return right-hand side and arguments at parameters of the shapes that were given.

        A module that has one of them already keeps it.
        """
        registered = dict(self.f.named_parameters()) if isinstance(self.f, nn.Module) else {}
        others = {
            name: value
            for name, value in zip(self.names, values, strict=True)
            if name is not None and registered[name] is not value
        }
        return self._with(list(self.args), values, others)

    def _with(
        self, args: list[Any], values: Sequence[Tensor], registered: Mapping[Any, Tensor]
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        for value, name, at in zip(values, self.names, self.places, strict=True):
            if name is None and at is not None:
                args[at] = value
        named = {name: value for name, value in registered.items() if name is not None}
        if not named:
            return self.f, tuple(args)
        module = self.f
        assert isinstance(module, nn.Module)
        return lambda *inputs: torch.func.functional_call(module, named, inputs), tuple(args)


@dataclass
class _Steps:
    """The step function of parameters, one step of one group at a time, to be mapped over."""

    problem: Problem
    binding: Binding
    dense: int  # coefficients of an interpolant, 0 where none is needed

    def mapped(self, count: int) -> tuple[int | None, ...]:
        """Return the axes to map over: t, y, h, the parameters where each sample has its own, and what else it has."""
        return (0, 0, 0, 0 if self.binding.own else None, *[0] * (count - 4))

    def __call__(self, t: Tensor, y: Tensor, h: Tensor, theta: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state and the interpolant's coefficients, flat; per-sample groups as batches of one."""
        per_sample, tableau = self.problem.per_sample, self.problem.tableau
        f, args = self.binding.bind(theta, others)
        own = self.problem.dynamics
        dynamics = replace(own, f=f, args=args, low=own.low.min(), high=own.high.max())
        if per_sample:
            t, y, h = t[None], y[None], h[None]
        step = take_step(dynamics, tableau, t, y, h)
        if not self.dense:
            return step.y.flatten(), y.new_empty(0)
        k_end = end_derivative(dynamics, t, h, step)
        return step.y.flatten(), interpolant(dynamics, tableau, t, y, h, step, k_end).flatten()


def _read_within(location: Location, count: int) -> Tensor:
    """Return in which steps outputs lie, ``(steps, *groups)``, and not only at their ends."""
    inside = (location.theta > 0.0) & (location.theta < 1.0)
    hits = torch.zeros(count, *location.step.shape[1:], dtype=torch.int64, device=inside.device)
    return hits.scatter_add(0, location.step, inside.long()) > 0


def _propagate(
    steps: _Steps, grid: Grid, nodes: Tensor, read: Tensor, *, initial_state: bool
) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence; return S at all nodes, ``(steps + 1, *state, P)``, and the interpolants' dF/dtheta.

    Steps of size 0, of a sample that waits for others, are the identity; interpolants are differentiated where outputs
    are read from them, and 0 elsewhere.
    """
    per_sample = steps.problem.per_sample
    state = nodes.shape[1 + per_sample :]
    groups = nodes.shape[1] if per_sample else 1
    dimension = math.prod(state)
    theta, others = steps.binding.flat(nodes), steps.binding.others()
    known = theta.shape[-1]
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
        rows_of = [part.repeat(len(t), *[1] * (part.ndim - 1)) for part in others]
        own = theta.repeat(len(t), 1) if steps.binding.own else theta
        pairs = (t.reshape(-1), y.reshape(-1, *state), h.reshape(-1), own, *rows_of)
        own_rows = steps.mapped(len(pairs))
        taken = (h.reshape(-1) != 0).nonzero().flatten()
        by_state = torch.eye(dimension, dtype=nodes.dtype, device=nodes.device).repeat(len(t) * groups, 1, 1)
        by_theta = nodes.new_zeros(len(t) * groups, dimension, known)
        if len(taken):
            jacobians = _step_jacobians(steps, *_chosen(pairs, own_rows, taken))
            by_state, by_theta = (
                whole.index_copy(0, taken, part) for whole, part in zip((by_state, by_theta), jacobians, strict=True)
            )
        by_state, by_theta = (part.reshape(len(t), groups, dimension, -1) for part in (by_state, by_theta))
        starts = []
        for jacobian, forcing in zip(by_state, by_theta, strict=True):
            starts.append(sensitivity)
            sensitivity = jacobian @ sensitivity + forcing @ direct
            found.append(sensitivity)
        if steps.dense:
            tangents = torch.stack(starts).reshape(-1, *state, columns)
            moved = nodes.new_zeros(len(tangents), steps.dense * dimension, columns)
            inside = read[rows].reshape(-1).nonzero().flatten()
            if len(inside):
                chosen = _chosen(pairs, own_rows, inside)
                pushed = _dense_tangents(steps, *chosen, tangents=tangents[inside], direct=direct)
                moved = moved.index_copy(0, inside, pushed)
            moved = moved.reshape(*lead, -1, *state, columns)
            coefficients.append(moved.movedim(1 + per_sample, 1))
    shape = ((groups,) if per_sample else ()) + (*state, columns)
    nodes_found = torch.stack(found).reshape(-1, *shape)
    return nodes_found, torch.cat(coefficients) if coefficients else None


def _chosen(pairs: Sequence[Tensor], mapped: Sequence[int | None], rows: Tensor) -> list[Tensor]:
    """Return some rows of what has a row for each step of each group."""
    return [part if axis is None else part[rows] for part, axis in zip(pairs, mapped, strict=True)]


def _step_jacobians(steps: _Steps, *pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return d(psi)/dy and d(psi)/dtheta of every step, by as many pull-backs as the state has components."""

    def end_state(t: Tensor, y: Tensor, h: Tensor, theta: Tensor, *others: Tensor) -> Tensor:
        return steps(t, y, h, theta, *others)[0]

    jacobian = torch.func.jacrev(end_state, argnums=(1, 3))
    by_state, by_theta = _mapped(jacobian, steps.mapped(len(pairs)), *pairs)
    return by_state.flatten(2), by_theta


def _dense_tangents(steps: _Steps, *pairs: Tensor, tangents: Tensor, direct: Tensor) -> Tensor:
    """Push S through the interpolants' coefficients: one forward derivative a column, all steps at once."""

    def all_columns(dy: Tensor, t: Tensor, y: Tensor, h: Tensor, theta: Tensor, *others: Tensor) -> Tensor:
        def pushed(dy: Tensor, dtheta: Tensor) -> Tensor:
            moved = torch.func.jvp(lambda y, theta: steps(t, y, h, theta, *others)[1], (y, theta), (dy, dtheta))
            tangent: Tensor = moved[1]
            return tangent

        columns: Tensor = torch.func.vmap(pushed, in_dims=(-1, -1), out_dims=-1)(dy, direct)
        return columns

    with warnings.catch_warnings():  # torch's forward mode scripts its own formulas, and warns of it
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        pushed_through: Tensor = _mapped(all_columns, (0, *steps.mapped(len(pairs))), tangents, *pairs)
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
