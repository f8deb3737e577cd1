"""The cases, one a file: each has ``run(settings)``, which returns a :class:`~benchmarks.report.Report`."""

from __future__ import annotations

__all__ = ["CASES"]

CASES = {
    "three_body": "three bodies, 1000 outputs, B from 1 to 10,000, single and double precision",
    "vdp_spread": "van der Pol, a thousand samples of very different stiffness",
    "mlp": "a neural right-hand side, D = 2 and 64",
    "lorenz": "Lorenz, a thousand and a hundred thousand samples",
    "stiff_spread": "stiff reactions, a thousand samples with rates of their own",
    "conv": "an image-sized block of convolutions with batch norm",
    "irregular": "latent states at times of their own",
    "latent_ode": "training updates of a Latent-ODE, at common times and at times of each series' own",
    "events": "ten thousand bouncing balls: times of bounces and their gradients",
    "memory": "peak memory against the number of steps",
    "scaling": "time against steps, batch and state size",
    "stiff": "stiff problems, work against precision",
    "hamiltonian": "energies over a thousand thin orbits, close encounters, a closed orbit",
    "coverage": "how often 95 % intervals and bands of fits contain the truth",
    "compile_time": "compiling: the first solve with an empty cache and with a warm one",
    "fit_process": "a fit as a whole process",
    "must_show": "the ratios asked for, and those seen",
}
"""The cases' names and what they are."""
