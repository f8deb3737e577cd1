"""``python -m benchmarks.first_solve PROBLEM``: seconds of the first solves with gradients in a process, as JSON.

The compile time's probe, run in processes of its own. What torch loads for its own first gradient is loaded before, by
a solve that is not compiled.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from benchmarks.peers import Peer, physode
from benchmarks.task import Task

__all__ = ["PROBLEMS", "FirstSolves", "measure"]


class FirstSolves(NamedTuple):
    """Seconds of the first and of the second solve, with their gradients."""

    first: float
    second: float

    @property
    def compiling(self) -> float:
        """What the first took longer."""
        return self.first - self.second


def _three_bodies() -> Task:
    from benchmarks.cases import three_body

    return three_body.problem(1, torch.float32)


def _lorenz() -> Task:
    from benchmarks.cases import lorenz

    return lorenz.problem(1000)


def _robertson() -> Task:
    from benchmarks.cases import stiff_spread

    return stiff_spread.problem(stiff_spread.ROBERTSON, 100)


def _mlp() -> Task:
    from benchmarks.cases import mlp

    return mlp.problem(64, 256, torch.float32, 1e-5)


PROBLEMS: dict[str, Callable[[], Task]] = {
    "three bodies": _three_bodies,
    "Lorenz": _lorenz,
    "Robertson": _robertson,
    "MLP": _mlp,
}
"""What may be solved."""


def measure(task: Task) -> FirstSolves:
    """Solve with gradients, twice, after one that is not compiled."""
    own: dict[str, Any] = {"step_control": "per-sample"} if task.y0.ndim > 1 else {}
    physode(**own).prepare(task, True).run()
    compiled: Peer = physode(compiled=True, **own)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        compiled.prepare(task, True).run()
        seconds.append(time.perf_counter() - start)
    return FirstSolves(*seconds)


def main() -> None:
    """Measure the problem that is named."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measure(PROBLEMS[sys.argv[1]]())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
