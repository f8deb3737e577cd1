"""Whether a program is the right-hand side: the two held against each other away from where the record was made."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.fused.evaluation import evaluate
from physode.fused.inputs import pack_sample, pack_shared
from physode.fused.lowering import Lowered
from physode.fused.recording import Recorded
from physode.fused.unsupported import Unsupported
from physode.problem.dynamics import Dynamics

__all__ = ["check"]

_FEW = 8  # samples that are looked at
_SHARE = 0.05  # of a component's size, and of the span, that the other point is away


def check(lowered: Lowered, recorded: Recorded, dynamics: Dynamics, t: Tensor, y: Tensor, *, batch: bool) -> None:
    """Evaluate a right-hand side and its program at another time and state, and compare them.

    What a record cannot show is seen so: values that leave PyTorch and come back, state that is kept between calls.

    Parameters
    ----------
    lowered, recorded
        The program, and the evaluation that it is made from.
    dynamics, t, y
        What was recorded, and where.
    batch
        Whether the state's leading axis holds samples.

    Raises
    ------
    Unsupported
        If they differ by more than rounding.
    """
    with torch.no_grad():
        steps = torch.sin(1.0 + torch.arange(y.numel(), dtype=y.dtype, device=y.device)).reshape(y.shape)
        state = y.detach() + _SHARE * (1.0 + y.detach().abs()) * steps
        time = dynamics.time(t.detach() + _SHARE * (dynamics.high + dynamics.low - 2.0 * t.detach()))
        wanted = dynamics.at(time, state.clone())
        rows = len(y) if batch else 1
        few = min(rows, _FEW)
        leaves = {
            "state": state.reshape(rows, -1)[:few],
            "time": time.reshape(-1, 1)[:few],
            "shared": pack_shared(lowered, recorded.inputs, recorded.numbers, y),
        }
        if lowered.sample:
            leaves["sample"] = pack_sample(lowered, recorded.inputs, y.dtype)[:few]
        value = evaluate(lowered.program.nodes, leaves, lowered.program.outputs)  # type: ignore[arg-type]
        wanted = wanted.reshape(rows, -1)[:few]
        size = wanted[wanted.isfinite()].abs()
        tolerance = torch.finfo(y.dtype).eps ** 0.5
        bound = tolerance * float(size.max()) if size.numel() else 0.0
        same = torch.isclose(value.expand_as(wanted), wanted, rtol=tolerance, atol=bound, equal_nan=True)
    if not bool(same.all()):
        raise Unsupported("the right-hand side is not a function of time and state alone")
