"""The record of one evaluation of a right-hand side."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused.recorder import Recorder
from physode.fused.tape import Tape
from physode.fused.unsupported import Unsupported
from physode.problem.dynamics import Dynamics

__all__ = ["Recorded", "record"]


class Recorded(NamedTuple):
    """An evaluation, and its record.

    Attributes
    ----------
    tape
        The record.
    inputs
        Tensors that depend on neither time nor state, with their graphs, as the record's bases number them.
    numbers
        Python's numbers, as the record's :class:`~physode.fused.tape.Lifted` number them.
    value
        The derivative.
    """

    tape: Tape
    inputs: tuple[Tensor, ...]
    numbers: tuple[float, ...]
    value: Tensor


def record(dynamics: Dynamics, t: Tensor, y: Tensor) -> Recorded:
    """Evaluate a right-hand side once, and note what it does.

    Parameters
    ----------
    dynamics
        The right-hand side.
    t
        Time, float64: () or (batch,).
    y
        The packed state.

    Raises
    ------
    Unsupported
        Where the evaluation is no fixed sequence of operations on floating tensors.
    TypeError, ValueError
        As :meth:`~physode.problem.dynamics.Dynamics.first`, where it returns no derivative of the state.
    """
    if y.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"the state is {y.dtype}")
    time = dynamics.time(t.detach())
    # A copy: what else lies in the memory of the given one is no part of the state.
    y = y.detach().clone(memory_format=torch.contiguous_format)
    recorder = Recorder(time, y, dynamics.args)
    with recorder:
        value = dynamics.at(time, y)
    result = recorder.reference(value)  # which may be one more input
    tape = Tape(tuple(recorder.bases), tuple(recorder.calls), result)
    return Recorded(tape, tuple(recorder.inputs), tuple(recorder.numbers), value)
