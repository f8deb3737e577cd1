"""Memory: what a run holds at its peak, and whether a larger one would fit."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["available_bytes", "guard", "highest_sum", "peak_bytes"]


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the largest sum of bytes that torch's CPU allocator had handed out at a time, beyond those at the start.

    The allocator's own record is read: it has what autograd saves, temporaries and compiled code's buffers, but not
    what libraries below it keep for themselves.
    """
    activity = torch.profiler.ProfilerActivity.CPU
    with _quiet(), torch.profiler.profile(activities=[activity], profile_memory=True) as profile:
        work()
    results = profile.profiler.kineto_results if profile.profiler else None
    if results is None:
        logging.getLogger(__name__).warning("the profiler gave no record")
        return 0
    events = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    return highest_sum(size for _, size in sorted(events, key=lambda event: event[0]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Close the error stream's file for a while: the profiler writes there whatever its settings say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def highest_sum(changes: Iterable[int]) -> int:
    """Return the largest of the partial sums, at least 0."""
    now = top = 0
    for change in changes:
        now += change
        top = max(top, now)
    return top


def available_bytes() -> int:
    """Return how much memory the machine can still give."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def guard(share: float = 0.9) -> None:
    """Bound this process's address space, so that too large a run raises an error instead of being killed."""
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + int(share * available_bytes())
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))
