"""Sums and small systems against NumPy's, and against themselves in other company."""

from __future__ import annotations

import numpy as np
import torch

from physode.ensembles.normal_equations import Cholesky, pairwise_sum, products


def problems(count=40, rows=17, unknowns=5, seed=0):
    generator = np.random.default_rng(seed)
    jacobian = generator.normal(size=(rows, count, unknowns)) * 10.0 ** generator.uniform(-3, 3, size=unknowns)
    return torch.from_numpy(jacobian), torch.from_numpy(generator.normal(size=(rows, count)))


def test_sums_are_those_of_numpy_and_know_nothing_of_zeros_behind_them():
    jacobian, residuals = problems()
    np.testing.assert_allclose(pairwise_sum(residuals), residuals.numpy().sum(0), rtol=1e-13)
    longer = torch.cat([residuals, torch.zeros(30, 40, dtype=torch.float64)])
    assert torch.equal(pairwise_sum(longer), pairwise_sum(residuals))
    assert torch.equal(pairwise_sum(residuals[:0]), torch.zeros(40, dtype=torch.float64))
    gradient, matrix = products(jacobian, residuals)
    np.testing.assert_allclose(gradient, np.einsum("msp,ms->sp", jacobian, residuals), rtol=1e-11)
    np.testing.assert_allclose(matrix, np.einsum("msp,msq->spq", jacobian, jacobian), rtol=1e-9, atol=1e-9)


def test_solutions_decrements_and_inverses_are_those_of_numpy():
    gradient, matrix = products(*problems())
    factor = Cholesky.of(matrix, torch.zeros_like(gradient, dtype=torch.bool))
    inverse = np.linalg.inv(matrix)
    step = np.einsum("spq,sq->sp", inverse, gradient)
    np.testing.assert_allclose(factor.solve(gradient), step, rtol=1e-8)
    np.testing.assert_allclose(factor.decrement(gradient), (gradient.numpy() * step).sum(1), rtol=1e-8)
    np.testing.assert_allclose(factor.inverse_diagonal(), np.diagonal(inverse, axis1=1, axis2=2), rtol=1e-8)


def test_damping_adds_to_the_diagonal_and_what_is_held_is_left_out():
    gradient, matrix = products(*problems(unknowns=3))
    held = torch.tensor([[False, True, False]]).expand_as(gradient)
    damping = torch.linspace(0, 2, len(gradient), dtype=torch.float64)
    step = Cholesky.of(matrix, held, damping).solve(gradient)
    assert bool((step[:, 1] == 0).all())
    keep = [0, 2]
    small = matrix.numpy()[:, keep][:, :, keep]
    damped = small + damping.numpy()[:, None, None] * np.stack([np.diag(np.diag(own)) for own in small])
    np.testing.assert_allclose(
        step[:, keep], np.linalg.solve(damped, gradient.numpy()[:, keep, None])[..., 0], rtol=1e-8
    )


def test_no_member_owes_a_bit_to_its_company():
    jacobian, residuals = problems()
    order = torch.from_numpy(np.random.default_rng(1).permutation(40))

    def solved(rows):
        gradient, matrix = products(jacobian[:, rows], residuals[:, rows])
        factor = Cholesky.of(matrix, torch.zeros_like(gradient, dtype=torch.bool))
        return torch.cat([factor.solve(gradient), factor.inverse_diagonal()], 1)

    whole = solved(torch.arange(40))
    assert torch.equal(solved(order), whole[order])
    for i in (0, 7, 39):
        assert torch.equal(solved(torch.tensor([i])), whole[i : i + 1])


def test_what_nothing_tells_of_is_left_alone():
    matrix = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    factor = Cholesky.of(matrix, torch.zeros(1, 2, dtype=torch.bool))
    assert factor.solve(torch.tensor([[8.0, 3.0]], dtype=torch.float64)).tolist() == [[2.0, 0.0]]
