"""When a solve is fused: wherever a kernel is at hand, or will repay the seconds that making it takes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Literal

from physode.fused.solving import Prepared, prepare, solve_prepared
from physode.fused.unsupported import Unsupported
from physode.gradients.aca import ACA
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.problem.references import code_of
from physode.solvers.driver import Plan
from physode.typing import Progress

__all__ = ["Unsupported", "forget", "solve_with"]

_log = logging.getLogger(__name__)

_REPAYS_AFTER = 2.0  # seconds spent on solves of a kind: about what compiling takes, so at most twice the best choice
_TRIES = 3  # of a kind that could not be fused

Solve = Callable[[Problem, Plan], Outcome]


@dataclass
class _Kind:
    """What is known of solves of one kind: seconds spent on them, and how often they were refused."""

    spent: float = 0.0
    refused: int = 0
    seen: bool = False


@dataclass
class _Memory:
    kinds: dict[Hashable, _Kind] = field(default_factory=dict)


_memory = _Memory()


def forget() -> None:
    """Forget what was measured and what failed."""
    global _memory
    _memory = _Memory()


def solve_with(
    problem: Problem, plan: Plan, when: Literal[True, "auto"], uncompiled: Solve, *, aca: ACA | None
) -> Outcome:
    """Solve by a kernel where that is possible and wanted, else ``uncompiled``.

    Parameters
    ----------
    when
        True: now. ``"auto"``: where a kernel is at hand, or once solves of this kind have taken as long as compiling
        does; a first solve that takes longer than that is begun anew by a kernel. ``PHYSODE_COMPILE=never`` in the
        environment: never.
    aca
        How gradients, if any are asked for, are computed; None if not by ACA.

    Raises
    ------
    Unsupported
        If ``when`` is True and the solve cannot be fused.
    """
    if when is True:
        return solve_prepared(problem, plan, prepare(problem, plan, aca))
    if os.environ.get("PHYSODE_COMPILE") == "never":
        return uncompiled(problem, plan)
    kind = _memory.kinds.setdefault(_key(problem, aca), _Kind())
    if kind.refused >= _TRIES:
        return uncompiled(problem, plan)
    prepared = None
    if not kind.seen or kind.spent >= _REPAYS_AFTER:
        prepared = _prepared(problem, plan, aca, kind)
        if prepared is None:
            return uncompiled(problem, plan)
    if prepared is not None and (kind.spent >= _REPAYS_AFTER or prepared.at_hand):
        outcome = _by_kernel(problem, plan, prepared, kind)
        return uncompiled(problem, plan) if outcome is None else outcome
    return _timed(problem, plan, uncompiled, aca, kind)


def _key(problem: Problem, aca: ACA | None) -> Hashable:
    return (
        code_of(problem.dynamics.f), tuple(problem.y0.shape), problem.y0.dtype, problem.tableau.name,
        problem.t.shape[1:], problem.grid is None, aca is None, problem.needs_gradient,
    )  # fmt: skip


def _prepared(problem: Problem, plan: Plan, aca: ACA | None, kind: _Kind) -> Prepared | None:
    """Return a solve made ready; None, with the reason in the log, where it cannot be fused."""
    try:
        return prepare(problem, plan, aca)
    except Unsupported as error:
        kind.refused += 1
        _log.info("solved without the fused engine: %s", error)
    return None


def _by_kernel(problem: Problem, plan: Plan, prepared: Prepared, kind: _Kind) -> Outcome | None:
    """Solve by kernels; None where a compiler fails, of which users are told once."""
    kind.spent = max(kind.spent, _REPAYS_AFTER)
    try:
        return solve_prepared(problem, plan, prepared)
    except Unsupported as error:
        kind.refused = _TRIES
        _log.info("solved without the fused engine: %s", error)
    return None


class _TooLongError(Exception):
    """A solve has taken longer than compiling would have."""


@dataclass
class _Limit:
    """Ends a solve that a kernel would have done by now."""

    end: float
    progress: Progress | None

    def __call__(self, fraction: float) -> None:
        if fraction < 0.9 and time.perf_counter() > self.end:
            raise _TooLongError
        if self.progress is not None:
            self.progress(fraction)


def _timed(problem: Problem, plan: Plan, uncompiled: Solve, aca: ACA | None, kind: _Kind) -> Outcome:
    """Solve without a kernel, for as long as it would take to make one."""
    kind.seen = True
    before = time.perf_counter()
    limit = _Limit(before + _REPAYS_AFTER, plan.progress)
    try:
        outcome = uncompiled(problem, replace(plan, progress=limit))
        kind.spent += time.perf_counter() - before
        return outcome
    except _TooLongError:
        kind.spent += time.perf_counter() - before
    prepared = _prepared(problem, plan, aca, kind)
    by_kernel = None if prepared is None else _by_kernel(problem, plan, prepared, kind)
    return uncompiled(problem, plan) if by_kernel is None else by_kernel
