"""Complex states under implicit methods, against the same equations of real and imaginary parts."""

from __future__ import annotations

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

ADAPTIVE = ["rodas5p", "radau5", "kencarp5", pytest.param("kvaerno3", marks=pytest.mark.slow), "auto"]
FIXED = ["implicit_euler", "implicit_midpoint", "trapezoid", "gl4", "radauIIA5", "trbdf2"]
RATE = torch.tensor([30.0, 2.0], dtype=torch.float64)


def field(t, z, k):
    """Depends on z, on its conjugate and on time; components act on their neighbours."""
    return (1j - k) * z + 0.3 * z.conj() * z.roll(1, -1) + torch.sin(t) * (1 + 2j)


def parts(t, y, k):
    return torch.view_as_real(field(t, torch.view_as_complex(y), k))


Z0 = torch.tensor([[1.0 + 0.5j, 0.2 - 1.0j], [0.3 + 0.0j, -0.5 + 0.5j]], dtype=torch.complex128)


def solved(f, y0, method, gradient="aca", **options):
    """Return the end and the gradients of a loss in the state and in the rates."""
    k, start = RATE.clone().requires_grad_(), y0.clone().requires_grad_()
    fixed = {"step_size": 0.05} if method in FIXED else {"rtol": 1e-7, "atol": 1e-9}
    rates = k if y0.is_complex() else k[:, None]
    sol = po.solve(f, start, [0.0, 0.4, 1.0], args=(rates,), method=method, gradient=gradient, **fixed, **options)
    y = sol.y if sol.y.is_complex() else torch.view_as_complex(sol.y)
    loss = (y.real * y.imag).sum() + y.abs().square().sum()
    by_start, by_rate = torch.autograd.grad(loss, [start, k])
    return y.detach(), by_start if by_start.is_complex() else torch.view_as_complex(by_start), by_rate


@pytest.mark.parametrize("method", ADAPTIVE + FIXED)
@pytest.mark.parametrize("step_control", ["shared", pytest.param("per-sample", marks=pytest.mark.slow)])
def test_solutions_and_gradients_are_those_of_the_parts(method, step_control):
    found = solved(field, Z0, method, step_control=step_control)

    def real(t, y, rates):
        return parts(t[..., 0] if t.ndim else t, y, rates[:, 0])

    expected = solved(real, torch.view_as_real(Z0), method, step_control=step_control)
    # Error norms of complex numbers are not those of their parts: adaptive steps differ.
    tolerances = {"rtol": 1e-9, "atol": 1e-10} if method in FIXED else {"rtol": 1e-5, "atol": 1e-6}
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerances)


@pytest.mark.parametrize(
    "gradient", ["aca", *(pytest.param(each, marks=pytest.mark.slow) for each in ("naive", "adjoint"))]
)
def test_gradients_are_those_of_differences(gradient):
    _, by_start, by_rate = solved(field, Z0, "rodas5p", gradient=gradient)
    step, tolerances = 1e-5, {"rtol": 3e-4, "atol": 1e-5} if gradient == "adjoint" else {"rtol": 1e-5, "atol": 1e-6}

    def loss(z, k):
        with torch.no_grad():
            y = po.solve(field, z, [0.0, 0.4, 1.0], args=(k,), method="rodas5p", rtol=1e-10, atol=1e-12).y
        return (y.real * y.imag).sum() + y.abs().square().sum()

    direction = torch.tensor([[1.0 - 2.0j, 0.5j], [0.3, 1.0]])
    change = (loss(Z0 + step * direction, RATE) - loss(Z0 - step * direction, RATE)) / (2 * step)
    torch.testing.assert_close((by_start.conj() * direction).real.sum(), change, **tolerances)
    change = (loss(Z0, RATE * (1 + step)) - loss(Z0, RATE * (1 - step))) / (2 * step)
    torch.testing.assert_close((by_rate * RATE).sum(), change, **tolerances)


def test_your_own_jacobian_is_that_of_the_components():
    def f(t, z):
        return torch.stack([-1000.0 * z[0] + 1j * z[1], 2j * z[1] + z[0] ** 2])

    def jac(t, z):
        one, i = torch.ones((), dtype=z.dtype), torch.tensor(1j, dtype=z.dtype)
        return torch.stack([torch.stack([-1000.0 * one, i]), torch.stack([2 * z[0], 2 * i])])

    options = {"method": "rodas5p", "rtol": 1e-9, "atol": 1e-11}
    own = po.solve(f, Z0[0], [0.0, 1.0], jac=jac, **options)
    torch.testing.assert_close(own.y, po.solve(f, Z0[0], [0.0, 1.0], **options).y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("structure", ["diagonal", ("banded", 1, 0)])
def test_what_is_known_of_the_jacobian_is_of_components(structure):
    weight = 0.0 if structure == "diagonal" else 1.0

    def f(t, z):
        return (1j - 5.0) * z + 0.1 * z * z.conj() + weight * torch.cat([torch.zeros_like(z[:1]), z[:-1]])

    z0 = torch.tensor([1.0, 1j, -1.0, 0.5 + 0.5j], dtype=torch.complex128)
    options = {"method": "rodas5p", "rtol": 1e-8, "atol": 1e-10}
    hinted = po.solve(f, z0, [0.0, 1.0], jac_structure=structure, **options)
    torch.testing.assert_close(hinted.y, po.solve(f, z0, [0.0, 1.0], **options).y, rtol=1e-12, atol=1e-13)


def test_a_quantum_state_keeps_its_norm_under_the_midpoint_rule():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.complex128, generator=generator)
    energy = matrix + matrix.mH
    psi = torch.zeros(6, dtype=torch.complex128)
    psi[0] = 1.0
    sol = po.solve(lambda t, y: -1j * (energy @ y), psi, [0.0, 5.0], method="implicit_midpoint", step_size=0.05)
    torch.testing.assert_close(sol.y[-1].abs().square().sum(), torch.tensor(1.0), rtol=1e-12, atol=0.0)
    exact = torch.linalg.matrix_exp(-5j * energy) @ psi
    fine = po.solve(lambda t, y: -1j * (energy @ y), psi, [0.0, 5.0], method="gl6", step_size=0.05)
    torch.testing.assert_close(fine.y[-1], exact, rtol=1e-5, atol=1e-6)
