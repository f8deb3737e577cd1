"""An initial value problem made ready for the engine: checked, packed, and evaluated once at its start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.problem.dynamics import Dynamics
from physode.problem.evaluation import Conduct, Draws, Probe
from physode.problem.packing import Packing
from physode.problem.parameters import NOTHING, Leaves, Referred, find_leaves, graph_clock
from physode.rhs_state import Hooks, Statistics, Surroundings
from physode.solvers.attempt import PLAIN, Adaptive, Taker
from physode.solvers.callbacks import EventDetector, Monitor, Observer, Watch
from physode.solvers.clock import Number
from physode.solvers.grid import Grid
from physode.solvers.loop import integrate, march
from physode.solvers.method import Method
from physode.solvers.norms import all_finite, rms_per_sample, rms_shared
from physode.solvers.trace import SavePolicy, Trace
from physode.transforms import is_differentiated, transformed
from physode.typing import Norm, Progress

__all__ = ["Problem", "Tally", "UserNorm", "checked_state", "checked_times", "default_norm", "user_norm"]


@dataclass
class Tally:
    """Calls of the right-hand side, counted on by whoever makes them."""

    calls: int = 0

    def __repr__(self) -> str:
        return str(self.calls)


@dataclass
class Problem:
    """What the gradient methods work on.

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
    grid
        The grid, for given or fixed steps.
    keep_dense
        Whether every step's interpolant is kept.
    keep_nodes
        Whether every step's state is kept, to be replayed; else, with shared steps, only those that outputs need.
    observer
        Told of every attempt of the forward loop.
    detector
        Looks into adaptive steps, and may end groups earlier.
    referred
        What the right-hand side refers to.
    surroundings
        How that was in the solve.
    last
        The end's time, state and derivative, where a pass back has nothing else to be held against.
    constant_sizes
        Whether step sizes are constants to the gradient, also where the loop runs with gradients.
    progress, monitor, max_seconds
        Who watches the forward loop, and how long it may take.
    """

    dynamics: Dynamics
    tableau: Method
    y0: Tensor
    t: Tensor
    steps: Adaptive | None
    grid: Grid | None
    keep_dense: bool
    statistics: Statistics
    referred: Referred = field(default_factory=Referred)
    keep_nodes: bool = True
    progress: Progress | None = None
    monitor: Monitor | None = None
    max_seconds: float = math.inf
    k0: Tensor | None = None
    leaves: Leaves = NOTHING
    step_size: float | None = None
    backward: Tally = field(default_factory=Tally)
    observer: Observer | None = None
    detector: EventDetector | None = None
    constant_sizes: bool = False
    surroundings: Surroundings | None = None
    last: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def per_sample(self) -> bool:
        """Whether every sample has its own clock."""
        return self.t.ndim == 2

    @property
    def watched(self) -> bool:
        """Whether anyone watches the forward loop, or it may not take as long as it likes."""
        return self.progress is not None or self.monitor is not None or self.max_seconds < math.inf

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

    def start(self, *, keep_graph: bool) -> None:
        """Evaluate the right-hand side once: check it, find its leaves, and keep the derivative for the first step.

        With ``keep_graph`` (the naive method) the derivative keeps its graph, and there is no need to know the leaves.
        """
        if keep_graph:
            probe = self._probe()
            self.k0 = self.dynamics.first(self.t[0], self.y0, probe)
            self.statistics.watch(() if probe is None else probe.changed())
            return
        self.first(*self.dynamics.detached(), self.y0.detach())

    def first(self, dynamics: Dynamics, copies: Sequence[Tensor], y0: Tensor) -> Tensor:
        """Start with the first evaluation by ``dynamics`` at ``y0``, and return it with its graph.

        ``copies`` are the ``args`` of ``dynamics`` that require gradients: like ``y0`` they are no leaves of ``f``.
        """
        graph = torch.is_grad_enabled()
        since = graph_clock() if graph else 0
        surroundings = Surroundings(self.referred) if graph else None
        probe = self._probe()
        with self.hooks.held_back():
            value = dynamics.first(self.t[0].detach(), y0, probe)
        self.dynamics.calls += dynamics.calls
        self.statistics.watch(() if probe is None else probe.changed())
        self.k0 = value.detach()
        if graph:
            joints = [] if probe is None else probe.joints()
            self.leaves = find_leaves(value, self.referred.tensors, [*copies, y0], joints, since)
        if surroundings is not None:
            surroundings.settle()
            self.surroundings = surroundings
        return value

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

    def integrate(
        self,
        dynamics: Dynamics | None = None,
        taker: Taker = PLAIN,
        keep: Callable[..., Trace] = Trace,
    ) -> Trace:
        """Run the forward loop; gradients flow as the caller's grad mode says.

        ``dynamics`` is the right-hand side, by default the problem's own; its calls count as the problem's. ``keep``
        makes the record.
        """
        rhs = self.dynamics if dynamics is None else dynamics
        assert self.k0 is not None
        if self.grid is not None:
            return march(
                rhs,
                self.tableau,
                self.grid,
                self.y0,
                self.k0,
                wanted=self._wanted(),
                observer=self.observer,
                watch=self._watch(),
                taker=taker,
                keep=keep,
            )
        assert self.steps is not None
        record = integrate(
            rhs,
            self.steps,
            *self._span(),
            self.y0,
            self.k0,
            wanted=self._wanted(),
            statistics=self.statistics,
            observer=self.observer,
            watch=self._watch(),
            taker=taker,
            skip=rhs.skip if rhs.skipping else None,
            detector=self.detector,
            keep=keep,
            constant_sizes=self.constant_sizes,
        )
        rhs.moving = None
        return record

    def _watch(self) -> Watch | None:
        return Watch(self.progress, self.monitor, self.max_seconds) if self.watched else None

    def _span(self) -> tuple[Number, Number]:
        """Return the first and the last time, floats where one clock runs without a graph."""
        t0, t1 = self.t[0], self.t[-1]
        differentiated = torch.is_grad_enabled() and (not self.constant_sizes or is_differentiated(self.t))
        if self.per_sample or differentiated:
            return t0, t1
        return t0.item(), t1.item()

    def _wanted(self) -> SavePolicy:
        if self.keep_dense:
            return SavePolicy(None)
        if not self.per_sample:
            direction = 1.0 if self.t[-1] >= self.t[0] else -1.0
            return SavePolicy((self.t.detach() * direction).tolist(), direction, self.keep_nodes)
        at_ends = len(self.t) == 2 or (self.grid is not None and torch.equal(self.grid.ends, self.t[1:]))
        return SavePolicy([] if at_ends else None)


def default_norm(packing: Packing) -> Norm:
    """Return the error norm of a state: the largest part's root mean square, see :mod:`physode.solvers.norms`."""
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


def checked_times(t: Any, *, batch: int | None, device: torch.device) -> Tensor:
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
    """Return a tolerance, positive and finite; a tensor gives one a component."""
    if value is None:
        return default
    smallest = float(value.detach().min()) if isinstance(value, Tensor) else float(value)
    if not (smallest > 0.0 and math.isfinite(smallest)):
        raise ValueError(f"`{name}` must be positive and finite, got {value}; try {default:g}")
    return value if isinstance(value, Tensor) else smallest


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
    )


def _excerpt(values: Tensor) -> str:
    column = values if values.ndim == 1 else values[:, 0]
    shown = ", ".join(f"{value:g}" for value in column[:5].tolist())
    return f"[{shown}{', ...' if len(column) > 5 else ''}]"
