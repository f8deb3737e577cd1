"""Three ways to the gradient of one solve: ACA, the adjoint method, and the naive one, step sizes and all.
========================================================================================================

The question: how does the end of a van der Pol trajectory depend on its start? The exact answer comes from a solve at
the tightest tolerance. At each looser tolerance all three methods take the same forward steps; they differ in how they
go back. The adjoint method integrates the state back along a limit cycle that repels it, and may not arrive at all; ACA
reads it from its record. The naive method of the papers differentiates the choice of step sizes, too ("naive", without
"-steps", takes them as constants and agrees with ACA)::

    python examples/04_gradient_methods.py --out .
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import physode as po
from physode.errors import SolveError

METHODS = ("aca", "adjoint", "naive-steps")
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def gradient_by(gradient: str, tolerance: float, *, method: str = "dopri5") -> tuple[torch.Tensor, po.Solution]:
    system = po.rhs.VanDerPol.from_preset("aca")
    y0 = torch.tensor([2.0, 0.0], dtype=torch.float64, requires_grad=True)
    sol = po.solve(system, y0, [0.0, 10.0], method=method, rtol=tolerance, atol=1e-3 * tolerance, gradient=gradient)
    (found,) = torch.autograd.grad(sol.y[-1, 0], y0)
    return found, sol


def main(out: Path) -> dict[str, float]:
    exact, _ = gradient_by("aca", 1e-12, method="dopri8")
    errors: dict[str, list[float]] = {method: [] for method in METHODS}
    print("tolerance  method        relative error   evaluations forward / back")
    for tolerance in TOLERANCES:
        for method in METHODS:
            try:
                found, sol = gradient_by(method, tolerance)
            except SolveError as error:
                errors[method].append(math.inf)
                print(f"{tolerance:9.0e}  {method:11s} {str(error).partition(':')[0]}")
                continue
            errors[method].append(float((found - exact).norm() / exact.norm()))
            counts = f"{sol.stats.rhs_forward:6d} / {sol.stats.rhs_backward}"
            print(f"{tolerance:9.0e}  {method:11s} {errors[method][-1]:13.2e}   {counts}")

    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    for method in METHODS:
        axes.loglog(TOLERANCES, errors[method], "o-", label=method)
    axes.invert_xaxis()
    axes.set(xlabel="relative tolerance", ylabel="relative error of the gradient", title="$dy_1(10) / dy(0)$")
    axes.legend()
    figure.savefig(out / "04_gradient_methods.png", dpi=120)
    plt.close(figure)
    return {
        **{f"{method} at 1e-5": errors[method][2] for method in METHODS},
        **{f"{method} at 1e-8": errors[method][-1] for method in METHODS},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
