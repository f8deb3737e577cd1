"""The arguments of a solve, checked and made into the problem that a gradient method works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from physode.problem.dynamics import Dynamics
from physode.problem.packing import Packing, as_times
from physode.problem.problem import Problem, default_norm, make_dynamics, user_norm
from physode.problem.references import Referred
from physode.rhs_state import Statistics
from physode.solvers.clock import Grid, all_finite
from physode.solvers.grid import grid_of_step_size, grid_of_times
from physode.solvers.implicit.jacobian import check_jacobian
from physode.solvers.implicit.jacobian_structure import structure_of
from physode.solvers.method import Method, StepMethod
from physode.solvers.methods import LIKE_SCIPY, METHODS
from physode.solvers.step_control import Adaptive, Controller, Predictive
from physode.solvers.tableaus import Tableau
from physode.typing import Norm

__all__ = ["check_sizes", "checked_count", "checked_method", "pose"]

_TOLERANCES = {torch.float64: (1e-6, 1e-9), torch.float32: (1e-5, 1e-7)}
_COARSE = (1e-2, 1e-3)  # half precision


def pose(
    f: Callable[..., Any],
    y0: Any,
    t: Tensor | Sequence[float],
    *,
    args: Any = (),
    method: str | Method = "dopri5",
    rtol: float | Tensor | None = None,
    atol: float | Tensor | None = None,
    step_size: float | None = None,
    grid: Tensor | None = None,
    first_step: float | None = None,
    min_step: float = 0.0,
    max_step: float | None = None,
    max_steps: int = 100_000,
    step_control: str = "shared",
    skip_finished: bool = False,
    sample_args: bool | Sequence[bool] | None = None,
    controller: Controller | None = None,
    norm: Norm | None = None,
    finite: bool = True,
    jac: Callable[..., Any] | None = None,
    jac_structure: object = "dense",
) -> Problem:
    """Check the arguments of :func:`solve` and make the problem that a gradient method works on."""
    tableau = checked_method(method)
    if step_control not in ("shared", "per-sample"):
        raise ValueError(f"`step_control` must be 'shared' or 'per-sample', got {step_control!r}")
    if not callable(f):
        raise TypeError(f"`f` must be callable as f(t, y, *args), got {type(f).__name__}")
    if isinstance(args, Tensor | Mapping | str) or not hasattr(args, "__len__"):
        kind = "tensor" if isinstance(args, Tensor) else type(args).__name__
        write = "args=tuple(values.values())" if isinstance(args, Mapping) else f"args=({kind},)"
        raise TypeError(f"`args` must be a tuple of further inputs, got a {kind}; write {write}")
    per_sample = step_control == "per-sample"
    if per_sample and isinstance(y0, Tensor) and y0.ndim == 0:
        raise ValueError("`y0` needs a leading batch axis with step_control='per-sample', got a 0-dimensional tensor")
    if skip_finished and not per_sample:
        raise ValueError(f"`skip_finished` needs step_control='per-sample', got {step_control!r}")
    packing = Packing.of(y0, per_sample=per_sample)
    state = checked_state(y0, packing, finite=finite)
    times = checked_times(t, batch=len(state) if per_sample else None, device=state.device)
    steps, given = _steps(
        tableau, packing, state, times, rtol, atol, step_size, grid, first_step, min_step, max_step, max_steps,
        controller, norm,
    )  # fmt: skip
    by_sample = _sample_args(sample_args, args, len(state) if per_sample else None, skip_finished=skip_finished)
    referred = Referred(f)
    dynamics = make_dynamics(
        f, tuple(args), packing, state, times, drawing=lambda: referred.uses_dropout, skipping=skip_finished
    )
    dynamics = replace(dynamics, sample_args=by_sample)
    if isinstance(tableau, StepMethod):
        own = (None, None) if steps is None else (steps.rtol, steps.atol)
        tableau = tableau.prepared(rtol=own[0], atol=own[1])
        steps = None if steps is None else replace(steps, tableau=tableau)
        dynamics = _with_jacobian(dynamics, jac, jac_structure)
        if jac is not None or jac_structure != "dense":
            with Statistics(referred.modules).preserved():
                check_jacobian(replace(dynamics), times[0], state, jac_structure)
    elif jac is not None or jac_structure != "dense":
        raise ValueError(f"`jac` and `jac_structure` are for implicit methods; `method` is {tableau.name!r}")
    problem = Problem(
        dynamics=dynamics,
        tableau=tableau,
        y0=state,
        t=times,
        steps=steps,
        grid=given,
        statistics=Statistics(lambda: referred.modules),
        referred=referred,
        step_size=step_size,
        to_outputs=steps is None and step_size is None and grid is None,
    )
    return tableau.posed(problem) if isinstance(tableau, StepMethod) else problem


def checked_method(method: str | Method) -> Method:
    """Return the method called ``method``; a method passes through.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(method, Tableau | StepMethod):
        return method
    if method not in METHODS:
        hint = f"; in place of SciPy's take {LIKE_SCIPY[method]!r}" if method in LIKE_SCIPY else ""
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, or a Tableau; got {method!r}{hint}")
    return METHODS[method]


def _sample_args(
    given: bool | Sequence[bool] | None, args: Sequence[Any], batch: int | None, *, skip_finished: bool
) -> tuple[bool, ...]:
    """Return which of the ``args`` have one row a sample."""
    if given is None:
        if skip_finished and len(args):
            raise ValueError(
                "`skip_finished` with `args` needs to know which of them have one row a sample: give "
                f"`sample_args`, True, False, or one of these for each of the {len(args)} args"
            )
        return (False,) * len(args)
    flags = (given,) * len(args) if isinstance(given, bool) else tuple(given)
    if len(flags) != len(args) or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(
            f"`sample_args` must be True, False, or one of these for each of {len(args)} args, got {given!r}"
        )
    for i, (flag, arg) in enumerate(zip(flags, args, strict=True)):
        if flag and not (isinstance(arg, Tensor) and arg.ndim and len(arg) == batch):
            got = f"shape {tuple(arg.shape)}" if isinstance(arg, Tensor) else type(arg).__name__
            raise ValueError(f"`sample_args` says that args[{i}] has one row for each of {batch} samples, got {got}")
    return flags


def _with_jacobian(dynamics: Dynamics, jac: Any, hint: object) -> Dynamics:
    """Return the right-hand side with what is known of its Jacobian."""
    if jac is not None and not callable(jac):
        raise TypeError(f"`jac` must be callable as jac(t, y, *args), got {type(jac).__name__}")
    if jac is not None and dynamics.packing.keys is not None:
        raise ValueError("`jac` needs a state `y0` of one tensor; leave it out, and it is found automatically")
    return replace(dynamics, jac=jac, structure=structure_of(hint))


def _steps(
    tableau: Method,
    packing: Packing,
    y0: Tensor,
    t: Tensor,
    rtol: float | Tensor | None,
    atol: float | Tensor | None,
    step_size: float | None,
    grid: Tensor | None,
    first_step: float | None,
    min_step: float,
    max_step: float | None,
    max_steps: int,
    controller: Controller | None,
    norm: Norm | None,
) -> tuple[Adaptive | None, Grid | None]:
    """Decide between adaptive steps and a grid, and check what belongs to each."""
    relative, absolute = checked_tolerances(rtol, atol, y0, *_TOLERANCES.get(_real(y0.dtype), _COARSE))
    check_sizes(first_step, min_step, max_step)
    max_steps = checked_count("max_steps", max_steps)
    if grid is not None:
        if step_size is not None:
            raise ValueError("give `grid` or `step_size`, not both")
        ends = checked_times(grid, batch=len(y0) if packing.per_sample else None, device=y0.device)
        if not torch.equal(ends.detach()[[0, -1]], t.detach()[[0, -1]]):
            raise ValueError("`grid` must start at t[0] and end at t[-1]")
        return None, grid_of_times(torch.cat([t[:1], ends[1:-1], t[-1:]]))
    if step_size is not None:
        return None, grid_of_step_size(t[0], t[-1], float(step_size), max_steps)
    if not tableau.adaptive:
        return None, grid_of_times(t)
    return Adaptive(
        tableau=tableau,
        controller=Predictive() if controller is None else controller,
        norm=default_norm(packing) if norm is None else user_norm(norm, packing),
        rtol=relative,
        atol=absolute,
        first_step=first_step,
        min_step=min_step,
        max_step=max_step,
        max_steps=max_steps,
    ), None


def check_sizes(first_step: float | None, min_step: float, max_step: float | None) -> None:
    """Raise ``ValueError`` or ``TypeError`` where these cannot be the first, smallest and largest size of a step."""
    for name, value in (("first_step", first_step), ("max_step", max_step)):
        if value is not None and not 0.0 < checked_number(name, value) < math.inf:
            raise ValueError(f"`{name}` must be positive and finite, got {value}")
    if not 0.0 <= checked_number("min_step", min_step) < math.inf:
        raise ValueError(f"`min_step` must be at least 0 and finite, got {min_step}")
    if max_step is not None and min_step > max_step:
        raise ValueError(f"`min_step` must not be above `max_step`, got {min_step} and {max_step}")


def checked_count(name: str, value: object) -> int:
    """Return a number of attempts; raise ``ValueError`` where it is none."""
    if not isinstance(value, Integral) or int(value) < 1:
        raise ValueError(f"`{name}` must be a whole number, at least 1, got {value!r}")
    return int(value)


def _real(dtype: torch.dtype) -> torch.dtype:
    return {torch.complex128: torch.float64, torch.complex64: torch.float32}.get(dtype, dtype)


def checked_state(y0: Any, packing: Packing, *, finite: bool = True) -> Tensor:
    """Pack ``y0`` after checking that its parts are floating, of one dtype and device, and finite."""
    parts = packing.components(y0) if packing.keys is None else [y0[key] for key in packing.keys]
    for part in parts:
        if not (part.is_floating_point() or part.is_complex()):
            raise ValueError(f"`y0` must be floating point or complex, got {part.dtype}; convert it: y0.double()")
        if (part.dtype, part.device) != (parts[0].dtype, parts[0].device):
            raise ValueError(
                "the parts of `y0` must share one dtype and device, got "
                f"{parts[0].dtype} on {parts[0].device} and {part.dtype} on {part.device}"
            )
        if finite and not all_finite(part):
            bad = int((~torch.isfinite(part.detach())).sum())
            raise ValueError(f"`y0` must be finite, got {bad} NaN or infinite value(s) of {part.numel()}")
    return packing.pack(y0)


def checked_times(t: object, *, batch: int | None, device: torch.device) -> Tensor:
    """Return the output times in float64, ``(outputs,)`` or, for ``batch`` samples, ``(outputs, batch)``.

    Raises
    ------
    TypeError, ValueError
        If ``t`` is not a tensor or sequence of at least two finite, strictly rising or falling times.
    """
    try:
        times = as_times(t)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"`t` must be a tensor or a sequence of numbers, got {type(t).__name__}") from None
    if times.is_complex() or times.dtype == torch.bool:
        raise ValueError(f"`t` must be real, got {times.dtype}")
    times = times.to(device=device, dtype=torch.float64)
    allowed = "(time,)" if batch is None else f"(time,) or (time, batch={batch})"
    if times.ndim == 0:
        raise ValueError("`t` needs at least two times, a start and an end; got one number")
    if times.ndim != 1 and (batch is None or times.ndim != 2 or times.shape[1] != batch):
        raise ValueError(f"`t` must have the shape {allowed}, got {tuple(times.shape)}")
    if len(times) < 2:
        raise ValueError(f"`t` needs at least two times, a start and an end; got {len(times)}")
    values = times.detach()
    smallest, largest = torch.aminmax(values.diff(dim=0), dim=0)
    if not (all_finite(values) and bool(((smallest > 0) | (largest < 0)).all())):
        if not bool(torch.isfinite(values).all()):
            raise ValueError("`t` must be finite, got NaN or infinite times")
        raise ValueError(f"`t` must be strictly increasing or decreasing, got {_excerpt(values)}; sort it first")
    return times if batch is None or times.ndim == 2 else times[:, None].expand(-1, batch)


def checked_tolerance(name: str, value: Any, default: float) -> Tensor | float:
    """Return a tolerance, finite and at least 0; a tensor gives one a component.

    Raises
    ------
    TypeError, ValueError
        If it is no number, or cannot be a tolerance.
    """
    if value is None:
        return default
    if not isinstance(value, Tensor):
        value = checked_number(name, value)
    given = value.detach() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    if given.is_complex() or not bool(((given >= 0.0) & (given < math.inf)).all()):
        raise ValueError(
            f"`{name}` must be positive and finite, or 0 beside another that is not; got {value}: try {default:g}"
        )
    return value  # type: ignore[no-any-return]


def checked_tolerances(
    rtol: Any, atol: Any, y0: Tensor, default_rtol: float, default_atol: float
) -> tuple[Tensor | float, Tensor | float]:
    """Return the relative and the absolute tolerance of a packed state; either may be 0 where the other is not.

    Raises
    ------
    TypeError, ValueError
        If they cannot be tolerances of the state.
    """
    relative, absolute = checked_tolerance("rtol", rtol, default_rtol), checked_tolerance("atol", atol, default_atol)
    for name, value in (("rtol", relative), ("atol", absolute)):
        if isinstance(value, Tensor) and not _broadcasts(value.shape, y0.shape):
            raise ValueError(
                f"`{name}` must be one number or one a component, of the state's shape {tuple(y0.shape)}, "
                f"got shape {tuple(value.shape)}"
            )
    least = [torch.as_tensor(value, dtype=torch.float64, device=y0.device) for value in (relative, absolute)]
    if not bool((least[0] + least[1] > 0.0).all()):
        raise ValueError(
            "`rtol` or `atol` must be positive for every component: got 0 for both, and no error is as small"
        )
    if not bool((least[1] > 0.0).all()):  # of a component that stays 0, an error of 0 is tolerated
        tiny = torch.finfo(y0.dtype).tiny
        absolute = absolute.clamp(min=tiny) if isinstance(absolute, Tensor) else tiny
    return relative, absolute


def checked_number(name: str, value: Any) -> float:
    """Return a real number.

    Raises
    ------
    TypeError
        If it is none.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"`{name}` must be a number, got {value!r}") from None


def _broadcasts(shape: torch.Size, state: torch.Size) -> bool:
    """Whether something of a shape acts on a state component by component."""
    pairs = zip(reversed(shape), reversed(state), strict=False)
    return len(shape) <= len(state) and all(one in (1, other) for one, other in pairs)


def _excerpt(values: Tensor) -> str:
    column = values if values.ndim == 1 else values[:, 0]
    shown = ", ".join(f"{value:g}" for value in column[:5].tolist())
    return f"[{shown}{', ...' if len(column) > 5 else ''}]"
