"""Constants that nothing depends on, found by derivatives at a few points before any long work."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.problem import Estimation

_POINTS = 6
_SPREAD = 0.3  # of a guess, by which points lie about it


def check_influence(estimation: Estimation) -> None:
    """Refuse a free constant of a function or a module that neither its values nor what is observed depend on.

    Derivatives of the right-hand side and of all observables are taken at the guess and at points about it: where each
    of them is 0, or that of every element of an array is, the data cannot say anything of the constant. Initial states
    are left out: that of a state that nothing else depends on is not determined, and said to be so.

    Parameters
    ----------
    estimation
        Without inputs.

    Raises
    ------
    ConfigError
        If there is one.
    """
    model = estimation.model
    free = {_base(unknown.name) for unknown in estimation.free}
    guesses = {unknown.name: unknown.guess for unknown in estimation.unknowns}
    entries = {**dict(zip(model.constants, model.values, strict=True)), **estimation.experiments[0].constants}
    p = torch.tensor([_number(entries[name], guesses) for name in model.constants], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(_POINTS, len(p), generator=generator, dtype=torch.float64)
    points = (p + _SPREAD * factors * torch.where(p == 0.0, 1.0, p.abs())).index_copy(0, torch.tensor([0]), p[None])
    with torch.no_grad():
        x = model.initial(points)
    x = x + _SPREAD * torch.randn(x.shape, generator=generator, dtype=torch.float64) * (1.0 + x.abs())
    seen = _influences(estimation, points, x)
    named = np.array([_base(name) for name in model.constants])
    for base in dict.fromkeys(named.tolist()):
        if base in free and "(" not in base and not bool(seen[named == base].any()):
            raise ConfigError(
                f"nothing depends on the constant {base!r}: derivatives by it are 0 wherever they were tried; leave it "
                "out, or keep it fixed"
            )


def _influences(estimation: Estimation, points: Tensor, x: Tensor) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which constants the right-hand side or an observable depends on somewhere, (K,)."""
    data, model = estimation.measurements, estimation.model
    times = torch.linspace(float(data.times.min()), float(data.times.max()), len(points), dtype=torch.float64)
    width = max((len(row) for row in data.own), default=0)
    u, q = x.new_zeros(len(points), 0), x.new_ones(len(points), width)
    with torch.enable_grad():
        row = points.clone().requires_grad_()
        outputs = [model.rhs(times, x, row, u)]
        for observable in estimation.observables:
            parts = [observable.value] if observable.spread is None else [observable.value, observable.spread]
            outputs += [part(times, x, row, u, q) for part in parts]
        seen = torch.zeros(points.shape[1], dtype=torch.bool)
        for output in outputs:
            for column in output.reshape(len(points), -1).unbind(1):
                if column.requires_grad:
                    (slopes,) = torch.autograd.grad(column.sum(), row, retain_graph=True, materialize_grads=True)
                    seen |= (slopes != 0.0).any(0)  # so is NaN
    return seen.numpy()


def _base(name: str) -> str:
    return name.partition("[")[0]


def _number(entry: object, guesses: dict[str, float]) -> float:
    return guesses[entry] if isinstance(entry, str) else float(entry) if isinstance(entry, (int, float)) else 1.0
