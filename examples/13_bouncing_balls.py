"""A thousand bouncing balls at once, and what their bounces tell.
===============================================================

Each ball falls from its own height and loses the same share of its speed at every bounce: an event with a jump. All are
solved together, each with its own clock, and each bounce's time has its gradient. So the times at which one real ball
is heard are enough to fit both unknowns, the height that it fell from and the share of speed that it keeps: no
position is ever measured. The closed form says what the times should be. ::

    python examples/13_bouncing_balls.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po

GRAVITY = 9.81
TRUTH = {"height": 1.3, "bounce": 0.83}
HEARD = 5  # bounces
NOISE = 1e-3  # seconds


def fall(t, y, bounce):
    """Return the derivative of height and speed."""
    return torch.stack([y[:, 1], torch.full_like(y[:, 1], -GRAVITY)], -1)


def bounced(t, y, bounce):
    """Return the state behind a bounce."""
    return torch.stack([y[:, 0], -bounce * y[:, 1]], -1)


def drop(heights, bounce, times, **options):
    """Let balls fall from ``heights``, (batch,)."""
    floor = po.Event(lambda t, y, bounce: y[:, 0], direction=-1, jump=bounced, name="floor", **options)
    y0 = torch.stack([heights, torch.zeros_like(heights)], -1)
    return po.solve(fall, y0, times, args=(bounce,), events=floor, step_control="per-sample")


def closed_form(heights, bounce, count):
    """Return the times of the first ``count`` bounces, (batch, count)."""
    first = torch.sqrt(2 * heights / GRAVITY)[:, None]
    flights = 2 * torch.cumsum(bounce ** torch.arange(1, count), 0)
    return first * torch.cat([torch.ones(1), 1 + flights])


def heard(height, bounce):
    """Return the times of the first bounces of one ball, with their gradients."""
    return drop(height[None], bounce, [0.0, 20.0], max_count=HEARD).events["floor"].t


def fit(seen):
    """Fit height and bounce to the times heard, by Gauss-Newton steps on the gradients of the bounces."""
    guess = torch.tensor([1.0, 0.7])
    for _ in range(8):
        height, bounce = (part.clone().requires_grad_() for part in guess)
        times = heard(height, bounce)
        rows = [torch.stack(torch.autograd.grad(time, [height, bounce], retain_graph=True)) for time in times]
        guess = guess + torch.linalg.lstsq(torch.stack(rows), (seen - times.detach())[:, None]).solution[:, 0]
    return guess


def main(out: Path, *, balls: int = 1000) -> dict[str, float]:
    torch.set_default_dtype(torch.float64)
    heights, bounce = torch.linspace(0.5, 2.0, balls).requires_grad_(), torch.tensor(0.8, requires_grad=True)
    t = torch.linspace(0.0, 2.0, 201)
    sol = drop(heights, bounce, t)
    table = sol.events["floor"].table()
    exact = closed_form(heights, bounce, table.shape[1])
    reached = ~torch.isnan(table)
    error = float((table - exact)[reached].abs().max().detach())
    (found,) = torch.autograd.grad(table[reached].sum(), bounce, retain_graph=True)
    (right,) = torch.autograd.grad(exact[reached].sum(), bounce)
    slope = float((found / right - 1).abs())
    print(f"{balls} balls, {int(reached.sum())} bounces: times within {error:.1e} s, their gradient within {slope:.1e}")

    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor(list(TRUTH.values()))
    seen = heard(*truth) + NOISE * torch.randn(HEARD, generator=generator)
    height, share = fit(seen).tolist()
    print(
        f"fitted to {HEARD} sounds: height {height:.4f} m ({TRUTH['height']}), bounce {share:.4f} ({TRUTH['bounce']})"
    )

    draw(out, t, sol, heights.detach(), table.detach())
    torch.set_default_dtype(torch.float32)
    return {"time error": error, "gradient error": slope, "height": height, "bounce": share}


def draw(out, t, sol, heights, table):
    """Draw some flights, and all bounces."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for ball in (0, len(heights) // 2, len(heights) - 1):
        left.plot(t, sol.y[:, ball, 0].detach(), lw=1, label=f"from {heights[ball]:.2f} m")
    left.set(xlabel="t (s)", ylabel="height (m)", title="Three of the balls")
    left.legend()
    for number, times in enumerate(table.T, start=1):
        right.plot(heights, times, lw=1, label=f"bounce {number}")
    right.set(xlabel="first height (m)", ylabel="t (s)", title="When each ball hits the floor")
    right.legend(reverse=True)
    figure.savefig(out / "13_bouncing_balls.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
