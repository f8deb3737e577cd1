"""Searches from many starts in batches, spread over processes of this machine, or over a Dask cluster.

A batch has eight starts and is a search of its own: its starts give one another up, and have second chances, among
themselves. So what is found follows from the seed and the number of starts, and not from how many workers there are.
"""

from __future__ import annotations

import base64
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from physode.errors import ConfigError, SolveError
from physode.estimation.scoring import UNSOLVED, Minima
from physode.estimation.search import Problem, first_points, search_from
from physode.estimation.stages import as_dict, from_dict
from physode.optional_imports import needs
from physode.sweeps.cells import Cell
from physode.sweeps.schedulers import run_cells

BATCH = 8
"""Starts of a batch."""


def search_spread(
    problem: Problem,
    *,
    starts: int,
    seed: int = 0,
    growing: bool = True,
    iterations: int = 200,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Minima:
    """Search from many starts in batches of eight.

    Parameters
    ----------
    problem
        What to search. It is sent to the workers, whose Python, physode and modules are to be those of this process.
    starts, seed, growing, iterations
        As of :func:`~physode.estimation.search.search`.
    jobs
        How many batches are searched at a time, each in a process of its own; 1: in this one.
    scheduler
        Address of a Dask scheduler that the batches are sent to instead.
    folder
        Where batches that are done are kept, and found, if anywhere.
    progress
        Told how many batches are done, and of how many.

    Raises
    ------
    ConfigError
        If `jobs` is below 1, `scheduler` is given beside several or does not answer, or the extra ``cluster`` is not
        installed.
    SolveError
        If the experiments cannot be solved at any start, or a batch is lost with its worker.
    """
    if jobs < 1:
        raise ConfigError(f"`jobs` must be at least 1, got {jobs}")
    cloudpickle = needs("cloudpickle", extra="cluster", purpose="`jobs` or `scheduler` of a fit")
    sent = base64.b64encode(cloudpickle.dumps(Problem(problem.estimation, problem.options))).decode()
    points = first_points(problem, starts, seed)
    cells = [
        Cell(
            name=f"starts {begin + 1} to {min(begin + BATCH, starts)}",
            function="physode.estimation.spread:search_batch",
            arguments={
                "z": points[begin : begin + BATCH].tolist(),
                "seed": [seed, begin // BATCH],
                "growing": growing,
                "iterations": iterations,
                "digest": _digest(problem),
            },
            also={"problem": sent},
        )
        for begin in range(0, starts, BATCH)
    ]
    outcomes = run_cells(
        cells,
        folder=folder,
        jobs=jobs,
        scheduler=scheduler,
        progress=None if progress is None else lambda done, count, _: progress(done, count),
    )
    for name, outcome in outcomes.items():
        if outcome.failure is not None:
            raise SolveError(f"the search from {name} of {starts} failed: {outcome.failure}")
    ends = [from_dict(outcome.result) for outcome in outcomes.values()]
    found = Minima(
        torch.cat([part.z for part in ends]),
        torch.cat([part.loss for part in ends]),
        tuple(count for part in ends for count in part.iterations),
        tuple(reason for part in ends for reason in part.reasons),
    )
    if not bool(torch.isfinite(found.loss).any()):
        raise SolveError("the solve fails, or predictions are not finite, at all starts; start closer")
    return found


def search_batch(
    z: list[list[float]], seed: list[int], growing: bool, iterations: int, digest: str, problem: str
) -> dict[str, Any]:
    """Search from the starts of a batch, and return the ends as data; called where they are computed."""
    # Not from a file: from the process that asks, which sends its workers code to run in any case.
    posed: Problem = pickle.loads(base64.b64decode(problem))
    points = torch.tensor(z, dtype=torch.float64)
    try:
        return as_dict(search_from(posed, points, seed=seed, growing=growing, iterations=iterations))
    except SolveError:
        lost = torch.full((len(points),), torch.inf, dtype=torch.float64)
        return as_dict(Minima(points, lost, (1,) * len(points), (UNSOLVED,) * len(points)))


def _digest(problem: Problem) -> str:
    """Return what tells the data and the options of a problem from others."""
    data = problem.estimation.measurements
    digest = hashlib.sha256(repr((problem.options, problem.estimation.unknowns)).encode())
    for column in (data.experiment, data.observable, data.times, data.values):
        digest.update(column.tobytes())
    return digest.hexdigest()
