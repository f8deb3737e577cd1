"""The right-hand side as the engine sees it: packed states, a float64 clock held inside the span, counted calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.autograd import transformed
from physode.problem.evaluation import Conduct, Probe
from physode.problem.packing import Packing
from physode.solvers.clock import Number, Verdict, expand
from physode.solvers.implicit.jacobian_structure import Structure

__all__ = ["CHANGED", "Calls", "Dynamics"]

_COARSE_CLOCK = 1e-3  # of the span, that two neighbouring times may be apart
CHANGED = (
    "the right-hand side changes its state `y` in place, which the solve and its gradients still need; "
    "make new tensors: y = y + ... instead of y += ..."
)


@dataclass
class Calls:
    """Calls of the right-hand side, counted on by whoever makes them."""

    count: int = 0

    def __repr__(self) -> str:
        return str(self.count)


@dataclass
class Dynamics:
    """Calls ``f(t, y, *args)`` with times and states in the form that the user wrote ``f`` for.

    Attributes
    ----------
    f, args
        The right-hand side and its further arguments.
    packing
        How states are packed.
    low, high
        The span's ends in float64, one value a group: rounding never carries a time outside.
    dtype, device
        The state's.
    time_ndim
        With per-sample steps, the number of axes that times are given, to broadcast against the state; 0 else.
    conduct
        What evaluations do beside computing; one object for all that are made from this one.
    skipping
        Whether samples that do not move are left out of evaluations: ``f`` takes each by itself.
    sample_args
        Which of the ``args`` have one row a sample.
    calls
        Counts how often ``f`` is called; one object for all right-hand sides made from this one, unless told otherwise.
    moving
        The samples that are evaluated, where some are left out; the derivative of the others is 0.
    jac, structure
        The user's Jacobian, ``jac(t, y, *args)``, and what is known of it, if anything, for implicit methods.
    opaque
        Whether ``f`` uses autograd itself, so that ``torch.func`` cannot differentiate it.
    any_order
        Whether steps are to be differentiated more than once.
    """

    f: Callable[..., Any]
    args: Sequence[Any]
    packing: Packing
    low: Tensor
    high: Tensor
    dtype: torch.dtype
    device: torch.device
    time_ndim: int = 0
    conduct: Conduct = field(default_factory=Conduct, compare=False)
    skipping: bool = False
    sample_args: Sequence[bool] = ()
    calls: Calls = field(default_factory=Calls, compare=False)
    moving: Tensor | None = field(default=None, compare=False)
    jac: Callable[..., Any] | None = None
    structure: Structure | None = None
    opaque: bool = False
    any_order: bool = False

    def __call__(self, t: Number, y: Tensor) -> Tensor:
        """Return dy/dt, packed; ``t`` is a float, or float64, one value a group."""
        if self.moving is None:
            before = _version(y)
            return self._checked(self.evaluate(t, y), y, before)
        t, placed = self.placed(t, y)
        rows, time = self.moving, self.time(t)
        some = placed[rows]
        before = _version(some)
        value = self._checked(self._call(time[rows], self.packing.unpack(some), rows), some, before)
        return torch.zeros_like(y).index_copy(0, rows, value)

    def _checked(self, returned: Any, y: Tensor, before: int) -> Tensor:
        """Return what ``f`` returned, packed, after a look at what every evaluation must keep to.

        Raises
        ------
        TypeError, ValueError
            As :meth:`first`.
        """
        value: Tensor = self.packing.pack(returned) if self.packing.keys is None else self._packed(returned, y)
        if not isinstance(value, Tensor) or value.shape != y.shape or value.dtype != y.dtype:
            self._check(returned, y)
        if _version(y) != before:
            raise ValueError(CHANGED)
        return value.clone() if self.conduct.lends and self.packing.keys is None else value

    def _packed(self, returned: Any, y: Tensor) -> Tensor:
        """Join the parts of a derivative; say which one is wrong where they do not fit."""
        try:
            return self.packing.pack(returned)
        except Exception:
            self._check(returned, y)
            raise

    def part(self, part: Callable[..., Tensor], t: Number, q: Tensor, p: Tensor, *, force: bool) -> Tensor:
        """Return a half of dy/dt that is a function of its own: ``part(t, q, *args)``, or ``part(t, p, *args)``.

        ``q`` and ``p`` are the first and the second half of the packed state's last axis: positions, and momenta.
        ``force``: whether it is the momenta's derivative, which counts as the work of a call of the right-hand side.
        """
        t, half = self.placed_half(t, q, p, first=force)
        rows, time = self.moving, self.time(t)
        given = half if rows is None else half[rows]
        shape = given.shape
        if self.packing.keys is not None:
            given = given.reshape(shape[: int(self.packing.per_sample)] + self.packing.shapes[0])
        value = self._apply(part, time if rows is None else time[rows], given, rows).reshape(shape)
        self.calls.count += int(force)
        return value if rows is None else torch.zeros_like(half).index_copy(0, rows, value)

    def skip(self, moving: Verdict) -> None:
        """Leave out the samples that do not move in the step to come, where ``f`` allows it."""
        if self.skipping and isinstance(moving, Tensor):
            self.moving = None if bool(moving.all()) else moving.nonzero().flatten()

    def evaluate(self, t: Number, y: Tensor) -> Any:
        """Return what ``f`` returned, unpacked and unchecked."""
        t, y = self.placed(t, y)
        return self._call(self.time(t), self.packing.unpack(y))

    def at(self, time: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, packed, for a time as ``f`` takes it (:meth:`time`); it draws from the program's generators.

        Raises
        ------
        TypeError, ValueError
            As :meth:`first`.
        """
        self.calls.count += 1
        before = _version(y)
        return self._checked(self.f(time, self.packing.unpack(y), *self.args), y, before)

    def placed(self, t: Number, y: Tensor) -> tuple[Number, Tensor]:
        """Return the time and the packed state at which ``f`` is evaluated for ``(t, y)``: these themselves."""
        return t, y

    def placed_half(self, t: Number, q: Tensor, p: Tensor, *, first: bool) -> tuple[Number, Tensor]:
        """Return the time and the half of the state at which a half of ``f`` is evaluated."""
        return t, q if first else p

    def _call(self, time: Tensor, state: Any, rows: Tensor | None = None) -> Any:
        self.calls.count += 1
        return self._apply(self.f, time, state, rows)

    def _args(self, rows: Tensor | None) -> Sequence[Any]:
        """Return the ``args``; of those that have one row a sample, some rows."""
        if rows is None or not any(self.sample_args):
            return self.args
        return [arg[rows] if by_sample else arg for arg, by_sample in zip(self.args, self.sample_args, strict=True)]

    def _apply(self, f: Callable[..., Any], time: Tensor, state: Any, rows: Tensor | None = None) -> Any:
        args = self._args(rows)
        if self.conduct.probe is not None:
            self.conduct.probe.time = time
            with self.conduct.probe:
                return f(time, state, *args)
        unwatched = not torch.compiler.is_compiling() and transformed()  # it may draw, and nobody knows
        if not (self.conduct.draws.any or unwatched):
            return f(time, state, *args)
        with self.conduct.draws.frozen():
            return f(time, state, *args)

    def jacobian(self, t: Number, y: Tensor) -> Any:
        """Return what the user's ``jac`` returned, unchecked."""
        assert self.jac is not None
        t, y = self.placed(t, y)
        rows, time = self.moving, self.time(t)
        if rows is None:
            return self.jac(time, self.packing.unpack(y), *self.args)
        some = self.jac(time[rows], self.packing.unpack(y[rows]), *self._args(rows))
        return some.new_zeros((len(y), *some.shape[1:])).index_copy(0, rows, some)

    def time(self, t: Number) -> Tensor:
        """Return the time as ``f`` takes it."""
        if isinstance(t, Tensor):
            held = torch.clamp(t, self.low, self.high)
            # Beside a discontinuity, or a rounding error outside, the slope is still 1.
            if t.requires_grad or torch.compiler.is_compiling() or transformed():
                held = t + (held - t).detach()
            return expand(held.to(self.dtype), self.time_ndim)
        low, high = self._span
        return torch.scalar_tensor(min(max(t, low), high), dtype=self.dtype, device=self.device)

    @cached_property
    def _span(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    def detached(self, calls: Calls) -> tuple[Dynamics, list[Tensor]]:
        """Return the right-hand side with detached copies of the ``args`` that require gradients, and these copies.

        The copies require gradients in turn; ``calls`` counts.
        """
        copies = [arg.detach().requires_grad_() for arg in self.args if isinstance(arg, Tensor) and arg.requires_grad]
        return replace(self.with_args(copies), calls=calls, moving=None), copies

    def with_args(self, others: Sequence[Tensor]) -> Dynamics:
        """Return the right-hand side with others in place of those ``args`` that require gradients."""
        rest = iter(others)
        args = (next(rest) if isinstance(arg, Tensor) and arg.requires_grad else arg for arg in self.args)
        return replace(self, args=tuple(args))

    def first(self, t: Tensor, y: Tensor, probe: Probe | None = None) -> Tensor:
        """Evaluate once and check that the result is a derivative of the state.

        Where there is a ``probe``, it watches the evaluation, and what it sees is minded in later ones.

        Raises
        ------
        TypeError, ValueError
            If ``f`` returned something of another structure, shape, dtype or device than the state, or changed the
            state in place.
        """
        before = _version(y)
        self.conduct.probe = probe
        try:
            value = self.evaluate(t, y)
        finally:
            self.conduct.probe = None
        if probe is not None and probe.has_read_time:
            self._warn_of_coarse_times()
        if _version(y) != before:
            raise ValueError(CHANGED)
        self._check(value, y)
        if probe is not None and self.packing.keys is None and probe.is_lent(value):
            self.conduct.lends = True
            value = value.clone()
        return self.packing.pack(value)

    def _warn_of_coarse_times(self) -> None:
        """Warn where times in the state's precision, as the right-hand side gets them, are coarse beside the span."""
        if self.dtype == torch.float64 or not self.low.numel():
            return
        farthest = float(torch.maximum(self.low.abs(), self.high.abs()).max())
        span, spacing = float((self.high - self.low).min()), farthest * torch.finfo(self.dtype).eps
        if farthest > 10 * span and spacing > _COARSE_CLOCK * span:
            warnings.warn(
                f"the right-hand side uses `t`, which it gets in {self.dtype}: near t = {farthest:.6g} these are "
                f"{spacing:.2g} apart; let the clock begin near 0, or solve in float64",
                RuntimeWarning,
                stacklevel=2,
            )

    def _check(self, value: Any, y: Tensor) -> None:
        """Raise where ``value`` is no derivative of the state ``y``."""
        state = self.packing.unpack(y)
        if self.packing.keys is None:
            _check("the right-hand side", value, state)
            return
        if isinstance(value, Tensor) or not hasattr(value, "__getitem__"):
            raise TypeError(
                f"the right-hand side must return a {self.packing.kind.__name__} like `y0`, got {type(value).__name__}"
            )
        if len(value) != len(self.packing.keys):
            raise ValueError(
                f"the right-hand side must return {len(self.packing.keys)} parts like `y0`, got {len(value)}"
            )
        for key in self.packing.keys:
            try:
                part = value[key]
            except (KeyError, IndexError, TypeError):
                raise ValueError(f"the right-hand side returned no part {key!r} of `y0`") from None
            _check(f"the right-hand side's part {key!r}", part, state[key])


def _version(y: Tensor) -> int:
    """Return how often a tensor has been changed in place; 0 where that is not counted."""
    return 0 if torch.compiler.is_compiling() or y.is_inference() else y._version


def remedy_of(value: object) -> str:
    """Return what to do about a right-hand side that returned no tensor, to end a message."""
    if value is None:
        return "; is a `return` missing?"
    if isinstance(value, list | tuple):
        return "; write torch.stack([...])"
    return "; write it with torch's functions" if type(value).__module__ == "numpy" else ""


def _check(what: str, value: object, state: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must return a tensor, got {type(value).__name__}{remedy_of(value)}")
    if value.shape != state.shape:
        raise ValueError(f"{what} must have the state's shape {tuple(state.shape)}, got {tuple(value.shape)}")
    if value.dtype != state.dtype:
        raise ValueError(f"{what} must have the state's dtype {state.dtype}, got {value.dtype}; convert one of them")
    if value.device != state.device:
        raise ValueError(f"{what} must be on the state's device {state.device}, got {value.device}")
