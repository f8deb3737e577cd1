"""torchdiffeq's arguments, checked and made ready for the engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from physode.compat.errors import InvalidArgument
from physode.compat.methods import Method, find_method
from physode.compat.observers import Callbacks
from physode.gradients.replay import check_strayed, strayed
from physode.problem.dynamics import CHANGED, Dynamics
from physode.problem.evaluation import Conduct, Draws, Probe
from physode.problem.packing import Packing
from physode.problem.parameters import Referred
from physode.rhs_state import Hooks, Statistics, Surroundings
from physode.solvers.clock import Number
from physode.solvers.norms import root_mean_square
from physode.transforms import transformed
from physode.typing import Norm

_BEHIND = 1e-6  # of 1 and the time, behind the start: where an event that is zero there shows its sign

__all__ = ["Flow", "Setup", "just_behind", "mixed_norm", "read_arguments", "rms_norm"]


@dataclass
class Flow(Dynamics):
    """The right-hand side, taken as leniently as torchdiffeq does: parts of any shape, results of any dtype.

    ``settle``: told of the first evaluation of a solve; None where that is nobody's concern.
    """

    settle: Callable[[Probe], None] | None = None

    def __call__(self, t: Number, y: Tensor) -> Tensor:
        """Return dy/dt, packed.

        Raises
        ------
        TypeError, ValueError
            If ``func`` returns no tensor, or one of another size than the state, or changes the state in place.
        """
        version = 0 if y.is_inference() else y._version
        value = self._evaluated(t, y)
        if not y.is_inference() and y._version != version:
            raise InvalidArgument(CHANGED)
        if self.packing.keys is not None:
            value = torch.cat([part.reshape(-1) for part in value])
        if not isinstance(value, Tensor):
            hint = "; is a `return` missing?" if value is None else ""
            raise TypeError(f"`func` must return a tensor like `y0`, got {type(value).__name__}{hint}")
        if value.numel() != y.numel():
            raise InvalidArgument(
                f"`func` must return what has the shape of `y0`, {tuple(y.shape)}, got {tuple(value.shape)}"
            )
        value = value.to(y.dtype)
        value = value if value.shape == y.shape else value.reshape(y.shape)
        value = value.clone() if self.conduct.lends else value
        if self.settle is not None and not self.conduct.marks:
            self.mark(cast("Tensor", t), y, value)
        return value

    def mark(self, t: Tensor, y: Tensor, value: Tensor) -> None:
        """Keep an evaluation, for a pass back to be held against."""
        self.conduct.marks.append((t.detach(), y.detach(), value.detach()))

    def _evaluated(self, t: Number, y: Tensor) -> Any:
        if self.settle is None or self.conduct.settled or transformed():
            return self.evaluate(t, y)
        self.conduct.settled = True
        with Probe(self.conduct.draws) as probe:
            self.calls.count += 1
            value = self.f(self._time(t), self.packing.unpack(y))
        self.settle(probe)
        self.conduct.lends = isinstance(value, Tensor) and probe.is_lent(value)
        return value


@dataclass
class Setup:
    """One solve.

    Attributes
    ----------
    flow, statistics
        The right-hand side on packed states.
    y0
        The packed initial state, with its graph.
    t, given_t
        The output times in float64, and as they were given.
    rtol, atol, norm
        Tolerances, a number or one a component, and the error norm on packed states.
    method, options
        The method, and the options that it knows.
    callbacks
        The caller's.
    event
        The event function on packed states, positive at the start; None for a solve to the last time.
    """

    flow: Flow
    statistics: Statistics
    y0: Tensor
    t: Tensor
    given_t: Tensor
    rtol: Tensor | float
    atol: Tensor | float
    norm: Norm
    method: Method
    options: dict[str, Any]
    callbacks: Callbacks
    event: Callable[[Tensor, Tensor], Tensor] | None = None
    hooks: Hooks = field(default_factory=lambda: Hooks(()))
    surroundings: Surroundings | None = None

    @contextmanager
    def as_solved(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Let the right-hand side be what it was in the solve, and hold hooks back: for a pass back to ``tensors``."""
        with ExitStack() as stack:
            stack.enter_context(self.statistics.preserved())
            if self.surroundings is not None:
                stack.enter_context(self.surroundings.set_back())
            stack.enter_context(self.hooks.held_back(tensors))
            for t, y, value in self.flow.conduct.marks:
                check_strayed(strayed(self.flow(t, y)[None], value[None], torch.zeros_like(value)[None]))
            yield
        self.hooks.fire()

    @property
    def packing(self) -> Packing:
        """How states are packed."""
        return self.flow.packing

    @property
    def direction(self) -> float:
        """1 forward in time, -1 backward."""
        return _direction(self.t)

    def unpack(self, outputs: Tensor) -> Any:
        """Return packed outputs in the structure of ``y0``."""
        return self.packing.unpack(outputs, leading=1)


def read_arguments(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    *,
    rtol: Any,
    atol: Any,
    method: str | None,
    options: Mapping[str, Any] | None,
    event_fn: Callable[..., Tensor] | None = None,
    inner: bool = False,
) -> Setup:
    """Check torchdiffeq's arguments and bring them into the engine's form.

    ``inner``: whether this is a solve of the package's own, as of an adjoint, whose ``func`` is no user's.

    Raises
    ------
    ValueError, TypeError
        For arguments that cannot be used. Most are ``AssertionError`` as well, as scripts may expect.
    """
    if not isinstance(y0, (Tensor, tuple)):
        raise InvalidArgument(f"`y0` must be a tensor or a tuple of tensors, got {type(y0).__name__}")
    packing = Packing.of(y0, per_sample=False)
    state = packing.pack(y0)
    check_times(t)
    if event_fn is not None and len(t) != 2:
        raise InvalidArgument(f"`t` must have two times with `event_fn`, a start and a direction; got {len(t)}")
    chosen, given = find_method(method), dict(options or {})
    if t.device != state.device:
        warnings.warn("t is not on the same device as y0. Coercing to y0.device.", stacklevel=3)
    times = t.to(device=state.device, dtype=torch.float64)
    edges = times.detach()[[0, -1]]
    referred = Referred() if inner else Referred.by(func)
    statistics = Statistics(referred.modules)
    surroundings = Surroundings(referred) if torch.is_grad_enabled() and not inner else None

    def settle(probe: Probe) -> None:
        statistics.watch(probe.changed())
        if surroundings is not None:
            surroundings.settle()

    flow = Flow(
        f=func,
        args=(),
        packing=packing,
        low=edges.amin(),
        high=edges.amax(),
        dtype=state.real.dtype if state.is_complex() else state.dtype,
        device=state.device,
        conduct=Conduct(Draws(expected=referred.uses_dropout)),
        settle=None if inner or referred.is_compiled else settle,
    )
    return Setup(
        flow=flow,
        statistics=statistics,
        y0=state,
        t=times,
        given_t=t,
        rtol=_tolerance("rtol", rtol, packing, state),
        atol=_tolerance("atol", atol, packing, state),
        norm=_packed_norm(given.get("norm"), packing),
        method=chosen,
        options=chosen.known(given),
        callbacks=Callbacks.of(func, packing, chosen),
        event=None if event_fn is None else combined_event(event_fn, flow, t[0], state, _direction(t)),
        hooks=Hooks.of(referred.modules),
        surroundings=surroundings,
    )


def check_times(t: Any) -> None:
    """Check that ``t`` is a one-dimensional floating tensor, strictly rising or falling."""
    if not isinstance(t, Tensor):
        raise InvalidArgument(f"`t` must be a tensor, got {type(t).__name__}; write torch.tensor(t)")
    if not t.is_floating_point():
        raise TypeError(f"`t` must be floating point, got {t.dtype}; convert it: t.double()")
    if t.ndim != 1 or len(t) == 0:
        raise InvalidArgument(f"`t` must have the shape (time,), got {tuple(t.shape)}")
    steps = t.detach().diff()
    if not bool((steps > 0).all() | (steps < 0).all()):
        raise InvalidArgument(f"`t` must be strictly increasing or decreasing, got {t.detach().tolist()[:5]} ...")


def combined_event(
    event_fn: Callable[..., Tensor], flow: Flow, t0: Tensor, y0: Tensor, direction: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return one event function of packed states: the smallest of several, each made positive at the start.

    One that is zero there is made positive right behind the start, ``direction`` being 1 forward and -1 backward in
    time: an event is what is met on the way.

    Raises
    ------
    ValueError
        If ``event_fn`` returns no real tensor.
    """

    def value(t: Tensor, y: Tensor) -> Tensor:
        found = event_fn(t, flow.packing.unpack(y))
        if not isinstance(found, Tensor) or not found.is_floating_point():
            kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise InvalidArgument(
                f"`event_fn` must return a real tensor that changes its sign at the event, got {kind}; "
                "write y[0] - level, not y[0] > level"
            )
        return found

    with torch.no_grad():
        signs = torch.sign(value(t0, y0))
        if bool((signs == 0).any()):
            signs = torch.where(signs == 0, torch.sign(value(*just_behind(flow, t0, y0, direction))), signs)
    return lambda t, y: torch.min(value(t, y) * signs)


def just_behind(flow: Flow, t0: Tensor, y0: Tensor, direction: float) -> tuple[Tensor, Tensor]:
    """Return the time and state of a very short step from the start."""
    with torch.no_grad():
        size = direction * _BEHIND * (1.0 + float(t0.detach().abs()))
        return t0 + size, y0 + size * flow(t0.double(), y0)


def _direction(t: Tensor) -> float:
    return -1.0 if len(t) > 1 and bool(t[-1] < t[0]) else 1.0


def rms_norm(x: Tensor) -> Tensor:
    """Root mean square of all components."""
    return root_mean_square(x)


def mixed_norm(parts: tuple[Tensor, ...]) -> Tensor:
    """The largest part's root mean square; 0 without parts."""
    return torch.stack([rms_norm(part) for part in parts]).amax() if parts else torch.zeros(())


def _packed_norm(norm: Callable[[Any], Any] | None, packing: Packing) -> Norm:
    if norm is None:
        norm = rms_norm if packing.keys is None else mixed_norm
    given = norm
    return lambda x: torch.abs(torch.as_tensor(given(packing.unpack(x)), device=x.device))


def _tolerance(name: str, value: Any, packing: Packing, y0: Tensor) -> Tensor | float:
    if isinstance(value, Tensor) and value.requires_grad:
        raise InvalidArgument(f"`{name}` must not require gradients; pass {name}.detach()")
    several = isinstance(value, (tuple, list)) or (isinstance(value, Tensor) and value.ndim > 0)
    if packing.keys is not None and several:
        if len(value) != len(packing.shapes):
            raise InvalidArgument(
                f"`{name}` must be a number or have one entry for each of y0's {len(packing.shapes)} parts, "
                f"got {len(value)}"
            )
        spread = (
            torch.as_tensor(part).to(y0.device).expand(shape).reshape(-1)
            for part, shape in zip(value, packing.shapes, strict=True)
        )
        return torch.cat(list(spread))
    if several:
        return torch.as_tensor(value, device=y0.device)
    return float(value)
