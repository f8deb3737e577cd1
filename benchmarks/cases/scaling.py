"""Time of one gradient against steps N, batch B and state size D, with a network 64 wide (eagerly; diffrax compiled).

Over B and D the number of steps changes too, so that the time of one accepted step is shown. Slopes are those of the
logarithms over the larger half of the sizes: 0 where calls cost and sizes do not, 1 in proportion.
"""

from __future__ import annotations

import torch

from benchmarks.cases import mlp
from benchmarks.costs import slope
from benchmarks.figures import Curves, curves
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode, torchdiffeq, torchode
from benchmarks.race import Settings, race
from benchmarks.report import Report, markdown_table
from benchmarks.task import Task

__all__ = ["run"]

_Points = dict[str, list[tuple[float, float]]]


def run(settings: Settings) -> Report:
    """Measure along the three axes."""
    short = settings.quick
    spans = [1.0, 2.0, 4.0] if short else [1.0, 2.0, 4.0, 8.0, 16.0]
    batches = [1, 16, 256] if short else [1, 4, 16, 64, 256, 1024, 4096]
    sizes = [4, 64] if short else [4, 16, 64, 256, 1024]
    by_steps = measure(settings, "N", [_task(16, 16, span) for span in spans], [])
    by_batch = measure(settings, "B", [_task(16, batch) for batch in batches], [float(b) for b in batches])
    by_size = measure(settings, "D", [_task(size, 16) for size in sizes], [float(d) for d in sizes])
    panels = [
        Curves("Steps N (B = 16, D = 16)", "accepted steps N", "time of a gradient (ms)", by_steps),
        Curves("Batch B (D = 16)", "batch B", "time of an accepted step (ms)", by_batch),
        Curves("State size D (B = 16)", "state size D", "time of an accepted step (ms)", by_size),
    ]
    parts = [(__doc__ or "").strip(), *(f"### {panel.title}\n\n{_table(panel)}" for panel in panels)]
    return Report("\n\n".join(parts), lambda: curves(panels))


def contestants() -> list[Peer]:
    """Return who is measured."""
    return [physode(), torchdiffeq(), torchode(), diffrax(shared=True)]


def measure(settings: Settings, axis: str, tasks: list[Task], sizes: list[float]) -> _Points:
    """Race every task; without sizes, times are over the steps taken, else those of one step over the sizes."""
    points: _Points = {}
    for number, task in enumerate(tasks):
        title = f"{axis}: B = {len(task.y0)}, D = {task.y0.shape[1]}, t to {float(task.t[-1]):g}"
        for placing in race(title, task, contestants(), settings).placings:
            steps, milliseconds = placing.work.accepted or 1.0, placing.median * 1e3
            point = (sizes[number], milliseconds / steps) if sizes else (steps, milliseconds)
            points.setdefault(placing.name, []).append(point)
    return points


def _task(dimension: int, batch: int, span: float = 1.0) -> Task:
    return mlp.problem(dimension, batch, torch.float32, 1e-5, end=span)


def _table(panel: Curves) -> str:
    names = list(panel.points)
    rows = []
    for name in names:
        points = panel.points[name]
        half = points[len(points) // 2 - (len(points) < 4) :]
        seen = ", ".join(f"{x:.3g}: {y:.3g}" for x, y in points)
        rows.append([name, seen, f"{slope(*zip(*half, strict=True)):.2f}" if len(half) > 1 else "-"])
    return markdown_table(["", f"{panel.xlabel}: {panel.ylabel}", "slope"], rows)
