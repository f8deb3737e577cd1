"""When a solve is fused: wherever a kernel is at hand, or will repay the seconds that making it takes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from physode.fused.solving import prepare, solve_prepared
from physode.fused.unsupported import Unsupported
from physode.gradients.aca import ACA
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.problem.references import code_of
from physode.solvers.driver import Plan
from physode.typing import Progress

__all__ = ["Job", "Unsupported", "forget", "kind_of", "run", "solve_with"]

_log = logging.getLogger(__name__)

_REPAYS_AFTER = 2.0  # seconds spent on solves of a kind: about what compiling takes, so at most twice the best choice
_TRIES = 3  # of a kind that could not be fused

Solve = Callable[[Problem, Plan], Outcome]


class Ready(Protocol):
    """What has been made ready for kernels."""

    @property
    def at_hand(self) -> bool:
        """Whether these need not be compiled."""


P = TypeVar("P", bound=Ready)
R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[P, R]):
    """Something that can be done by kernels or without.

    Attributes
    ----------
    kind
        What it has in common with others of its kind, which the same kernels serve.
    plan
        How it is walked.
    prepare, by_kernel
        Makes it ready, and does it; raise :class:`Unsupported` where that is impossible.
    uncompiled
        Does it without kernels.
    """

    kind: Hashable
    plan: Plan
    prepare: Callable[[], P]
    by_kernel: Callable[[P], R]
    uncompiled: Callable[[Plan], R]


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
        As for :func:`run`.
    aca
        How gradients, if any are asked for, are computed; None if not by ACA.

    Raises
    ------
    Unsupported
        If ``when`` is True and the solve cannot be fused.
    """
    job = Job(
        kind=(kind_of(problem), aca is None, problem.needs_gradient),
        plan=plan,
        prepare=lambda: prepare(problem, plan, aca),
        by_kernel=lambda prepared: solve_prepared(problem, plan, prepared),
        uncompiled=lambda plan: uncompiled(problem, plan),
    )
    return run(job, when)


def kind_of(problem: Problem) -> Hashable:
    """Return what solves have in common that the same kernels serve: neither how many samples nor how many outputs."""
    shape = tuple(problem.y0.shape)
    sample = shape[1:] if len(shape) > 1 else shape
    return (
        code_of(problem.dynamics.f), sample, len(shape) > 1 and shape[0] > 1, problem.y0.dtype, problem.tableau.name,
        problem.per_sample, problem.grid is None,
    )  # fmt: skip


def run(job: Job[P, R], when: Literal[True, "auto"]) -> R:
    """Do something by kernels where that is possible and wanted, else without.

    Parameters
    ----------
    when
        True: now. ``"auto"``: where kernels are at hand, or once jobs of this kind have taken as long as compiling
        does; a first one that takes longer than that is begun anew by kernels. ``PHYSODE_COMPILE=never`` in the
        environment: never.

    Raises
    ------
    Unsupported
        If ``when`` is True and kernels cannot do it.
    """
    if when is True:
        return job.by_kernel(job.prepare())
    if os.environ.get("PHYSODE_COMPILE") == "never":
        return job.uncompiled(job.plan)
    kind = _memory.kinds.setdefault(job.kind, _Kind())
    if kind.refused >= _TRIES:
        return job.uncompiled(job.plan)
    prepared = None
    if not kind.seen or kind.spent >= _REPAYS_AFTER:
        prepared = _prepared(job, kind)
        if prepared is None:
            return job.uncompiled(job.plan)
    if prepared is not None and (kind.spent >= _REPAYS_AFTER or prepared.at_hand):
        done = _by_kernel(job, prepared, kind)
        return job.uncompiled(job.plan) if done is None else done[0]
    return _timed(job, kind)


def _prepared(job: Job[P, R], kind: _Kind) -> P | None:
    """Return a job made ready; None, with the reason in the log, where it cannot be fused."""
    try:
        return job.prepare()
    except Unsupported as error:
        kind.refused += 1
        _log.info("solved without the fused engine: %s", error)
    return None


def _by_kernel(job: Job[P, R], prepared: P, kind: _Kind) -> tuple[R] | None:
    """Do it by kernels; None where a compiler fails, of which users are told once."""
    kind.spent = max(kind.spent, _REPAYS_AFTER)
    try:
        return (job.by_kernel(prepared),)
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


def _timed(job: Job[P, R], kind: _Kind) -> R:
    """Do it without kernels, for as long as it would take to make them."""
    kind.seen = True
    before = time.perf_counter()
    limit = _Limit(before + _REPAYS_AFTER, job.plan.progress)
    try:
        result = job.uncompiled(replace(job.plan, progress=limit))
        kind.spent += time.perf_counter() - before
        return result
    except _TooLongError:
        kind.spent += time.perf_counter() - before
    prepared = _prepared(job, kind)
    done = None if prepared is None else _by_kernel(job, prepared, kind)
    return job.uncompiled(job.plan) if done is None else done[0]
