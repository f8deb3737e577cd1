"""Coefficients meet the order conditions of rooted trees, to rounding."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from physode.solvers.implicit.radau5 import RADAU5
from physode.solvers.implicit.rosenbrock import RODAS5P
from physode.solvers.implicit.tableaus import FIXED, KENCARP5, KVAERNO3
from tests.solvers.rooted_trees import density, square, trees

RUNGE_KUTTA = [*FIXED, KVAERNO3, KENCARP5, RADAU5]


def stages(tree, alpha, beta):
    """Hairer & Wanner II, Theorem IV.7.4: beta leads to an only son, alpha to each of several."""
    to_son = beta if len(tree) == 1 else alpha
    return prod((to_son @ stages(son, alpha, beta) for son in tree), start=np.ones(len(alpha)))


def residuals(weights, alpha, beta, order):
    """What is left of the conditions up to an order."""
    every = [tree for size in range(1, order + 1) for tree in trees(size)]
    return [weights @ stages(tree, alpha, beta) - 1 / density(tree) for tree in every]


def published(method):
    """alpha, Gamma, b and the embedded weights of a Rosenbrock method, transformed back (Eq. IV.7.25)."""
    gamma = np.linalg.inv(np.eye(method.stages) / method.gamma - square(method.big_c))
    b, error = (np.array(weights) @ gamma for weights in (method.m, method.error))
    return square(method.a) @ gamma, gamma, b, b - error


def test_rodas5p_has_order_5_and_an_embedded_method_of_order_4():
    alpha, gamma, b, embedded = published(RODAS5P)
    assert np.abs(residuals(b, alpha, alpha + gamma, 5)).max() < 1e-12
    assert np.abs(residuals(embedded, alpha, alpha + gamma, 4)).max() < 1e-12
    assert np.abs(residuals(embedded, alpha, alpha + gamma, 5)).max() > 1e-5


def test_rodas5p_s_nodes_and_weights_of_df_dt_are_the_sums_of_its_rows():
    alpha, gamma, _, _ = published(RODAS5P)
    assert np.allclose(alpha.sum(1), RODAS5P.c, rtol=0, atol=1e-12)
    assert np.allclose(gamma.sum(1), RODAS5P.d, rtol=0, atol=1e-12)
    assert np.allclose(np.diag(gamma), RODAS5P.gamma, rtol=0, atol=1e-14)


def test_rodas5p_is_stiffly_accurate():
    """Its last stage is the solution: b_i = alpha_si + gamma_si, so that the stability function vanishes far out."""
    alpha, gamma, b, embedded = published(RODAS5P)
    assert np.allclose(b, alpha[-1] + gamma[-1], rtol=0, atol=1e-12)
    assert np.allclose(embedded, alpha[-2] + gamma[-2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", RUNGE_KUTTA, ids=lambda method: method.name)
def test_runge_kutta_methods_have_the_orders_that_they_name(method):
    a, b = square(method.a), np.array(method.b)
    order = min(method.order, 5)
    assert np.abs(residuals(b, a, a, order)).max() < 1e-12
    if method.order < 5:
        assert np.abs(residuals(b, a, a, order + 1)).max() > 1e-5
    if method.b_error:
        assert np.abs(residuals(b - np.array(method.b_error), a, a, method.error_order)).max() < 1e-12


def test_radau5_s_error_estimate_is_that_of_a_method_of_order_3():
    """Its embedded method uses the derivative at the step's start as one stage more."""
    a = np.zeros((4, 4))
    a[1:, 1:] = square(RADAU5.a)
    b = np.array([0.0, *RADAU5.b])
    difference = np.array([RADAU5.gamma_error, *(np.array(RADAU5.e) @ square(RADAU5.a))])
    assert np.abs(residuals(b + difference, a, a, 3)).max() < 1e-12
    assert np.abs(residuals(b + difference, a, a, 4)).max() > 1e-3
    eigenvalues = np.linalg.eigvals(np.linalg.inv(square(RADAU5.a)))
    assert np.min(np.abs(eigenvalues - 1 / RADAU5.gamma_error)) < 1e-12
