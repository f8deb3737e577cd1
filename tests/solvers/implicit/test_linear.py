"""Linear systems that are differentiated as such."""

from __future__ import annotations

import pytest
import torch

from physode.solvers.implicit.linear import factor, shifted

pytestmark = pytest.mark.usefixtures("float64")


def given():
    generator = torch.Generator().manual_seed(5)
    matrix = torch.eye(3) + 0.3 * torch.randn(2, 3, 3, generator=generator)
    return matrix.requires_grad_(), torch.randn(2, 3, generator=generator).requires_grad_()


def solved(matrix, b):
    return factor(matrix).solve(b)


def test_solutions_are_those_of_torch():
    matrix, b = given()
    expected = torch.linalg.solve(matrix, b.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(solved(matrix, b), expected, rtol=1e-12)
    with torch.no_grad():
        assert torch.equal(solved(matrix, b), solved(*given()))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's forward mode scripts its own formulas
def test_derivatives_of_both_orders_and_both_directions_are_right():
    assert torch.autograd.gradcheck(solved, given(), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(solved, given())


def test_a_vmap_within_a_vmap_pulls_back_rightly():
    """torch.linalg.lu_solve does not, in torch 2.13."""
    matrix, b = (part.detach() for part in given())
    stacked = torch.stack([matrix, 2 * matrix, matrix.mT]), torch.stack([b, b + 1, -b])
    jacobians = torch.func.jacrev(solved, (0, 1))
    found = torch.func.vmap(jacobians)(*stacked)
    expected = [jacobians(*parts) for parts in zip(*stacked, strict=True)]
    for i, pair in enumerate(expected):
        for j in range(2):
            assert torch.allclose(found[j][i], pair[j], rtol=1e-10, atol=1e-12)


def test_only_the_block_whose_matrix_is_singular_is_nan():
    found = factor(torch.stack([torch.ones(2, 2), torch.eye(2)])).solve(torch.ones(2, 2))
    assert bool(found[0].isnan().all())
    assert torch.equal(found[1], torch.ones(2))


def test_matrices_are_shifted_by_a_step_of_their_own():
    matrix, h = torch.ones(2, 2, 2), torch.tensor([0.5, 2.0])
    found = shifted(matrix, h, 0.1)
    for i in range(2):
        assert torch.allclose(found[i], shifted(matrix[i : i + 1], float(h[i]), 0.1)[0], rtol=1e-15)
        assert torch.allclose(found[i], torch.eye(2) - 0.1 * h[i], rtol=1e-15)
