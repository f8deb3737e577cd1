"""Jacobians: found, given, and known to be sparse."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.solvers.implicit.jacobian import derivatives
from physode.solvers.implicit.jacobian_structure import blocks_of, structure_of

pytestmark = pytest.mark.usefixtures("float64")


def chain(t, y):
    """Diffusion along a line with a reaction: tridiagonal."""
    padded = torch.nn.functional.pad(y, (1, 1))
    return 100 * (padded[..., 2:] - 2 * y + padded[..., :-2]) - y**3 + torch.sin(t)


Y0 = torch.linspace(0.0, 1.0, 8, dtype=torch.float64)


class Known:
    def __init__(self, f, hint):
        self.f, self.structure = f, structure_of(hint)

    def __call__(self, t, y):
        return self.f(t, y)


@pytest.mark.parametrize("hint", ["dense", ("banded", 1, 1), ("banded", 2, 1), ("banded", 7, 7)])
def test_a_band_is_found_by_a_few_pull_backs(hint):
    y, t = Y0, torch.tensor(0.3)
    found = derivatives(Known(chain, hint), t, y, blocks_of(y, 0.1, structure_of(hint)), with_time=True)
    assert torch.allclose(found.by_state[0], torch.autograd.functional.jacobian(lambda y: chain(t, y), y))
    assert torch.allclose(found.by_time[0], torch.cos(t).expand(8))
    assert structure_of(("banded", 1, 1)).products(8) == 3


@pytest.mark.parametrize("method", ["kencarp5", "radau5", "rodas5p", "radauIIA5"])
def test_banded_diagonal_and_given_jacobians_solve_as_dense_ones(method):
    options = {"method": method} if method != "radauIIA5" else {"method": method, "step_size": 0.1}
    dense = po.solve(chain, Y0, [0.0, 0.5], **options).y[-1]
    banded = po.solve(chain, Y0, [0.0, 0.5], jac_structure=("banded", 1, 1), **options).y[-1]
    given = po.solve(
        chain, Y0, [0.0, 0.5], jac=lambda t, y: torch.func.jacrev(lambda y: chain(t, y))(y), **options
    ).y[-1]  # fmt: skip
    assert torch.allclose(banded, dense, rtol=1e-12)
    assert torch.allclose(given, dense, rtol=1e-12)
    alone = lambda t, y: -(y**3) + torch.cos(t)  # noqa: E731
    diagonal = po.solve(alone, Y0, [0.0, 0.5], jac_structure="diagonal", **options).y[-1]
    assert torch.allclose(diagonal, po.solve(alone, Y0, [0.0, 0.5], **options).y[-1], rtol=1e-12)


def test_what_does_not_depend_on_time_has_no_derivative_in_it():
    y, t = Y0, torch.tensor(0.3)
    for hint in ("dense", ("banded", 1, 1)):
        known = Known(lambda t, y: chain(torch.zeros(()), y), hint)
        found = derivatives(known, t, y, blocks_of(y, 0.1, structure_of(hint)), with_time=True)
        assert found.by_time is None
        assert torch.equal(found.value, known(t, y))


@pytest.mark.parametrize("gradient", ["naive", "aca"])
def test_a_state_that_is_an_argument_as_well_is_not_mistaken_for_one(gradient):
    """df/dy leaves out what reaches f by its arguments, though it is the same tensor."""
    rate = torch.tensor([3.0, 50.0], requires_grad=True)
    end = po.solve(
        lambda t, y, k: -k * y, rate, [0.0, 0.1], args=(rate,), method="rodas5p", rtol=1e-9, gradient=gradient
    ).y[-1]
    exact = rate * torch.exp(-0.1 * rate)
    assert torch.allclose(end, exact, rtol=1e-6)
    assert torch.allclose(torch.autograd.grad(end.sum(), rate)[0], torch.autograd.grad(exact.sum(), rate)[0], rtol=1e-5)


def test_samples_that_share_steps_can_have_a_matrix_each():
    y0 = torch.stack([Y0, 1 - Y0, Y0**2])
    whole = po.solve(chain, y0, [0.0, 0.5], method="rodas5p").y[-1]
    each = po.solve(chain, y0, [0.0, 0.5], method="rodas5p", jac_structure="samples").y[-1]
    assert torch.allclose(each, whole, rtol=1e-10)


def test_the_given_jacobian_has_the_samples_axis_with_steps_of_their_own():
    f = lambda t, y, rate: -rate * y**2  # noqa: E731
    jac = lambda t, y, rate: torch.diag_embed(-2 * rate * y)  # noqa: E731
    y0, rate = torch.tensor([[1.0, 2.0], [0.5, 3.0]]), torch.tensor(2.0, requires_grad=True)
    options = {"args": (rate,), "method": "rodas5p", "step_control": "per-sample", "rtol": 1e-8}
    results = [po.solve(f, y0, [0.0, 1.0], **extra, **options).y[-1].sum() for extra in ({}, {"jac": jac})]
    assert results[0].item() == pytest.approx(results[1].item(), rel=1e-12)
    gradients = [torch.autograd.grad(result, rate)[0].item() for result in results]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jac": lambda t, y: torch.ones(2, 2)}, r"`jac` must return a tensor of the shape \(8, 8\).*got \(2, 2\)"),
        ({"jac": lambda t, y: None}, "^$"),
        ({"jac_structure": "sparse"}, "`jac_structure` must be 'dense', .*got 'sparse'"),
        ({"jac_structure": ("banded", -1, 1)}, "`jac_structure` must be"),
        ({"jac_structure": "diagonal", "method": "dopri5"}, "for implicit methods; `method` is 'dopri5'"),
    ],
)
def test_what_cannot_be_used_is_named(options, message):
    if message == "^$":  # nothing returned: a forgotten return must not pass for no Jacobian
        with pytest.raises(ValueError, match=r"`jac` must return a tensor.*got NoneType"):
            po.solve(chain, Y0, [0.0, 0.1], **{"method": "rodas5p", **options})
        return
    with pytest.raises(ValueError, match=message):
        po.solve(chain, Y0, [0.0, 0.1], **{"method": "rodas5p", **options})


def test_a_state_too_large_for_one_matrix_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="step_control='per-sample' or jac_structure='samples'"):
        po.solve(lambda t, y: -y, torch.zeros(5000, 10), [0.0, 1.0], method="rodas5p")


class Old(torch.autograd.Function):
    """A function that torch.func refuses."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return -(y**2)

    @staticmethod
    def backward(ctx, cotangent):
        return -2 * ctx.saved_tensors[0] * cotangent


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5"])
def test_what_torch_func_refuses_is_differentiated_by_plain_autograd(method):
    y0 = torch.tensor([1.0, 2.0], requires_grad=True)
    end = po.solve(lambda t, y: Old.apply(y), y0, [0.0, 1.0], method=method, rtol=1e-9, atol=1e-11).y[-1]
    assert torch.allclose(end, y0 / (1 + y0), rtol=1e-7)
    (gradient,) = torch.autograd.grad(end.sum(), y0)
    assert torch.allclose(gradient, 1 / (1 + y0.detach()) ** 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("hint", "control"),
    [("diagonal", "shared"), (("banded", 1, 0), "shared"), (("banded", 0, 1), "per-sample"), ("samples", "shared")],
)
@pytest.mark.parametrize("method", ["rodas5p", "radau5"])
def test_a_structure_that_does_not_hold_is_named(method, hint, control):
    coupled = (lambda t, y: chain(t, y) - y.mean(0)) if hint == "samples" else chain
    with pytest.raises(ValueError, match=r"`jac_structure` .* does not hold where the solve starts: .* widen it"):
        po.solve(coupled, torch.stack([Y0, Y0 + 1]) if control == "per-sample" or hint == "samples" else Y0, [0.0, 0.5],
                 method=method, jac_structure=hint, step_control=control)  # fmt: skip


def test_a_wrong_jacobian_is_warned_of_and_a_rough_one_is_not():
    right = lambda t, y: torch.func.jacrev(lambda y: chain(t, y))(y)  # noqa: E731
    with pytest.warns(RuntimeWarning, match=r"`jac` is off by .* gradients wrong; correct it"):
        po.solve(chain, Y0, [0.0, 0.01], method="kencarp5", jac=lambda t, y: -right(t, y))
    po.solve(chain, Y0, [0.0, 0.01], method="kencarp5", jac=lambda t, y: 1.001 * right(t, y))


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "auto", "implicit_euler"])
def test_a_right_hand_side_without_a_derivative_is_refused_and_a_constant_one_is_not(method):
    options = {"method": method} if method != "implicit_euler" else {"method": method, "step_size": 0.5}
    k = torch.tensor(1.0, requires_grad=True)
    for f in (lambda t, y: -1e3 * y.detach(), lambda t, y: -k * torch.from_numpy(y.detach().numpy())):
        with pytest.raises(ValueError, match="cannot be differentiated"):
            po.solve(f, torch.ones(2), [0.0, 1.0], **options)
    sol = po.solve(lambda t, y: torch.full_like(y, 3.0), torch.zeros(2), [0.0, 1.0], **options)
    torch.testing.assert_close(sol.y[-1], torch.full((2,), 3.0))


def test_a_complex_jacobian_of_a_real_state_is_refused():
    with pytest.raises(ValueError, match="`jac` must be real for a real state"):
        po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], method="rodas5p", jac=lambda t, y: -torch.ones(1, 1) + 0j)
