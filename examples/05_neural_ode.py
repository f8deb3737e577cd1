"""A neural network learns an equation from trajectories.
======================================================

The data are trajectories of van der Pol's oscillator. A network takes the place of the unknown right-hand side: it is
trained on short pieces of the trajectories, many at once, and must then run from a start that it has not seen, for as
long as we like. ::

    python examples/05_neural_ode.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po

PIECE = 11  # points in a piece
BATCH = 64


def main(out: Path, *, steps: int = 500) -> dict[str, float]:
    torch.manual_seed(0)
    t = torch.linspace(0.0, 3.0, 61)
    starts = 5 * torch.rand(60, 2) - 2.5
    with torch.no_grad():
        data = po.solve(po.rhs.VanDerPol(1.0), starts, t).y  # (time, trajectory, 2)

    network = po.rhs.MLP(2, hidden=(64, 64))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    losses = []
    for _ in range(steps):
        which = torch.randint(0, data.shape[1], (BATCH,))
        first = torch.randint(0, len(t) - PIECE + 1, (BATCH,))
        pieces = data[first + torch.arange(PIECE)[:, None], which]  # (time, batch, 2)
        optimiser.zero_grad()
        sol = po.solve(network, pieces[0], t[:PIECE], method="rk4")
        loss = (sol.y - pieces).square().mean()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))

    start, long = torch.tensor([0.5, 0.0]), torch.linspace(0.0, 20.0, 401)
    with torch.no_grad():
        true = po.solve(po.rhs.VanDerPol(1.0), start, long).y
        learnt = po.solve(network, start, long).y
    error = float((learnt - true).square().mean().sqrt())
    print(f"loss {losses[0]:.3g} -> {losses[-1]:.3g}; error over a new trajectory of t up to 20: {error:.3g}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for i in range(data.shape[1]):
        left.plot(*data[:, i].T, color="gray", lw=1, alpha=0.5, label="training data" if i == 0 else None)
    left.plot(*true.T, color="C1", lw=4, alpha=0.4, label="a new start, true")
    left.plot(*learnt.T, color="C0", lw=1.5, label="a new start, learnt")
    left.set(xlabel="$y_1$", ylabel="$y_2$", title="Van der Pol's oscillator")
    left.legend(fontsize="small")
    right.semilogy(losses)
    right.set(xlabel="step", ylabel="mean squared error of pieces", title="Training")
    figure.savefig(out / "05_neural_ode.png", dpi=120)
    plt.close(figure)
    return {"first loss": losses[0], "last loss": losses[-1], "error": error}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
