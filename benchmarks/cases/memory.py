"""Peak memory of one gradient against the number of accepted steps, the end state alone as output.

A network 64 wide, D = 64, B = 256, longer and longer spans. Naive back-propagation keeps every step's graph, ACA by
default those of accepted steps within a budget; checkpoints keep a state a step and one step's graph, the adjoint
method keeps no step. Bytes are those that torch's allocator gave.

Then fixed steps (rk4) in growing number: every step's state kept, or 16 of them at most, the segments between them
walked again. `time` is that of a gradient, the median of some rounds.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial

import torch

from benchmarks.cases import mlp
from benchmarks.costs import slope
from benchmarks.figures import Curves, curves
from benchmarks.peers import Peer, Runner, checkpoints, physode, segments, torch_diff_eq_pack_aca, torchdiffeq
from benchmarks.race import Settings, first_line, interleave
from benchmarks.report import Report, markdown_table
from benchmarks.task import Task
from physode.gradcheck.diagnosis import peak_bytes

__all__ = ["run", "task_of_span"]


def run(settings: Settings) -> Report:
    """Measure every contestant at every span."""
    spans = (1.0, 2.0, 4.0) if settings.quick else (1.0, 2.0, 4.0, 8.0, 16.0)
    steps = {span: steps_of(task_of_span(span)) for span in spans}
    settings.say("memory: " + ", ".join(f"{count} steps" for count in steps.values()))
    points: dict[str, list[tuple[float, float]]] = {}
    notes: list[str] = []
    for peer in contestants():
        if peer.missing:
            notes.append(f"- {peer.name}: left out, {peer.missing}")
            continue
        try:
            points[peer.name] = [(steps[span], _peak(peer, task_of_span(span))) for span in spans]
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            notes.append(f"- {peer.name}: not measured, {first_line(error)}")
            continue
        settings.say(f"  {peer.name}: " + ", ".join(f"{size:.1f} MB" for _, size in points[peer.name]))
    header = ["peak MB", *(f"{count} steps" for count in steps.values()), "slope", "kB a step"]
    rows = [[name, *(f"{size:.1f}" for _, size in found), *_growth(found)] for name, found in points.items()]
    state = task_of_span(1.0).y0
    text = (
        f"{(__doc__ or '').strip()}\n\n{markdown_table(header, rows)}\n\n"
        f"`slope`: of log memory over log steps; one state has {state.numel() * state.element_size() / 1e3:.0f} kB."
    )
    panel = Curves("Peak memory of a gradient", "accepted steps", "peak memory (MB)", points)
    long, grown = _long(settings)
    return Report("\n".join([text, "", *notes, "", long]).rstrip(), lambda: curves([panel, grown]))


def _long(settings: Settings) -> tuple[str, Curves]:
    """Measure ACA with all and with 16 checkpoints over a hundredfold of steps."""
    counts = (100, 1000) if settings.quick else (100, 1000, 10_000)
    rows, points = [], {"all checkpoints": [], "16 checkpoints": []}  # type: ignore[var-annotated]
    for count in counts:
        task = replace(task_of_span(1.0), method="rk4")
        runners = [peer(step_size=1.0 / count).prepare(task, True) for peer in (checkpoints, partial(segments, 16))]
        times: list[list[float]] = [[], []]
        interleave([(runner.run, taken) for runner, taken in zip(runners, times, strict=True)], settings)
        peaks = [_peak_of(runner) for runner in runners]
        seconds = [statistics.median(taken) for taken in times]
        for name, peak in zip(points, peaks, strict=True):
            points[name].append((float(count), peak))
        cells = [f"{value:.1f}" for value in peaks] + [f"{value:.2f}" for value in seconds]
        rows.append([str(count), *cells, f"{seconds[1] / seconds[0]:.2f}"])
        settings.say(f"  {' '.join(rows[-1])}")
    header = ["steps", "MB, all", "MB, 16", "time, all (s)", "time, 16 (s)", "ratio of times"]
    return markdown_table(header, rows), Curves("ACA, all checkpoints and 16", "steps", "peak memory (MB)", points)


def contestants() -> list[Peer]:
    """Return who is measured."""
    ours = [physode(), checkpoints(), physode(compiled=True), physode("adjoint"), physode("naive")]
    return [*ours, torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]


def task_of_span(span: float) -> Task:
    """Return the task up to a time."""
    return replace(mlp.problem(64, 256, torch.float32, 1e-5, points=2, end=span), end_only=True)


def steps_of(task: Task) -> int:
    """Return how many steps the task takes."""
    accepted = physode().prepare(task, False).work().accepted
    return int(accepted or 0)


def _peak(peer: Peer, task: Task) -> float:
    runner = peer.prepare(task, True)
    runner.run()
    return runner.peak() / 1e6


def _peak_of(runner: Runner) -> float:
    """Return the most megabytes held, by tally: the profiler's record of ten thousand steps would not fit."""
    return peak_bytes(runner.run, torch.device("cpu")) / 1e6


def _growth(points: list[tuple[float, float]]) -> tuple[str, str]:
    """Return the slope of the logarithms, and the bytes that one more step costs."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    return f"{slope(*zip(*points, strict=True)):.2f}", f"{(y1 - y0) / (x1 - x0) * 1e3:.0f}"
