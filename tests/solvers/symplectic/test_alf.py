"""Asynchronous leapfrog: order, the pair that users do not see, its way back, gradients."""

from __future__ import annotations

import gc
import math

import pytest
import torch

import physode as po
from physode.errors import SolveError
from physode.problem.checks import checked_method
from physode.sensitivity import sensitivities
from physode.solvers.runge_kutta import take_step
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")

EXACT = {
    "aca": "aca",
    "aca one by one": po.ACA(memory="checkpoint", parallel=False),
    "aca kept": po.ACA(parallel=False),
    "aca graph": po.ACA(memory="graph"),
    "mali": po.MALI(),
}


def test_the_error_falls_with_the_second_power_of_the_step():
    system, y0 = Spiral(), torch.tensor([1.0, 0.5])
    with torch.no_grad():
        right = po.solve(system, y0, [0.0, 2.0], method="dopri8", rtol=1e-13, atol=1e-13).y[-1]
        errors = [
            float((po.solve(system, y0, [0.0, 2.0], method="alf", step_size=h).y[-1] - right).abs().max())
            for h in (0.02, 0.01)
        ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)


def test_adaptive_steps_keep_the_error_near_the_tolerance_and_read_outputs_inside():
    y0, times = torch.tensor([[1.0], [0.5]]), torch.linspace(0, 2, 41)
    for tolerance in (1e-4, 1e-6):
        sol = po.solve(lambda t, y: -y, y0, times, method="alf", rtol=tolerance, atol=tolerance)
        assert float((sol.y - y0 * torch.exp(-times)[:, None, None]).abs().max()) < 10 * tolerance
    assert sol.stats.rhs_forward < int(sol.stats.attempts) + 10  # one evaluation a step


def test_states_of_any_structure_and_shape_come_out_as_they_went_in():
    y0 = {"x": torch.rand(3, 2), "v": torch.rand(())}
    sol = po.solve(lambda t, y: {"x": -y["x"], "v": y["v"]}, y0, [0.0, 0.5, 1.0], method="alf", rtol=1e-6, dense=True)
    assert sol.y["x"].shape == (3, 3, 2)
    assert sol.y["v"].shape == (3,)
    assert torch.allclose(sol(0.5)["x"], y0["x"] * math.exp(-0.5), atol=1e-5)
    z = po.solve(lambda t, y: 1j * y, torch.ones((), dtype=torch.complex128), [0.0, 1.0], method="alf").y[-1]
    assert z.shape == ()
    assert z.item() == pytest.approx(complex(math.cos(1.0), math.sin(1.0)), abs=1e-5)


def test_tolerances_may_be_one_a_component_and_the_norm_sees_the_state_alone():
    seen = []

    def norm(x):
        seen.append(x.shape)
        return x.flatten(1).abs().amax(1)

    options = {"method": "alf", "step_control": "per-sample", "rtol": 1e-4}
    y0 = torch.rand(3, 2)
    coarse = po.solve(lambda t, y: -y, y0, [0.0, 1.0], atol=torch.full((3, 2), 1e-3), norm=norm, **options)
    fine = po.solve(lambda t, y: -y, y0, [0.0, 1.0], atol=torch.full((3, 2), 1e-6), norm=norm, **options)
    assert set(seen) == {(3, 2)}
    assert bool((fine.stats.accepted > coarse.stats.accepted).all())


def test_a_sample_does_not_depend_on_its_company():
    y0, mu = torch.randn(5, 2), torch.rand(5, 1) * 4
    options = {"method": "alf", "rtol": 1e-3, "atol": 1e-4, "step_control": "per-sample"}
    times = torch.linspace(0, 1, 4)
    together = po.solve(van_der_pol, y0, times, args=(mu,), **options)
    for i in range(5):
        alone = po.solve(van_der_pol, y0[i : i + 1], times, args=(mu[i : i + 1],), **options)
        assert torch.equal(alone.y[:, 0], together.y[:, i])


def gradients(gradient, **options):
    system = Spiral()
    y0 = torch.tensor([[1.0, 0.5], [0.2, -0.7]], requires_grad=True)
    times = torch.linspace(0, 2, 9, requires_grad=True)
    sol = po.solve(system, y0, times, method="alf", gradient=gradient, **options)
    loss = (sol.y * torch.linspace(0.5, 1.5, 36).reshape(9, 2, 2)).sum()
    return torch.autograd.grad(loss, [y0, times, *system.parameters()])


@pytest.mark.parametrize("options", [{}, {"step_size": 0.03}, {"step_size": 0.03, "step_control": "per-sample"}])
@pytest.mark.parametrize("name", EXACT)
def test_every_gradient_is_the_naive_one(name, options):
    options = options or {"grid": torch.cat([torch.linspace(0, 0.5, 9), torch.linspace(0.6, 2, 11)])}
    expected = gradients("naive", **options)
    for found, right in zip(gradients(EXACT[name], **options), expected, strict=True):
        assert torch.allclose(found, right, atol=1e-9, rtol=1e-9)


def test_on_adaptive_steps_mali_equals_aca():
    options = {"rtol": 1e-2, "atol": 1e-3}
    for shared in ("shared", "per-sample"):
        expected = gradients(EXACT["aca one by one"], step_control=shared, **options)
        for found, right in zip(gradients("mali", step_control=shared, **options), expected, strict=True):
            assert torch.allclose(found, right, atol=1e-9, rtol=1e-9)


def test_gradcheck():
    def end(y0, t, rate):
        f = lambda t, y, rate: torch.sin(t) - rate * y * y  # noqa: E731
        return po.solve(f, y0, t, args=(rate,), method="alf", step_size=0.15, gradient="mali").y

    inputs = (torch.rand(3, requires_grad=True), torch.tensor([0.0, 0.43, 1.0], requires_grad=True))
    assert torch.autograd.gradcheck(end, (*inputs, torch.tensor(0.7, requires_grad=True)))


def test_the_adjoint_agrees_to_the_order_of_the_method():
    expected = gradients("naive", step_size=0.011)
    for found, right in zip(gradients("adjoint", step_size=0.011), expected, strict=True):
        assert torch.allclose(found, right, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("gradient", "flat"), [("mali", True), (po.ACA(memory="checkpoint"), False)])
@pytest.mark.slow
def test_mali_holds_no_more_states_for_more_steps(gradient, flat):
    """Bytes of the tensors alive between the forward and the backward pass, states of 8 kB."""
    system = Spiral()

    def alive(steps):
        y0 = torch.ones(500, 2, requires_grad=True)
        gc.collect()
        before = held()
        sol = po.solve(system, y0, [0.0, 1.0], method="alf", step_size=1 / steps, gradient=gradient)
        gc.collect()
        found = held() - before
        sol.y.sum().backward()
        return found

    few, many = alive(20), alive(200)
    state = 500 * 2 * 8
    if flat:
        assert many - few < 2 * state
    else:
        assert many - few > 180 * 2 * state * 0.9


def held():
    """Bytes of all tensors that Python can reach."""
    tensors = [found for found in gc.get_objects() if type(found) is torch.Tensor and found.device.type == "cpu"]
    # What torch.func has wrapped, perhaps in a test before, has no memory of its own.
    tensors = [found for found in tensors if not torch._C._functorch.is_functorch_wrapped_tensor(found)]
    return sum({found.untyped_storage().data_ptr(): found.untyped_storage().nbytes() for found in tensors}.values())


class TestRefusals:
    def test_steps_that_cannot_be_undone(self):
        with pytest.raises(ValueError, match=r"'mali' needs `method` 'alf', .* or 'suzuki4', got 'dopri5'"):
            po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], gradient="mali")

    @pytest.mark.parametrize("throw", [True, False])
    def test_a_solve_that_ends_early_and_what_was_solved(self, throw):
        with pytest.raises(SolveError, match=r"stopped at t = .*: `max_steps` attempts were used up") as caught:
            po.solve(lambda t, y: -y, torch.ones(1, requires_grad=True), [0.0, 1e-6, 1.0], method="alf",
                     gradient="mali", max_steps=3, throw=throw)  # fmt: skip
        assert caught.value.solution.status == po.Status.MAX_STEPS
        assert torch.isfinite(caught.value.solution.y[:, 0]).tolist() == [True, True, False]

    def test_a_way_back_that_strays(self):
        y0 = torch.ones(1, requires_grad=True)
        sol = po.solve(lambda t, y: -40 * (y - torch.cos(t)), y0, [0.0, 3.0], method="alf", step_size=0.01,
                       gradient="mali")  # fmt: skip
        with pytest.raises(RuntimeError, match="strayed by"):
            sol.y.sum().backward()
        kept = po.solve(lambda t, y: -40 * (y - torch.cos(t)), y0, torch.linspace(0, 3, 61), method="alf",
                        step_size=0.01, gradient="mali")  # fmt: skip
        assert bool(torch.isfinite(torch.autograd.grad(kept.y.sum(), y0)[0]).all())

    def test_second_derivatives(self):
        y0 = torch.ones(1, requires_grad=True)
        y = po.solve(lambda t, y: -y * y, y0, [0.0, 1.0], method="alf", step_size=0.1, gradient="mali").y[-1].sum()
        (first,) = torch.autograd.grad(y, y0, create_graph=True)
        with pytest.raises(RuntimeError, match="derivatives of MALI's gradients"):
            first.sum().backward()

    def test_sensitivities_which_would_miss_the_first_velocity(self):
        system = Spiral()
        with pytest.raises(ValueError, match="must not be 'alf' for sensitivities"):
            sensitivities(system, torch.ones(2), [0.0, 1.0], list(system.parameters()), method="alf")

    def test_a_step_without_the_pair(self):
        with pytest.raises(ValueError, match=r"through physode\.solve only"):
            take_step(lambda t, y: -y, checked_method("alf"), 0.0, torch.ones(2), 0.1)
