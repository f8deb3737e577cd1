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
    EVENT = 10
    ACCUMULATION = 11
    SLIDING = 12

    @property
    def reason(self) -> str:
        """What happened, and what to try, in one sentence."""
        return _REASONS[self]


_REASONS = {
    Status.SUCCESS: "reached the end time",
    Status.MAX_STEPS: (
        "`max_steps` attempts were used up; raise `max_steps`, loosen `rtol`/`atol`, "
        "or take an implicit method, such as 'rodas5p', if the problem is stiff"
    ),
    Status.STEP_UNDERFLOW: (
        "the step size fell below its smallest value (`min_step` or the clock's resolution); "
        "the solution has a pole or a jump there, or the tolerances are tighter than the dtype allows"
    ),
    Status.NON_FINITE: (
        "the right-hand side, its Jacobian or the state became NaN or infinite, "
        "or the equations of an implicit step of fixed size were not solved; smaller steps may help"
    ),
    Status.OUT_OF_TIME: (
        "`max_seconds` of wall-clock time had passed; raise it, loosen `rtol`/`atol`, "
        "or take an implicit method, such as 'rodas5p', if the problem is stiff"
    ),
    Status.STOPPED: "`monitor` returned True",
    Status.EVENT: "ended at an event, as asked for",
    Status.ACCUMULATION: (
        "events with a jump accumulate: the time between two of them fell below the clock's resolution; "
        "end them by `max_count`, or by a terminal event of the speed"
    ),
    Status.SLIDING: (
        "the right-hand side is discontinuous at an event and leads back to it from both sides: the state would slide "
        "or stick there; make the event terminal and solve the sliding motion by its own law, or make the "
        "right-hand side steep instead (tanh for sign)"
    ),
}
