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
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import physode as po
from benchmarks.cases import three_body
from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, physode, torchdiffeq
from benchmarks.task import Task, Twin

__all__ = ["lorenz", "main", "measured", "on", "three_bodies"]

_JUDGED = 100
_TOL = 1e-5


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
    """Return the median of some rounds' seconds, after one that is not timed, and the first end states."""
    runner = peer.prepare(task if peer.package == "diffrax" else on(task, device), gradient)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    end = runner.answer(runner.run()).outputs[-1, :_JUDGED].detach().double().cpu()
    seconds = []
    for _ in range(rounds):
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--batch", type=int, default=100_000, help="samples (default 100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--device", default="cuda", help="cuda (default), or cpu to try the script")
    chosen = parser.parse_args()
    own: dict[str, Any] = {"step_control": "per-sample"}
    peers = [
        physode(compiled=True, **own),
        physode(name="physode aca, uncompiled", compile=False, **own),
        torchdiffeq(),
        diffrax(),
    ]
    print(f"{torch.cuda.get_device_name() if chosen.device == 'cuda' else 'CPU'}, B = {chosen.batch:,}\n")
    print("| system | precision | work | contestant | seconds | error |\n|---|---|---|---|---:|---:|")
    for name, problem in (("Lorenz", lorenz), ("three bodies", three_bodies)):
        right = _right(problem)
        for dtype in (torch.float32, torch.float64):
            # of a larger batch the first samples are others: the judged ones are put in their places
            task = problem(chosen.batch, dtype)
            start = problem(_JUDGED, dtype).y0.detach()
            task = replace(task, y0=torch.cat([start, task.y0.detach()[_JUDGED:]]).requires_grad_())
            for gradient in (False, True):
                for peer in peers:
                    _say(peer, task, right, chosen, gradient=gradient, title=f"| {name} | {str(dtype)[6:]} ")


def _say(peer: Peer, task: Task, right: Tensor, chosen: argparse.Namespace, *, gradient: bool, title: str) -> None:
    work = "forward, gradient" if gradient else "forward"
    row = f"{title}| {work} | {peer.name} |"
    if peer.missing:
        print(f"{row} {peer.missing} | |")
        return
    try:
        seconds, end = measured(peer, task, chosen.rounds, gradient=gradient, device=chosen.device)
    except (RuntimeError, ValueError, ArithmeticError) as error:  # out of memory, or a refusal
        print(f"{row} {type(error).__name__} | |")
        torch.cuda.empty_cache()
        return
    print(f"{row} {seconds:.4f} | {float((end - right).norm() / right.norm()):.1e} |", flush=True)


if __name__ == "__main__":
    main()
