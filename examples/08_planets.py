r"""Masses of Jupiter and Saturn, from twelve years of positions.
=============================================================

The Sun and the giant planets pull at each other, and so each one's mass shows in where the others were seen. Positions
are all that is given: the fit finds the velocities with the masses, and the errors of the masses' ratios to the Sun's
follow from the correlations of the masses. The years after the twelve judge the prediction.

With real positions (JPL Horizons) the residuals show what the model leaves out. The Sun's, up to 750 km, are its swing
about its common centre with the inner planets, which the fit counts with the Sun: its mass comes out too large by
theirs, 6.0e-6. Saturn's 290 km are Titan's pull at the planet, Neptune's 75 km Triton's: Newton's equations are for the
centre of planet and moons. None of this is random, and so standard errors, which take residuals for independent noise,
are only a rough measure here. ::

    python examples/08_planets.py --out .                       # a simulated stand-in
    python examples/convert_horizons.py barystate.npz planets.h5
    python examples/08_planets.py --data planets.h5 --out .     # or --data sun.txt jupiter.txt saturn.txt ...

The same fit from a shell, from the file or from Horizons' own tables of vectors, one a body, the Sun first::

    physode fit planets.h5 --init-masses 1,1e-3,1e-3,1e-4,1e-4 --train-until 12
    physode fit sun.txt jupiter.txt saturn.txt uranus.txt neptune.txt --init-masses 1,1e-3,1e-3,1e-4,1e-4 \
        --train-until 12

Uranus and Neptune cannot be left out: without them Saturn comes out 4 % too light.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import physode as po
from physode.datasets import Trajectories, read_data
from physode.fitting import FitConfig, fit
from physode.simulators import simulate

YEARS = 12.0  # that the fit sees
SHOWN = 3  # bodies whose residuals are drawn
KILOMETRES = 149_597_870.7  # in an AU
SOLAR_RADIUS = 695_700.0  # km
G = 0.01720209895**2 * 365.25**2  # AU^3 / (solar mass yr^2)
GUESSES = {"Sun": 1.0, "Jupiter": 1e-3, "Saturn": 1e-3, "Uranus": 1e-4, "Neptune": 1e-4}
# The Sun's mass over that of the planet with its moons (IAU 2009 system of astronomical constants).
ACCEPTED = {"Jupiter": 1047.348644, "Saturn": 3497.9018, "Uranus": 22902.98, "Neptune": 19412.26}
# Of the stand-in, rounded: semi-major axis (AU), eccentricity; inclination, perihelion and true longitude (degrees).
ORBITS = {
    "Jupiter": (5.20, 0.048, 1.3, 15.0, 36.0),
    "Saturn": (9.55, 0.055, 2.5, 92.0, 46.0),
    "Uranus": (19.2, 0.047, 0.8, 171.0, 316.0),
    "Neptune": (30.1, 0.009, 1.8, 45.0, 304.0),
}


def state_on_orbit(elements, mass):
    """Return position and velocity about the Sun at a point of a Kepler orbit."""
    a, e = elements[:2]
    tilt, perihelion, longitude = np.deg2rad(elements[2:])
    p, anomaly = a * (1 - e**2), longitude - perihelion
    r = p / (1 + e * np.cos(anomaly)) * np.array([np.cos(longitude), np.sin(longitude), 0.0])
    v = np.array([-np.sin(longitude) - e * np.sin(perihelion), np.cos(longitude) + e * np.cos(perihelion), 0.0])
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return turn @ r, turn @ v * np.sqrt(G * (1 + mass) / p)


def simulated(*, years=36.0, noise=1e-6):
    """Stand-in: the same five bodies, seen every fifty days with an error of 150 km."""
    masses = np.array([1.0, *(1 / ratio for ratio in ACCEPTED.values())])
    states = [state_on_orbit(ORBITS[name], mass) for name, mass in zip(ORBITS, masses[1:], strict=True)]
    y = np.array([(np.zeros(3), np.zeros(3)), *states])  # (body, position or velocity, 3)
    y -= np.tensordot(masses, y, 1) / masses.sum()  # to the barycentre
    t = np.arange(0.0, years, 50 / 365.25)
    data = simulate(po.rhs.NBody(masses, G=G), y.transpose(1, 0, 2).reshape(-1), t, noise=noise, seed=1)
    data.attrs.update(bodies=["Sun", *ORBITS], time_unit="yr")
    seen = data.y.copy()
    seen[..., 15:] = np.nan  # positions only
    return Trajectories(t=t, y=seen, columns=data.columns, units=("AU",) * 15 + ("AU/yr",) * 15, attrs=data.attrs)


def ratios(report, names):
    """Return mass ratios to the Sun and their standard errors, correlations of both masses counted."""
    mass = np.array([constant.fitted for constant in report.constants])
    error = np.array([constant.standard_error for constant in report.constants]) / mass
    together = np.array(report.correlations.rows)[: len(mass), : len(mass)]
    spread = np.sqrt(error**2 + error[0] ** 2 - 2 * together[0] * error * error[0])
    return {name: (mass[i] / mass[0], spread[i] * mass[i] / mass[0]) for i, name in enumerate(names) if i}


def draw(out, names, t, seen, fitted):
    """Draw the Sun's path, what the fit leaves over, and how the prediction drifts away."""
    inside, miss = t <= YEARS, KILOMETRES * (seen - fitted)  # (T, body, 3)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    scale = KILOMETRES / SOLAR_RADIUS
    for points, colour, label in ((inside, "C0", "positions fitted"), (~inside, "0.75", "later positions")):
        left.plot(*scale * seen[points, 0, :2].T, "o", ms=5, mew=0, color=colour, label=label)
    left.plot(*scale * fitted[:, 0, :2].T, color="C1", lw=1, label="fitted, then predicted")
    left.plot(0, 0, "k+", ms=10)
    left.set(xlabel="x (solar radii)", ylabel="y (solar radii)", title="The Sun about the barycentre (+)")
    left.set_aspect("equal", "datalim")
    left.legend(fontsize="small")
    for body, name in enumerate(names):
        known = np.isfinite(miss[:, body, 0])
        distance = np.linalg.norm(miss[known, body], axis=-1)
        right.semilogy(t[known], distance, lw=1, label=name)
        if body < SHOWN:
            middle.plot(t[inside & known], miss[inside & known, body, 0], ".-", lw=0.5, ms=4, label=name)
    middle.set(xlabel="time (yr)", ylabel="seen minus fitted, x (km)", title="What the fit leaves over")
    middle.legend(fontsize="small", loc="upper right")
    right.axvspan(0, YEARS, color="gray", alpha=0.12)
    right.set(xlabel="time (yr)", ylabel="distance from the position seen (km)", title="Fitted (gray), then predicted")
    right.legend(fontsize="small", ncols=2)
    figure.savefig(out / "08_planets.png", dpi=120)
    plt.close(figure)


def main(out: Path, *, data: Sequence[Path] = ()) -> dict[str, float]:
    torch.set_num_threads(1)  # five bodies are too few to share
    trajectories = read_data(data) if data else simulated()
    names = [str(name) for name in trajectories.attrs["bodies"]]
    masses = tuple(GUESSES.get(name, 1e-4) for name in names)
    found = fit(trajectories, FitConfig(init={"masses": masses}, initial_state="fit", train_until=YEARS))

    figures = {}
    print("mass over the Sun's   fitted                    accepted        relative difference")
    for name, (ratio, error) in ratios(found.report, names).items():
        accepted = 1 / ACCEPTED[name]
        figures[name], figures[f"{name}, error"] = ratio / accepted - 1, error / accepted
        print(f"{name:<21} {ratio:.7e} +- {error:.0e}    {accepted:.7e}   {figures[name]:+.1e}")
    figures["Sun"] = found.report.constants[0].fitted - 1
    print(f"the Sun's mass less one: {figures['Sun']:.2e}" + ("; the inner planets have 5.98e-06" if data else ""))

    t, count = trajectories.t, len(names)
    seen = trajectories.y[0, :, : 3 * count].reshape(-1, count, 3)
    fitted = found.predictions.y[0, :, : 3 * count].reshape(-1, count, 3)
    misses = KILOMETRES * np.linalg.norm(seen - fitted, axis=-1)
    for label, chosen in ((f"up to {YEARS:g} years", t <= YEARS), ("beyond", t > YEARS)):
        if not chosen.any():
            continue
        figures[label] = float(np.sqrt(np.nanmean(misses[chosen] ** 2)))
        print(f"root mean square distance from the positions seen, {label}: {figures[label]:.0f} km")
    draw(out, names, t, seen, fitted)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    parser.add_argument("--data", type=Path, nargs="+", default=(), help="positions to fit, in place of the stand-in")
    given = parser.parse_args()
    main(given.out, data=given.data)
