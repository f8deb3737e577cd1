"""How steps are taken: torchdiffeq's options of a method, as the engine's adaptive steps, grids, and stops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.compat.adams import Adams
from physode.compat.methods import IMPLICIT, ITSELF, Line, Method, find_method
from physode.compat.scipy_solver import SciPy
from physode.errors import SolveError
from physode.problem.checks import check_sizes, checked_count, checked_number, checked_tolerances
from physode.solvers import method as engine
from physode.solvers.clock import Grid, Number, Verdict, as_float
from physode.solvers.grid import grid_of_step_size, grid_of_times
from physode.solvers.interpolation import Location, interpolate
from physode.solvers.runge_kutta import Step, end_derivative, interpolant, take_step
from physode.solvers.step_control import Adaptive, Controller
from physode.typing import Norm

__all__ = [
    "EVENT_STEPS",
    "Choice",
    "InvalidArgument",
    "OnGrid",
    "SolveAssertionError",
    "Stepping",
    "positive",
    "refusals",
]

EVENT_STEPS = 20_000
"""How many steps are taken until an event is no longer hoped for."""
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


class Stepping(NamedTuple):
    """How steps are taken: the engine's method, and adaptive steps or a grid; times where steps must end."""

    tableau: engine.Method
    steps: Adaptive | None
    grid: Grid | None
    stops: Tensor

    @classmethod
    def of(
        cls, choice: Choice, y0: Tensor, t: Tensor, f: Any, norm: Norm, given_t: Tensor | None = None,
        line: Line = ITSELF, *, event: bool = False,
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
            return cls(SciPy(t.detach(), options, rtol, atol, scale), None, grid_of_times(t), none)
        if kind == "adaptive":
            step_t, jump_t = (_stops(name, options.get(name), y0.device) for name in ("step_t", "jump_t"))
            stops = torch.cat([step_t, jump_t])
            if len(set(stops.tolist())) < len(stops):
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


def _grid(
    options: Mapping[str, Any], t: Tensor, f: Any, y0: Tensor, given_t: Tensor | None, line: Line, event: bool
) -> Grid:
    """Return the steps that the options ask for: from output to output, of one size, or the caller's own grid."""
    size, constructor = options.get("step_size"), options.get("grid_constructor")
    if size is not None and constructor is not None:
        raise InvalidArgument("step_size and grid_constructor are mutually exclusive arguments")
    if size is not None:
        return grid_of_step_size(t[0], t[-1], positive("step_size", size) / abs(line.rate), _MAX_STEPS)
    if constructor is None or event or len(t) < 2:
        return grid_of_times(t)
    given_t = line.time(t.detach()) if given_t is None else given_t
    given = constructor(f, y0, given_t)
    if not (bool(given[0] == given_t[0]) and bool(given[-1] == given_t[-1])):
        raise InvalidArgument("`grid_constructor` must return a grid that starts at t[0] and ends at t[-1]")
    return grid_of_times(torch.cat([t[:1], (given[1:-1].to(t) - line.origin) / line.rate, t[-1:]]))


def positive(name: str, value: Any) -> float:
    """Return a positive and finite number; raise ``ValueError`` or ``TypeError`` where it is none."""
    number = checked_number(name, value)
    if not 0.0 < number < math.inf:
        raise InvalidArgument(f"`{name}` must be positive and finite, got {value}")
    return number


@dataclass(frozen=True)
class _Controller(Controller):
    """torchdiffeq's rule: steps of the smallest size are accepted whatever their error."""

    smallest: float = 0.0

    def accepts(self, error: Number, size: Number) -> Verdict:
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
    given = options.get("max_num_steps", EVENT_STEPS if event else _MAX_STEPS)
    most = checked_count("max_num_steps", given.item() if isinstance(given, Tensor) else given)
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


@dataclass(frozen=True, eq=False)
class OnGrid(engine.StepMethod):
    """A method as torchdiffeq takes it over a grid: outputs between steps lie on chords, or on Hermite's cubics.

    An implicit method, too, has the derivative at each step's start evaluated, which Hermite's cubic needs. A step that
    is taken again to end earlier, at an event, ends on the whole step's chord or cubic.
    """

    method: engine.Method
    linear: bool
    _whole: list[tuple[Number, Tensor, Number, Step]] = field(default_factory=list)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method's name."""
        return self.method.name

    @property
    def fsal(self) -> bool:  # type: ignore[override]
        """Whether the derivative at a step's end, where the next one starts, is always evaluated."""
        return self.method in IMPLICIT

    @property
    def order(self) -> int:  # type: ignore[override]
        """The method's order."""
        return self.method.order

    @property
    def stages(self) -> int:  # type: ignore[override]
        """The method's stages."""
        return self.method.stages

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step."""
        for start, state, size, whole in self._whole:
            if state is y and start == t and abs(as_float(h)) < abs(as_float(size)):
                k_end = end_derivative(rhs, start, size, whole)
                cubic = interpolant(rhs, self, start, y, size, whole, k_end)[None]
                theta = torch.as_tensor(h / size, dtype=torch.float64, device=y.device)
                place = Location(torch.zeros(1, dtype=torch.long, device=y.device), theta[None])
                return Step(interpolate(place, y[None], cubic, whole.y[None])[0], whole.ks)
        step: Step = take_step(rhs, self.method, t, y, h, k1)
        step = step if k1 is None or not self.fsal else step._replace(ks=(k1,))
        self._whole[:] = [(t, y, h, step)]
        return step

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor] | None:
        """Return the chord; None for Hermite's cubic."""
        return [step.y - y] if self.linear else None
