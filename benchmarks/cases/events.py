"""Ten thousand bouncing balls, solved at once: how long it takes, and how far from the closed form it is.

No peer finds events sample by sample; SciPy, one ball after another, is timed on a hundredth of them.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import physode as po
from benchmarks.race import Settings
from benchmarks.report import Report, markdown_table

__all__ = ["run"]

_G, _END = 9.81, 2.0


def run(settings: Settings) -> Report:
    """Time the balls, and compare times and gradients with the closed form."""
    balls = 1_000 if settings.quick else 10_000
    heights = torch.linspace(0.5, 2.0, balls, dtype=torch.float64).requires_grad_()
    bounce = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    solved, pulled = [], []
    for _ in range(settings.rounds):
        start = time.perf_counter()
        table = _table(heights, bounce)
        solved.append(time.perf_counter() - start)
        start = time.perf_counter()
        found = torch.autograd.grad(table.nan_to_num().sum(), [heights, bounce])
        pulled.append(time.perf_counter() - start)
    hit = ~torch.isnan(table)
    exact = _closed_form(heights, bounce, table.shape[1])
    right = torch.autograd.grad(torch.where(hit, exact, 0.0).sum(), [heights, bounce])
    worst = max(float(((a - b).abs() / b.abs()).max()) for a, b in zip(found, right, strict=True))
    rows = [
        ["balls", f"{balls}"],
        ["bounces", f"{int(hit.sum())}"],
        ["solve", f"{median(solved):.3g} s"],
        ["gradient", f"{median(pulled):.3g} s"],
        ["largest error of a time", f"{float((table - exact)[hit].abs().max().detach()):.1e} s"],
        ["largest relative error of a gradient", f"{worst:.1e}"],
        ["SciPy, one after another, without gradients", f"{_scipy(balls):.3g} s"],
    ]
    return Report(markdown_table(["", "physode"], rows))


def _table(heights: Tensor, bounce: Tensor) -> Tensor:
    floor = po.Event(
        lambda t, y, bounce: y[:, 0],
        direction=-1,
        jump=lambda t, y, bounce: torch.stack([y[:, 0], -bounce * y[:, 1]], -1),
    )
    y0 = torch.stack([heights, torch.zeros_like(heights)], -1)
    sol = po.solve(
        lambda t, y, bounce: torch.stack([y[:, 1], torch.full_like(y[:, 1], -_G)], -1),
        y0, [0.0, _END], args=(bounce,), events=floor, step_control="per-sample",
    )  # fmt: skip
    return sol.events[0].table()


def _closed_form(heights: Tensor, bounce: Tensor, count: int) -> Tensor:
    flights = 2 * torch.cumsum(bounce ** torch.arange(1, count), 0)
    return torch.sqrt(2 * heights / _G)[:, None] * torch.cat([torch.ones(1, dtype=torch.float64), 1 + flights])


def _scipy(balls: int) -> float:
    """Return the time for all balls, from that for every hundredth."""

    def floor(t: float, y: np.ndarray) -> float:
        return float(y[0])

    floor.terminal, floor.direction = True, -1  # type: ignore[attr-defined]
    heights = np.linspace(0.5, 2.0, max(1, balls // 100))
    start = time.perf_counter()
    for height in heights:
        t, y = 0.0, np.array([height, 0.0])
        while t < _END:
            found = solve_ivp(lambda t, y: [y[1], -_G], (t, _END), y, rtol=1e-6, atol=1e-9, events=floor)
            t, y = found.t[-1], np.array([1e-15, -0.8 * found.y[1, -1]])
    return (time.perf_counter() - start) * balls / len(heights)
