"""torchdiffeq's arguments, checked as :func:`physode.solve`'s are, and made into a problem and a plan."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.compat.adams import Adams
from physode.compat.callbacks import Callbacks
from physode.compat.methods import Method, OnGrid, find_method
from physode.compat.scipy_solver import SciPy
from physode.errors import SolveError
from physode.problem.checks import check_count, check_sizes
from physode.problem.packing import Packing
from physode.problem.parameters import Referred
from physode.problem.problem import (
    Problem,
    checked_number,
    checked_state,
    checked_times,
    checked_tolerances,
    make_dynamics,
)
from physode.rhs_state import Statistics
from physode.solvers import method as engine
from physode.solvers.attempt import Adaptive
from physode.solvers.clock import Number
from physode.solvers.controllers import Controller
from physode.solvers.driver import Plan
from physode.solvers.grid import Grid, grid_of_step_size, grid_of_times
from physode.solvers.norms import root_mean_square
from physode.typing import Norm

__all__ = [
    "Asked",
    "Choice",
    "InvalidArgument",
    "Line",
    "SolveAssertionError",
    "Stepping",
    "asked_of",
    "mixed_norm",
    "packed_norm",
    "refusals",
    "rms_norm",
]

EVENT_STEPS = 20_000
"""How many steps are taken until an event is no longer hoped for."""
_HORIZON = 2.0**40  # how far an event is looked for
_MAX_STEPS = 2**31 - 1


class InvalidArgument(ValueError, AssertionError):  # noqa: N818 - says what it is
    """An argument that cannot be used; torchdiffeq asserts where physode raises ``ValueError``."""


class SolveAssertionError(SolveError, AssertionError):
    """A solve that did not reach its end; torchdiffeq asserts here."""


@contextmanager
def refusals() -> Iterator[None]:
    """Let errors of values be of the type that scripts written for torchdiffeq expect."""
    try:
        yield
    except InvalidArgument:
        raise
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


@dataclass(frozen=True)
class Choice:
    """A method, its options and its tolerances, as the caller gives them."""

    method: Method
    options: Mapping[str, Any]
    rtol: Any
    atol: Any

    @classmethod
    def of(cls, name: str | None, options: Any, rtol: Any, atol: Any, *, which: str = "options") -> Choice:
        """Check the method's name and that the options are a mapping."""
        if options is not None and not isinstance(options, Mapping):
            raise InvalidArgument(f"`{which}` must be a dict of options by name, got {type(options).__name__}")
        return cls(find_method(name), dict(options or {}), rtol, atol)


class Line(NamedTuple):
    """The times :math:`o + r s` of a clock :math:`s`: a backward solve's goes from 0 to 1."""

    origin: float = 0.0
    rate: float = 1.0

    def time(self, s: Number) -> Tensor:
        """Return a time, float64 and without a graph."""
        return self.origin + self.rate * torch.as_tensor(s, dtype=torch.float64).detach()


_ITSELF = Line()


class Stepping(NamedTuple):
    """How steps are taken: the engine's method, and adaptive steps or a grid; times where steps must end."""

    tableau: engine.Method
    steps: Adaptive | None
    grid: Grid | None
    stops: Tensor

    @classmethod
    def of(
        cls, choice: Choice, y0: Tensor, t: Tensor, f: Any, norm: Norm, given_t: Tensor | None = None,
        line: Line = _ITSELF, *, event: bool = False,
    ) -> Stepping:  # fmt: skip
        """Read a choice, for a state ``y0`` and the clock's times ``t``.

        ``f`` and ``given_t`` are for a ``grid_constructor``.
        """
        kind, options = choice.method.kind, choice.options
        scale = abs(line.rate)
        rtol, atol = checked_tolerances(choice.rtol, choice.atol, y0, 1e-7, 1e-9)
        none = t.new_empty(0)
        if kind == "scipy":
            check_sizes(None, *_sizes(options)[1:])
            return cls(SciPy(options, rtol, atol, scale), None, grid_of_times(t), none)
        if kind == "adaptive":
            step_t, jump_t = (_stops(name, options.get(name), y0.device) for name in ("step_t", "jump_t"))
            stops = torch.cat([step_t, jump_t])
            if len(stops.unique()) < len(stops):
                raise InvalidArgument("`step_t` and `jump_t` must not have any repeated elements between them")
            return cls(
                choice.method.tableau, _adaptive(choice, rtol, atol, norm, scale, len(t) - 1, event), None, stops
            )
        if options.get("interp", "linear") not in ("linear", "cubic"):
            raise InvalidArgument(
                f"Unknown interpolation method {options['interp']!r}; `interp` is 'linear' or 'cubic'"
            )
        grid = _grid(options, t, f, y0, given_t, line, event)
        tableau = choice.method.tableau
        if kind == "adams":
            # Explicit weights of order 11 add up to thousands, and multiply the rounding errors of single precision.
            order = int(options.get("max_order", 12 if torch.finfo(y0.dtype).eps < 1e-10 else 8))
            iterations = int(options.get("max_iters", 4))
            tableau = Adams(choice.method.implicit, rtol, atol, order, iterations)
        nodes = torch.cat([grid.starts[:1], grid.ends]).detach() if options.get("perturb", False) else none
        return cls(OnGrid(tableau, options.get("interp", "linear") == "linear"), None, grid, nodes)


@dataclass(frozen=True)
class Asked:
    """One solve: what, how, and where steps must end.

    ``shift``: by how much the problem's times are before the caller's: 0, with the graph of the first time, where that
    is a constant of the problem.
    """

    problem: Problem
    plan: Plan
    stops: Tensor
    packing: Packing
    shift: Tensor | None


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
        referred = Referred.by(func)
        fitted = Fitted(func, packing, shift)
        dynamics = make_dynamics(fitted, (), packing, state, times, drawing=referred.uses_dropout)
        stepping = Stepping.of(known, state, times, dynamics, norm, t, event=event)
    tableau, steps, grid, stops = stepping
    problem = Problem(
        dynamics=dynamics, tableau=tableau, y0=state, t=times, steps=steps, grid=grid,
        statistics=Statistics(referred.modules), referred=referred,
    )  # fmt: skip
    callbacks = Callbacks.of(func, choice.method, packing.unpack)
    stops = stops if shift is None else stops - shift
    return Asked(problem, Plan(dense=dense, recorder=callbacks), stops, packing, shift)


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
        hint = "; is a `return` missing?" if value is None else ""
        raise TypeError(f"{what} must return a tensor like `y0`, got {type(value).__name__}{hint}")
    if value.shape != state.shape:
        if [n for n in value.shape if n != 1] != [n for n in state.shape if n != 1]:
            shapes = f"{tuple(state.shape)}, got {tuple(value.shape)}"
            raise InvalidArgument(f"{what} must return what has the shape of `y0`, {shapes}")
        value = value.reshape(state.shape)
    if value.device != state.device:
        raise InvalidArgument(f"{what} must return a tensor on the device of `y0`, {state.device}, got {value.device}")
    if value.is_complex() and not state.is_complex():
        raise InvalidArgument(f"{what} must return real numbers as `y0` has, got {value.dtype}")
    return value.to(state.dtype)


def _times(t: Any, device: torch.device) -> Tensor:
    if not isinstance(t, Tensor):
        raise InvalidArgument(f"`t` must be a tensor, got {type(t).__name__}; write torch.tensor(t)")
    if not t.is_floating_point():
        raise TypeError(f"`t` must be floating point, got {t.dtype}; convert it: t.double()")
    if t.device != device:
        warnings.warn("t is not on the same device as y0. Coercing to y0.device.", stacklevel=5)
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
        far = EVENT_STEPS * _positive("step_size", size)
    start = t[:1]
    return torch.cat([start, start.detach() + torch.sign(t[1] - t[0]).detach() * far])


def _positive(name: str, value: Any) -> float:
    number = checked_number(name, value)
    if not 0.0 < number < math.inf:
        raise InvalidArgument(f"`{name}` must be positive and finite, got {value}")
    return number


def _grid(
    options: Mapping[str, Any], t: Tensor, f: Any, y0: Tensor, given_t: Tensor | None, line: Line, event: bool
) -> Grid:
    """Return the steps that the options ask for: from output to output, of one size, or the caller's own grid."""
    size, constructor = options.get("step_size"), options.get("grid_constructor")
    if size is not None and constructor is not None:
        raise InvalidArgument("step_size and grid_constructor are mutually exclusive arguments")
    if size is not None:
        return grid_of_step_size(t[0], t[-1], _positive("step_size", size) / abs(line.rate), _MAX_STEPS)
    if constructor is None or event or len(t) < 2:
        return grid_of_times(t)
    given_t = line.time(t) if given_t is None else given_t
    given = constructor(f, y0, given_t)
    if not (bool(given[0] == given_t[0]) and bool(given[-1] == given_t[-1])):
        raise InvalidArgument("`grid_constructor` must return a grid that starts at t[0] and ends at t[-1]")
    return grid_of_times(torch.cat([t[:1], (given[1:-1].to(t) - line.origin) / line.rate, t[-1:]]))


@dataclass(frozen=True)
class _Controller(Controller):
    """torchdiffeq's rule: steps of the smallest size are accepted whatever their error."""

    smallest: float = 0.0

    def accepts(self, error: Number, size: Number) -> Number:
        """Whether an attempt is accepted."""
        return (error <= 1.0) | ((size <= self.smallest) & (error < math.inf))


def _adaptive(
    choice: Choice, rtol: Tensor | float, atol: Tensor | float, norm: Norm, scale: float, intervals: int, event: bool
) -> Adaptive:
    """Return the engine's form of the options.

    torchdiffeq counts ``max_num_steps`` anew from output to output; here the whole solve has their sum.
    """
    options = choice.options
    first, smallest, largest = _sizes(options)
    check_sizes(first, smallest, largest)
    most = options.get("max_num_steps", EVENT_STEPS if event else _MAX_STEPS)
    most = most.item() if isinstance(most, Tensor) else most
    check_count("max_num_steps", most)
    safety, growth, shrinking = (
        checked_number(name, options.get(name, default))
        for name, default in (("safety", 0.9), ("ifactor", 10.0), ("dfactor", 0.2))
    )
    if not (0.0 < safety <= 1.0 and 0.0 < shrinking < 1.0 < growth):
        raise InvalidArgument(
            "`safety` must lie in (0, 1], `dfactor` in (0, 1) and `ifactor` above 1, "
            f"got {safety}, {shrinking} and {growth}"
        )
    return Adaptive(
        tableau=choice.method.tableau,
        controller=_Controller(
            safety=safety, min_factor=shrinking, max_factor=growth, smallest=smallest / scale
        ),
        norm=norm,
        rtol=rtol,
        atol=atol,
        first_step=None if first is None else first / scale,
        min_step=smallest / scale,
        max_step=None if largest is None else largest / scale,
        max_steps=most * max(1, intervals),
    )  # fmt: skip


def _sizes(options: Mapping[str, Any]) -> tuple[float | None, float, float | None]:
    """Return the first, smallest and largest step size; None for one that is chosen, or without bounds."""
    first, smallest, largest = (
        None if options.get(name) is None else checked_number(name, options[name])
        for name in ("first_step", "min_step", "max_step")
    )
    return first, smallest or 0.0, None if largest == math.inf else largest


def _stops(name: str, value: Any, device: torch.device) -> Tensor:
    try:
        times = torch.as_tensor(() if value is None else value, device=device).to(torch.float64).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"`{name}` must be times, got {type(value).__name__}") from None
    if not bool(torch.isfinite(times.detach()).all()):
        raise InvalidArgument(f"`{name}` must be finite times")
    return times.sort().values


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
