"""The floor: the right-hand side's own evaluations, with no solver around them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.memory import peak_bytes
from benchmarks.peers import Peer
from benchmarks.task import Answer, Task, Work

__all__ = ["Floor", "floor_peer"]


class Floor(NamedTuple):
    """Evaluations forward without a graph, and those done again with one and pulled back."""

    forward: int
    again: int


def floor_peer(floor: Floor) -> Peer:
    """Return a contestant that only evaluates; its answer is never compared."""
    return Peer("floor", "torch", lambda task, _: _FloorRunner(floor, task), compared=False)


class _FloorRunner:
    def __init__(self, floor: Floor, task: Task) -> None:
        self.floor, self.task = floor, task

    def run(self) -> Answer:
        task = self.task
        t, y0 = task.t[0], task.y0.detach()
        with torch.no_grad():
            for _ in range(self.floor.forward):
                task.f(t, y0)
        cotangent = torch.ones_like(y0)
        found: tuple[Tensor, ...] = ()
        for _ in range(self.floor.again):
            y = y0.detach().requires_grad_()
            found = torch.autograd.grad(task.f(t, y), (*task.params, y), cotangent)
        return Answer(y0[None], found)

    def answer(self, result: Answer) -> Answer:
        return result

    def work(self) -> Work:
        return Work(self.floor.forward, self.floor.again)

    def peak(self) -> int:
        return peak_bytes(self.run)
