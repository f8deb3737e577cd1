"""A script written for torchdiffeq, run on this engine: one import has changed.
=============================================================================

It fits the frequency and the damping of an oscillator, as such scripts do, with ``odeint`` for the data and
``odeint_adjoint`` for the fit. Everything below the imports is what it was. ::

    python examples/07_torchdiffeq_script.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from physode import odeint, odeint_adjoint  # was: from torchdiffeq import odeint, odeint_adjoint


class Oscillator(nn.Module):
    def __init__(self, frequency, damping):
        super().__init__()
        self.frequency = nn.Parameter(torch.tensor(frequency))
        self.damping = nn.Parameter(torch.tensor(damping))

    def forward(self, t, state):
        position, velocity = state
        return velocity, -(self.frequency**2) * position - self.damping * velocity


def main(out: Path, *, steps: int = 80) -> dict[str, float]:
    start = (torch.tensor([1.0]), torch.tensor([0.0]))
    t = torch.linspace(0.0, 6.0, 31)
    with torch.no_grad():
        data, _ = odeint(Oscillator(2.0, 0.3), start, t, method="dopri5", rtol=1e-7, atol=1e-9)

    model = Oscillator(1.6, 0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-2)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        position, _ = odeint_adjoint(model, start, t, method="rk4", options={"step_size": 0.2})
        loss = (position - data).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    found = {"frequency": model.frequency.item(), "damping": model.damping.item()}
    print(f"frequency {found['frequency']:.4f} (true 2), damping {found['damping']:.4f} (true 0.3)")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(t, data, "o", color="gray", ms=3, label="data")
    left.plot(t, position.detach(), label="fitted")
    left.set(xlabel="t", ylabel="position", title="A damped oscillator")
    left.legend()
    right.semilogy(losses)
    right.set(xlabel="step", ylabel="mean squared error", title="Fit")
    figure.savefig(out / "07_torchdiffeq_script.png", dpi=120)
    plt.close(figure)
    return {**found, "last loss": losses[-1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
