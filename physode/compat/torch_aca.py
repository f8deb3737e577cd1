"""torch_ACA's and TorchDiffEqPack's interface: ``from physode.compat.torch_aca import odesolve``.

The options of both packages, on this engine: their gradient method, ACA, is its default. Intermediate outputs come from
the method's own interpolant whatever ``interpolation_method`` asks for, and steps end exactly at the last time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from physode.compat.arguments import rms_norm
from physode.gradients import ACA
from physode.problem.checks import checked_method
from physode.problem.packing import Packing
from physode.solution import Solution
from physode.solve import solve
from physode.solvers.step_control import Controller

__all__ = ["Solver", "odesolve", "odesolve_adjoint", "odesolve_endtime"]

_log = logging.getLogger(__name__)

_METHODS = {
    "euler": "euler",
    "rk2": "midpoint",
    "rk4": "rk4",
    "rk12": "heun_euler",
    "rk23": "bosh3",
    "rk45": "dopri5",
    "dopri5": "dopri5",
}
_USED = {"method", "h", "t0", "t1", "t_eval", "rtol", "atol", "neval_max", "safety", "print_neval", "dense_output"}
_WITHOUT_EFFECT = {
    "delete_graph",  # rejected attempts never keep a graph
    "regenerate_graph",  # the graph is that of the accepted steps alone
    "step_dif_ratio",  # steps too small end with a named status
    "interpolation_method", "end_point_mode", "print_direction", "print_message", "print_time",
}  # fmt: skip


def odesolve(
    func: Callable[..., Any], z0: Any, options: Mapping[str, Any], return_solver: bool = False, **kwargs: Any
) -> Any:
    r"""Solve :math:`dz/dt = f(t, z)`, :math:`z(t_0) = z_0`; derivatives of any order go through the accepted steps.

    Parameters
    ----------
    func
        The right-hand side, ``func(t, z)``.
    z0
        A tensor, or a tuple of tensors.
    options
        ``method`` (``"Euler"``, ``"RK2"``, ``"RK4"`` with fixed steps; ``"RK12"``, ``"RK23"``, ``"RK45"``,
        ``"Dopri5"`` with adaptive ones; in any case), ``h`` (the step size, or the first one; chosen where None),
        ``t0`` (0), ``t1`` (1), ``t_eval`` (output times; ``t1`` by default), ``rtol`` (1e-3) and ``atol`` (1e-6), each
        a number or a list with one a part of ``z0``, ``neval_max`` (500000), ``safety`` (0.9), ``print_neval``
        (logged), ``dense_output``. Further options of the two packages change nothing here.
    return_solver
        Return a :class:`Solver` instead of a result.
    **kwargs
        Further options, which override those in ``options``.

    Returns
    -------
    Tensor or tuple of tensors
        ``z0.shape`` for one output time, else ``(time, *z0.shape)``.

    Raises
    ------
    SolveError
        If the solve did not reach its end.
    ValueError, TypeError
        For options that cannot be used.
    """
    solver = Solver(func, {**options, **kwargs}, ACA(memory="graph"))
    return solver if return_solver else solver.integrate(z0, t_eval=options.get("t_eval"))


def odesolve_endtime(
    func: Callable[..., Any], z0: Any, options: Mapping[str, Any], return_solver: bool = False, **kwargs: Any
) -> Any:
    """Solve as :func:`odesolve` does, to the end time ``t1`` only."""
    solver = Solver(func, {**options, **kwargs}, ACA(memory="graph"))
    return solver if return_solver else solver.integrate(z0)


def odesolve_adjoint(func: Callable[..., Any], z0: Any, options: Mapping[str, Any]) -> Any:
    """Solve to the end time ``t1`` as :func:`odesolve_endtime` does, in less memory and time; gradients of first order.

    Only the accepted steps' states are kept, and each step is recomputed for its gradient.
    """
    return Solver(func, options, ACA()).integrate(z0)


class Solver:
    """A solve whose options are fixed, and after :meth:`integrate` the solution as a function of time.

    Parameters
    ----------
    func, options
        As of :func:`odesolve`.
    gradient
        How gradients are computed.
    """

    def __init__(self, func: Callable[..., Any], options: Mapping[str, Any], gradient: ACA) -> None:
        unknown = sorted(set(options) - _USED - _WITHOUT_EFFECT)
        if unknown:
            warnings.warn(f"odesolve: unknown options {unknown} are not used", stacklevel=3)
        name = options.get("method")
        if not isinstance(name, str) or name.lower() not in _METHODS:
            known = "Euler, RK2, RK4, RK12, RK23, RK45, Dopri5"
            raise ValueError(f"options['method'] must be one of {known}, in any case; got {name!r}")
        self.func, self.options, self._gradient = func, dict(options), gradient
        self.method = checked_method(_METHODS[name.lower()])
        self._solution: Solution | None = None

    def integrate(self, y0: Any, t0: Any = None, *, t_eval: Any = None, return_steps: bool = False) -> Any:
        """Solve from ``y0``.

        Parameters
        ----------
        y0
            The initial state.
        t0
            The initial time, if not the one in the options.
        t_eval
            The output times, sorted in the direction of the solve; ``options["t1"]`` by default.
        return_steps
            Return the ends of the steps, too.
        """
        start = _time(self.options.get("t0", 0.0) if t0 is None else t0)
        end = _time(self.options.get("t1", 1.0))
        wanted = [end] if t_eval is None else _times(t_eval)
        dense = bool(self.options.get("dense_output", False))
        head = [] if bool(wanted[0] == start) else [start]
        tail = [end] if dense and not bool(wanted[-1] == end) else []
        times = torch.stack([*head, *wanted, *tail])
        if len(times) == 1:
            return (y0, []) if return_steps else y0
        self._solution = solution = self._solve(y0, times, dense)
        if self.options.get("print_neval", False):
            _log.info("odesolve: %d evaluations of the right-hand side", solution.stats.rhs_forward)
        first, count = len(head), len(wanted)
        rows = first if count == 1 else slice(first, first + count)
        result = _take(solution.y, rows)
        return (result, list(solution.step_times[1:].unbind(0))) if return_steps else result

    def evaluate_dense_mode(self, t_eval: Any) -> Any:
        """Return the solution at the times ``t_eval``, after :meth:`integrate` with ``options["dense_output"]``."""
        if self._solution is None:
            raise ValueError("call integrate(z0) first, with options['dense_output'] set")
        times = torch.stack(_times(t_eval))
        return _take(self._solution(times), 0 if len(times) == 1 else slice(None))

    def __call__(self, t: Any) -> Any:
        """Return the solution at one time."""
        return self.evaluate_dense_mode([t])

    def _solve(self, y0: Any, times: Tensor, dense: bool) -> Solution:
        options, packing = self.options, Packing.of(y0, per_sample=False)
        h, safety = options.get("h"), options.get("safety")
        keywords: dict[str, Any] = {"max_steps": int(options.get("neval_max", 500_000))}
        if not self.method.adaptive:
            keywords["step_size"] = 0.1 if h is None else float(h)
        else:
            keywords |= {
                "first_step": None if h is None else float(h),
                "rtol": _tolerance(options.get("rtol", 1e-3), y0),
                "atol": _tolerance(options.get("atol", 1e-6), y0),
                "norm": lambda x: rms_norm(packing.pack(x)),
                "controller": Controller() if safety is None else Controller(safety=float(safety)),
            }
        return solve(self.func, y0, times, method=self.method, gradient=self._gradient, dense=dense, **keywords)


def _time(value: Any) -> Tensor:
    return torch.as_tensor(value).to("cpu", torch.float64).reshape(-1)[0]


def _times(values: Any) -> list[Tensor]:
    if isinstance(values, (list, tuple)):
        return [_time(value) for value in values]
    return list(torch.as_tensor(values).to("cpu", torch.float64).reshape(-1).unbind(0))


def _take(states: Any, rows: int | slice) -> Any:
    """Return some rows of a state, or of each of its parts."""
    return states[rows] if isinstance(states, Tensor) else tuple(part[rows] for part in states)


def _tolerance(value: Any, y0: Any) -> Any:
    """Return a tolerance, spread over the components where it is a list with one a part."""
    if not isinstance(value, Sequence):
        return value
    parts = [y0] if isinstance(y0, Tensor) else list(y0)
    if len(value) != len(parts):
        raise ValueError(f"`rtol` and `atol` need one entry for each of z0's {len(parts)} parts, got {len(value)}")
    return torch.cat([torch.full((part.numel(),), float(v)).to(part) for v, part in zip(value, parts, strict=True)])
