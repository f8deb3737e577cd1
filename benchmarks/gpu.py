"""``python -m benchmarks.gpu``: Lorenz's system and three bodies on a GPU, 100,000 samples, physode beside its peers.

dopri5 at 1e-5, ten outputs in [0, 1]; gradients in the constants and the initial states. physode's kernels and diffrax
have one step size a sample, torchdiffeq one for all. Errors are those of the first hundred end states, relative to a
solution at a ten-thousandth of the tolerance.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import physode as po
from benchmarks.cases import three_body
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode, torchdiffeq
from benchmarks.race import first_line
from benchmarks.task import Task, Twin
from physode.experiments.report import cell

__all__ = ["ABOUT", "lorenz", "main", "measured", "on", "rows", "three_bodies"]

_JUDGED = 100
_TOL = 1e-5
_LONG = 20.0  # seconds of the first run beyond which one more is enough

ABOUT = ("system", "samples", "precision", "work", "contestant")
"""What tells rows apart."""


def lorenz(batch: int, dtype: torch.dtype, tol: float = _TOL) -> Task:
    """Return Lorenz's system: one set of constants, initial states around the attractor's middle."""
    system = po.rhs.Lorenz(10.0, 28.0, 8 / 3, learnable=True).to(dtype)
    y0 = torch.ones(batch, 3, dtype=torch.float64)
    y0 = y0 + torch.randn(batch, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Task(
        system, tuple(system.parameters()), y0.to(dtype).requires_grad_(), _times(dtype), tol, twin=Twin(_in_jax)
    )


def _in_jax(t: Any, y: Any, params: Any) -> Any:
    import jax.numpy as jnp

    sigma, rho, beta = params
    x, v, z = y[..., 0], y[..., 1], y[..., 2]
    return jnp.stack([sigma * (v - x), x * (rho - z) - v, x * v - beta * z], -1)


def three_bodies(batch: int, dtype: torch.dtype, tol: float = _TOL) -> Task:
    """Return the case's task, with fewer outputs."""
    return replace(three_body.problem(batch, dtype, tol), t=_times(dtype))


def _times(dtype: torch.dtype) -> Tensor:
    return torch.linspace(0.0, 1.0, 10, dtype=dtype)


def on(task: Task, device: str) -> Task:
    """Return the same task with its tensors on a device."""
    system = copy.deepcopy(task.f).to(device)
    y0 = task.y0.detach().to(device).requires_grad_()
    return replace(task, f=system, params=tuple(system.parameters()), y0=y0, t=task.t.to(device))


def measured(peer: Peer, task: Task, rounds: int, *, gradient: bool, device: str) -> tuple[float, Tensor]:
    """Return the median of some rounds' seconds, after a run that does not count, and the first end states."""
    runner = peer.prepare(task if peer.package == "diffrax" else on(task, device), gradient)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    begin = time.perf_counter()
    end = runner.answer(runner.run()).outputs[-1, :_JUDGED].detach().double().cpu()
    long = time.perf_counter() - begin > _LONG
    seconds = []
    for _ in range(1 if long else rounds):
        wait()
        before = time.perf_counter()
        runner.run()
        wait()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds), end


def _right(problem: Callable[..., Task]) -> Tensor:
    task = problem(_JUDGED, torch.float64, _TOL * 1e-4)
    with torch.no_grad():
        return po.solve(task.f, task.y0, task.t, rtol=task.tol, atol=task.tol, step_control="per-sample").y[-1]


def rows(batch: int, rounds: int, device: str, done: Collection[tuple[Any, ...]] = ()) -> Iterator[dict[str, Any]]:
    """Yield a row for every system, precision, work and contestant; a contestant that is missing or fails says why.

    Rows whose :data:`ABOUT` are among `done` are left out.
    """
    own: dict[str, Any] = {"step_control": "per-sample"}
    peers = [
        physode(compiled=True, **own),
        physode(name="physode aca, uncompiled", compile=False, **own),
        torchdiffeq(),
        diffrax(),
    ]
    for name, problem in (("Lorenz", lorenz), ("three bodies", three_bodies)):
        right = _right(problem)
        for dtype in (torch.float32, torch.float64):
            # of a larger batch the first samples are others: the judged ones are put in their places
            task = problem(batch, dtype)
            start = problem(_JUDGED, dtype).y0.detach()
            task = replace(task, y0=torch.cat([start, task.y0.detach()[_JUDGED:]]).requires_grad_())
            for gradient in (False, True):
                work = "forward, gradient" if gradient else "forward"
                about = {"system": name, "samples": batch, "precision": str(dtype)[6:], "work": work}
                for peer in peers:
                    if (*about.values(), peer.name) not in done:
                        outcome = _outcome(peer, task, right, rounds, device, gradient=gradient)
                        yield about | {"contestant": peer.name} | outcome


def _outcome(
    peer: Peer, task: Task, right: Tensor, rounds: int, device: str, *, gradient: bool
) -> dict[str, float | str | None]:
    if peer.missing:
        return {"seconds": None, "error": None, "note": peer.missing}
    try:
        seconds, end = measured(peer, task, rounds, gradient=gradient, device=device)
    except Exception as error:  # noqa: BLE001 - out of memory, a refusal, versions that do not fit: the others go on
        if device == "cuda":
            torch.cuda.empty_cache()
        return {"seconds": None, "error": None, "note": first_line(error)}
    return {"seconds": seconds, "error": float((end - right).norm() / right.norm()), "note": ""}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--batch", type=int, default=100_000, help="samples (default 100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--device", default="cuda", help="cuda (default), or cpu to try the script")
    chosen = parser.parse_args()
    print(f"{torch.cuda.get_device_name() if chosen.device == 'cuda' else 'CPU'}, B = {chosen.batch:,}\n")
    for number, row in enumerate(rows(chosen.batch, chosen.rounds, chosen.device)):
        if not number:
            print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}")
        print(f"| {' | '.join(map(cell, row.values()))} |", flush=True)


if __name__ == "__main__":
    main()
