r"""All experiments solved for given unknowns, as one batch, with derivatives by the unknowns carried along.

With :math:`S = dx/d\theta` and the flow :math:`\Phi` of a segment, from its start to time t,

.. math:: S(t) = \frac{\partial\Phi}{\partial x} S(t_k) + \frac{\partial\Phi}{\partial p} \frac{dp}{d\theta},

both factors being exact derivatives of the steps that were taken (:mod:`physode.sensitivity`). A change of the state at
:math:`t_k` moves S by the derivatives of what it sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from physode.estimation.inputs import Inputs
from physode.estimation.problem import Estimation, Model
from physode.estimation.timeline import Segment, Timeline, make_timeline
from physode.estimation.triggered import begin, events_of, solve_triggered
from physode.sensitivity import sensitivities
from physode.solve import solve

_LONGEST = 10.0**12  # times the span of the data, that a steady state is waited for
_SHORTEST = 1e-3
_IMPLICIT = "rodas5p"


@dataclass(frozen=True)
class SolverOptions:
    """How experiments are solved.

    Attributes
    ----------
    method, rtol, atol, max_steps
        As of :func:`physode.solve`.
    """

    method: str = "tsit5"
    rtol: float = 1e-8
    atol: float = 1e-10
    max_steps: int = 10_000


@dataclass(frozen=True)
class Rows:
    """States and constants of some rows, with derivatives by the F free unknowns where they are asked for.

    Attributes
    ----------
    t
        Times, (R,).
    x, p, u, q
        States (R, D), constants (R, K), inputs (R, I), and what belongs to one measurement (R, Q).
    dx, dp, dq
        (R, D, F), (R, K, F), (R, Q, F).
    """

    t: Tensor
    x: Tensor
    p: Tensor
    u: Tensor
    q: Tensor
    dx: Tensor | None = None
    dp: Tensor | None = None
    dq: Tensor | None = None


@dataclass(frozen=True)
class State:
    """Where S times E solves stand: (S, E, D), and (S, E, D, F)."""

    x: Tensor
    dx: Tensor | None

    def take(self, rows: Tensor) -> State:
        """Return some of the experiments."""
        return State(self.x[:, rows], None if self.dx is None else self.dx[:, rows])


@dataclass(frozen=True)
class Simulator:
    """Solves an estimation's experiments.

    Attributes
    ----------
    estimation
        What to solve.
    options
        How.
    """

    estimation: Estimation
    options: SolverOptions

    @cached_property
    def timeline(self) -> Timeline:
        """When what happens."""
        return make_timeline(self.estimation)

    @cached_property
    def inputs(self) -> Inputs:
        """Of all experiments."""
        return Inputs.of(self.estimation)

    @cached_property
    def _active(self) -> Tensor:
        """Which constants depend on free unknowns, in any segment."""
        depends = self.timeline.pool.depends()
        some = torch.zeros(len(self.estimation.model.constants), dtype=torch.bool)
        for segment in self.timeline.segments:
            some |= depends[segment.constants].any(0)
        return some.nonzero().flatten()

    def run(self, theta: Tensor, *, tangents: bool = False) -> Rows:
        """Solve, and return the rows of the measurements, start by start.

        Parameters
        ----------
        theta
            Values of all unknowns, (S, P), float64. Without `tangents` gradients flow back to it.
        tangents
            Whether to carry derivatives along.

        Returns
        -------
        Rows
            Of S times n rows: NaN where a solve ended early.
        """
        with torch.set_grad_enabled(not tangents and torch.is_grad_enabled()):
            return self._run(theta, tangents=tangents)

    def with_constants(self, rows: Rows, theta: Tensor) -> Rows:
        """Return the rows of a solve with the constants of other unknowns, which the states do not depend on."""
        return replace(rows, **self._constants(self.timeline.pool.values(theta), self.timeline.pool.tangents(theta)))

    def _constants(self, pool: Tensor, dpool: Tensor | None) -> dict[str, Tensor]:
        """Return p and q of the measurements from the pool, (S, M), and dp and dq from its derivatives, (S, M, F)."""
        places = {"p": self.timeline.constants, "q": self.timeline.own}
        found = {name: pool[:, index].flatten(0, 1) for name, index in places.items()}
        if dpool is None:
            return found
        return found | {f"d{name}": dpool[:, index].flatten(0, 1) for name, index in places.items()}

    def _run(self, theta: Tensor, *, tangents: bool) -> Rows:
        line, count = self.timeline, len(theta)
        pool = line.pool.values(theta)
        dpool = line.pool.tangents(theta) if tangents else None
        reads = line.reads
        times, inputs, order = [], [], []
        states: list[State] = []
        state: State | None = None
        for k, segment in enumerate(line.segments):
            p = pool[:, segment.constants]
            dp = None if dpool is None else dpool[:, segment.constants]
            begun = self._begin(segment, state, pool, dpool, p, dp)
            begun = _reset(segment, begun, p, dp)
            if self.estimation.model.triggers:
                begun = self._triggered_at_start(segment, begun, p, dp)
            path, state = self._advance(segment, begun, p, dp)
            mine = (reads[:, 0] == k).nonzero().flatten()
            at, rows = reads[mine, 1], reads[mine, 2]
            t = torch.where(at < 0, torch.inf, segment.t[at.clamp_min(0), rows])
            x = torch.where((at < 0)[:, None], state.x[:, rows], path.x[:, at.clamp_min(0), rows])
            dx = None
            if path.dx is not None and state.dx is not None:
                dx = torch.where((at < 0)[:, None, None], state.dx[:, rows], path.dx[:, at.clamp_min(0), rows])
            times.append(t)
            inputs.append(self.inputs.at(t, segment.step_time[rows], segment.experiments[rows]))
            states.append(State(x, dx))
            order.append(mine)
        back = torch.cat(order).argsort()
        derivatives = [part.dx for part in states if part.dx is not None]
        return Rows(
            t=torch.cat(times)[back].repeat(count),
            x=torch.cat([part.x for part in states], 1)[:, back].flatten(0, 1),
            u=torch.cat(inputs)[back].repeat(count, 1),
            dx=torch.cat(derivatives, 1)[:, back].flatten(0, 1) if derivatives else None,
            **self._constants(pool, dpool),
        )

    def _begin(
        self, segment: Segment, before: State | None, pool: Tensor, dpool: Tensor | None, p: Tensor, dp: Tensor | None
    ) -> State:
        """Return the states at the segment's start: initial ones, or those at the end of the segment before."""
        begun = _initial(self.estimation.model, p, dp)
        x, dx = begun.x.clone(), None if begun.dx is None else begun.dx.clone()
        experiments = segment.experiments.tolist()
        for experiment, d, at in self.timeline.initial:
            if experiment in experiments:
                row = experiments.index(experiment)
                x[:, row, d] = pool[:, at]
                if dx is not None and dpool is not None:
                    dx[:, row, d] = dpool[:, at]
        going = segment.before >= 0
        if before is None or not bool(going.any()):
            return State(x, dx)
        old = before.take(segment.before.clamp_min(0))
        x = torch.where(going[:, None], old.x, x)
        if dx is not None and old.dx is not None:
            dx = torch.where(going[:, None, None], old.dx, dx)
        return State(x, dx)

    def _triggered_at_start(self, segment: Segment, begun: State, p: Tensor, dp: Tensor | None) -> State:
        """Do what triggers do at once where experiments begin; derivatives follow."""
        first, count = segment.before < 0, len(begun.x)
        t = segment.t[0].repeat(count)
        u = self.inputs.at(t, segment.step_time.repeat(count), segment.experiments.repeat(count))
        rows = t, begun.x.flatten(0, 1), p.flatten(0, 1), u
        after, by_x, by_p = begin(self.estimation.model, *rows, derivatives=begun.dx is not None)
        x = torch.where(first[:, None], after.reshape(begun.x.shape), begun.x)
        if by_x is None or by_p is None or dp is None or begun.dx is None:
            return State(x, None)
        dx = (by_x @ begun.dx.flatten(0, 1) + by_p @ dp.flatten(0, 1)).reshape(begun.dx.shape)
        return State(x, torch.where(first[:, None, None], dx, begun.dx))

    def _advance(self, segment: Segment, begun: State, p: Tensor, dp: Tensor | None) -> tuple[State, State]:
        """Solve a segment: return its path, (S, T, E, D), and where it ends."""
        length = len(segment.t)
        x = begun.x.unsqueeze(1).expand(-1, length, -1, -1)
        dx = None if begun.dx is None else begun.dx.unsqueeze(1).expand(-1, length, -1, -1, -1)
        path = State(x, dx)
        if bool(segment.moves.any()):
            rows = segment.moves.nonzero().flatten()
            solved = self._solve(segment, rows, segment.t[:, rows], begun.take(rows), p, dp)
            path = _put(path, rows, solved)
        end = State(path.x[:, -1], None if path.dx is None else path.dx[:, -1])
        if bool(segment.steady.any()):
            rows = segment.steady.nonzero().flatten()
            settled = self._settle(segment, rows, end.take(rows), p, dp)
            lifted = State(settled.x.unsqueeze(1), None if settled.dx is None else settled.dx.unsqueeze(1))
            whole = _put(State(end.x.unsqueeze(1), None if end.dx is None else end.dx.unsqueeze(1)), rows, lifted)
            end = State(whole.x[:, 0], None if whole.dx is None else whole.dx[:, 0])
        return path, end

    def _solve(self, segment: Segment, rows: Tensor, t: Tensor, begun: State, p: Tensor, dp: Tensor | None) -> State:
        """Solve rows of a segment at times (T, E): (S, T, E, D)."""
        count, few, dimension = begun.x.shape
        active = self._active
        own, experiments = p[:, rows].flatten(0, 1), segment.experiments[rows].repeat(count)
        f = _rhs(self.estimation.model, self.inputs, active)
        args = [own[:, active], own, segment.step_time[rows].repeat(count), experiments]
        times, x0 = t.repeat(1, count), begun.x.flatten(0, 1)
        # A start that is lost already would be refused.
        lost = ~torch.isfinite(x0).all(1) | ~torch.isfinite(own).all(1)
        x0 = torch.where(lost[:, None], 0.0, x0)
        if len(x0) == 1:  # a row alone is solved as two: kernels made for several serve it too
            times, x0, args = times.repeat(1, 2), x0.repeat(2, 1), [torch.cat([part, part]) for part in args]
        options = {**vars(self.options), "step_control": "per-sample", "throw": False, "compile": "auto"}
        derivatives = dp is not None and begun.dx is not None
        by_p: Tensor | None = None
        by_x: Tensor | None = None
        if self.estimation.model.triggers:
            events = events_of(self.estimation.model, partial(self._seen, active))
            y, by_p, by_x = solve_triggered(f, x0, times, args, events, derivatives=derivatives, **options)
        elif derivatives:
            moved = sensitivities(f, x0, times, [args[0]], args=args, sample_args=True, initial_state=True, **options)
            y, by_p, by_x = moved.y, moved.jacobian[..., : len(active)], moved.jacobian[..., len(active) :]
        else:
            y = solve(f, x0, times, args=args, **options).y
        shape, alone = (len(t), count, few, dimension), slice(count * few)
        path = torch.where(lost[:, None], torch.nan, y[:, alone]).reshape(shape).movedim(0, 1)
        if by_p is None or by_x is None or dp is None or begun.dx is None:
            return State(path, None)
        by_p, by_x = by_p[:, alone], by_x[:, alone]
        dx = by_x @ begun.dx.flatten(0, 1) + by_p @ dp[:, rows].flatten(0, 1)[:, active]
        return State(path, dx.reshape(*shape, -1).movedim(0, 1))

    def _seen(
        self, active: Tensor, t: Tensor, moving: Tensor, p: Tensor, inside: Tensor, experiments: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return time, constants and inputs of rows, from the arguments of f."""
        time = t.reshape(-1)
        return time, p.index_copy(1, active, moving), self.inputs.at(time, inside, experiments)

    def _settle(self, segment: Segment, rows: Tensor, begun: State, p: Tensor, dp: Tensor | None) -> State:
        """Carry rows on, each time ten times as far, until this changes nothing: NaN where it always does."""
        implicit = replace(self, options=replace(self.options, method=_IMPLICIT))
        span, state = self._span, begun
        start, size = segment.t[-1, rows], _SHORTEST * self._span
        while True:
            before, end = state, start + size
            path = implicit._solve(segment, rows, torch.stack([start, end]), state, p, dp)
            state = State(path.x[:, -1], None if path.dx is None else path.dx[:, -1])
            change = (state.x - before.x).detach().abs()
            moving = (change > 10 * (self.options.atol + self.options.rtol * before.x.detach().abs())).any(-1)
            if not bool(moving.any()):  # NaN does not move either
                return state
            start, size = end, 10 * size
            if size > _LONGEST * span:
                return replace(state, x=torch.where(moving[..., None], torch.nan, state.x))

    @cached_property
    def _span(self) -> float:
        """A time to begin with, where a steady state is sought."""
        times = torch.cat([segment.t[:, segment.moves].flatten() for segment in self.timeline.segments])
        return float(times.max() - times.min()) if len(times) else 1.0


def _rhs(model: Model, inputs: Inputs, active: Tensor) -> Callable[..., Tensor]:
    """Return f(t, x, active constants, all constants, time inside the segment, experiment)."""

    def f(t: Tensor, x: Tensor, moving: Tensor, p: Tensor, inside: Tensor, experiments: Tensor) -> Tensor:
        time = t.reshape(-1)
        if model.breaks:  # a piece ends where f steps, and sees its own side to the end
            time = time + (torch.nextafter(time.detach(), inside) - time.detach())
        own = p.index_copy(1, active, moving)
        return model.rhs(time, x, own, inputs.at(time, inside, experiments))

    return f


def _put(path: State, rows: Tensor, solved: State) -> State:
    """Return a path with some of its rows replaced; axes (S, T, E, ...)."""
    x = path.x.index_copy(2, rows, solved.x)
    if path.dx is None or solved.dx is None:
        return State(x, None)
    return State(x, path.dx.index_copy(2, rows, solved.dx))


def _initial(model: Model, p: Tensor, dp: Tensor | None) -> State:
    """Return x0(p), and its derivatives by the free unknowns."""
    rows = p.flatten(0, 1)
    x = model.initial(rows).reshape(*p.shape[:2], len(model.states))
    if dp is None:
        return State(x, None)
    slopes: Tensor = torch.func.vmap(torch.func.jacrev(lambda row: model.initial(row[None])[0]))(rows)
    return State(x, (slopes @ dp.flatten(0, 1)).reshape(*x.shape, dp.shape[-1]))


def _reset(segment: Segment, before: State, p: Tensor, dp: Tensor | None) -> State:
    """Give states the values that changes set, all of them from the state before."""
    if not segment.resets:
        return before
    x, dx = before.x.clone(), None if before.dx is None else before.dx.clone()
    for reset in segment.resets:
        t = segment.t[0, reset.row]
        old, own = before.x[:, reset.row], p[:, reset.row]

        def value(old: Tensor, own: Tensor, t: Tensor = t, reset: object = reset.value) -> Tensor:
            assert callable(reset)
            found: Tensor = reset(t, old, own)
            return found

        x[:, reset.row, reset.state] = torch.func.vmap(value)(old, own)
        if dx is not None and before.dx is not None and dp is not None:
            by_x, by_p = torch.func.vmap(torch.func.grad(value, argnums=(0, 1)))(old, own)
            moved = by_x[:, None] @ before.dx[:, reset.row] + by_p[:, None] @ dp[:, reset.row]
            dx[:, reset.row, reset.state] = moved[:, 0]
    return State(x, dx)
