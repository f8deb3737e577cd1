r"""Lynx and hare: predators and prey in the fur trade's books, 1900 to 1920.
=========================================================================

The pelts that the Hudson's Bay Company took in, in thousands, rise and fall with both populations. Lotka and Volterra's
equations are fitted to them with everything unknown: four rates and the numbers of 1900. Three things an ecologist
would do:

- The first guesses come from the data: over a cycle the mean number of prey is gamma / delta and that of predators
  alpha / beta, and small cycles last 2 pi / sqrt(alpha gamma).
- Counts err in proportion: the standard deviation is a share of the fitted (not the counted) number. The share is
  found with the rest: fits are repeated with the last one's numbers and residuals until it stays.
- The cycle's length is known better than any rate: it ties alpha to gamma, one up, the other down. So its error comes
  from draws out of the fit's normal distribution with its correlations, not from the rates' errors one by one.

The standard errors take the equations for the truth and the counts for independent; the hunters' effort, the weather
and what else hares die of are neither. Published fits of these pelts have alpha 0.55, beta 0.028, delta 0.024 to 0.026
and gamma 0.80 to 0.84 a year (Howard 2009; Carpenter 2018, whose errors are a quarter of the numbers)::

    python examples/09_lynx_hare.py --out .                          # a simulated stand-in
    python examples/09_lynx_hare.py --data lynx_hare.csv --out .     # columns year, lynx, hare

From a shell the columns must stand in the order of the state, prey before predators; all numbers then weigh the same::

    awk -F, -v OFS=, '{print $1, $3, $2}' lynx_hare.csv > pelts.csv
    physode fit pelts.csv --system lotka_volterra --positive --schedule shooting --train-until 1920 \
        --init alpha=0.6 --init beta=0.03 --init delta=0.02 --init gamma=0.6
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import physode as po
from physode.datasets import Trajectories, read_csv
from physode.fitting import FitConfig, fit

SHARE = 0.2  # of a number: its standard deviation, at first
ROUNDS = 6
DRAWS = 400
CYCLE = 10.0  # years, as a look at the data tells
TRUTH = {"alpha": 0.55, "beta": 0.028, "delta": 0.026, "gamma": 0.84}  # of the stand-in
NAMES = ("hares", "lynxes")


def read_pelts(path):
    """Return years and pelts, (T, 2): the file's columns, in any order, as prey and predators."""
    table = read_csv(path)
    by_name = {name.lower(): table.y[0, :, index] for index, name in enumerate(table.columns)}
    return table.t, np.stack([by_name["hare"], by_name["lynx"]], -1)


def simulated():
    """Stand-in: years and pelts of a model with 15 % of error."""
    t = np.arange(1900.0, 1921.0)
    with torch.no_grad():
        y0 = torch.tensor([33.0, 6.0], dtype=torch.float64)
        pelts = po.solve(po.rhs.LotkaVolterra(**TRUTH), y0, torch.from_numpy(t)).y.numpy()
    return t, pelts * np.exp(0.15 * np.random.default_rng(2).standard_normal(pelts.shape))


def guesses(pelts):
    """Return rates that have the data's means and a cycle of ten years."""
    rate = 2 * np.pi / CYCLE
    prey, predators = pelts.mean(0)
    return {"alpha": (rate,), "beta": (rate / predators,), "delta": (rate / prey,), "gamma": (rate,)}


def fit_pelts(t, pelts):
    """Return the fit whose standard deviations are a share of its own numbers, and the share."""
    numbers, share, init = pelts, SHARE, guesses(pelts)
    options = {"positive": True, "initial_state": "fit", "train_until": t[-1], "rtol": 1e-7, "atol": 1e-9}
    for number in range(ROUNDS):
        data = Trajectories(
            t=t,
            y=pelts[None],
            sigma=share * numbers[None],
            columns=("prey", "predators"),
            units=("thousands",) * 2,
            attrs={"system": "lotka_volterra", "time_unit": "yr"},
        )
        # The first round may begin far off: segments keep it from a wrong number of cycles.
        stages = {"schedule": "full"} if number else {"schedule": "shooting", "stages": 3}
        found = fit(data, FitConfig(init=init, **stages, **options))
        last, numbers = share, found.predictions.y[0]
        init = {constant.name: (constant.fitted,) for constant in found.report.constants}
        freedom = pelts.size - len(found.report.correlations.names)
        share = float(np.sqrt(np.sum((pelts / numbers - 1) ** 2) / freedom))
        if abs(share - last) < 1e-3:
            break
    return found, share


def draws(report):
    """Draw rates and first numbers from the fit's normal distribution: (DRAWS, 6), those below 0 left out."""
    every = (*report.constants, *report.initial_states)
    mean = np.array([each.fitted for each in every])
    error = np.array([each.standard_error for each in every])
    spread = np.array(report.correlations.rows) * error[:, None] * error
    found = np.random.default_rng(0).multivariate_normal(mean, spread, DRAWS)
    return np.vstack([mean, found[(found > 0).all(1)]])


def curves(drawn, t):
    """Solve one model a row, each with its own steps: (rows, T, 2)."""
    columns = torch.from_numpy(drawn)
    system = po.rhs.LotkaVolterra(*columns[:, :4].unbind(-1))
    with torch.no_grad():
        y = po.solve(system, columns[:, 4:], torch.from_numpy(t), step_control="per-sample").y
    return y.movedim(1, 0).numpy()


def period(system_curves, t, balance):
    """Return a cycle's length: the time between the first two rises of the hares through their balance."""
    above = system_curves[..., 0] > balance[:, None]
    found = []
    for row, level, values in zip(above, balance, system_curves[..., 0], strict=True):
        k = np.flatnonzero(~row[:-1] & row[1:])[:2]
        part = (level - values[k]) / (values[k + 1] - values[k])
        found.append(np.diff(t[k] + part * (t[1] - t[0]))[0] if len(k) == 2 else np.nan)
    return np.array(found)


def draw(out, t, pelts, share, fine, band, fitted):
    """Draw both numbers over the years, and against each other."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", width_ratios=(1.7, 1))
    low, high = np.nanpercentile(band, [2.5, 97.5], axis=0)
    for column, name in enumerate(NAMES):
        colour = f"C{column}"
        left.fill_between(fine, low[:, column], high[:, column], color=colour, alpha=0.2, lw=0)
        left.plot(fine, band[0, :, column], color=colour)
        at = np.interp(t, fine, band[0, :, column])
        left.errorbar(t, pelts[:, column], share * at, fmt="o", ms=4, lw=1, color=colour, label=name)
    left.set(xlabel="year", ylabel="pelts (thousands)", title="Pelts, the fit and its 95 % band", ylim=(0, None))
    left.set_xticks(np.arange(t[0], t[-1] + 1, 5))
    left.legend()
    right.plot(*band[0].T, color="0.4", label="fitted orbit")
    right.plot(*pelts.T, "o-", ms=4, lw=0.5, color="C2", label="pelts, year by year")
    right.plot(fitted["gamma"] / fitted["delta"], fitted["alpha"] / fitted["beta"], "k+", ms=10, label="balance")
    right.set(xlabel="hares (thousands)", ylabel="lynxes (thousands)", title="Phase portrait")
    right.legend(fontsize="small")
    figure.savefig(out / "09_lynx_hare.png", dpi=120)
    plt.close(figure)


def main(out: Path, *, data: Path | None = None) -> dict[str, float]:
    torch.set_num_threads(1)
    t, pelts = simulated() if data is None else read_pelts(data)
    found, share = fit_pelts(t, pelts)
    report = found.report
    for each in (*report.constants, *report.initial_states):
        print(f"{each.name:<14} {each.fitted:8.4f}   95 %: {each.interval[0]:.4f} to {each.interval[1]:.4f}")

    drawn, fine = draws(report), np.arange(t[0], t[0] + 41.0, 0.05)
    models = curves(drawn, fine)
    lengths = period(models, fine, drawn[:, 3] / drawn[:, 2])
    low, high = np.nanpercentile(lengths, [2.5, 97.5])
    print(f"a cycle lasts  {lengths[0]:.2f} years   95 %: {low:.2f} to {high:.2f}")
    print(f"pelts scatter by {100 * share:.0f} % about the model")
    names = [constant.name for constant in report.constants]
    print("correlations   " + "".join(f"{name:>8}" for name in names))
    for name, row in zip(names, report.correlations.rows, strict=False):
        print(f"{name:<15}" + "".join(f"{value:8.2f}" for value in row[: len(names)]))

    fitted = {constant.name: constant.fitted for constant in report.constants}
    inside = fine <= t[-1]
    draw(out, t, pelts, share, fine[inside], models[:, inside], fitted)
    ends = {
        f"{each.name}, {end}": each.interval[i] for each in report.constants for i, end in enumerate(("low", "high"))
    }
    return {**fitted, **ends, "period": float(lengths[0]), "share": share}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    parser.add_argument("--data", type=Path, help="CSV of year, lynx, hare, in place of the stand-in")
    given = parser.parse_args()
    main(given.out, data=given.data)
