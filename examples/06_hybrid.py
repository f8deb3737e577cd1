"""Physics where it is known, a network where it is not.
=====================================================

A pendulum swings through air: drag grows with the square of the speed, which the model's physics leaves out. The bare
pendulum cannot fit the data. With a small network added to its acceleration, zero at first, it can; and beyond the data
the hybrid goes on swinging like a pendulum, since most of what it does is physics. It is trained on pieces of a second
each, which keeps the fit from getting lost in a swing's phase. ::

    python examples/06_hybrid.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po

DRAG = 0.3
PIECE = 11  # points in a piece: 1 s


def swing_in_air(t, y):
    angle, velocity = y.unbind(-1)
    return torch.stack([velocity, -9.81 * torch.sin(angle) - DRAG * velocity * velocity.abs()], -1)


def main(out: Path, *, steps: int = 400) -> dict[str, float]:
    torch.manual_seed(0)
    t = torch.linspace(0.0, 8.0, 81, dtype=torch.float64)
    y0 = torch.tensor([2.0, 0.0], dtype=torch.float64)
    data = po.solve(swing_in_air, y0, t, method="dopri8", rtol=1e-10, atol=1e-12).y
    training = t <= 4.0

    pendulum = po.rhs.Pendulum(length=1.0)
    hybrid = po.rhs.Hybrid(
        pendulum, po.rhs.MLP(2, hidden=(16,)).double(), acts_on=("angular_velocity",), zero_init=True
    )
    optimiser = torch.optim.Adam(hybrid.parameters(), lr=3e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-2, total_steps=steps)
    pieces = data[training].unfold(0, PIECE, 1).permute(2, 0, 1)  # (time, piece, 2), one from every point
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        sol = po.solve(hybrid, pieces[0], t[:PIECE], method="rk4")
        loss = (sol.y - pieces).square().mean()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))

    with torch.no_grad():
        physics = po.solve(pendulum, y0, t).y
        learnt = po.solve(hybrid, y0, t).y
    errors = {
        f"{name}, {where}": float((found - data)[points].square().mean())
        for name, found in (("physics", physics), ("hybrid", learnt))
        for where, points in (("training", training), ("beyond", ~training))
    }
    for name, error in errors.items():
        print(f"mean squared error, {name}: {error:.2e}")

    speed = torch.linspace(-4.0, 4.0, 81, dtype=torch.float64)
    with torch.no_grad():
        states = torch.stack([torch.zeros_like(speed), speed], -1)
        force = hybrid(t[0], states)[:, 1] - pendulum(t[0], states)[:, 1]

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(1.6, 1))
    left.axvspan(0.0, 4.0, color="gray", alpha=0.12, label="training span")
    left.plot(t, data[:, 0], color="gray", lw=4, alpha=0.5, label="data")
    left.plot(t, physics[:, 0], "--", label="physics alone")
    left.plot(t, learnt[:, 0], label="hybrid")
    left.set(xlabel="time (s)", ylabel="angle (rad)", title="A pendulum in air")
    left.legend(ncols=2, fontsize="small")
    right.plot(speed, -DRAG * speed * speed.abs(), color="gray", lw=4, alpha=0.5, label="true drag")
    right.plot(speed, force, label="learnt, at angle 0")
    right.set(xlabel="angular velocity (rad/s)", ylabel="angular acceleration (rad/s$^2$)", title="What was left out")
    right.legend()
    figure.savefig(out / "06_hybrid.png", dpi=120)
    plt.close(figure)
    return {**errors, "first loss": losses[0], "last loss": losses[-1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
