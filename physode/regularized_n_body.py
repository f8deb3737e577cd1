r"""Bodies through close encounters: solved over a time of their own, read at physical times.

The logarithmic Hamiltonian (:class:`~physode.rhs.LogarithmicNBody`) is solved over :math:`s`, its time :math:`t(s)` one
of the state's components. An output at time :math:`t` is the solution at the :math:`s` with :math:`t(s) = t`, found by
Newton's method on the solution's interpolant; its last iteration is differentiable, which is the implicit function
theorem. So gradients reach initial states, masses and times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from physode.autograd import under_func
from physode.errors import SolveError
from physode.problem.checks import checked_method, checked_times
from physode.rhs.logarithmic_n_body import LogarithmicNBody
from physode.rhs.physical.n_body import NBody
from physode.solution import KnownTimes, Solution
from physode.solve import solve
from physode.solvers.method import Method
from physode.status import Status

__all__ = ["solve_regularised"]

_LEGS = 16  # of the search for the end, about
_GROWTH = 0.25
_WAITING = 1e-6  # the next leg of a sample that is past the end, of its s so far
_NEWTON = 60  # iterations at most: it falls back on bisection
_MARGIN = 1e-6
_CLOSE = 1e-11  # of all s: the last iteration, which is differentiable, is still to come


def solve_regularised(
    bodies: NBody,
    y0: Tensor,
    t: Tensor | Sequence[float],
    *,
    method: str | Method = "dopri8",
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 1_000_000,
    gradient: Any = "aca",
) -> Solution:
    r"""Solve the motion of bodies that may come very near one another.

    Parameters
    ----------
    bodies
        The system; each sample of a batch takes steps of its own.
    y0
        Initial states, (6 n) or (batch, 6 n), in float64.
    t
        Output times, at least two and rising, shared by all samples: (time,).
    method
        An adaptive one.
    rtol, atol, max_steps
        As for :func:`physode.solve`.
    gradient
        ``"aca"``, ``"naive"`` or an object with options; the adjoint and MALI keep no interpolants to read from.

    Returns
    -------
    Solution
        In physical time, ``y`` of shape ``(time, *y0.shape)``, to be called at any time between; ``step_times`` are
        ``(steps + 1, batch)``. Gradients reach ``y0``, ``t`` and the masses.

    Raises
    ------
    SolveError
        If bodies collide, or the attempts are used up.
    ValueError, TypeError
        For arguments that cannot be used.

    Examples
    --------
    >>> import torch, physode as po
    >>> preset = po.rhs.ThreeBody.find_preset("pythagorean")
    >>> bodies = po.rhs.ThreeBody.from_preset("pythagorean")
    >>> sol = po.solve_regularised(bodies, torch.tensor(preset.y0, dtype=torch.float64), [0.0, 10.0])
    >>> energy = bodies.invariants(sol.y)["energy"]
    >>> abs(float(energy[-1] / energy[0] - 1)) < 1e-9
    True
    """
    times = _checked(bodies, y0, t, gradient)
    if not checked_method(method).adaptive:
        raise ValueError(f"`method` must have adaptive steps, got {method!r}; rhs.LogarithmicNBody takes any method")
    rows = y0 if y0.ndim == 2 else y0[None]
    system = LogarithmicNBody(bodies)
    start = system.start(rows, times[0])
    pace = -bodies.potential(rows[:, : 3 * bodies.n]).detach().double()  # ds/dt
    if not bool(((pace > 0) & torch.isfinite(pace)).all()):
        raise ValueError("`y0` must hold at least two bodies with a mass, at places of their own")
    last = float(times[-1].detach())
    leg = pace * torch.minimum((times[-1] - times[0]).detach() / _LEGS, _crossing(rows, bodies.n))
    options: dict[str, Any] = {"method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    options["step_control"] = "per-sample"
    end = _end(system, start.detach(), last, leg, options)
    sol = _solved(system, start, end, dense=True, gradient=gradient, **options)
    ended = torch.full_like(sol.ended, last)
    reader = _Reader(system, sol, times[0], last, single=y0.ndim == 1)
    return replace(
        sol, t=times, y=reader(times), _step_times=KnownTimes(reader.clock.clamp(max=last)), ended=ended, _dense=reader
    )


def _checked(bodies: NBody, y0: Tensor, t: Any, gradient: Any) -> Tensor:
    if not isinstance(bodies, NBody):
        raise TypeError(f"`bodies` must be an NBody, got {type(bodies).__name__}")
    if not isinstance(y0, Tensor) or y0.ndim not in (1, 2) or y0.shape[-1] != 6 * bodies.n:
        shape = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
        raise ValueError(f"`y0` must be a tensor ({6 * bodies.n},) or (batch, {6 * bodies.n}), got {shape}")
    if under_func():
        raise ValueError("solve_regularised cannot be used under torch.func; use backward() or forward mode")
    if y0.dtype != torch.float64:
        raise ValueError(f"`y0` must be float64, whose digits close encounters need, got {y0.dtype}; use y0.double()")
    if getattr(gradient, "__class__", type(None)).__name__ in ("Adjoint", "MALI") or gradient in ("adjoint", "mali"):
        raise ValueError(f"`gradient` must be 'aca' or 'naive' here, got {gradient!r}")
    times = checked_times(t, batch=None, device=y0.device)
    if not bool(times[1] > times[0]):
        raise ValueError("`t` must rise; to go back in time, turn the velocities round")
    return times


def _end(system: LogarithmicNBody, state: Tensor, t_end: float, leg: Tensor, options: dict[str, Any]) -> Tensor:
    """Return an s, (batch,), by which every sample is past the end time: legs of growing length, without gradients."""
    done, margin = torch.zeros_like(leg), _MARGIN * (t_end - float(system.split(state)[1].min()))
    with torch.no_grad():
        for _ in range(options["max_steps"]):
            state = _solved(system, state, leg, **options).y[-1]
            done = done + leg
            past = system.split(state)[1] >= t_end + margin
            if bool(past.all()):
                return done
            # Over s, bodies that fly apart do so exponentially: none goes far beyond the end.
            leg = torch.where(past, _WAITING * done, torch.maximum(leg, _GROWTH * done))
    raise SolveError(f"the bodies did not reach t = {t_end:g} within {options['max_steps']} legs of their own time")


def _crossing(rows: Tensor, n: int) -> Tensor:
    """Return the time in which bodies cross their system at their present speeds, (batch,); infinite at rest."""
    bodies = rows.detach().reshape(len(rows), 2, n, 3)
    r, v = bodies.sub(bodies.mean(-2, keepdim=True)).square().sum(-1).amax(-1).unbind(-1)
    return (r / v).sqrt()


def _solved(system: LogarithmicNBody, start: Tensor, end: Tensor, **options: Any) -> Solution:
    """Solve from s = 0 to `end`, (batch,); an error says the physical time."""
    clock = {"t": lambda s, y: system.split(y)[1]}
    try:
        return solve(system, start, torch.stack((torch.zeros_like(end), end)), record=clock, **options)
    except SolveError as error:
        sol = error.solution
        if not isinstance(sol, Solution):
            raise
        sample, (status, _) = next(iter(sol.failures.items()))
        t = float(sol.recorded["t"].values[-1, sample])
        near = "bodies collide, or the tolerances are tighter than the dtype allows"
        reason = near if status == Status.STEP_UNDERFLOW else status.reason
        raise SolveError(f"sample {sample} stopped at t = {t:.9g}: {reason}") from error


class _Reader:
    """Reads a solution over s at physical times."""

    def __init__(self, system: LogarithmicNBody, sol: Solution, t0: Tensor, last: float, *, single: bool) -> None:
        self._system, self._sol, self._t0, self._last, self._single = system, sol, t0, last, single
        self._s = sol.step_times
        with torch.no_grad():
            self.clock = self._time(self._s).double()

    def _time(self, s: Tensor) -> Tensor:
        return self._system.split(self._sol(s))[1]

    def __call__(self, t: Tensor) -> Tensor:
        """Return the bodies' states, (time, *y0.shape) for `t` (time,) or (time, batch), or one for a number."""
        times = t.reshape(1) if t.ndim == 0 else t
        wanted = times if times.ndim == 2 else times[:, None].expand(-1, self._s.shape[1])
        s, rate = self._solve(wanted.detach())
        time = self._time(s)
        s = s + (wanted - time) / rate
        low, high = self._s[0], self._s[-1]
        y = self._system.split(self._sol(torch.minimum(torch.maximum(s, low), high)))[0]
        y = y[:, 0] if self._single else y
        return y if t.ndim else y[0]

    def _solve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return s with t(s) = t, and dt/ds there, both (time, batch): Newton's method, held inside the step."""
        if bool((t < self.clock[0] - 1e-12 * t.abs()).any() | (t > self._last).any()):
            raise ValueError(
                f"`t` must lie inside the solved span from {float(self.clock[0].max()):g} to {self._last:g}, "
                f"got {float(t.min()):g} to {float(t.max()):g}"
            )
        clock, s_ends = self.clock.T.contiguous(), self._s
        row = torch.searchsorted(clock, t.T.contiguous(), right=True).T.clamp(1, len(self._s) - 1)
        low, high = s_ends.gather(0, row - 1), s_ends.gather(0, row)
        before, after = self.clock.gather(0, row - 1), self.clock.gather(0, row)
        s = low + (high - low) * ((t - before) / (after - before)).nan_to_num(0.0).clamp(0.0, 1.0)
        for _ in range(_NEWTON):
            value, rate = self._rate(s)
            ahead = value > t
            low, high = torch.where(ahead, low, s), torch.where(ahead, s, high)
            step = (t - value) / rate
            moved = s + step
            moved = torch.where((moved >= low) & (moved <= high), moved, 0.5 * (low + high))
            small = bool(((moved - s).abs() <= _CLOSE * self._s[-1]).all())
            s = moved
            if small:
                break
        return s, self._rate(s)[1]

    def _rate(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return t(s) and its derivative, of the interpolant itself."""
        with torch.enable_grad():
            at = s.detach().requires_grad_()
            state = self._sol(at)
            time = self._system.split(state)[1]
            (rate,) = torch.autograd.grad(time.sum(), at)
            exact = self._system(at, state.detach())[..., -1]
        return time.detach(), torch.where(rate > 0, rate, exact)  # at a step's end the interpolant has no derivative
