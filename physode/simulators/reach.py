"""Whether a simulation can reach its end: asked of its first steps, where that is in doubt, before all the others."""

from __future__ import annotations

from typing import Any

import torch

from physode.errors import SolveError
from physode.rhs import System
from physode.simulators.arguments import Floats
from physode.solve import solve
from physode.status import Status

__all__ = ["check_reach"]

_PILOT = 500  # attempts; no pilot where `max_steps` is not many times as much
_MANY = 10
_FAR = 0.01  # of the span: where all steps together go less far, it is out of reach


def check_reach(system: System, states: Floats, clock: Floats, *, options: dict[str, Any]) -> None:
    """Raise where `max_steps` would be used up on the first hundredth of the span.

    The systems that are simulated come back to where they were, or nearly: their first steps are like the later ones.
    In doubt are those that would change by as much as they are, at the rate of their beginning, more often than there
    are steps. These are solved for some attempts, which is a small part of what they would take.

    Parameters
    ----------
    system, states, clock
        Of a few trajectories: initial states (n, D), and times, (T,) or (n, T).
    options
        Of the solver.

    Raises
    ------
    SolveError
        If none of them would reach the end.
    """
    steps = int(options["max_steps"])
    if steps < _MANY * _PILOT:
        return
    y0, times = torch.from_numpy(states), torch.from_numpy(clock)
    begin, end = times[..., 0].expand(len(y0)), times[..., -1].expand(len(y0))
    with torch.no_grad():
        rate = system(begin, y0).norm(dim=-1) / y0.norm(dim=-1)
        if not bool(((end - begin).abs() * rate > steps).all()):
            return
        ends = times[..., [0, -1]]
        found = solve(
            system,
            y0,
            ends if ends.ndim == 1 else ends.T.contiguous(),
            **{**options, "max_steps": _PILOT},
            step_control="per-sample",
            throw=False,
        )
    covered = ((found.ended - begin) / (end - begin)).reshape(-1)
    reached = covered * steps / _PILOT
    if bool((found.status == Status.MAX_STEPS).all()) and float(reached.max()) < _FAR:
        best = int(covered.argmax())
        raise SolveError(
            f"the end time is out of reach: {_PILOT} attempts go to t = {float(found.ended.reshape(-1)[best]):.3g} of "
            f"{float(end[best]):.6g}, and so `max_steps` {steps} to {float(reached[best]):.2g} of the span; shorten it "
            "(`t_end`), choose smaller constants, or raise `max_steps`"
        )
