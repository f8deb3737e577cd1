"""Searches from many starts: which have met, and how those that have are finished."""

from __future__ import annotations

import numpy as np
import torch

from physode.estimation.fit import fit
from physode.estimation.meeting import representatives
from physode.estimation.scoring import Point, minimise

F64 = torch.float64


def test_ends_within_a_standard_error_of_each_unknown_have_met():
    z = torch.tensor([[0.0, 0.0], [0.1, 0.1], [3.0, 0.0], [3.0, 0.1]], dtype=F64)
    loss = torch.tensor([1.2, 1.0, 1.5, 1.4], dtype=F64)
    information = torch.eye(2, dtype=F64).expand(4, 2, 2)
    assert representatives(z, loss, information).tolist() == [1, 1, 3, 3]
    assert representatives(z, loss, 1e-2 * information).tolist() == [1, 1, 1, 1]


def test_an_end_where_an_unknown_says_nothing_stands_for_no_other():
    z = torch.tensor([[0.0, 9.0], [0.0, 0.0]], dtype=F64)
    information = torch.stack([torch.diag(torch.tensor([1.0, 0.0])), torch.eye(2)]).to(F64)
    assert representatives(z, torch.tensor([1.0, 1.1], dtype=F64), information).tolist() == [0, 1]


def test_starts_that_met_are_finished_together():
    t = np.linspace(0.0, 5.0, 30)
    y = 2.0 * np.exp(-0.7 * t) + 0.02 * np.random.default_rng(0).normal(size=30)
    found = fit(lambda t, x, k: -k * x, {"t": t, "y": y}, constants={"k": 1.0}, starts=6)
    assert found.met == 6
    assert found.minima.converged == (True,) * 6
    assert bool((found.minima.z == found.minima.z[0]).all())
    alone = fit(lambda t, x, k: -k * x, {"t": t, "y": y}, constants={"k": 1.0}, starts=1)
    assert abs(found["k"].value - alone["k"].value) < 1e-4 * alone["k"].error


def test_light_damping_does_not_creep_along_what_is_hardly_determined():
    stiff = torch.tensor([[1.0, 1.0 - 1e-7], [1.0 - 1e-7, 1.0]], dtype=F64)

    def bowl(z):
        slope = z @ stiff
        return Point(0.5 * (z * slope).sum(1), slope, stiff.expand(len(z), 2, 2))

    start, ends = torch.tensor([[1e3, -1e3]], dtype=F64), torch.full((2,), torch.inf, dtype=F64)
    usual, light = (minimise(bowl, start, -ends, ends, damping=damping) for damping in (1e-3, 1e-9))
    assert light.iterations[0] < usual.iterations[0]
    assert float(light.loss[0]) < 1e-8
