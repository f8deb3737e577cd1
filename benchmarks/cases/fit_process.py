"""A fit as a whole process: ``physode fit --rhs physical`` of what ``physode simulate threebody`` made.

By default, with kernels at hand from the fit before and with an empty cache; and with PHYSODE_COMPILE=never. The error
is the largest relative one of the masses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.agreement import Errors
from benchmarks.race import Heat, Placing, Settings
from benchmarks.report import Report, heat_section
from benchmarks.task import Work

__all__ = ["COLD", "NEVER", "WARM", "heat", "run"]

WARM, COLD, NEVER = "physode fit", "physode fit, empty cache", "physode fit, PHYSODE_COMPILE=never"
_TITLE = "physode fit --rhs physical, as a whole process"


def run(settings: Settings) -> Report:
    """Time the processes."""
    return Report(f"{(__doc__ or '').strip()}\n\n{heat_section(heat(settings))}")


@dataclass
class _Fits:
    """Fits of one kind: their environment, and what was seen of them."""

    environment: dict[str, str]
    times: list[float] = field(default_factory=list)
    error: float = 0.0


def heat(settings: Settings) -> Heat:
    """Run fits of all kinds in turn, once a round after a first one that is not counted; quickly, that one alone."""
    settings.say(f"{_TITLE} ...")
    rounds = 0 if settings.quick else min(settings.rounds, 3)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        kinds = {WARM: _Fits(_caches(home / "warm")), COLD: _Fits({}), NEVER: _Fits({"PHYSODE_COMPILE": "never"})}
        _physode(home, ["simulate", "threebody"], {})
        firsts: dict[str, float] = {}
        for number in range(rounds + 1):
            kinds[COLD].environment = _caches(home / f"cold{number}")
            for name, kind in kinds.items():
                seconds, error = _fit(home, kind.environment)
                kind.error = max(kind.error, error)
                firsts.setdefault(name, seconds)
                if number or not rounds:
                    kind.times.append(seconds)
                settings.say(f"  {name}: {seconds:.2f} s")
    placings = (
        Placing(name, tuple(kind.times), firsts[name], Errors(kind.error, 0.0), Work()) for name, kind in kinds.items()
    )
    return Heat(_TITLE, tuple(placings))


def _caches(folder: Path) -> dict[str, str]:
    return {"PHYSODE_CACHE": str(folder / "physode"), "XDG_CACHE_HOME": str(folder / "cache")}


def _fit(home: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return the seconds of a fit and the largest relative error of its constants."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        start = time.perf_counter()
        _physode(Path(folder), ["fit", str(home / "threebody.h5"), "--rhs", "physical"], environment)
        seconds = time.perf_counter() - start
        (report,) = Path(folder).glob("runs/*/report.json")
        found = json.loads(report.read_text(encoding="utf-8"))
    return seconds, max(abs(constant["relative_error"]) for constant in found["constants"])


def _physode(folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "physode", *arguments], cwd=folder, check=True, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
