r"""A problem simulated at its nominal parameters: what its observables should have been, and how probable that was.

Of measurements m with simulations g and spreads s, both logarithms where the noise is logarithmic,

.. math:: \chi^2 = \sum_i \frac{(m_i - g_i)^2}{s_i^2} .
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physode.errors import SolveError
from physode.estimation.likelihood import Facing, predict
from physode.estimation.problem import Estimation
from physode.estimation.simulation import Simulator, SolverOptions
from physode.petab.read import read_problem

TIGHT = SolverOptions(method="rodas5p", rtol=1e-8, atol=1e-12)


@dataclass(frozen=True)
class Simulated:
    """A problem at its nominal parameters.

    Attributes
    ----------
    estimation
        What was read.
    values
        The observables, (n,), in the order of the measurement table's rows.
    log_likelihood
        Of the measurements; priors do not count.
    chi_square
        The sum of squared residuals, each over its spread.
    """

    estimation: Estimation
    values: NDArray[np.float64]
    log_likelihood: float
    chi_square: float


def simulate_problem(path: Path | str, options: SolverOptions = TIGHT) -> Simulated:
    """Simulate a problem at its nominal parameters, those that are estimated and those that are not.

    Parameters
    ----------
    path
        Its YAML file.
    options
        How experiments are solved.

    Raises
    ------
    ConfigError, DataError
        As of :func:`~physode.petab.read_problem`.
    SolveError
        If the model cannot be solved there, or a measurement has no probability.
    """
    estimation = read_problem(path)
    nominal = torch.tensor([[unknown.guess for unknown in estimation.unknowns]], dtype=torch.float64)
    simulator, facing = Simulator(estimation, options), Facing.of(estimation)
    with torch.no_grad():
        likelihood = facing.compare(predict(estimation, simulator.run(nominal), 1))
    values, residuals = likelihood.prediction.values[0].numpy(), likelihood.residuals[0].numpy()
    if not np.isfinite(values).all():
        _refuse(path, estimation, int(np.flatnonzero(~np.isfinite(values))[0]), "cannot be simulated")
    if not bool(torch.isfinite(likelihood.loss[0])):
        strange = ~np.isfinite(residuals) | ~(likelihood.spreads[0].numpy() > 0)
        _refuse(path, estimation, int(np.flatnonzero(strange)[0]), "has no likelihood")
    return Simulated(estimation, values, -float(likelihood.loss[0]), float(np.square(residuals).sum()))


def _refuse(path: Path | str, estimation: Estimation, row: int, what: str) -> None:
    """Raise an error that names a measurement."""
    data = estimation.measurements
    observable = estimation.observables[data.observable[row]].name
    experiment = estimation.experiments[data.experiment[row]].name
    raise SolveError(
        f"{path}: at the nominal parameters {observable} at time {data.times[row]:g} of {experiment} {what}; "
        "change these, or the tolerances"
    )
