"""The kind of machine and the versions that results were measured with; never its name."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe"]

_PACKAGES = ("physode", "torch", "torchdiffeq", "torchode", "TorchDiffEqPack", "diffrax", "jax")


def describe() -> str:
    """Return one sentence: processor, cores, versions, date."""
    packages = []
    for name in _PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return (
        f"One thread of {_processor()} ({os.cpu_count()} cores); {', '.join(packages)}; "
        f"Python {platform.python_version()}; {today}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
