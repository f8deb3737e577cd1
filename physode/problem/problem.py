"""An initial value problem made ready for the engine: checked, packed, and evaluated once at its start."""

from __future__ import annotations

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
from physode.solvers.clock import Grid, rms_per_sample, rms_shared
from physode.solvers.method import Method
from physode.solvers.step_control import Adaptive
from physode.typing import Norm

__all__ = [
    "Engine",
    "Problem",
    "UserNorm",
    "default_norm",
    "user_norm",
]


@dataclass
class Engine:
    """Who takes a solve's steps: a kernel, or the loop in Python, and then why, where a kernel was wanted."""

    fused: bool = False
    reason: str = ""


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
    to_outputs
        Whether steps lead from output to output: the grid is made of the output times themselves.
    statistics
        Tensors from outside that evaluations change.
    referred
        What the right-hand side refers to.
    backward
        Calls of the right-hand side by passes back.
    engine
        Who takes the steps; told while the solve goes on.
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
    to_outputs: bool = False
    backward: Calls = field(default_factory=Calls)
    engine: Engine = field(default_factory=Engine)
    k0: Tensor | None = None
    leaves: Leaves = NOTHING
    surroundings: Surroundings | None = None
    last: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def per_sample(self) -> bool:
        """Whether every sample has its own clock."""
        return self.t.ndim == 2

    @property
    def direction(self) -> Tensor:
        """The sign of each group's span."""
        return torch.sign(self.t[-1] - self.t[0]).detach()

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors beside the state and the times that gradients reach: ``args``, then leaves."""
        return [*self.differentiable_args, *self.leaves.tensors]

    @property
    def differentiable_args(self) -> list[Tensor]:
        """The ``args`` that require gradients."""
        return [arg for arg in self.dynamics.args if isinstance(arg, Tensor) and arg.requires_grad]

    @property
    def clock_requires_grad(self) -> bool:
        """Whether gradients in the times, or in the steps of a grid, can be asked for."""
        return any(part.requires_grad for part in (self.t, *(self.grid or ())))

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
            self.statistics.look()
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
        self.statistics.look()
        probe = self._probe()
        with self.hooks.held_back():
            value = dynamics.first(self.t[0].detach(), y0, probe)
        self.statistics.watch(() if probe is None else probe.changed())
        leaves = NOTHING
        if graph:
            joints = [] if probe is None else probe.joints(since)
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


def make_dynamics(
    f: Callable[..., Any],
    args: Sequence[Any],
    packing: Packing,
    y0: Tensor,
    t: Tensor,
    *,
    drawing: Callable[[], bool],
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
