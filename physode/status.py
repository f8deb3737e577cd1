"""How a solve can end, per sample where steps are per sample."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """The reason a solve, or one sample of it, ended."""

    SUCCESS = 0
    MAX_STEPS = 1
    STEP_UNDERFLOW = 2
    NON_FINITE = 3
    OUT_OF_TIME = 8
    STOPPED = 9

    @property
    def reason(self) -> str:
        """What happened, and what to try, in one sentence."""
        return _REASONS[self]


_REASONS = {
    Status.SUCCESS: "reached the end time",
    Status.MAX_STEPS: (
        "`max_steps` attempts were used up; raise `max_steps`, loosen `rtol`/`atol`, or check for stiffness"
    ),
    Status.STEP_UNDERFLOW: (
        "the step size fell below its smallest value (`min_step` or the clock's resolution); "
        "the solution has a pole or a jump there, or the tolerances are tighter than the dtype allows"
    ),
    Status.NON_FINITE: "the right-hand side or the state became NaN or infinite",
    Status.OUT_OF_TIME: "`max_seconds` of wall-clock time had passed; raise it, or loosen `rtol`/`atol`",
    Status.STOPPED: "`monitor` returned True",
}
