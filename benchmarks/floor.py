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
    """Evaluations, and what becomes of their graphs.

    Attributes
    ----------
    name
        Whose floor it is.
    plain
        Evaluations without a graph.
    pulled
        Evaluations with a graph, which is pulled back.
    kept
        Whether the first pull-back waits for the last evaluation, as where graphs are kept from the forward pass; else
        each graph is gone before the next one is made.
    """

    name: str
    plain: int
    pulled: int
    kept: bool


def floor_peer(floor: Floor) -> Peer:
    """Return a contestant that only evaluates; its answer is never compared."""
    return Peer(floor.name, "torch", lambda task, _: _FloorRunner(floor, task), compared=False)


class _FloorRunner:
    def __init__(self, floor: Floor, task: Task) -> None:
        self.floor, self.task = floor, task

    def run(self) -> Answer:
        task = self.task
        with torch.no_grad():
            for _ in range(self.floor.plain):
                task.f(task.t[0], task.y0)
        found: tuple[Tensor, ...] = ()
        waiting: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.floor.pulled):
            y = task.y0.detach().requires_grad_()
            waiting.append((y, task.f(task.t[0], y)))
            if not self.floor.kept:
                found = self._pull(*waiting.pop())
        while waiting:
            found = self._pull(*waiting.pop())
        return Answer(task.y0.detach()[None], found)

    def _pull(self, y: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, (*self.task.params, y), torch.ones_like(y))

    def answer(self, result: Answer) -> Answer:
        return result

    def work(self) -> Work:
        plain, pulled = self.floor.plain, self.floor.pulled
        return Work(plain + pulled, 0) if self.floor.kept else Work(plain, pulled)

    def peak(self) -> int:
        return peak_bytes(self.run)
