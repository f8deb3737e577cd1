"""Loops of tensor programs: one program on a CPU, replays of a CUDA graph on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from physode.compiled.build import Compiled

__all__ = ["Loop", "Replayed", "as_program", "guarded"]

State = tuple[Tensor, ...]

_LOOK_EVERY = 16  # replays between two looks at whether the loop goes on


class Loop(NamedTuple):
    """``state = start(*inputs)``; while ``goes_on(state, *inputs)``: ``state = once(state, *inputs)``; then ``finish``.

    All are functions of tensors and nested tuples of them. ``once`` may write into the input at the place ``written``,
    at rows that its state tells.
    """

    start: Callable[..., State]
    goes_on: Callable[..., Tensor]
    once: Callable[..., State]
    finish: Callable[..., State]
    written: int | None = None


def as_program(loop: Loop) -> Callable[..., State]:
    """Return the loop as one function to compile."""

    def run(*inputs: Any) -> State:
        def goes_on(*state: Tensor) -> Tensor:
            return loop.goes_on(state, *inputs)

        def once(*state: Tensor) -> State:
            return loop.once(state, *inputs)

        return loop.finish(while_loop(goes_on, once, loop.start(*inputs)), *inputs)  # type: ignore[no-untyped-call]

    return run


def guarded(loop: Loop) -> Callable[..., State]:
    """Return ``once`` made safe to call when the loop is over: it then leaves the state alone."""

    def once(state: State, *inputs: Any) -> State:
        going = loop.goes_on(state, *inputs)
        return tuple(torch.where(going, new, old) for new, old in zip(loop.once(state, *inputs), state, strict=True))

    return once


class Replayed:
    """A loop whose turns are replays of one CUDA graph, launched without the host in between.

    A graph reads and writes at fixed addresses: inputs are copied to buffers of its own before the first turn, and
    what ``once`` writes into them is copied back after the last. Of a loop whose number of turns is not known before,
    several are launched between two looks at ``goes_on``; turns too many change nothing.

    Parameters
    ----------
    loop
        The loop.
    device
        Where its tensors are.
    compiler, graph
        What makes functions fast, and what records a turn: for tests on machines without a GPU.
    """

    def __init__(
        self,
        loop: Loop,
        device: torch.device,
        *,
        compiler: Callable[..., Callable[..., State]] = Compiled,
        graph: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        self._start = compiler(loop.start, device)
        self._once = compiler(guarded(loop), device)
        self._look = compiler(lambda *all: (loop.goes_on(*all),), device)
        self._finish = compiler(loop.finish, device)
        self._written = loop.written
        self._graph = cuda_graph if graph is None else graph
        self._replay: Callable[[], None] | None = None
        self._inputs: tuple[Any, ...] = ()
        self._state: State = ()

    def __call__(self, *inputs: Any, turns: int | None = None) -> State:
        """Run the loop, ``turns`` times where that is known."""
        with torch.no_grad():
            start = self._start(*inputs)
            if self._replay is None:
                self._record(start, inputs)
            copy(self._inputs, inputs)
            copy(self._state, start)
            assert self._replay is not None
            if turns is None:
                while True:
                    for _ in range(_LOOK_EVERY):
                        self._replay()
                    if not bool(self._look(self._state, *self._inputs)[0]):
                        break
            else:
                for _ in range(turns):
                    self._replay()
            if self._written is not None:
                copy(inputs[self._written], self._inputs[self._written])
            return tuple(x.clone() for x in self._finish(self._state, *self._inputs))

    def _record(self, start: State, inputs: tuple[Any, ...]) -> None:
        self._inputs = like(inputs)
        self._state = like(start)
        copy(self._inputs, inputs)
        copy(self._state, start)

        def turn() -> None:
            copy(self._state, self._once(self._state, *self._inputs))

        self._replay = self._graph(turn)


def cuda_graph(turn: Callable[[], None]) -> Callable[[], None]:
    """Record what ``turn`` launches, after running it a few times on a side stream to compile and to settle memory."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            turn()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        turn()
    return graph.replay


def like(tensors: Any) -> Any:
    """Return new memory for nested tuples of tensors."""
    if isinstance(tensors, Tensor):
        return torch.empty_strided(tensors.shape, tensors.stride(), dtype=tensors.dtype, device=tensors.device)
    return tuple(like(part) for part in tensors)


def copy(into: Any, tensors: Any) -> None:
    """Copy nested tuples of tensors."""
    for one, other in zip(flat(into), flat(tensors), strict=True):
        one.copy_(other)


def flat(tensors: Any) -> Iterable[Tensor]:
    """Yield the tensors of nested tuples."""
    if isinstance(tensors, Tensor):
        yield tensors
    else:
        for part in tensors:
            yield from flat(part)
