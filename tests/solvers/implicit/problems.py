"""Right-hand sides that tests of methods share."""

from __future__ import annotations

import torch

from physode.solvers.methods import METHODS

ADAPTIVE = ["kvaerno3", "kencarp5", "radau5", "rodas5p"]
FIXED = [
    "implicit_euler", "implicit_midpoint", "trapezoid", "sdirk2", "trbdf2", "radauIIA3", "radauIIA5", "gl4", "gl6",
]  # fmt: skip
ALL = ADAPTIVE + FIXED
assert set(ALL) <= set(METHODS)


class Logarithmic:
    """dy1/dt = 2 t y1 log y2, dy2/dt = -2 t y2 log y1; solved by exp(sin t^2), exp(cos t^2)."""

    span = (0.0, 1.5)

    def __call__(self, t, y):
        a, b = y.unbind(-1)
        return torch.stack([2 * t * a * torch.log(b), -2 * t * b * torch.log(a)], -1)

    def exact(self, t):
        return torch.stack([torch.exp(torch.sin(t * t)), torch.exp(torch.cos(t * t))], -1)


def driven(t, y, mu):
    """Van der Pol's oscillator, driven; for shared and for per-sample steps."""
    a, b = y[..., :1], y[..., 1:]
    return torch.cat([b, mu * (1 - a**2) * b - a + torch.sin(3 * t)], -1)


def robertson(t, y):
    a, b, c = y.unbind(-1)
    slow, fastest, fast = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return torch.stack([fast - slow, slow - fast - fastest, fastest], -1)
