"""Solves with events under ``torch.func.vmap``: the mapped axis becomes a batch with a clock for each sample.

Mapped solves meet their events at times of their own, which one clock cannot serve. So the mapped axis is taken out,
the right-hand side, conditions and jumps are mapped over samples instead, and what is found gets the axis back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from physode.autograd import is_mapped
from physode.events.event import Event, Events, EventTimes
from physode.solution import KnownTimes, Solution

__all__ = ["Mapped"]

_functorch = torch._C._functorch
_INNERMOST = (
    "torch.func.vmap maps solves with events once, as the innermost transform, and over `y0`, one tensor: write "
    "grad(vmap(...)) in place of vmap(grad(...)), or use step_control='per-sample'"
)


class Mapped:
    """A mapped axis that is taken out of a solve's arguments, and put into its solution.

    Parameters
    ----------
    y0, args
        As given; the initial state is one tensor that ``vmap`` maps over, last of all transforms.

    Raises
    ------
    ValueError
        If that is not so.
    """

    def __init__(self, y0: Any, args: Sequence[Any]) -> None:
        if not (isinstance(y0, Tensor) and _functorch.is_batchedtensor(y0)):
            raise ValueError(_INNERMOST)
        self._level = _functorch.maybe_get_level(y0)
        self._size = _functorch.get_unwrapped(y0).shape[_functorch.maybe_get_bdim(y0)]
        self.y0 = self._out(y0)
        self._dims = [0 if self._has_axis(arg) else None for arg in args]
        self.args = [self._out(arg) if dim == 0 else arg for arg, dim in zip(args, self._dims, strict=True)]
        if any(isinstance(x, Tensor) and is_mapped(x) for x in (self.y0, *self.args)):
            raise ValueError(_INNERMOST)

    def _has_axis(self, x: Any) -> bool:
        return isinstance(x, Tensor) and _functorch.is_batchedtensor(x) and _functorch.maybe_get_level(x) == self._level

    def _out(self, x: Tensor) -> Tensor:
        taken: Tensor = _functorch._remove_batch_dim(x, self._level, self._size, 0)
        return taken

    def _in(self, x: Tensor, axis: int) -> Tensor:
        put: Tensor = _functorch._add_batch_dim(x, axis, self._level)
        return put

    def over_samples(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function(t, y, *args)`` mapped over samples."""
        mapped = torch.func.vmap(function, in_dims=(0, 0, *self._dims), randomness="same")

        def by_sample(t: Tensor, y: Tensor, *args: Any) -> Any:
            value = mapped(t.reshape(self._size), y, *args)
            if isinstance(value, Tensor) and is_mapped(value):
                raise ValueError(
                    "a function of a mapped solve with events uses a mapped tensor that is not among its `args`; "
                    "hand it to `args`"
                )
            return value

        return by_sample

    def events(self, events: Sequence[Event]) -> list[Event]:
        """Return the events of the batch."""
        return [
            replace(
                event,
                condition=self.over_samples(event.condition),
                jump=None if event.jump is None else self.over_samples(event.jump),
            )
            for event in events
        ]

    def options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return a solve's options with its Jacobian and its norm, where these are given, mapped over samples."""
        jac, norm = options["jac"], options["norm"]
        mapped = {**options}
        if callable(jac):
            mapped["jac"] = self.over_samples(jac)
        if callable(norm):
            mapped["norm"] = torch.func.vmap(norm)
        return mapped

    def put_back(self, solution: Solution) -> Solution:
        """Return a solution of the batch as one that is mapped.

        Raises
        ------
        ValueError
            If samples have different numbers of events: a mapped result has one shape.
        """
        return replace(
            solution,
            t=solution.t,
            y=self._in(solution.y, 1),
            status=self._in(solution.status, 0),
            ended=self._in(solution.ended, 0),
            stats=replace(
                solution.stats,
                accepted=self._in(solution.stats.accepted, 0),
                rejected=self._in(solution.stats.rejected, 0),
            ),
            _step_times=KnownTimes(self._in(solution.step_times, 1)),
            events=Events([self._event(one) for one in solution.events]),
            recorded={},
            _dense=None,
        )

    def _event(self, one: EventTimes) -> EventTimes:
        if not bool((one.count == one.count[0]).all()):
            raise ValueError(
                f"torch.func.vmap needs the same number of events in every solve, got {one.count.tolist()}; use "
                "step_control='per-sample', whose events come in a list"
            )
        rows = (self._size, int(one.count[0]))
        t, y = (self._in(part.reshape(*rows, *part.shape[1:]), 0) for part in (one.t, one.y))
        return replace(one, t=t, y=y, sample=torch.zeros(rows[1], dtype=torch.long), count=self._in(one.count, 0))
