"""A custom equation in ten lines, with gradients.
===============================================

A swing that is pushed: its damping and the push's frequency are parameters. We ask for the motion, then for the
derivative of its final angle with respect to every parameter, to the initial state, and to the time itself. ::

    python examples/01_custom_ode.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

import physode as po


class Swing(nn.Module):
    def __init__(self):
        super().__init__()
        self.damping = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))
        self.frequency = nn.Parameter(torch.tensor(0.9, dtype=torch.float64))

    def forward(self, t, y):
        angle, velocity = y
        push = 0.5 * torch.cos(self.frequency * t)
        return torch.stack([velocity, -torch.sin(angle) - self.damping * velocity + push])


def main(out: Path) -> dict[str, float]:
    swing = Swing()
    y0 = torch.tensor([0.5, 0.0], dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0.0, 20.0, 401, dtype=torch.float64, requires_grad=True)

    sol = po.solve(swing, y0, t, rtol=1e-8, atol=1e-10)  # gradient="aca" by default
    sol.y[-1, 0].backward()

    print(f"{int(sol.stats.accepted)} steps, {sol.stats.rhs_forward} evaluations of the right-hand side")
    print(f"d angle(20) / d damping      {swing.damping.grad:+.6f}")
    print(f"d angle(20) / d frequency    {swing.frequency.grad:+.6f}")
    print(f"d angle(20) / d angle(0)     {y0.grad[0]:+.6f}")
    print(f"d angle(20) / d end time     {t.grad[-1]:+.6f}  (the velocity there: {sol.y[-1, 1]:+.6f})")

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    times, states = t.detach(), sol.y.detach()
    axes.plot(times, states[:, 0], label="angle")
    axes.plot(times, states[:, 1], label="angular velocity")
    axes.plot(sol.step_times, torch.zeros_like(sol.step_times), "|", color="black", label="the solver's steps")
    axes.set(xlabel="t", title="A pushed swing")
    axes.legend()
    figure.savefig(out / "01_custom_ode.png", dpi=120)
    plt.close(figure)
    return {
        "damping": float(swing.damping.grad),
        "frequency": float(swing.frequency.grad),
        "end time": float(t.grad[-1]),
        "velocity": float(sol.y[-1, 1].detach()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
