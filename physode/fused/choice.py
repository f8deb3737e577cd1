"""When a solve is fused: wherever a kernel is at hand, or will repay the seconds that making it takes.

Solves of one kind, by the code of their right-hand side, method and dtype, are timed. After a tenth of a second of them
the kernel is looked for, in memory and on disk; after two seconds, about what compiling takes, it is made. So a lone
short solve never waits, and no series of solves takes more than twice the time of the best choice. A solve that takes
longer by itself is begun anew by a kernel. Where solves of a kind need ever other kernels (a matrix of zeros and ones
is part of the program, say), each further one is made only after two seconds more.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from physode.fused.kernel import LANES
from physode.fused.solving import Prepared, check_repeatable, prepare, solve_prepared
from physode.fused.unsupported import Unsupported
from physode.gradients.aca import ACA
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.problem.references import code_of
from physode.solvers.driver import Plan
from physode.typing import Progress

__all__ = ["Job", "Unsupported", "forget", "is_news", "kind_of", "run", "solve_with", "without_kernels"]

_log = logging.getLogger(__name__)

_LOOKS_AFTER = 0.1  # seconds spent on solves of a kind: about what finding out whether a kernel is at hand takes
_MAKES_AFTER = 2.0  # likewise, about what compiling takes
_NEARLY_DONE = 0.8  # share of its span behind which a solve is left to end
_MOST_ELEMENTS = 2**15  # of matrices: measured, networks 128 wide gain two fifths, those 256 wide lose as much
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
    problem, plan
        What it solves, and how that is walked.
    kind
        What it has in common with others, which the same kernels serve.
    check
        Evaluates the right-hand side once; raises :class:`Unsupported` where nothing of the kind is done by kernels.
    prepare, by_kernel
        Makes it ready for kernels, and does it; raise likewise.
    uncompiled
        Does it without kernels, by a plan.
    at_once
        Whether kernels are looked for at once: where even one such job takes longer than that.
    """

    problem: Problem
    plan: Plan
    kind: Hashable
    check: Callable[[], None]
    prepare: Callable[[], P]
    by_kernel: Callable[[P], R]
    uncompiled: Callable[[Plan], R]
    at_once: bool = False


@dataclass
class _Kind:
    """What is known of jobs of one kind: seconds spent without kernels, how often kernels were made, refusals."""

    spent: float = 0.0
    made: int = 0
    refused: int = 0
    reason: str = ""
    repeatable: bool = False
    has_kernels: bool = False


@dataclass
class _Memory:
    kinds: dict[Hashable, _Kind] = field(default_factory=dict)
    told: set[tuple[Hashable, str]] = field(default_factory=set)


_memory = _Memory()
_shunned = False


def forget() -> None:
    """Forget what was measured and what failed."""
    global _memory
    _memory = _Memory()


@contextmanager
def without_kernels() -> Iterator[None]:
    """Choose none in the block where solves leave the choice, and measure none of them."""
    global _shunned
    before, _shunned = _shunned, True
    try:
        yield
    finally:
        _shunned = before


def is_news(problem: Problem, reason: str) -> bool:
    """Whether nobody has been told yet why this right-hand side is not fused."""
    news = (code_of(problem.dynamics.f), reason)
    if news in _memory.told:
        return False
    _memory.told.add(news)
    return True


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

    def ready() -> Prepared:
        prepared = prepare(problem, plan, aca)
        if when == "auto":
            _refuse_outdone(prepared)
        return prepared

    job = Job(
        problem, plan, (kind_of(problem), aca is None, problem.needs_gradient),
        check=lambda: check_repeatable(problem, plan, aca),
        prepare=ready,
        by_kernel=lambda prepared: solve_prepared(problem, plan, prepared),
        uncompiled=lambda plan: uncompiled(problem, plan),
    )  # fmt: skip
    return run(job, when)


def kind_of(problem: Problem) -> Hashable:
    """Return what tells kinds of solves apart: not how many samples or outputs there are, which kernels do not know."""
    return (
        code_of(problem.dynamics.f), problem.y0.shape[1:] if problem.y0.ndim > 1 else problem.y0.shape,
        problem.y0.dtype, problem.y0.device, problem.tableau.name, problem.per_sample, problem.grid is None,
    )  # fmt: skip


def run(job: Job[P, R], when: Literal[True, "auto"]) -> R:
    """Do something by kernels where that is possible and wanted, else without.

    Parameters
    ----------
    when
        True: now. ``"auto"``: where kernels are at hand or will repay being made; with ``PHYSODE_COMPILE=never`` in the
        environment, never.

    Raises
    ------
    Unsupported
        If ``when`` is True and kernels cannot do it.
    """
    if when is True:
        return job.by_kernel(job.prepare())
    if _shunned or os.environ.get("PHYSODE_COMPILE") == "never":
        return job.uncompiled(job.plan)
    kind = _memory.kinds.setdefault(job.kind, _Kind())
    try:
        return _chosen(job, kind)
    except Unsupported as error:
        kind.refused += 1
        kind.reason = job.problem.engine.reason = str(error)
        _log.info("solved without the fused engine: %s", error)
    return job.uncompiled(job.plan)


def _chosen(job: Job[P, R], kind: _Kind) -> R:
    """Do something by kernels, or without while none would be repaid.

    Raises
    ------
    Unsupported
        If kernels cannot do it, or a compiler fails.
    """
    if kind.refused >= _TRIES:
        job.problem.engine.reason = kind.reason
        return job.uncompiled(job.plan)
    if not kind.repeatable:
        job.check()
        kind.repeatable = True
    prepared: P | None = None
    for patience in (0.0 if job.at_once else _LOOKS_AFTER, _MAKES_AFTER * (1 + kind.made)):
        if kind.spent < patience and not kind.has_kernels:
            done = _timed(job, kind, patience)
            if done is not None:
                return done[0]
        prepared = prepared or job.prepare()
        if prepared.at_hand:
            break
        kind.has_kernels = False
    assert prepared is not None
    if not prepared.at_hand:
        kind.made += 1
    result = job.by_kernel(prepared)
    kind.has_kernels = True
    return result


def _refuse_outdone(prepared: Prepared) -> None:
    """Raise ``Unsupported`` where most of the work is products of a batch with large matrices: BLAS is better at it."""
    matrices = (node.matrix for node in prepared.fusion.lowered.program.nodes if node.matrix is not None)
    elements = sum(matrix.rows * matrix.columns for matrix in matrices)
    if elements > _MOST_ELEMENTS and prepared.shape.samples >= LANES:
        raise Unsupported(f"products of a batch with matrices of {elements} elements are PyTorch's own strength")


class _TooLongError(Exception):
    """A solve takes longer than it would have taken to make a kernel."""


@dataclass
class _Limit:
    """Ends a solve that a kernel would have done by now."""

    end: float
    progress: Progress | None

    def __call__(self, fraction: float) -> None:
        if fraction < _NEARLY_DONE and time.perf_counter() > self.end:
            raise _TooLongError
        if self.progress is not None:
            self.progress(fraction)


def _timed(job: Job[P, R], kind: _Kind, patience: float) -> tuple[R] | None:
    """Do it without kernels, noting the time; None, all being as before, if that takes longer than ``patience``."""
    problem, plan = job.problem, job.plan
    calls, statistics = problem.dynamics.calls.count, problem.statistics.snapshot()
    before = time.perf_counter()
    try:
        return (job.uncompiled(replace(plan, progress=_Limit(before + patience, plan.progress))),)
    except _TooLongError:
        problem.dynamics.calls.count = calls
        problem.statistics.restore(statistics)
        return None
    finally:
        kind.spent += time.perf_counter() - before
