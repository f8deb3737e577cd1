"""Whether a solve can reach its end: asked of its first steps, where that is in doubt, before all the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.solve import solve
from physode.status import Status

__all__ = ["check_reach"]

_PILOT = 500  # attempts; no pilot where `max_steps` is not many times as much
_MANY = 10
_BEHIND = 1e-3  # of the state's size: where a state at rest begins to move
_FAR = 0.01  # of the span: where all steps together go less far, it is out of reach


def check_reach(f: Callable[..., Any], y0: Tensor, times: Tensor, *, max_steps: int, **options: Any) -> None:
    """Raise where `max_steps` would be used up on the first hundredth of the span.

    It is for systems that come back to where they were, or nearly, whose first steps are like the later ones, and for
    what takes far longer steps soon. In doubt are those that would change by as much as they are, at the rate of their
    beginning or just behind it, more often than there are steps. These are solved for some attempts, which is a small
    part of what they would take.

    Parameters
    ----------
    f, y0, times
        Of a few trajectories: the right-hand side, initial states (n, D), and times, (T,) or (T, n).
    max_steps, options
        Of the solver.

    Raises
    ------
    SolveError
        If none of them would reach the end.
    """
    if max_steps < _MANY * _PILOT:
        return
    begin, end = times[0].expand(len(y0)), times[-1].expand(len(y0))
    with torch.no_grad():
        slope = f(begin, y0)
        behind = y0 + _BEHIND * slope * (_size(y0) / _size(slope)).nan_to_num(0.0, posinf=0.0)
        rate = torch.maximum(_size(slope) / _size(y0), _size(f(begin, behind)) / _size(behind)).squeeze(-1)
        if not bool(((end - begin).abs() * rate > max_steps).all()):
            return
        pilot = {**options, "max_steps": _PILOT, "step_control": "per-sample", "throw": False}
        found = solve(f, y0, times[[0, -1]], **pilot)
    covered = ((found.ended - begin) / (end - begin)).reshape(-1)
    reached = covered * max_steps / _PILOT
    if bool((found.status == Status.MAX_STEPS).all()) and float(reached.max()) < _FAR:
        best = int(covered.argmax())
        raise SolveError(
            f"the end time is out of reach: {_PILOT} attempts go to t = {float(found.ended.reshape(-1)[best]):.3g} of "
            f"{float(end[best]):.6g}, and so `max_steps` {max_steps} to {float(reached[best]):.2g} of the span; "
            "shorten it (`t_end`), choose smaller constants, or raise `max_steps`"
        )


def _size(y: Tensor) -> Tensor:
    size: Tensor = y.norm(dim=-1, keepdim=True)
    return size
