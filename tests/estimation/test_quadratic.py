"""Steps of quadratic models in boxes, against SciPy's bounded least squares."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import lsq_linear

from physode.estimation.quadratic import Quadratic, pushed


def models(count=40, unknowns=6, seed=0):
    generator = np.random.default_rng(seed)
    design = generator.normal(size=(count, 9, unknowns)) * 10.0 ** generator.uniform(-1, 1, size=(count, 1, unknowns))
    residuals = generator.normal(size=(count, 9))
    low, high = -generator.exponential(size=(2, count, unknowns)) * [[[0.3]], [[-0.3]]]
    low[generator.random(low.shape) < 0.2] = 0.0  # already at an end
    return design, residuals, low, high


def tensors(*arrays):
    return [torch.from_numpy(np.ascontiguousarray(each)) for each in arrays]


def test_steps_are_those_of_bounded_least_squares():
    design, residuals, low, high = models()
    a, r, lows, highs = tensors(design, residuals, low, high)
    model = Quadratic((a.mT @ r.unsqueeze(-1)).squeeze(-1), a.mT @ a)
    none = torch.zeros(len(a), dtype=torch.float64)
    step, fall = model.step(none, torch.zeros_like(lows), lows, highs)
    at_an_end = 0
    for i in range(len(a)):
        best = lsq_linear(design[i], -residuals[i], (low[i] - 1e-300, high[i] + 1e-300), method="bvls", tol=1e-14)
        np.testing.assert_allclose(step[i], best.x, atol=1e-9)
        np.testing.assert_allclose(fall[i], 0.5 * (residuals[i] ** 2).sum() - best.cost, rtol=1e-9)
        at_an_end += int((best.active_mask != 0).sum())
    assert at_an_end > 60


def test_damped_steps_are_those_of_more_rows():
    design, residuals, low, high = models(seed=1)
    a, r, lows, highs = tensors(design, residuals, low, high)
    model = Quadratic((a.mT @ r.unsqueeze(-1)).squeeze(-1), a.mT @ a)
    damping = torch.logspace(-4, 2, len(a), dtype=torch.float64)
    floor = torch.full_like(lows, 3.0)
    step, _ = model.step(damping, floor, lows, highs)
    for i in range(len(a)):
        weights = np.sqrt(float(damping[i]) * np.maximum((design[i] ** 2).sum(0), 3.0))
        rows = np.concatenate([design[i], np.diag(weights)])
        right = np.concatenate([-residuals[i], np.zeros(len(weights))])
        best = lsq_linear(rows, right, (low[i] - 1e-300, high[i] + 1e-300), method="bvls", tol=1e-14)
        np.testing.assert_allclose(step[i], best.x, atol=1e-9)


def test_what_nothing_tells_of_stays_and_nothing_leaves_its_box():
    information = torch.diag_embed(torch.tensor([[4.0, 0.0, torch.nan]], dtype=torch.float64))
    model = Quadratic(torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64), information)
    wide = torch.full((1, 3), 10.0, dtype=torch.float64)
    step, fall = model.step(torch.zeros(1, dtype=torch.float64), torch.zeros_like(wide), -wide, wide)
    assert step.tolist() == [[-0.5, 0.0, 0.0]]
    assert fall.tolist() == [0.5]
    step, _ = model.step(torch.zeros(1, dtype=torch.float64), torch.zeros_like(wide), -0.2 * wide / 10, wide)
    assert step.tolist() == [[-0.2, 0.0, 0.0]]


def test_what_is_pushed_against_its_bound():
    z = torch.tensor([[0.0, 0.0, 1.0, 0.5]], dtype=torch.float64)
    gradient = torch.tensor([[1.0, -1.0, -1.0, -1.0]], dtype=torch.float64)
    low, high = torch.zeros_like(z), torch.ones_like(z)
    assert pushed(z, gradient, low, high).tolist() == [[True, False, True, False]]
    decrement = Quadratic(gradient, torch.eye(4, dtype=torch.float64)[None]).decrement(pushed(z, gradient, low, high))
    assert decrement.tolist() == [2.0]
