"""A batch whose samples go their own ways.
========================================

Van der Pol oscillators from gentle to violent, solved together. With shared steps the most violent one sets the pace
for all; with per-sample steps each has its own clock, step size and status. Then one sample starts from NaN: it is
named, and the others' results do not change by a single bit. ::

    python examples/03_batches_per_sample.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po
from physode.rhs import VanDerPol

POISONED = 2


def main(out: Path) -> dict[str, float]:
    mu = torch.logspace(-1, 1.5, 6, dtype=torch.float64)
    y0 = torch.tensor([[2.0, 0.0]], dtype=torch.float64).expand(len(mu), 2)
    t = torch.linspace(0.0, 30.0, 601, dtype=torch.float64)
    tolerances = {"rtol": 1e-6, "atol": 1e-8}

    shared = po.solve(VanDerPol(mu), y0, t, **tolerances)
    own = po.solve(VanDerPol(mu), y0, t, step_control="per-sample", **tolerances)
    print(f"shared steps: {int(shared.stats.accepted)} for every sample")
    for strength, accepted, rejected in zip(mu, own.stats.accepted, own.stats.rejected, strict=True):
        print(f"  mu = {strength:6.2f}: {int(accepted):5d} steps of its own, {int(rejected):4d} rejected")

    poison = y0.clone()
    poison[POISONED] = torch.nan
    hurt = po.solve(VanDerPol(mu), poison, t, step_control="per-sample", throw=False, **tolerances)
    for sample, (status, time) in hurt.failures.items():
        print(f"sample {sample} stopped at t = {time:g}: {status.name}")
    others = [i for i in range(len(mu)) if i != POISONED]
    unchanged = torch.equal(hurt.y[:, others], own.y[:, others])
    print(f"the others are the same, bit for bit: {unchanged}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for i in (0, 3, 5):
        left.plot(t, own.y[:, i, 0], label=f"$\\mu$ = {mu[i]:.2g}")
    left.set(xlabel="t", ylabel="$y_1$", title="Gentle to violent")
    left.legend()
    right.loglog(mu, own.stats.accepted, "o-", label="per-sample steps")
    right.axhline(float(shared.stats.accepted), color="C1", label="shared steps, each sample")
    right.set(xlabel=r"$\mu$", ylabel="accepted steps", title="Work")
    right.legend()
    figure.savefig(out / "03_batches_per_sample.png", dpi=120)
    plt.close(figure)
    return {
        "shared steps": float(shared.stats.accepted),
        "fewest steps": float(own.stats.accepted.min()),
        "most steps": float(own.stats.accepted.max()),
        "failed sample": float(next(iter(hurt.failures))),
        "others unchanged": float(unchanged),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
