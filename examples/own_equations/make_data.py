"""Make the tables beside the model files: a driven oscillator, a drug in twelve subjects, an epidemic, two reactions.

And the Sun with a planet of Jupiter's mass, whose equations physode has (docs/fitting.md).

    python examples/own_equations/make_data.py
    physode fit examples/own_equations/swing.csv --model examples/own_equations/swing.toml

With ``--pendulum real_double_pend_h_1.txt`` it converts the filmed double pendulum of Schmidt and Lipson (2009): its
first swing, two angles in radians.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

HERE = Path(__file__).parent


def swing(rng: np.random.Generator) -> str:
    """A damped oscillator, driven; its velocity is not observed."""
    t = np.linspace(0, 25, 126)
    path = solve_ivp(
        lambda t, y: [y[1], -2 * y[0] - 0.3 * y[1] + np.cos(1.2 * t)], (0, 25), [1, 0], t_eval=t, rtol=1e-10, atol=1e-12
    )
    x = path.y[0] + 0.02 * rng.normal(size=len(t))
    return "time [s],x [m]\n" + "".join(f"{a:.3f},{b:.5f}\n" for a, b in zip(t, x, strict=True))


def dose(rng: np.random.Generator) -> str:
    """A drug swallowed by twelve subjects: rates are shared, each has a volume and a dose of its own."""
    t, ka, ke = np.array([0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24]), 1.4, 0.12
    rows = []
    for subject in range(1, 13):
        volume, mass = 30 * np.exp(0.25 * rng.normal()), 320 * (0.9 + 0.2 * rng.random())
        c = mass / volume * ka / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t)) * (1 + 0.08 * rng.normal(size=len(t)))
        rows += [f"{subject},{mass:.1f},{a},{b:.4f}" for a, b in zip(t, c, strict=True)]
    return "\n".join(["subject,dose [mg],time [h],concentration [mg/L]", *rows, ""])


def epidemic(rng: np.random.Generator) -> str:
    """An epidemic among 50,000, of which the infected are counted every other day."""
    days, n = np.arange(0, 80, 2), 50_000
    path = solve_ivp(
        lambda t, y: [-0.45 * y[0] * y[1] / n, 0.45 * y[0] * y[1] / n - 0.18 * y[1]],
        (0, 80), [n - 12, 12], t_eval=days, rtol=1e-10,
    )  # fmt: skip
    begin = dt.date(2020, 3, 1)
    rows = zip(days.tolist(), rng.poisson(path.y[1]), strict=True)
    return "date,infected\n" + "".join(f"{begin + dt.timedelta(days=d)},{count}\n" for d, count in rows)


def kinetics(rng: np.random.Generator) -> str:
    """Two reactions in a row, seen as a sum of two substances on an unknown scale; decimal commas."""
    t, k1, k2 = np.linspace(0, 40, 81), 0.35, 0.09
    a, b = np.exp(-k1 * t), k1 / (k2 - k1) * (np.exp(-k1 * t) - np.exp(-k2 * t))
    signal = 2.7 * (b + 0.3 * (1 - a - b)) + 0.01 * rng.normal(size=len(t))
    rows = [f"{x:.2f};{y:.5f}\n".replace(".", ",") for x, y in zip(t, signal, strict=True)]
    return "time [min];signal\n" + "".join(rows)


def orbits(rng: np.random.Generator) -> str:
    """The Sun and a planet about their centre of mass, in AU and years, measured to 1e-5 AU; a row a body and time."""
    t, planet = np.linspace(0, 12, 61), 0.00095458
    gravitation = (365.25 * 0.01720209895) ** 2  # by the constant of Gauss, as Horizons has it
    speed = np.sqrt(gravitation * (1 + planet) * (2 / 5.195 - 1 / 5.2026))
    path = solve_ivp(
        lambda t, y: [*y[3:], *(-gravitation * (1 + planet) * y[:3] / np.linalg.norm(y[:3]) ** 3)],
        (0, 12), [5.195, 0, 0, 0, speed, 0.02], t_eval=t, rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    rows = []
    for time, apart in zip(t, path.y[:3].T, strict=True):
        for body, place in (("Sun", -planet * apart / (1 + planet)), ("Jupiter", apart / (1 + planet))):
            x, y, z = place + 1e-5 * rng.normal(size=3)
            rows.append(f"{time:.1f},{body},{x:.6f},{y:.6f},{z:.6f}\n")
    return "time [yr],body,x [AU],y [AU],z [AU]\n" + "".join(rows)


def pendulum(path: Path) -> str:
    """The first swing of the double pendulum that was filmed."""
    rows = np.loadtxt(path, comments="%")
    rows = rows[rows[:, 0] == 0][:, 1:4]
    return "time [s],upper [rad],lower [rad]\n" + "".join(f"{t:.6f},{a:.6f},{b:.6f}\n" for t, a, b in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder that the tables go into")
    parser.add_argument("--pendulum", type=Path, help="real_double_pend_h_1.txt")
    arguments = parser.parse_args()
    for i, make in enumerate((swing, dose, epidemic, kinetics, orbits)):
        (arguments.out / f"{make.__name__}.csv").write_text(make(np.random.default_rng(i)), encoding="utf-8")
    if arguments.pendulum is not None:
        text = pendulum(arguments.pendulum)
        (arguments.out / "double_pendulum.csv").write_text(text, encoding="utf-8")
