"""Batched Levenberg-Marquardt against SciPy's, one problem at a time."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import least_squares

from physode.ensembles.least_squares import CONVERGED, EXHAUSTED, UNSOLVED, Box, Normal, minimise
from physode.ensembles.normal_equations import pairwise_sum, products

TIMES = torch.linspace(0, 3, 20, dtype=torch.float64)
SIGMA = 0.02


def decays(count=12, seed=0):
    """Members y = a exp(-b t) + noise."""
    generator = np.random.default_rng(seed)
    true = generator.uniform(0.5, 2.0, size=(count, 2))
    clean = true[:, :1] * np.exp(-true[:, 1:] * TIMES.numpy())
    return torch.from_numpy(clean + SIGMA * generator.normal(size=clean.shape))


def evaluation(y):
    def evaluate(z, rows):
        a, b = z[:, :1], z[:, 1:]
        shape = torch.exp(-b * TIMES)
        residuals = (a * shape - y[rows]).T / SIGMA
        jacobian = torch.stack([shape, -a * TIMES * shape], -1).transpose(0, 1) / SIGMA
        gradient, matrix = products(jacobian, residuals)
        loss = pairwise_sum(residuals.square())
        return Normal(torch.where(torch.isfinite(loss), loss, torch.inf), gradient, matrix)

    return evaluate


def free(count):
    ends = torch.full((count, 2), torch.inf, dtype=torch.float64)
    return Box(-ends, ends, ends[0])


def counts(y):
    return torch.full((len(y),), float(len(TIMES)), dtype=torch.float64)


def test_minima_are_those_of_scipy():
    y = decays()
    found = minimise(evaluation(y), torch.ones(len(y), 2, dtype=torch.float64), free(len(y)), counts(y))
    assert found.ended.tolist() == [CONVERGED] * len(y)
    for i, row in enumerate(y.numpy()):
        best = least_squares(lambda p: p[0] * np.exp(-p[1] * TIMES.numpy()) - row, [1, 1], xtol=1e-15, ftol=1e-15)  # noqa: B023
        np.testing.assert_allclose(found.z[i], best.x, rtol=1e-7)


def test_minima_inside_of_bounds_are_those_of_scipy():
    y = decays()
    box = free(len(y))
    box.low[:, 0], box.high[:, 0], box.high[:, 1] = 0.8, 1.2, 1.0
    found = minimise(evaluation(y), torch.ones(len(y), 2, dtype=torch.float64), box, counts(y))
    assert found.ended.tolist() == [CONVERGED] * len(y)
    at_an_end = 0
    for i, row in enumerate(y.numpy()):
        best = least_squares(
            lambda p: p[0] * np.exp(-p[1] * TIMES.numpy()) - row,  # noqa: B023
            [1, 0.9], bounds=([0.8, -np.inf], [1.2, 1.0]), xtol=1e-15, ftol=1e-15, gtol=1e-15,
        )  # fmt: skip
        np.testing.assert_allclose(found.z[i], best.x, atol=2e-6)
        at_an_end += int((found.z[i] == box.low[i]).any() or (found.z[i] == box.high[i]).any())
    assert at_an_end > 6


def test_members_that_fail_spoil_nobody():
    y = decays()
    alone = minimise(evaluation(y[:4]), torch.ones(4, 2, dtype=torch.float64), free(4), counts(y[:4]))
    y[5] = torch.nan
    start = torch.ones(len(y), 2, dtype=torch.float64)
    start[6, 1] = -300.0  # overflows
    found = minimise(evaluation(y), start, free(len(y)), counts(y), evaluations=40)
    assert found.ended[5] == UNSOLVED
    assert found.ended[6] == UNSOLVED
    assert torch.equal(found.z[:4], alone.z)
    assert torch.equal(found.evaluations[:4], alone.evaluations)


def test_evaluations_that_are_used_up_are_no_convergence():
    y = decays(3)
    found = minimise(evaluation(y), torch.full((3, 2), 5.0, dtype=torch.float64), free(3), counts(y), evaluations=2)
    assert found.ended.tolist() == [EXHAUSTED] * 3
    assert found.evaluations.tolist() == [2] * 3
