"""Motion that conserves: an energy kept, an energy learnt, and bodies that meet.
==============================================================================

A comet's orbit of eccentricity 0.6 is followed by leapfrog and by a Runge-Kutta method with as many forces. The error
of leapfrog's energy goes up and down with every passage of the Sun and stays what it is; the other one's grows.

Then only positions of swinging things are known, a few, with noise, and their energy is to be found: p^2 / 2 plus an
unknown potential, as a sum of four cosines. Leapfrog solves Hamilton's equations of whatever the coefficients are, and
their gradients come by running the trajectories backwards (gradient="mali"): no step is kept.

At last Burrau's three bodies, masses 3, 4 and 5 at rest on a Pythagorean triangle. They meet three times within a
hundredth of the triangle before t = 16, where ordinary steps become very small; a time of their own carries them
through. ::

    python examples/14_hamiltonian.py --out .
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po
from physode.rhs import Hamiltonian, SecondOrder, ThreeBody
from physode.simulators import find_encounters

TRUE = (-1.0, 0.25, 0.0, 0.0)  # coefficients of cos q, cos 2q, ...


def comet(periods, steps):
    """Return the relative energy errors of leapfrog and rk4, whose steps are four times as long."""
    orbit = SecondOrder(lambda t, q: -q / q.square().sum() ** 1.5)
    y0 = torch.tensor([0.4, 0.0, 0.0, 2.0], dtype=torch.float64)
    energy = {"energy": lambda t, y: y[2:].square().sum() / 2 - 1 / y[:2].square().sum().sqrt()}
    found = {}
    for method, forces in (("leapfrog", 1), ("rk4", 4)):
        size = 2 * math.pi * forces / steps
        sol = po.solve(orbit, y0, [0.0, 2 * math.pi * periods], method=method, step_size=size, record=energy)
        t, values = sol.recorded["energy"]
        found[method] = (t / (2 * math.pi), (values / values[0] - 1).abs())
    return found


def potential(q, coefficients):
    order = torch.arange(1, len(TRUE) + 1)
    return (coefficients * torch.cos(order * q)).sum(-1)


def learn_energy(steps):
    """Return the coefficients found from positions of four swings, and the losses."""
    torch.manual_seed(0)
    system = Hamiltonian(lambda q, p, a: (p**2 / 2).sum(-1) + potential(q, a), separable=True)
    y0 = torch.tensor([[0.5, 0.0], [1.5, 0.0], [2.5, 0.0], [0.0, 2.2]], dtype=torch.float64)
    t = torch.linspace(0.0, 6.0, 31, dtype=torch.float64)
    truth = torch.tensor(TRUE, dtype=torch.float64)
    with torch.no_grad():
        exact = po.solve(system, y0, t, args=(truth,), method="dopri8").y
    seen = exact[..., 0] + 0.01 * torch.randn(exact.shape[:-1], dtype=torch.float64)

    coefficients = torch.zeros(len(TRUE), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([coefficients], max_iter=steps, line_search_fn="strong_wolfe")
    losses = []

    def loss():
        optimiser.zero_grad()
        y = po.solve(system, y0, t, args=(coefficients,), method="leapfrog", step_size=0.1, gradient="mali").y
        value = (y[..., 0] - seen).square().mean()
        value.backward()
        losses.append(value.item())
        return value

    optimiser.step(loss)
    return coefficients.detach(), losses


def meetings(end):
    """Return the paths of Burrau's bodies, their encounters, and what the steps were."""
    bodies, preset = ThreeBody.from_preset("pythagorean"), ThreeBody.find_preset("pythagorean")
    y0, t = torch.tensor(preset.y0, dtype=torch.float64), torch.linspace(0.0, end, 600, dtype=torch.float64)
    with torch.no_grad():
        own = po.solve_regularised(bodies, y0, t, rtol=1e-8, atol=1e-10)
        plain = po.solve(bodies, y0, t, method="dopri8", rtol=1e-8, atol=1e-10)
    energies = [bodies.invariants(sol.y)["energy"] for sol in (own, plain)]
    errors = [float((energy / energy[0] - 1).abs().max()) for energy in energies]
    return own, find_encounters(own, below=0.05), errors, int(plain.stats.accepted)


def draw(out, comets, coefficients, own):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for method, (t, error) in comets.items():
        left.semilogy(t, error.clamp(min=1e-9), lw=0.8, label=method)
    left.set(xlabel="periods", ylabel="relative energy error", title="A comet, as many forces for each")
    left.legend()
    q = torch.linspace(-math.pi, math.pi, 200, dtype=torch.float64)[:, None]
    for values, style, label in ((torch.tensor(TRUE), "k", "true"), (coefficients, "C1--", "from positions")):
        height = potential(q, values)
        middle.plot(q[:, 0], height - height.min(), style, label=label)
    middle.set(xlabel="angle", ylabel="potential", title="An energy learnt")
    middle.legend()
    steps = own.step_times.unique()  # many where bodies meet; six points in each
    path = own((steps[:-1, None] + steps.diff()[:, None] * torch.arange(6) / 6).flatten())
    for body, mass in enumerate((3, 4, 5)):
        right.plot(path[:, 3 * body], path[:, 3 * body + 1], lw=0.8, label=f"mass {mass}")
    right.set(title="Burrau's bodies")
    right.set_aspect("equal", adjustable="datalim")
    right.legend()
    figure.savefig(out / "14_hamiltonian.png", dpi=120)
    plt.close(figure)


def main(out: Path, *, periods: int = 30, steps: int = 40, end: float = 16.5) -> dict[str, float]:
    torch.set_num_threads(1)
    comets = comet(periods, 400)
    found = {}
    for method, (_, error) in comets.items():
        third = len(error) // 3
        early, late = float(error[:third].max()), float(error[-third:].max())
        print(f"{method:<8} largest energy error in the first third {early:.1e}, in the last {late:.1e}")
        found[f"{method}, growth"] = late / early

    coefficients, losses = learn_energy(steps)
    worst = float((coefficients - torch.tensor(TRUE)).abs().max())
    print("coefficients found:", ", ".join(f"{value:+.3f}" for value in coefficients.tolist()))

    own, met, errors, steps_in_time = meetings(end)
    for each in met:
        print(f"bodies {each.bodies[0]} and {each.bodies[1]} meet at t = {each.time:.4f}, {each.distance:.2e} apart")
    steps_own = int(own.stats.accepted.sum())
    print(f"energy error {errors[0]:.0e} in {steps_own} steps; in ordinary time {errors[1]:.0e} in {steps_in_time}")
    draw(out, comets, coefficients, own)
    return found | {
        "coefficients": worst,
        "last loss": losses[-1],
        "encounters": len(met),
        "nearest": min(each.distance for each in met),
        "steps": steps_own / steps_in_time,
        "energy": errors[0],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
