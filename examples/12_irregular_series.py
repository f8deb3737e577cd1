"""An oscillator seen now and then: a Latent-ODE learns its motion from gaps, noise and halves of measurements.
============================================================================================================

Two hundred runs of van der Pol's oscillator, each from a state of its own, are measured at forty random times with an
error of 0.1. No measurement is whole: each is of the position or of the velocity, never of both. No two runs share a
time, nothing is put on a grid, nothing is filled in.

The model is told nothing of the equation. An encoder reads a run's measurements backwards in time and guesses a latent
initial state; a learnt differential equation carries it on; a linear map reads position and velocity from it. Training
hides half of each run's measurements, others in every epoch, and asks for all.

Then the model is asked about runs that it has not seen: for the whole path from all measurements (interpolation), and,
told the first half only, for the second (extrapolation). The truth is known here, free of noise, and the misses are
root mean squares of the distance from it. Who always says the mean of all runs misses by their spread, some 1.5.

Paths drawn from the prior are what the model takes for typical runs before it has seen a single measurement. ::

    python examples/12_irregular_series.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import physode as po

NOISE, END, POINTS, UNSEEN = 0.1, 8.0, 40, 40
CHANNELS = ("position", "velocity")
SETTINGS = {
    "latent": 6,
    "units": (50,),
    "hidden": 32,
    "encoder_units": (32,),
    "sigma": 0.2,
    "lr": 0.03,
    "batch": 25,
    "test_fraction": 0.1,
}
SHOWN = np.linspace(0.0, END, 161)


def paths(y0, t):
    """Return states (N, K, 2) of the oscillator from states (N, 2) at time 0, each at times (N, K) of its own."""
    clocks = torch.from_numpy(np.concatenate([np.zeros((len(t), 1)), t], axis=1).T)
    solution = po.solve(po.rhs.VanDerPol(mu=1.0), torch.from_numpy(y0), clocks, step_control="per-sample")
    return solution.y[1:].numpy().transpose(1, 0, 2)


def measure(count, rng):
    """Return initial states, times, measurements with NaN where there is none, and the true states at these times."""
    y0 = rng.uniform(-3.0, 3.0, (count, 2))
    t = np.sort(rng.uniform(0.0, END, (count, POINTS)), axis=1)
    true = paths(y0, t)
    seen = rng.random((count, POINTS, 1)) < 0.5
    measured = true + NOISE * rng.standard_normal(true.shape)
    return y0, t, np.where(np.concatenate([seen, ~seen], axis=2), measured, np.nan), true


def miss(found, true, where):
    """Return the root mean square distance of a forecast's mean from the truth, over chosen times (N, K)."""
    return float(np.sqrt(np.square(found.mean - true)[where].mean()))


def draw(model, unseen, figure):
    """Draw two unseen runs, told whole and told half, and paths from the prior."""
    y0, t, measured, _ = unseen
    early = np.where(t[..., None] < END / 2, measured, np.nan)
    truth = paths(y0[:2], np.tile(SHOWN[1:], (2, 1)))
    panels = figure.subplots(2, 3, sharex=True)
    for column, (given, title) in enumerate(((measured, "Interpolation"), (early, "Extrapolation"))):
        found = model.interpolate(t[:2], given[:2], at=SHOWN)
        for channel, axes in enumerate(panels[:, column]):
            mean, std = found.mean[column, :, channel], found.std[column, :, channel]
            axes.fill_between(SHOWN, mean - 1.96 * std, mean + 1.96 * std, color="C0", alpha=0.2, lw=0, label="95 %")
            axes.plot(SHOWN, mean, color="C0", label="Latent-ODE")
            axes.plot(SHOWN[1:], truth[column, :, channel], color="0.3", lw=1, ls="--", label="truth")
            axes.plot(t[column], measured[column, :, channel], "o", ms=4, mfc="white", color="0.5", label="not told")
            axes.plot(t[column], given[column, :, channel], "o", ms=4, color="k", label="told")
            axes.set(ylabel=CHANNELS[channel], title=f"{title}, a run never seen" if channel == 0 else "")
    for path in model.sample(6, at=SHOWN):
        for channel, axes in enumerate(panels[:, 2]):
            axes.plot(SHOWN, path[:, channel], lw=1.2)
    panels[0, 2].set_title("Drawn from the prior")
    for axes in panels[1]:
        axes.set(xlabel="time")
    for axes in panels[:, 1]:
        axes.axvline(END / 2, color="0.6", ls=":")
    figure.legend(*panels[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=5)


def main(out: Path, *, count: int = 200, epochs: int = 100) -> dict[str, float]:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    _, t, measured, _ = measure(count, rng)
    unseen = measure(UNSEEN, rng)
    model = po.series.fit(t, measured, channels=CHANNELS, epochs=epochs, **SETTINGS)

    _, t, measured, true = unseen
    late = t >= END / 2
    whole = model.interpolate(t, measured, at=t)
    half = model.interpolate(t, np.where(late[..., None], np.nan, measured), at=t)
    inside = np.abs(measured - whole.mean) < 1.96 * whole.std
    figures = {
        "spread": float(true.std()),
        "interpolation": miss(whole, true, np.ones_like(late)),
        "extrapolation": miss(half, true, late),
        "inside the band": float(inside[np.isfinite(measured)].mean()),
    }
    print(f"{count} runs of {POINTS} half measurements, {epochs} epochs; {UNSEEN} runs never seen")
    print(f"  spread of the runs                   {figures['spread']:.3f}")
    print(f"  miss, all measurements told          {figures['interpolation']:.3f}")
    print(f"  miss in the half that was not told   {figures['extrapolation']:.3f}")
    print(f"  measurements in the 95 % band        {100 * figures['inside the band']:.0f} %")

    figure = plt.figure(figsize=(13, 6), layout="constrained")
    draw(model, unseen, figure)
    figure.savefig(out / "12_irregular_series.png", dpi=120)
    plt.close(figure)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
