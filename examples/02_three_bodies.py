"""Three bodies: simulate them, then find their masses from where they were seen.
==============================================================================

The observed orbits carry noise. Adam follows the gradient of the mean squared error (ACA computes it) and creeps;
Levenberg-Marquardt is fed the exact Jacobian of the same discrete solution and arrives after some twenty solves, with
standard errors. The fit sees times up to 1 and is judged up to 2. ::

    python examples/02_three_bodies.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from scipy.optimize import least_squares

import physode as po
from physode.sensitivity import covariance, sensitivities

NOISE = 1e-3
GUESS = (1.0, 1.0, 1.0)
TOLERANCES = {"rtol": 1e-6, "atol": 1e-8}


def fit_with_adam(t, observed, y0, steps):
    """Return the masses and the loss of every step."""
    system = po.rhs.ThreeBody.from_preset("aca", masses=GUESS, learnable=True)
    optimiser = torch.optim.Adam(system.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        sol = po.solve(system, y0, t, **TOLERANCES)
        loss = (sol.y - observed).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return system.masses.detach(), losses


def fit_with_least_squares(t, observed, y0):
    """Return the masses, their standard errors, and the loss of every evaluation."""
    system = po.rhs.ThreeBody.from_preset("aca", masses=GUESS, learnable=True)
    masses = system.raw_masses
    losses = []

    def assume(values):
        with torch.no_grad():
            masses.copy_(torch.from_numpy(values))

    def residuals(values):
        assume(values)
        with torch.no_grad():
            difference = (po.solve(system, y0, t, **TOLERANCES).y - observed).flatten()
        losses.append(float(difference.square().mean()))
        return difference.numpy()

    def jacobian(values):
        assume(values)
        return sensitivities(system, y0, t, [masses], **TOLERANCES).jacobian.flatten(0, -2).numpy()

    found = least_squares(residuals, GUESS, jac=jacobian, method="lm")
    assume(found.x)
    at_best = sensitivities(system, y0, t, [masses], **TOLERANCES)
    errors = covariance(at_best.jacobian, residuals=at_best.y - observed).diagonal().sqrt()
    return torch.from_numpy(found.x), errors, losses


def main(out: Path, *, adam_steps: int = 30) -> dict[str, float]:
    data = po.simulators.simulate_three_body(preset="aca", t_end=2.0, points=101, noise=NOISE, seed=1)
    t, observed = torch.from_numpy(data.t), torch.from_numpy(data.y[0])
    clean = torch.from_numpy(data.y_clean[0])
    inside = t <= 1.0
    true = torch.from_numpy(data.params["masses"][0])

    adam, adam_losses = fit_with_adam(t[inside], observed[inside], clean[0], adam_steps)
    masses, errors, losses = fit_with_least_squares(t[inside], observed[inside], clean[0])
    system = po.rhs.ThreeBody.from_preset("aca", masses=masses)
    predicted = po.solve(system, clean[0], t, **TOLERANCES).y

    print("body   true   Adam      Levenberg-Marquardt")
    for body in range(3):
        print(f"{body + 1}      {true[body]:.2f}   {adam[body]:.5f}   {masses[body]:.6f} +- {errors[body]:.6f}")
    beyond = float((predicted - clean)[~inside].square().mean())
    print(f"mean squared error beyond the training span: {beyond:.2e} (the noise's own: {NOISE**2:.0e})")

    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    orbits = figure.add_subplot(1, 2, 1, projection="3d")
    for body in range(3):
        x, y, z = observed[:, 3 * body : 3 * body + 3].T
        orbits.plot(x, y, z, "o", ms=4, color=f"C{body}", alpha=0.35)
        orbits.plot(*predicted[:, 3 * body : 3 * body + 3].T, lw=1, color=f"C{body}", label=f"body {body + 1}")
    orbits.set_title("Observed (dots) and fitted orbits, t up to 2")
    orbits.legend()
    curves = figure.add_subplot(1, 2, 2)
    curves.semilogy(range(1, len(adam_losses) + 1), adam_losses, label="Adam")
    curves.semilogy(range(1, len(losses) + 1), losses, "o-", label="Levenberg-Marquardt")
    curves.axhline(NOISE**2, color="gray", ls=":", label="noise")
    curves.set(xlabel="solves", ylabel="mean squared error", title="Two ways to three masses")
    curves.legend()
    figure.savefig(out / "02_three_bodies.png", dpi=120)
    plt.close(figure)
    return {
        "largest deviation in standard errors": float(((masses - true) / errors).abs().max()),
        "largest error": float((masses - true).abs().max()),
        "first loss of Adam": adam_losses[0],
        "last loss of Adam": adam_losses[-1],
        "last loss": losses[-1],
        "error beyond": beyond,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
