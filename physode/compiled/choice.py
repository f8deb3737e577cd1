"""When to compile: at once, once it pays, and never again what could not be compiled."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Literal

from physode.compiled.build import Unsupported, reason
from physode.compiled.solving import solve_compiled
from physode.gradients.aca import ACA
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.problem.references import code_of
from physode.solvers.driver import Plan
from physode.typing import Progress

__all__ = ["forget", "solve_with"]

_log = logging.getLogger(__name__)

_PAYS_AFTER = 30.0  # seconds solved without; compiling takes about as long, so "auto" is at most twice the best choice
_TRIES = 3  # of a right-hand side that could not be compiled, in case another state or other arguments can


@dataclass
class _Memory:
    """What is known of right-hand sides, by their code."""

    spent: dict[Hashable, float] = field(default_factory=dict)
    failed: dict[Hashable, int] = field(default_factory=dict)
    warned: set[tuple[Hashable, str]] = field(default_factory=set)


_memory = _Memory()


def forget() -> None:
    """Forget what was measured and what failed."""
    global _memory
    _memory = _Memory()


def solve_with(
    problem: Problem,
    plan: Plan,
    when: Literal[True, "auto"],
    uncompiled: Callable[[Problem, Plan], Outcome],
    *,
    aca: ACA | None,
) -> Outcome:
    """Solve by compiled programs where that is possible and wanted, else ``uncompiled``, with one warning why.

    Parameters
    ----------
    when
        True: now. ``"auto"``: once solves like this one have taken as long as compiling may take.
    aca
        How gradients, if any are asked for, are computed; None if not by ACA.
    """
    code = code_of(problem.dynamics.f)
    kind = (code, tuple(problem.y0.shape), problem.y0.dtype, problem.tableau, problem.t.shape[1:])
    wanted = when is True or _memory.spent.get(kind, 0.0) > _PAYS_AFTER
    if wanted and _memory.failed.get(code, 0) < _TRIES:
        told = None if plan.progress is None else _Told(plan.progress)
        try:
            return solve_compiled(problem, plan if told is None else replace(plan, progress=told), aca)
        except Exception as error:  # whatever the compiler may raise: the solve itself goes on
            if told is not None and error is told.error:
                raise
            _note(code, error, loud=when is True)
    before = time.perf_counter()
    outcome = uncompiled(problem, plan)
    if when == "auto" and not wanted:
        _memory.spent[kind] = _memory.spent.get(kind, 0.0) + time.perf_counter() - before
    return outcome


@dataclass
class _Told:
    """The user's progress function; what it raises ends the solve, unlike what the compiler raises."""

    progress: Progress
    error: Exception | None = None

    def __call__(self, fraction: float) -> None:
        try:
            self.progress(fraction)
        except Exception as error:
            self.error = error
            raise


def _note(code: Hashable, error: Exception, *, loud: bool) -> None:
    why = reason(error)
    if not isinstance(error, Unsupported):
        _memory.failed[code] = _memory.failed.get(code, 0) + 1
    if (code, why) in _memory.warned:
        return
    _memory.warned.add((code, why))
    text = f"solving without compilation: {why}"
    if loud:
        warnings.warn(text, RuntimeWarning, stacklevel=5)
    else:
        _log.info(text)
