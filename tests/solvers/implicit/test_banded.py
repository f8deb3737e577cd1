"""Banded Jacobians: solved in O(D) operations and memory, with the results, and the gradients, of dense ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch

import physode as po
from physode.solvers.implicit.banded import Band, BandFactors, factor_band
from physode.solvers.implicit.cyclic_reduction import reduced, solved
from physode.solvers.implicit.jacobian import derivatives
from physode.solvers.implicit.jacobian_structure import blocks_of, structure_of
from physode.solvers.implicit.linear import coupled_factors, factor, shifted

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's forward mode scripts its own formulas
]

WIDTHS = [(1, 1), (2, 3), (5, 0), (0, 4), (7, 2)]


def heat(t, y, rate=1.0):
    padded = torch.nn.functional.pad(y, (1, 1))
    return rate * (padded[..., 2:] - 2 * y + padded[..., :-2]) * (y.shape[-1] + 1) ** 2


def brusselator(t, y, a=1.0):
    u, v = y[..., 0::2], y[..., 1::2]
    alpha = 0.02 * (u.shape[-1] + 1) ** 2
    left, right = torch.nn.functional.pad(u, (1, 1), value=1.0), torch.nn.functional.pad(v, (1, 1), value=3.0)
    du = a + u * u * v - 4 * u + alpha * (left[..., 2:] - 2 * u + left[..., :-2])
    dv = 3 * u - u * u * v + alpha * (right[..., 2:] - 2 * v + right[..., :-2])
    return torch.stack([du, dv], -1).flatten(-2)


def start(cells):
    x = torch.arange(1, cells + 1) / (cells + 1)
    return torch.stack([1 + torch.sin(2 * math.pi * x), torch.full_like(x, 3.0)], -1).flatten()


def nasty(lower, upper, size, kind, blocks=2):
    """Matrices that need their pivots: random, with no or a tiny diagonal, or graded over twelve decades."""
    generator = torch.Generator().manual_seed(7 * lower + upper)
    matrix = torch.randn(blocks, size, size, generator=generator).triu(-lower).tril(upper)
    if lower * upper == 0:
        return matrix + 4 * torch.eye(size)  # triangular ones would be singular without
    if kind == "tiny":
        return matrix + torch.diag_embed(1e-13 - matrix.diagonal(dim1=1, dim2=2))
    if kind == "graded":
        return matrix * torch.logspace(-6, 6, size)[:, None]
    return matrix


@pytest.mark.parametrize("kind", ["random", "tiny", "graded"])
@pytest.mark.parametrize(("lower", "upper"), WIDTHS)
def test_bands_without_a_dominant_diagonal_are_solved_as_stably_as_dense_matrices(lower, upper, kind):
    size = 75
    matrix = nasty(lower, upper, size, kind)
    band, b = Band.within(matrix, lower, upper), torch.cos(torch.arange(2.0 * size)).reshape(2, size)
    for turned, adjoint in ((matrix, False), (matrix.mT, True)):
        dense = torch.linalg.solve(turned, b.unsqueeze(-1)).squeeze(-1)
        found = [solved(reduced(band.transposed().entries, lower, upper), b, lower, upper, adjoint=adjoint)]
        if not adjoint:
            found.append(factor_band(band).solve(b))
        left = ((turned @ dense.unsqueeze(-1)).squeeze(-1) - b).norm()
        for x in found:
            residual = ((turned @ x.unsqueeze(-1)).squeeze(-1) - b).norm()
            assert residual <= 100 * left + 1e-11 * (turned.abs().amax() * x.abs().amax())


@pytest.mark.parametrize(("lower", "upper"), WIDTHS[:3])
def test_derivatives_of_banded_systems_are_right_in_all_modes(lower, upper):
    size = 9
    matrix = Band.within(nasty(lower, upper, size, "random"), lower, upper)
    inside = Band.within(torch.ones(1, size, size), lower, upper).entries

    def solve(entries, b):
        return factor_band(Band(entries * inside, lower, upper)).solve(b)

    given = matrix.entries.clone().requires_grad_(), torch.cos(torch.arange(18.0)).reshape(2, 9).requires_grad_()
    assert torch.autograd.gradcheck(solve, given, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(solve, given)
    plain = tuple(x.detach() for x in given)
    backwards, forwards = (mode(solve, (0, 1))(*plain) for mode in (torch.func.jacrev, torch.func.jacfwd))
    mapped = torch.func.vmap(torch.func.jacrev(solve, (0, 1)))(*(torch.stack([x, x]) for x in plain))
    for one, other, both in zip(backwards, forwards, mapped, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(both, torch.stack([one, one]))


def test_coupled_stages_of_different_jacobians_are_solved_as_dense_ones():
    a, h = ((0.2, -0.1, 0.4), (0.3, 0.7, 0.6), (0.2, 0.1, 0.9)), torch.tensor([0.3, 0.01])
    for lower, upper in [(0, 0), *WIDTHS]:
        dense = [k * nasty(lower, upper, 40, "random") for k in (1.0, -2.0, 0.5)]
        bands = [Band.within(matrix, lower, upper) for matrix in dense]
        b = torch.cos(torch.arange(240.0)).reshape(2, 120)
        torch.testing.assert_close(coupled_factors(bands, a, h).solve(b), coupled_factors(dense, a, h).solve(b))
        torch.testing.assert_close(
            factor(shifted(bands[0], h, 0.4)).solve(b[:, :40]), factor(shifted(dense[0], h, 0.4)).solve(b[:, :40])
        )


def test_a_singular_or_undefined_band_is_nan_and_its_neighbours_keep_every_bit():
    matrix = Band.within(nasty(1, 2, 50, "random", blocks=4), 1, 2)
    b = torch.cos(torch.arange(200.0)).reshape(4, 50)
    alone = [factor_band(matrix._replace(entries=matrix.entries[i : i + 1])).solve(b[i : i + 1]) for i in range(4)]
    spoilt = matrix.entries.clone()
    spoilt[0], spoilt[2, 3, 1] = 0.0, torch.nan
    found = factor_band(matrix._replace(entries=spoilt)).solve(b)
    assert bool(found[[0, 2]].isnan().all())
    assert torch.equal(found[1], alone[1][0])
    assert torch.equal(found[3], alone[3][0])


@pytest.mark.parametrize("hint", [("banded", 2, 2), ("banded", 3, 5)])
def test_the_band_of_a_large_jacobian_is_found_by_a_few_pull_backs(hint):
    y, t = start(30), torch.tensor(0.0)
    known = lambda t, y: brusselator(t, y)  # noqa: E731
    known.structure = structure_of(hint)
    found = derivatives(known, t, y, blocks_of(y, 0.1, known.structure)).by_state
    assert isinstance(found, Band)
    exact = torch.autograd.functional.jacobian(lambda y: brusselator(t, y), y)
    torch.testing.assert_close(found.entries, Band.within(exact[None], *hint[1:]).entries, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5", "kvaerno3", "auto", "radauIIA5", "implicit_euler"])
def test_states_and_gradients_through_banded_systems_are_those_of_dense_ones(method):
    options = {} if method in ("rodas5p", "radau5", "kencarp5", "kvaerno3", "auto") else {"step_size": 0.05}
    results = []
    for hint in ("dense", ("banded", 2, 2)):
        a, y0 = torch.tensor(1.1, requires_grad=True), start(18).requires_grad_()
        sol = po.solve(brusselator, y0, [0.0, 0.2], args=(a,), method=method, jac_structure=hint, **options)
        results.append([sol.y[-1], *torch.autograd.grad(sol.y[-1].square().sum(), [a, y0])])
    for dense, banded in zip(*results, strict=True):
        torch.testing.assert_close(banded, dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gradient", ["naive", "adjoint", po.ACA(memory="checkpoint")])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_every_gradient_method_passes_through_banded_systems(gradient, control):
    y0 = torch.stack([start(18), 2 - 0.3 * start(18)]) if control == "per-sample" else start(18)
    results = []
    for hint in ("dense", ("banded", 2, 2)):
        a = torch.tensor(1.1, requires_grad=True)
        sol = po.solve(
            brusselator, y0, [0.0, 0.1], args=(a,), method="rodas5p", jac_structure=hint, gradient=gradient,
            step_control=control,
        )  # fmt: skip
        results.append(torch.autograd.grad(sol.y[-1].square().sum(), a)[0])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=0.0)


def test_float32_complex_and_diagonal_systems_are_solved():
    single = po.solve(brusselator, start(30).float(), [0.0, 1.0], method="rodas5p", jac_structure=("banded", 2, 2))
    double = po.solve(brusselator, start(30), [0.0, 1.0], method="rodas5p", rtol=1e-9)
    torch.testing.assert_close(single.y[-1].double(), double.y[-1], rtol=1e-3, atol=1e-3)
    wave = torch.exp(1j * torch.linspace(0, 6.0, 33))
    schroedinger = lambda t, y: 1j * heat(t, y, 1e-2)  # noqa: E731
    for method in ("rodas5p", "radau5"):
        banded, dense = (
            po.solve(schroedinger, wave, [0.0, 0.01], method=method, jac_structure=hint).y[-1]
            for hint in (("banded", 1, 1), "dense")
        )
        torch.testing.assert_close(banded, dense, rtol=1e-9, atol=1e-10)
    rate = torch.logspace(0, 5, 50)
    for method in ("rodas5p", "radau5", "kencarp5"):
        decay = po.solve(lambda t, y: -rate * y, torch.ones(50), [0.0, 1.0], method=method, jac_structure="diagonal",
                         rtol=1e-8, atol=1e-10).y[-1]  # fmt: skip
        torch.testing.assert_close(decay, torch.exp(-rate), rtol=1e-5, atol=1e-8)


def test_a_jacobian_given_in_full_is_solved_in_its_band():
    jac = lambda t, y: torch.func.jacrev(lambda y: heat(t, y))(y)  # noqa: E731
    y0 = torch.sin(math.pi * torch.arange(1, 41) / 41)
    one, other = (
        po.solve(heat, y0, [0.0, 0.1], method="rodas5p", **options).y[-1]
        for options in ({"jac": jac, "jac_structure": ("banded", 1, 1)}, {})
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5", "auto"])
def test_a_state_of_many_thousand_components_is_solved_in_memory_of_its_size(method):
    size = 20_000  # a dense Jacobian would have 3 GB
    y0 = torch.sin(math.pi * torch.arange(1, size + 1) / (size + 1))
    sol = po.solve(heat, y0, [0.0, 0.1], method=method, jac_structure=("banded", 1, 1))
    torch.testing.assert_close(sol.y[-1], y0 * math.exp(-(math.pi**2) * 0.1), rtol=1e-5, atol=1e-6)


def test_the_brusselator_agrees_with_scipy():
    cells = 40
    f = lambda t, y: brusselator(t, torch.from_numpy(y)).numpy()  # noqa: E731
    reference = scipy.integrate.solve_ivp(
        f, (0.0, 10.0), start(cells).numpy(), method="LSODA", rtol=1e-9, atol=1e-11, lband=2, uband=2
    ).y[:, -1]
    sol = po.solve(brusselator, start(cells), [0.0, 10.0], method="rodas5p", jac_structure=("banded", 2, 2), rtol=1e-8)
    assert np.abs(sol.y[-1].numpy() - reference).max() < 1e-6


def test_a_mapped_solve_keeps_its_band():
    rates = torch.tensor([0.5, 1.0, 2.0])
    y0 = torch.sin(math.pi * torch.arange(1, 41) / 41)

    def end(rate):
        return po.solve(
            heat, y0, [0.0, 0.1], args=(rate,), method="rodas5p", step_size=0.02, jac_structure=("banded", 1, 1)
        ).y[-1]

    with torch.no_grad():
        found = torch.func.vmap(end)(rates)
        torch.testing.assert_close(found, torch.stack([end(rate) for rate in rates]), rtol=1e-9, atol=1e-12)
    slope = torch.func.jacfwd(lambda rate: end(rate).sum())(rates[1])
    parameter = rates[1].clone().requires_grad_()
    torch.testing.assert_close(slope, torch.autograd.grad(end(parameter).sum(), parameter)[0], rtol=1e-8, atol=0.0)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "auto"])
def test_the_reduction_of_accelerators_gives_what_lapack_gives(method, monkeypatch):
    results = []
    for lapack in (True, False):
        monkeypatch.setattr("physode.solvers.implicit.banded._has_lapack", lambda x, found=lapack: found)
        a, y0 = torch.tensor(1.1, requires_grad=True), torch.stack([start(18), 2 - 0.3 * start(18)])
        sol = po.solve(
            brusselator, y0, [0.0, 0.2], args=(a,), method=method, jac_structure=("banded", 2, 2),
            step_control="per-sample",
        )  # fmt: skip
        results.append([sol.y[-1], *torch.autograd.grad(sol.y[-1].square().sum(), a)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("gradient", [po.ACA(parallel=True), po.ACA(memory="graph"), "naive"], ids=repr)
def test_batched_gradients_pass_through_banded_systems(gradient):
    a, y0 = torch.tensor(1.1, requires_grad=True), start(18)
    sol = po.solve(
        brusselator, y0, [0.0, 0.05], args=(a,), method="rodas5p", jac_structure=("banded", 2, 2), gradient=gradient,
        step_size=0.025,
    )  # fmt: skip
    ways = torch.eye(36)[:3]
    expected = torch.stack([torch.autograd.grad(sol.y[-1], a, way, retain_graph=True)[0] for way in ways])
    if gradient != po.ACA(parallel=True):  # which has pulled everything back itself
        (found,) = torch.autograd.grad(sol.y[-1], a, ways, is_grads_batched=True)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    eps = 1e-5
    with torch.no_grad():
        high, low = (
            po.solve(brusselator, y0, [0.0, 0.05], args=(a + sign * eps,), method="rodas5p", step_size=0.025).y[-1]
            for sign in (1, -1)
        )
    torch.testing.assert_close(expected, ((high - low) / (2 * eps))[:3], rtol=1e-6, atol=1e-9)


def test_only_bands_that_are_narrow_beside_the_matrix_are_kept_as_such():
    structure = structure_of(("banded", 1, 1))
    assert not structure.is_kept_as_band(8)
    assert structure.is_kept_as_band(64)
    assert not structure_of(("banded", 30, 30)).is_kept_as_band(64)
    assert isinstance(factor(Band.within(torch.eye(64)[None], 1, 1)), BandFactors)


def test_gradients_of_many_thousand_components_are_found_in_memory_of_their_size():
    size = 20_000
    y0 = torch.sin(math.pi * torch.arange(1, size + 1) / (size + 1))
    for gradient in ("aca", "naive"):
        rate = torch.tensor(1.0, requires_grad=True)
        sol = po.solve(
            heat, y0, [0.0, 0.1], args=(rate,), method="kencarp5", jac_structure=("banded", 1, 1), gradient=gradient,
        )  # fmt: skip
        (slope,) = torch.autograd.grad(sol.y[-1, size // 2], rate)
        assert float(slope) == pytest.approx(-0.1 * math.pi**2 * math.exp(-0.1 * math.pi**2), rel=1e-5)
    sol = po.solve(
        heat, y0, [0.0, 0.1], args=(rate,), method="kencarp5", jac_structure=("banded", 1, 1), gradient="adjoint",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"40001 .* is too large.*gradient='aca' in place of 'adjoint'"):
        sol.y[-1, size // 2].backward()
