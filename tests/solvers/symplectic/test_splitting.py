"""Leapfrog and Yoshida's method: order, structure, halves, work, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po
from physode.problem.checks import checked_method
from physode.solvers.runge_kutta import take_step

pytestmark = pytest.mark.usefixtures("float64")

METHODS = ["leapfrog", "yoshida4", "suzuki4"]
EXACT = {
    "aca": "aca",
    "aca one by one": po.ACA(memory="checkpoint", parallel=False),
    "aca kept": po.ACA(parallel=False),
    "aca graph": po.ACA(memory="graph"),
    "mali": "mali",
}


def swing(t, y):
    """A driven pendulum as a plain function of a pair."""
    q, p = y
    return p, -torch.sin(q) + 0.3 * torch.cos(t) * torch.ones_like(q)


def scipy_end(q0, p0, end):
    def f(t, y):
        return [y[1], -math.sin(y[0]) + 0.3 * math.cos(t)]

    return solve_ivp(f, (0.0, end), [q0, p0], method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]


def kepler(eccentricity=0.5):
    """Return a light body around one of mass 1, a period of 2 pi."""
    bodies = po.rhs.NBody([1.0, 0.0], G=1.0)
    y0 = torch.zeros(12)
    y0[3] = 1.0 - eccentricity
    y0[10] = math.sqrt((1.0 + eccentricity) / (1.0 - eccentricity))
    return bodies, y0


@pytest.mark.parametrize(("method", "order"), [("leapfrog", 2), ("yoshida4", 2), ("suzuki4", 4)])
def test_forces_in_time_are_seen_inside_the_span_which_costs_yoshida_its_order(method, order):
    right = scipy_end(1.0, 0.5, 4.0)
    times = []

    def watched(t, y):
        times.append(float(t))
        return swing(t, y)

    errors = []
    for steps in (200, 400):
        pair = torch.tensor([1.0]), torch.tensor([0.5])
        q, p = po.solve(watched, pair, [0.0, 4.0], method=method, step_size=4.0 / steps).y
        errors.append(math.hypot(float(q[-1]) - right[0], float(p[-1]) - right[1]))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)
    assert 0.0 <= min(times) < max(times) <= 4.0


@pytest.mark.parametrize(("method", "order"), [("leapfrog", 2), ("yoshida4", 4), ("suzuki4", 4)])
def test_without_time_in_the_force_the_order_is_full(method, order):
    oscillator, y0 = po.rhs.HarmonicOscillator(2.0), torch.tensor([1.0, 0.3])
    exact = torch.tensor([math.cos(10.0) + 0.15 * math.sin(10.0), -2 * math.sin(10.0) + 0.3 * math.cos(10.0)])
    errors = [
        float((po.solve(oscillator, y0, [0.0, 5.0], method=method, step_size=h).y[-1] - exact).abs().max())
        for h in (0.02, 0.01)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_symplectic(method):
    """J^T Omega J = Omega for the step's Jacobian."""
    pendulum = po.rhs.Hamiltonian(lambda q, p: (p**4 / 8 + p**2 / 2 - torch.cos(q) * q).sum(-1), separable=True)

    def step(y):
        return po.solve(pendulum, y, [0.0, 0.2], method=method, gradient="naive").y[-1]

    jacobian = torch.autograd.functional.jacobian(step, torch.tensor([0.4, 1.1, 0.7, -0.3]))
    eye, zero = torch.eye(2), torch.zeros(2, 2)
    omega = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])
    assert torch.allclose(jacobian.T @ omega @ jacobian, omega, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_a_solve_backwards_leads_back_to_the_start(method):
    bodies, y0 = kepler()
    there = po.solve(bodies, y0, [0.0, 7.0], method=method, step_size=0.01).y[-1]
    back = po.solve(bodies, there, [7.0, 0.0], method=method, step_size=0.01).y[-1]
    assert float((there - y0).abs().max()) > 0.1
    assert torch.allclose(back, y0, atol=1e-11, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_size_0_is_the_identity(method):
    y0 = torch.rand(3, 2)
    grid = torch.stack([torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]) * 0.3, torch.ones(3)])
    dynamics = po.rhs.Pendulum(2.0)
    found = take_step(dynamics, checked_method(method), grid[0], y0, torch.tensor([0.0, 0.2, 0.0]))
    assert torch.equal(found.y[[0, 2]], y0[[0, 2]])
    assert not torch.equal(found.y[1], y0[1])


@pytest.mark.slow
def test_the_energy_error_of_a_thin_orbit_stays_bounded_while_that_of_a_higher_order_drifts():
    orbit = po.rhs.SecondOrder(lambda t, q: -q / q.square().sum() ** 1.5)
    y0 = torch.tensor([0.4, 0.0, 0.0, 2.0])  # eccentricity 0.6
    energy = {"energy": lambda t, y: y[2:].square().sum() / 2 - 1 / y[:2].square().sum().sqrt()}

    def errors(method, size):
        found = po.solve(orbit, y0, [0.0, 60 * math.pi], method=method, step_size=size, record=energy).recorded[
            "energy"
        ]
        change = (found.values / found.values[0] - 1).abs()
        thirds = change[: 3 * (len(change) // 3)].reshape(3, -1).amax(1)
        return thirds / thirds[0]

    assert float(errors("leapfrog", 0.05)[-1]) == pytest.approx(1.0, abs=0.05)
    assert float(errors("rk4", 0.05)[-1]) > 2.0


def test_leapfrog_evaluates_one_force_a_step():
    calls = []

    def acceleration(t, q):
        calls.append(1)
        return -q

    sol = po.solve(po.rhs.SecondOrder(acceleration), torch.tensor([1.0, 0.0]), [0.0, 1.0], method="leapfrog",
                   step_size=0.001)  # fmt: skip
    assert len(calls) <= 1000 + 5  # the start is looked at a few times
    assert sol.stats.rhs_forward == len(calls)


def test_a_function_of_its_parts_and_one_of_a_pair_give_the_same_numbers():
    pair = torch.tensor([1.0]), torch.tensor([0.5])
    times = torch.linspace(0, 3, 5)
    as_parts = po.rhs.SecondOrder(lambda t, q: swing(t, (q, q))[1])
    options = {"method": "leapfrog", "step_size": 0.01}
    found, expected = po.solve(as_parts, pair, times, **options).y, po.solve(swing, pair, times, **options).y
    assert torch.allclose(found[0], expected[0], atol=1e-14)
    named = po.solve(lambda t, y: dict(zip("qp", swing(t, (y["q"], y["p"])), strict=True)),
                     {"q": pair[0], "p": pair[1]}, times, **options).y  # fmt: skip
    assert torch.equal(named["q"], expected[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_does_not_depend_on_its_company(method):
    bodies = po.rhs.ThreeBody.from_preset("figure-eight")
    y0 = torch.tensor(po.rhs.ThreeBody.find_preset("figure-eight").y0) * torch.tensor([[1.0], [1.02], [0.97]])
    options = {"method": method, "step_size": 0.02, "step_control": "per-sample"}
    ends = torch.tensor([[0.0] * 3, [1.0, 1.5, 2.0]])
    together = po.solve(bodies, y0, ends, **options).y
    for i in range(3):
        alone = po.solve(bodies, y0[i : i + 1], ends[:, i : i + 1], **options).y
        assert torch.equal(alone[:, 0], together[:, i])


class Spring(torch.nn.Module):
    """T(p) + V(q) with a parameter in each, and one of the arguments."""

    def __init__(self):
        super().__init__()
        self.mass = torch.nn.Parameter(torch.tensor(1.3))
        self.soft = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, q, p, k):
        return (p**2 / (2 * self.mass) + k * q**2 / 2 + self.soft * q**4).sum(-1)


def gradients(gradient, method, **options):
    system = po.rhs.Hamiltonian(Spring(), separable=True)
    y0 = torch.tensor([[1.0, 0.5], [0.3, -0.2]], requires_grad=True)
    k = torch.tensor(0.8, requires_grad=True)
    times = torch.linspace(0, 2, 9, requires_grad=True)
    sol = po.solve(system, y0, times, args=(k,), method=method, gradient=gradient, **options)
    loss = (sol.y * torch.linspace(0.5, 1.5, 36).reshape(9, 2, 2)).sum()
    return torch.autograd.grad(loss, [y0, times, k, *system.parameters()])


@pytest.mark.parametrize("options", [{}, {"step_size": 0.07}, {"step_size": 0.07, "step_control": "per-sample"}])
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("method", METHODS[:2])
def test_the_gradient_methods_agree(method, name, options):
    expected = gradients("naive", method, **options)
    for found, right in zip(gradients(EXACT[name], method, **options), expected, strict=True):
        assert torch.allclose(found, right, atol=1e-10, rtol=1e-10)


def test_the_adjoint_runs_back_by_a_method_for_any_state():
    expected = gradients("naive", "yoshida4", step_size=0.041)
    for found, right in zip(gradients("adjoint", "yoshida4", step_size=0.041), expected, strict=True):
        assert torch.allclose(found, right, atol=1e-4, rtol=1e-4)


def test_gradcheck():
    def end(y0, k):
        return po.solve(po.rhs.Hamiltonian(Spring(), separable=True), y0, [0.0, 0.5, 1.0], args=(k,), method="leapfrog",
                        step_size=0.2).y  # fmt: skip

    inputs = torch.tensor([1.0, 0.5], requires_grad=True), torch.tensor(0.8, requires_grad=True)
    assert torch.autograd.gradcheck(end, inputs)


def test_a_pair_of_numbers_a_sample_is_a_state():
    """Each part ``(batch,)``."""
    q, times = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    system = po.rhs.SecondOrder(lambda t, q: -q)
    sol = po.solve(system, (q, 0 * q), times, method="leapfrog", step_size=0.01, step_control="per-sample")
    assert torch.allclose(sol.y[0][-1], q * times[-1].cos(), atol=1e-4)


class TestRefusals:
    def test_halves_that_nothing_tells_apart(self):
        with pytest.raises(ValueError, match="give `y0` as a pair"):
            po.solve(lambda t, y: y, torch.ones(2), [0.0, 1.0], method="leapfrog")

    def test_parts_of_different_shapes(self):
        with pytest.raises(ValueError, match=r"parts of shapes \(2,\), \(1,\)"):
            po.solve(lambda t, y: y, (torch.ones(2), torch.ones(1)), [0.0, 1.0], method="yoshida4")

    def test_a_force_that_depends_on_velocities(self):
        with pytest.raises(ValueError, match="other velocities changed the force"):
            po.solve(po.rhs.Pendulum(damping=0.1), torch.tensor([1.0, 0.5]), [0.0, 1.0], method="leapfrog")

    def test_a_velocity_that_depends_on_positions(self):
        with pytest.raises(ValueError, match="other positions changed the velocity"):
            po.solve(lambda t, y: (y[1] * y[0], -y[0]), (torch.ones(1), torch.ones(1)), [0.0, 1.0], method="leapfrog")

    @pytest.mark.parametrize("start", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
    def test_a_start_at_rest_or_at_the_origin_hides_nothing(self, start):
        q, p = (torch.tensor([each]) for each in start)
        with pytest.raises(ValueError, match="other velocities changed the force"):
            po.solve(lambda t, y: (y[1], -y[0] - 0.3 * y[1]), (q, p), [0.0, 1.0], method="leapfrog")
        mixed = po.rhs.Hamiltonian(lambda q, p: (p**2 * (1 + q**2) + q**2).sum(-1) / 2, separable=True)
        with pytest.raises(ValueError, match="use method='dopri8' or 'alf'"):
            po.solve(mixed, (q, p), [0.0, 1.0], method="leapfrog")

    def test_an_energy_not_called_separable(self):
        with pytest.raises(ValueError, match=r"Hamiltonian\(..., separable=True\) if the energy is"):
            po.solve(po.rhs.Hamiltonian(lambda q, p: (p**2 + q**2).sum(-1)), torch.ones(2), [0.0, 1.0],
                     method="leapfrog")  # fmt: skip

    def test_an_energy_wrongly_called_separable(self):
        coupled = po.rhs.Hamiltonian(lambda q, p: (q * p**2).sum(-1), separable=True)
        with pytest.raises(ValueError, match="use method='dopri8' or 'alf'"):
            po.solve(coupled, torch.tensor([1.0, 0.5]), [0.0, 1.0], method="leapfrog")


def leaning(t, q):
    return torch.where(q > 0, -torch.sin(q), -3 - q)


@pytest.mark.parametrize(("method", "order"), [("leapfrog", 2), ("yoshida4", 2), ("suzuki4", 4)])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_force_that_jumps_at_an_event_keeps_the_order_of_methods_that_stay_inside_of_steps(method, order, control):
    start = torch.tensor([1.0] if control == "shared" else [[1.0], [0.7]], requires_grad=True)
    event = po.Event(lambda t, y: y[0][..., 0])

    def end(method, **options):
        pair = (start, torch.zeros_like(start))
        force = po.rhs.SecondOrder(leaning)
        sol = po.solve(force, pair, [0.0, 2.5], method=method, events=event, step_control=control, **options)
        value = sol.y[0][-1]
        return torch.stack([value.detach(), torch.autograd.grad(value.sum(), start)[0]])

    exact = end("dopri8", rtol=1e-12, atol=1e-13)
    errors = [(end(method, step_size=size) - exact).abs().amax() for size in (0.1, 0.05)]
    assert errors[1] < 1e-2 * 0.1 ** (order - 2)
    assert float(torch.log2(errors[0] / errors[1])) > order - 0.4


def test_mali_undoes_steps_beside_a_force_that_jumps():
    def gradient(way):
        q = torch.ones(1, requires_grad=True)
        sol = po.solve(
            po.rhs.SecondOrder(leaning), (q, torch.zeros(1)), [0.0, 2.5], method="yoshida4", step_size=0.1,
            events=po.Event(lambda t, y: y[0][0]), gradient=way,
        )  # fmt: skip
        return torch.autograd.grad(sol.y[0][-1].sum(), q)[0]

    torch.testing.assert_close(gradient("mali"), gradient("aca"), rtol=1e-10, atol=0)
