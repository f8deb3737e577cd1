"""An initial value problem made ready for the engine: checked, packed, and evaluated once at its start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.autograd import transformed
from physode.problem.dynamics import Calls, Dynamics
from physode.problem.evaluation import NOTHING, Conduct, Draws, Leaves, Probe, find_leaves, graph_clock
from physode.problem.packing import Packing
from physode.problem.references import Referred
from physode.rhs_state import Hooks, Statistics, Surroundings
from physode.solvers.clock import Grid, all_finite, rms_per_sample, rms_shared
from physode.solvers.method import Method
from physode.solvers.step_control import Adaptive
from physode.typing import Norm

__all__ = [
    "Problem",
    "UserNorm",
    "checked_number",
    "checked_state",
    "checked_times",
    "checked_tolerances",
    "default_norm",
    "user_norm",
]


@dataclass(frozen=True)
class Problem:
    """What is asked of a solve.

    Attributes
    ----------
    dynamics
        The right-hand side.
    tableau
        The method.
    y0
        The packed initial state, as given: with its graph.
    t
        Output times, float64, ``(outputs, *groups)``, as given: with their graph.
    steps
        How adaptive steps are chosen; None for steps on a grid.
    grid, step_size
        The grid, for given or fixed steps, and the size of the latter.
    statistics
        Tensors from outside that evaluations change.
    referred
        What the right-hand side refers to.
    backward
        Calls of the right-hand side by passes back.
    k0, leaves, surroundings
        By :meth:`started`: the derivative at the start, the tensors that the right-hand side depends on, and how what
        it refers to was in the solve.
    last
        The end's time, state and derivative, where a pass back has nothing else to be held against.
    """

    dynamics: Dynamics
    tableau: Method
    y0: Tensor
    t: Tensor
    steps: Adaptive | None
    grid: Grid | None
    statistics: Statistics
    referred: Referred = field(default_factory=Referred)
    step_size: float | None = None
    backward: Calls = field(default_factory=Calls)
    k0: Tensor | None = None
    leaves: Leaves = NOTHING
    surroundings: Surroundings | None = None
    last: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def per_sample(self) -> bool:
        """Whether every sample has its own clock."""
        return self.t.ndim == 2

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors beside the state and the times that gradients reach: ``args``, then leaves."""
        return [*self.differentiable_args, *self.leaves.tensors]

    @property
    def differentiable_args(self) -> list[Tensor]:
        """The ``args`` that require gradients."""
        return [arg for arg in self.dynamics.args if isinstance(arg, Tensor) and arg.requires_grad]

    @property
    def needs_gradient(self) -> bool:
        """Whether any gradient can be asked for."""
        tensors = [self.y0, self.t, *self.inputs]
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)

    def started(self, *, keep_graph: bool = False) -> Problem:
        """Evaluate the right-hand side once: check it, find its leaves, and keep the derivative for the first step.

        With ``keep_graph`` (the naive method) the derivative keeps its graph, and there is no need to know the leaves.
        """
        if keep_graph:
            probe = self._probe()
            value = self.dynamics.first(self.t[0], self.y0, probe)
            self.statistics.watch(() if probe is None else probe.changed())
            return replace(self, k0=value)
        return self.started_by(*self.dynamics.detached(self.dynamics.calls), self.y0.detach())[0]

    def started_by(self, dynamics: Dynamics, copies: Sequence[Tensor], y0: Tensor) -> tuple[Problem, Tensor]:
        """Start with the first evaluation by ``dynamics`` at ``y0``, and return it with its graph, too.

        ``copies`` are the ``args`` of ``dynamics`` that require gradients: like ``y0`` they are no leaves of ``f``.
        """
        graph = torch.is_grad_enabled()
        since = graph_clock() if graph else 0
        surroundings = Surroundings(self.referred) if graph else None
        probe = self._probe()
        with self.hooks.held_back():
            value = dynamics.first(self.t[0].detach(), y0, probe)
        self.statistics.watch(() if probe is None else probe.changed())
        leaves = NOTHING
        if graph:
            joints = [] if probe is None else probe.joints()
            leaves = find_leaves(value, self.referred.tensors, [*copies, y0], joints, since)
        if surroundings is not None:
            surroundings.settle()
        return replace(self, k0=value.detach(), leaves=leaves, surroundings=surroundings), value

    def _probe(self) -> Probe | None:
        """Return what watches the first evaluation; None inside of transforms and for what torch.compile made."""
        if torch.compiler.is_compiling() or transformed() or self.referred.is_compiled:
            return None
        return Probe(self.dynamics.conduct.draws)

    @contextmanager
    def as_solved(self) -> Iterator[None]:
        """Let the right-hand side be what it was in the solve, and stay what it is: for passes back."""
        with ExitStack() as stack:
            stack.enter_context(self.statistics.preserved())
            if self.surroundings is not None:
                stack.enter_context(self.surroundings.set_back())
            stack.enter_context(self.hooks.held_back(self.inputs))
            yield
        self.hooks.fire()

    @cached_property
    def hooks(self) -> Hooks:
        """The backward hooks of the right-hand side's modules."""
        return Hooks.of(self.referred.modules)


def default_norm(packing: Packing) -> Norm:
    """Return the error norm of a state: the largest part's root mean square, see :mod:`physode.solvers.clock`."""
    rms = rms_per_sample if packing.per_sample else rms_shared
    return rms if packing.keys is None else _LargestPart(rms, packing)


def user_norm(norm: Norm, packing: Packing) -> Norm:
    """Return a norm on packed states from one on the user's structure."""
    return UserNorm(norm, packing)


@dataclass(frozen=True)
class _LargestPart:
    norm: Norm
    packing: Packing

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([self.norm(part) for part in self.packing.components(x)]).amax(0)


@dataclass(frozen=True)
class UserNorm:
    """A norm on packed states from one on the user's structure."""

    norm: Norm
    packing: Packing

    def __call__(self, x: Tensor) -> Tensor:
        """Return the norm of a packed state."""
        return self.norm(self.packing.unpack(x))


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
        times = t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"`t` must be a tensor or a sequence of numbers, got {type(t).__name__}") from None
    if times.is_complex() or times.dtype == torch.bool:
        raise ValueError(f"`t` must be real, got {times.dtype}")
    times = times.to(device=device, dtype=torch.float64)
    allowed = "(time,)" if batch is None else f"(time,) or (time, batch={batch})"
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


def make_dynamics(
    f: Callable[..., Any],
    args: Sequence[Any],
    packing: Packing,
    y0: Tensor,
    t: Tensor,
    *,
    drawing: bool,
    skipping: bool = False,
) -> Dynamics:
    """Join the right-hand side with what it is evaluated on."""
    first, last = t[0].detach(), t[-1].detach()
    shapes = {len(shape) for shape in packing.shapes}
    return Dynamics(
        f=f,
        args=args,
        packing=packing,
        low=torch.minimum(first, last),
        high=torch.maximum(first, last),
        dtype=y0.real.dtype if y0.is_complex() else y0.dtype,
        device=y0.device,
        time_ndim=0 if not packing.per_sample else 1 + (shapes.pop() if len(shapes) == 1 else 0),
        conduct=Conduct(Draws(expected=drawing)),
        skipping=skipping,
        calls=Calls(),  # said, for torch.compile does not trace the default
    )


def _excerpt(values: Tensor) -> str:
    column = values if values.ndim == 1 else values[:, 0]
    shown = ", ".join(f"{value:g}" for value in column[:5].tolist())
    return f"[{shown}{', ...' if len(column) > 5 else ''}]"
