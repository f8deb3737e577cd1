"""What compiling costs: the first solve with gradients in a process beside the second, and in the process after it.

The first process finds an empty cache, the second what the first left. Compiling is the first solve's time without the
second's, which finds everything in memory; torch itself is warm. `process` is the whole process's time, imports and an
uncompiled solve included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.first_solve import PROBLEMS, FirstSolves
from benchmarks.race import Settings
from benchmarks.report import Report, markdown_table

__all__ = ["Compiling", "measure", "run", "table"]

_LONGEST = 600.0  # seconds that a process may take


@dataclass(frozen=True)
class Compiling:
    """First solves in a process with an empty cache and in the next one, and the seconds of both processes."""

    problem: str
    cold: FirstSolves
    warm: FirstSolves
    processes: tuple[float, float]


def run(settings: Settings) -> Report:
    """Measure all problems."""
    names = list(PROBLEMS)[:1] if settings.quick else list(PROBLEMS)
    found = [measure(settings, name) for name in names if settings.only in name]
    return Report(f"{(__doc__ or '').strip()}\n\n{table(found)}")


def measure(settings: Settings, problem: str) -> Compiling:
    """Run two processes on one cache."""
    settings.say(f"compile time, {problem} ...")
    with tempfile.TemporaryDirectory() as folder:
        cold, first = _process(problem, Path(folder))
        warm, second = _process(problem, Path(folder))
    settings.say(f"  {cold.compiling:.2f} s, then {warm.compiling:.2f} s")
    return Compiling(problem, cold, warm, (first, second))


def _process(problem: str, folder: Path) -> tuple[FirstSolves, float]:
    caches = {
        "PHYSODE_CACHE": str(folder / "physode"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    command = [sys.executable, "-m", "benchmarks.first_solve", problem]
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={**os.environ, **caches}, capture_output=True, text=True,
        check=True, timeout=_LONGEST,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return FirstSolves(*json.loads(done.stdout.splitlines()[-1])), seconds


def table(found: list[Compiling]) -> str:
    """Return a Markdown table with two rows a problem."""
    rows = []
    for one in found:
        for when, solves, process in zip(
            ("empty cache", "the next process"), (one.cold, one.warm), one.processes, strict=True
        ):
            seconds = (solves.first, solves.second, solves.compiling, process)
            rows.append([f"{one.problem}, {when}", *(f"{value:.3f}" for value in seconds)])
    return markdown_table(["s", "first solve", "second", "compiling", "process"], rows)
