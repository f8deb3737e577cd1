"""Timing contestants fairly: one process, one thread, answers compared, interleaved rounds, medians.

Each contestant runs once first; that run is timed apart, for it has what compiling costs. Then its answers are
compared, at the task's tolerance and at a tight one: who disagrees, fails or is missing is not timed, and a line says
why. Then all run in turn, round after round, so that all meet the same machine. A run that follows another contestant's
finds memory and caches as that one left them, and a long one of diffrax can leave it waiting for pages for longer than
it computes; so each runs twice, and the second run counts, or where runs are short the mean of as many as take a
twentieth of a second. Runs longer than two seconds count at once. Contestants whose rounds would take longer than the
time given to each get fewer.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.agreement import Bounds, Errors, disagreement, errors_of
from benchmarks.peers import Peer, Runner
from benchmarks.task import Answer, Task, Work

__all__ = ["Check", "Heat", "Placing", "Settings", "interleave", "race", "rounds_within"]


_LOOSE = Bounds(1e-1, 1e-1)
_SHORT = 0.05  # seconds that runs of a round take together, at least
_LONG = 2.0  # seconds of a run beyond which it counts at once


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes
    ----------
    rounds
        Timed rounds.
    quick
        Small sizes only, and answers compared at the task's tolerance alone.
    seconds
        The time that one contestant may spend on its rounds; it has one round at least.
    longest
        The forecast of one run beyond which a contestant is left out.
    only
        Races whose title does not have this text are left out.
    say
        Told what happens.
    """

    rounds: int = 5
    quick: bool = False
    seconds: float = 20.0
    longest: float = 60.0
    only: str = ""
    say: Callable[[str], object] = print


@dataclass(frozen=True)
class Placing:
    """A contestant's times over its rounds and its first run, in seconds; its work; the errors of its answer."""

    name: str
    times: tuple[float, ...]
    first: float
    errors: Errors
    work: Work
    peak: int | None = None
    compared: bool = True

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.times)


@dataclass(frozen=True)
class Heat:
    """The outcome of one race: who ran, and why others did not."""

    title: str
    placings: tuple[Placing, ...]
    notes: tuple[str, ...] = ()

    def find(self, name: str) -> Placing | None:
        """Return a contestant's placing if it has one."""
        return next((placing for placing in self.placings if placing.name == name), None)


@dataclass(frozen=True)
class Check:
    """A tight task with its right answer, on which each contestant must agree within bounds; asked once each."""

    task: Task
    right: Answer
    bounds: Bounds
    _verdicts: dict[str, str | None] = field(default_factory=dict)

    def verdict(self, peer: Peer) -> str | None:
        """Return what is wrong with a contestant's answer, or None."""
        if peer.name not in self._verdicts:
            runner = peer.prepare(self.task, bool(self.right.gradients))
            self._verdicts[peer.name] = disagreement(errors_of(runner.answer(runner.run()), self.right), self.bounds)
        return self._verdicts[peer.name]


@dataclass
class _Runs:
    name: str
    runner: Runner
    first: float
    errors: Errors
    compared: bool
    times: list[float] = field(default_factory=list)


def race(
    title: str,
    task: Task,
    peers: Sequence[Peer],
    settings: Settings,
    *,
    gradient: bool = True,
    check: Check | None = None,
    right: Answer | None = None,
    bounds: Bounds = _LOOSE,
    peaks: bool = False,
    part: Callable[[Answer], Answer] = lambda answer: answer,
) -> Heat:
    """Race the peers on a task.

    Parameters
    ----------
    title
        What the heat is called.
    task, peers
        What is to be done, and by whom.
    settings
        How often.
    gradient
        Whether gradients are asked for, or the solve alone.
    check
        A tight task on which contestants must agree.
    right
        The right answer to the task itself, by default the first contestant's; and how far answers may be from it.
    peaks
        Whether peak memory is measured too.
    part
        What of an answer is compared with the right one.
    """
    settings.say(f"{title} ...")
    notes: list[str] = []
    runs: list[_Runs] = []
    for peer in peers:
        if peer.missing:
            notes.append(f"{peer.name}: left out, {peer.missing}")
            continue
        try:
            runner = peer.prepare(task.held_to(peer.tolerance), gradient)
            first, result = _timed(runner.run)
            answer = part(runner.answer(result))
            wrong = check.verdict(peer) if check and peer.compared and not settings.quick else None
        except Exception as error:  # noqa: BLE001 - whatever a contestant dies of, the others run
            notes.append(f"{peer.name}: not timed, {first_line(error)}")
            continue
        right = right or answer
        errors = errors_of(answer, right) if peer.compared else Errors(0.0, 0.0)
        del answer, result
        wrong = wrong or disagreement(errors, bounds)
        if wrong:
            notes.append(f"{peer.name}: not timed, {wrong}")
            continue
        settings.say(f"  {peer.name}: first run {first:.2f} s")
        runs.append(_Runs(peer.name, runner, first, errors, peer.compared))
    interleave([(run.runner.run, run.times) for run in runs], settings)
    placings = []
    for run in runs:
        work = run.runner.work()
        peak = run.runner.peak() if peaks else None
        placings.append(Placing(run.name, tuple(run.times), run.first, run.errors, work, peak, run.compared))
    for note in notes:
        settings.say(f"  {note}")
    return Heat(title, tuple(placings), tuple(notes))


def interleave(entries: Sequence[tuple[Callable[[], Any], list[float]]], settings: Settings) -> None:
    """Run every entry once a round, in turn, and note its times; slow ones drop out after their share of time."""
    gc.collect()
    gc.freeze()  # what compilers have left is not looked through again and again
    try:
        for number in range(settings.rounds):
            for run, times in entries:
                if number == 0 or number < rounds_within(settings.seconds, times[0], settings.rounds):
                    times.append(_averaged(run))
    finally:
        gc.unfreeze()


def rounds_within(seconds: float, one: float, rounds: int) -> int:
    """Return how many of the rounds fit the time if one takes this long: one at least."""
    return max(1, min(rounds, int(seconds / one))) if one > 0 else rounds


def first_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _averaged(run: Callable[[], Any]) -> float:
    """Return the seconds of a run: of the first where it is long, else of one or some more after it."""
    one = _timed(run)[0]
    if one > _LONG:
        return one
    count = max(1, int(_SHORT / one)) if one > 0 else 1
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result
