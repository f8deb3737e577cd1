r"""Gradient methods on a right-hand side of one's own: their errors, time, memory and work, with advice.

Of a solve with outputs :math:`y_k` and random weights :math:`w_k`, the gradient of :math:`L = \sum_k w_k \cdot y_k` in
the initial state and in everything that the right-hand side depends on is compared with central differences in float64.
These are taken along the axes, or along random directions where there are many, and on the accepted steps of the solve,
so that they differentiate the numerical solution itself: what ACA claims to do exactly. The adjoint method approximates
the gradient of the exact solution instead, the naive method differentiates the choice of steps, too; both then differ
from it by the order of the solve's tolerance.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from physode.errors import SolveError
from physode.gradcheck.advice import Facts, Row, advice
from physode.gradcheck.diagnosis import is_deterministic, peak_bytes, stability, unregistered
from physode.problem.checks import checked_method, pose
from physode.solution import Solution
from physode.solve import solve
from physode.solvers.callbacks import checked_seconds
from physode.solvers.tableaus import Tableau
from physode.typing import Progress

_CAREFUL = (1e-3, 1e-5)  # steps of differences, relative to each element, where larger ones cannot be solved from


@dataclass(frozen=True)
class GradientCheck:
    """What :func:`check_gradients` found.

    Attributes
    ----------
    rows
        One for each gradient method.
    facts
        What was seen of the right-hand side and the differences.
    advice
        What follows from them, in sentences.
    """

    rows: tuple[Row, ...]
    facts: Facts
    advice: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    """A right-hand side, its state and leaves, and the loss of its solution."""

    f: Callable[..., Any]
    y0: Tensor
    leaves: tuple[Tensor, ...]
    t: Tensor
    weights: Tensor
    options: dict[str, Any]
    max_seconds: float

    @classmethod
    def of(
        cls,
        f: Callable[..., Any],
        y0: Tensor,
        t: Tensor,
        weights: Tensor,
        options: dict[str, Any],
        max_seconds: float,
    ) -> _Case:
        y0 = y0.detach().clone().requires_grad_()
        problem = pose(f, y0, t, **options).started()
        return cls(f, y0, problem.leaves.tensors, t, weights.to(y0), options, max_seconds)

    def solve(self, gradient: str, **options: Any) -> Solution:
        settings = {"max_seconds": self.max_seconds, **self.options, **options}
        return solve(self.f, self.y0, self.t, gradient=gradient, **settings)

    def loss(self, solution: Solution) -> Tensor:
        loss: Tensor = (solution.y * self.weights).sum()
        return loss

    def gradients(self, solution: Solution) -> tuple[Tensor, Tensor]:
        """Return dL/dy0 and dL/d(leaves), flat and in float64."""
        inputs = [self.y0, *self.leaves]
        found = torch.autograd.grad(self.loss(solution), inputs, allow_unused=True)
        parts = [
            (torch.zeros_like(x) if g is None else g).reshape(-1).double().cpu()
            for x, g in zip(inputs, found, strict=True)
        ]
        return parts[0], torch.cat([parts[0].new_empty(0), *parts[1:]])


def check_gradients(
    f: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float],
    *,
    method: str = "dopri5",
    rtol: float | None = None,
    atol: float | None = None,
    step_size: float | None = None,
    max_steps: int = 100_000,
    gradients: Sequence[str] = ("aca", "adjoint", "naive"),
    most: int = 8,
    seed: int = 0,
    max_seconds: float | None = None,
    progress: Progress | None = None,
) -> GradientCheck:
    """Compare gradient methods on ``f`` with finite differences.

    Parameters
    ----------
    f
        The right-hand side ``f(t, y)``. A module in single precision is copied to double for the differences; tensors
        that another callable uses are changed in place meanwhile, and set back.
    y0, t
        One real initial state, and output times.
    method, rtol, atol, step_size, max_steps
        As for :func:`physode.solve`; steps are shared.
    gradients
        Which methods.
    most
        How many directions differences are taken along, in the initial state and in the parameters each.
    seed
        Of directions and weights.
    max_seconds
        How long the forward pass of a solve may take.
    progress
        Called with the finished fraction of the work.

    Raises
    ------
    SolveError
        If the solve fails.
    TypeError, ValueError
        If ``f`` and ``y0`` do not go together.
    """
    if not isinstance(y0, Tensor) or not y0.is_floating_point():
        got = y0.dtype if isinstance(y0, Tensor) else type(y0).__name__
        raise TypeError(f"`y0` must be one real tensor of floating-point numbers, got {got}")
    tell = (lambda fraction: None) if progress is None else progress
    options = {"method": method, "rtol": rtol, "atol": atol, "step_size": step_size, "max_steps": max_steps}
    times = torch.as_tensor(t, dtype=torch.float64, device=y0.device)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(times), *y0.shape, dtype=torch.float64, generator=generator)
    weights[0] = 0.0  # the initial state itself says nothing of the solver
    case = _Case.of(f, y0, times, weights, options, checked_seconds(max_seconds))
    with torch.no_grad():
        steps = case.solve("aca").step_times
    count = sum(leaf.numel() for leaf in case.leaves)
    chosen = checked_method(method)
    axes = (directions(y0.numel(), most, generator), directions(count, most, generator))
    tell(0.1)
    right = _reference(case, steps, axes)
    rows = []
    for i, name in enumerate(gradients):
        tell(0.5 + 0.5 * i / len(gradients))
        rows.append(_measured(case, name, axes, right))
    tell(1.0)
    facts = Facts(
        deterministic=is_deterministic(f, times[0], y0),
        unregistered=unregistered(f, case.leaves),
        parameters=count,
        dtype=str(y0.dtype).removeprefix("torch."),
        rtol=rtol or (1e-6 if y0.dtype == torch.float64 else 1e-5),
        stability=stability(f, y0, steps, options),
        unrest=max(part.unrest for part in right),
        adaptive=step_size is None and chosen.adaptive,
        explicit=isinstance(chosen, Tableau) or method == "alf",
    )
    return GradientCheck(tuple(rows), facts, tuple(advice(rows, facts)))


def _reference(case: _Case, steps: Tensor, axes: tuple[Tensor, Tensor]) -> tuple[Differences, Differences]:
    """Return the differences in the initial state and in the leaves, on given steps and in float64."""
    double = _in_double(case)
    fixed = {**case.options, "grid": steps, "step_size": None}

    def loss() -> Tensor:
        with torch.no_grad():
            return double.loss(solve(double.f, double.y0.detach(), case.t, **fixed))

    state = _solvable(loss, [double.y0], axes[0])
    if not double.leaves:
        return state, Differences(torch.empty(0, dtype=torch.float64), 0.0, 1.0)
    return state, _solvable(loss, double.leaves, axes[1])


def _solvable(loss: Callable[[], Tensor], tensors: Sequence[Tensor], along: Tensor) -> Differences:
    """Return differences by steps that can be solved from: beside a rate of 0.04 or a concentration of 0 some cannot.

    Raises
    ------
    SolveError
        If there are none.
    """
    for careful in (None, *_CAREFUL):
        try:
            found = differences(loss, tensors, along, careful=careful)
        except SolveError:
            continue
        if bool(torch.isfinite(found.values).all()):
            return found
    raise SolveError(
        "finite differences cannot be taken: solves fail beside this initial state or these parameters; give another "
        "initial state, or a shorter span"
    )


def _in_double(case: _Case) -> _Case:
    """Return the case in float64 if it can be had: a module's copy."""
    whole = all(each.dtype == torch.float64 for each in (case.y0, *case.leaves))
    if whole or not isinstance(case.f, nn.Module):
        return case
    f = copy.deepcopy(case.f).double()
    return _Case.of(f, case.y0.detach().double(), case.t, case.weights.double(), case.options, case.max_seconds)


def _measured(case: _Case, name: str, axes: tuple[Tensor, Tensor], right: tuple[Differences, Differences]) -> Row:
    """Solve and differentiate by one method: its errors, then time, then memory."""
    try:
        solution = case.solve(name)
        found = case.gradients(solution)
        stats = solution.stats
        work = (int(stats.accepted), int(stats.rejected), stats.rhs_forward, stats.rhs_backward)
        began = time.perf_counter()
        case.gradients(case.solve(name))
        seconds = time.perf_counter() - began
        peak = peak_bytes(lambda: case.gradients(case.solve(name)), case.y0.device)
    except (SolveError, RuntimeError) as error:
        return Row(name, failure=" ".join(str(error).split()))
    errors = [_error(gradient, along, part) for gradient, along, part in zip(found, axes, right, strict=True)]
    return Row(name, errors[0], errors[1] if case.leaves else None, seconds, peak, *work)


def _error(gradient: Tensor, along: Tensor, right: Differences) -> float:
    """Return the relative error of directional derivatives."""
    return float((along @ gradient - right.values).norm()) / right.size


_NOTHING = 1e-6  # of L over the size of x: derivatives below it are not told from 0
_STEP = 1e-3  # relative: in double precision h**4 and rounding over h are both some 1e-12


class Differences(NamedTuple):
    """Directional derivatives, ``(directions,)``.

    ``unrest``: how far those by one step and by half of it are apart, relative to their ``size``; that is the norm of
    all, or what is left of rounding where they vanish.
    """

    values: Tensor
    unrest: float
    size: float


def directions(size: int, most: int, generator: torch.Generator) -> Tensor:
    """Return the axes of a space of ``size`` dimensions if they are no more than ``most``, else random unit vectors."""
    if size <= most:
        return torch.eye(size, dtype=torch.float64)
    drawn = torch.randn(most, size, dtype=torch.float64, generator=generator)
    lengths: Tensor = drawn.norm(dim=1, keepdim=True)
    return drawn / lengths


def differences(
    scalar: Callable[[], Tensor], tensors: Sequence[Tensor], along: Tensor, *, careful: float | None = None
) -> Differences:
    """Differentiate ``scalar()`` along directions in the joint space of ``tensors``.

    Parameters
    ----------
    scalar
        Computes L from the tensors' present values, which are changed in place and set back.
    tensors
        Float64 leaves.
    along
        ``(directions, elements of all tensors)``.
    careful
        A step relative to the elements along a direction, where they are not 0: one that changes no sign. By default
        steps are relative to the root mean square of all, which tells more of a small element.
    """
    before = [tensor.detach().clone() for tensor in tensors]
    flat = torch.cat([tensor.reshape(-1) for tensor in before])
    scale = max(1.0, float(flat.norm()) / max(1, len(flat)) ** 0.5)
    steps = [scale * _STEP if careful is None else careful * _along(v.abs(), flat.abs(), scale) for v in along]

    def at(shift: Tensor) -> float:
        parts = torch.split(shift.to(flat.device), [tensor.numel() for tensor in tensors])
        for tensor, old, part in zip(tensors, before, parts, strict=True):
            tensor.data.copy_(old + part.reshape(old.shape))
        return float(scalar())

    whole: list[float] = []
    halves: list[float] = []
    try:
        with torch.no_grad():
            present = abs(float(scalar()))
            for v, step in zip(along, steps, strict=True):
                for h, found in ((step, whole), (step / 2, halves)):
                    found.append((at(h * v) - at(-h * v)) / (2 * h))
    finally:
        for tensor, old in zip(tensors, before, strict=True):
            tensor.data.copy_(old)
    coarse, fine = torch.tensor(whole, dtype=torch.float64), torch.tensor(halves, dtype=torch.float64)
    size = max(float(fine.norm()), _NOTHING * present / scale, torch.finfo(torch.float64).tiny)
    return Differences((4 * fine - coarse) / 3, float((fine - coarse).norm()) / size, size)


def _along(v: Tensor, size: Tensor, scale: float) -> float:
    """Return the size of the elements that a direction leads along."""
    there = float((v.to(size) * size).sum())
    return min(there, scale) if there > 0.0 else scale
