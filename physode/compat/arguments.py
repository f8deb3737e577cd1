"""torchdiffeq's arguments, checked as :func:`physode.solve`'s are, and made into a problem and a plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from physode.compat.methods import Callbacks
from physode.compat.stepping import EVENT_STEPS, Choice, InvalidArgument, Stepping, positive, refusals
from physode.problem.checks import checked_number, checked_state, checked_times
from physode.problem.dynamics import remedy_of
from physode.problem.packing import Packing
from physode.problem.problem import Problem, make_dynamics
from physode.problem.references import Referred
from physode.rhs_state import Statistics
from physode.solvers.clock import root_mean_square
from physode.solvers.driver import Plan
from physode.typing import Norm

__all__ = ["Asked", "Fitted", "asked_of", "mixed_norm", "packed_norm", "rms_norm"]

_HORIZON = 2.0**40  # how far an event is looked for


@dataclass(frozen=True)
class Asked:
    """One solve: what, how, and where steps must end.

    ``shift``: by how much the problem's times are before the caller's: 0, with the graph of the first time, where that
    is a constant of the problem.
    """

    problem: Problem
    plan: Plan
    stops: Tensor
    shift: Tensor | None

    @property
    def packing(self) -> Packing:
        """How states are packed."""
        return self.problem.dynamics.packing


def asked_of(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    choice: Choice,
    *,
    event: bool = False,
    dense: bool = False,
    shifted: bool = False,
) -> Asked:
    """Check the arguments of a solve and pose it; for an ``event``, ``t`` is its start and a direction.

    ``shifted``: whether a first time with a graph is posed as a shift of the right-hand side's clock, so that its
    gradient is that of one more parameter.

    Raises
    ------
    ValueError, TypeError
        For arguments that cannot be used. Most are ``AssertionError`` as well, as scripts may expect.
    """
    if not callable(func):
        raise InvalidArgument(f"`func` must be callable as func(t, y), got {type(func).__name__}")
    if not isinstance(y0, (Tensor, tuple)):
        raise InvalidArgument(f"`y0` must be a tensor or a tuple of tensors, got {type(y0).__name__}")
    with refusals():
        y0 = _of_one_dtype(y0)
        packing = Packing.of(y0, per_sample=False)
        state = checked_state(y0, packing)
        times = _times(t, state.device)
        if event:
            times = _until(times, choice, state)
        shift = None
        if shifted and times.requires_grad and torch.is_grad_enabled():
            shift = times[0] - times[0].detach()
            times = torch.cat([times[:1].detach(), times[1:] - shift])
    options = choice.method.known(choice.options)
    norm = packed_norm(options.get("norm"), packing)
    with refusals():
        if event and choice.method.kind == "scipy":
            raise InvalidArgument("`event_fn`: method='scipy_solver' finds no events; use another method")
        known = replace(
            choice, options=options, rtol=_spread("rtol", choice.rtol, packing, state),
            atol=_spread("atol", choice.atol, packing, state),
        )  # fmt: skip
        referred = Referred(func)
        fitted = Fitted(func, packing, shift)
        dynamics = make_dynamics(fitted, (), packing, state, times, drawing=lambda: referred.uses_dropout)
        stepping = Stepping.of(known, state, times, dynamics, norm, t, event=event)
    tableau, steps, grid, stops = stepping
    problem = Problem(
        dynamics=dynamics, tableau=tableau, y0=state, t=times, steps=steps, grid=grid,
        statistics=Statistics(referred.modules), referred=referred,
    )  # fmt: skip
    callbacks = Callbacks.of(func, choice.method, packing.unpack)
    stops = stops if shift is None else stops - shift
    return Asked(problem, Plan(dense=dense, recorder=callbacks), stops, shift)


@dataclass(frozen=True)
class Fitted:
    """The right-hand side, its results taken as leniently as torchdiffeq does: of any dtype, parts with axes of 1."""

    func: Callable[..., Any]
    packing: Packing
    shift: Tensor | None = None

    def __call__(self, t: Tensor, y: Any) -> Any:
        """Return dy/dt like the state.

        Raises
        ------
        TypeError, ValueError
            If ``func`` returns no tensors, or some that do not fit the state.
        """
        value = self.func(t if self.shift is None else t + self.shift.to(t), y)
        if self.packing.keys is None:
            return _fitted("`func`", value, y)
        if not isinstance(value, (tuple, list)) or len(value) != len(y):
            got = f"{len(value)}" if isinstance(value, (tuple, list)) else type(value).__name__
            raise InvalidArgument(f"`func` must return a tuple of {len(y)} tensors like `y0`, got {got}")
        return tuple(_fitted(f"`func`'s part {i}", *pair) for i, pair in enumerate(zip(value, y, strict=True)))


def _fitted(what: str, value: Any, state: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must return a tensor like `y0`, got {type(value).__name__}{remedy_of(value)}")
    if value.shape != state.shape:
        if [n for n in value.shape if n != 1] != [n for n in state.shape if n != 1]:
            shapes = f"{tuple(state.shape)}, got {tuple(value.shape)}"
            raise InvalidArgument(f"{what} must return what has the shape of `y0`, {shapes}")
        value = value.reshape(state.shape)
    if value.device != state.device:
        raise InvalidArgument(f"{what} must return a tensor on the device of `y0`, {state.device}, got {value.device}")
    if value.is_complex() and not state.is_complex():
        raise InvalidArgument(f"{what} must return real numbers as `y0` has, got {value.dtype}")
    fitted: Tensor = value.to(state.dtype)
    return fitted


def _of_one_dtype(y0: Any) -> Any:
    """Return the state, its parts promoted to the dtype that holds all of them."""
    if isinstance(y0, Tensor) or not all(isinstance(part, Tensor) for part in y0):
        return y0
    dtypes = {part.dtype for part in y0}
    if len(dtypes) < 2 or not all(dtype.is_floating_point or dtype.is_complex for dtype in dtypes):
        return y0
    common = reduce(torch.promote_types, dtypes)
    return tuple(part.to(common) for part in y0)


def _times(t: Any, device: torch.device) -> Tensor:
    if not isinstance(t, Tensor):
        raise InvalidArgument(f"`t` must be a tensor, got {type(t).__name__}; write torch.tensor(t)")
    if not t.is_floating_point():
        raise TypeError(f"`t` must be floating point, got {t.dtype}; convert it: t.double()")
    if t.device != device:
        warnings.warn("t is not on the same device as y0. Coercing to y0.device.", stacklevel=4)
    if t.ndim == 1 and len(t) == 1 and bool(torch.isfinite(t.detach()).all()):
        return t.to(device=device, dtype=torch.float64)
    return checked_times(t, batch=None, device=device)


def _until(t: Tensor, choice: Choice, y0: Tensor) -> Tensor:
    """Return the start and where an event is no longer looked for."""
    if len(t) != 2:
        raise InvalidArgument(f"`t` must have two times with `event_fn`, a start and a direction; got {len(t)}")
    far = _HORIZON
    if choice.method.kind in ("fixed", "adams"):
        size = choice.options.get("step_size")
        if size is None:
            raise InvalidArgument("`event_fn` with fixed steps needs options={'step_size': ...}")
        far = EVENT_STEPS * positive("step_size", size)
    start = t[:1]
    return torch.cat([start, start.detach() + torch.sign(t[1] - t[0]).detach() * far])


def rms_norm(x: Tensor) -> Tensor:
    """Root mean square of all components."""
    return root_mean_square(x)


def mixed_norm(parts: tuple[Tensor, ...]) -> Tensor:
    """The largest part's root mean square; 0 without parts."""
    return torch.stack([rms_norm(part) for part in parts]).amax() if parts else torch.zeros(())


def packed_norm(norm: Any, packing: Packing) -> Norm:
    """Return a norm of packed states from one of states; torchdiffeq's own by default."""
    if norm is not None and not callable(norm):
        raise InvalidArgument(f"options['norm'] must be a callable, got {norm!r}")
    given = norm if norm is not None else rms_norm if packing.keys is None else mixed_norm
    return lambda x: torch.abs(torch.as_tensor(given(packing.unpack(x)), device=x.device))


def _spread(name: str, value: Any, packing: Packing, y0: Tensor) -> Any:
    """Return a tolerance; where it is several numbers, one a part of the state, as one a component."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise InvalidArgument(f"`{name}` must not require gradients; pass {name}.detach()")
    if not (isinstance(value, (tuple, list)) or (isinstance(value, Tensor) and value.ndim > 0)):
        return checked_number(name, value)
    try:
        if packing.keys is None:
            return torch.as_tensor(value, device=y0.device)
        if len(value) != len(packing.shapes):
            raise InvalidArgument(
                f"`{name}` must be a number or have one entry for each of y0's {len(packing.shapes)} parts, "
                f"got {len(value)}"
            )
        parts = zip(value, packing.shapes, strict=True)
        return torch.cat([torch.as_tensor(part).to(y0.device).expand(shape).reshape(-1) for part, shape in parts])
    except (TypeError, RuntimeError):
        raise InvalidArgument(f"`{name}` must be a number, or numbers that fit the parts of `y0`") from None
