"""Equations from an energy, from an acceleration, and of bodies in a time of their own."""

from __future__ import annotations

import math

import pytest
import torch

import physode as po
from physode.rhs import Arenstorf, Hamiltonian, LogarithmicNBody, NBody, Pendulum, SecondOrder, ThreeBody
from tests.rhs.test_n_body import T0

pytestmark = pytest.mark.usefixtures("float64")


def pendulum_energy(q, p):
    return (p**2 / 2 + 9.81 * (1 - torch.cos(q))).sum(-1)


def test_an_energy_gives_the_equations_of_the_pendulum():
    y = torch.randn(5, 2)
    assert torch.allclose(Hamiltonian(pendulum_energy)(T0, y), Pendulum()(T0, y), atol=1e-14)


def test_the_structure_of_a_pair_is_kept():
    q, p = torch.randn(5, 3), torch.randn(5, 3)
    system = Hamiltonian(pendulum_energy)
    whole = system(T0, torch.cat((q, p), -1))
    pair, named = system(T0, (q, p)), system(T0, {"q": q, "p": p})
    assert torch.equal(torch.cat(pair, -1), whole)
    assert torch.equal(torch.cat((named["q"], named["p"]), -1), whole)


def test_a_learnt_energy_has_second_derivatives_and_is_conserved():
    torch.manual_seed(1)
    energy = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    system = Hamiltonian(lambda q, p: energy(torch.cat((q, p), -1))[..., 0])
    y0 = torch.randn(3, 4, requires_grad=True)

    def end(y0):
        return po.solve(system, y0, [0.0, 1.0], rtol=1e-9, atol=1e-10, gradient="naive", first_step=0.1).y[-1]

    assert torch.autograd.gradcheck(lambda y: system(T0, y), y0)
    assert torch.autograd.gradgradcheck(lambda y: system(T0, y), y0)
    assert torch.allclose(system.energy_of(end(y0)), system.energy_of(y0), atol=1e-9)
    naive = torch.autograd.grad(end(y0).square().sum(), [y0, *energy.parameters()], allow_unused=True)
    by_aca = po.solve(system, y0, [0.0, 1.0], rtol=1e-9, atol=1e-10, first_step=0.1).y[-1].square().sum()
    for found, right in zip(torch.autograd.grad(by_aca, [y0, *energy.parameters()], allow_unused=True), naive,
                            strict=True):  # fmt: skip
        assert (found is None and right is None) or torch.allclose(found, right, atol=1e-6)


def test_arguments_reach_the_energy_and_the_acceleration():
    k = torch.tensor(2.0, requires_grad=True)
    by_energy = po.solve(Hamiltonian(lambda q, p, k: (p**2 + k * q**2).sum(-1) / 2), torch.tensor([1.0, 0.0]),
                         [0.0, 1.0], args=(k,), rtol=1e-10, atol=1e-11).y[-1]  # fmt: skip
    by_force = po.solve(SecondOrder(lambda t, q, k: -k * q), torch.tensor([1.0, 0.0]), [0.0, 1.0], args=(k,),
                        rtol=1e-10, atol=1e-11).y[-1]  # fmt: skip
    for end in (by_energy, by_force):
        (found,) = torch.autograd.grad(end[0], k)
        root = math.sqrt(2.0)
        assert float(found) == pytest.approx(-math.sin(root) / (2 * root), rel=1e-7)


@pytest.mark.parametrize(
    ("y", "message"),
    [(torch.ones(3), r"along its last axis, got the shape \(3,\)"), ((torch.ones(1),) * 3, "a pair .* got 3 parts")],
)
def test_states_without_halves_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        SecondOrder(lambda t, q: -q)(T0, y)


def test_an_energy_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="`energy` must return a tensor"):
        Hamiltonian(lambda q, p: 1.0)(T0, torch.ones(2))


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
def test_bodies_velocity_and_force_are_the_halves_of_their_derivative(batch):
    bodies = NBody([1.0, 2.0, 0.5], G=2.0, velocity_scale=3.0, softening=0.1)
    y = torch.randn(*batch, 18)
    whole = bodies(T0, y)
    assert torch.equal(bodies.velocity(T0, y[..., 9:]), whole[..., :9])
    assert torch.equal(bodies.force(T0, y[..., :9]), whole[..., 9:])


def test_the_arenstorf_orbit_closes_after_its_period():
    orbit = Arenstorf.find_preset("orbit")
    y0 = torch.tensor(orbit.y0)
    gaps = []
    for tolerance in (1e-8, 1e-12):
        sol = po.solve(Arenstorf(), y0, [0.0, orbit.t_end], method="dopri8", rtol=tolerance, atol=tolerance,
                       record="invariants")  # fmt: skip
        gaps.append(float((sol.y[-1] - y0)[:2].abs().max()))
    jacobi = sol.recorded["jacobi"].values
    assert gaps[0] < 1e-2
    assert gaps[1] < 1e-7
    assert float((jacobi - jacobi[0]).abs().max()) < 1e-10


def test_the_logarithmic_equations_are_the_bodies_over_another_time():
    bodies = ThreeBody.from_preset("figure-eight")
    system = LogarithmicNBody(bodies)
    y = torch.tensor(ThreeBody.find_preset("figure-eight").y0).repeat(2, 1)
    state = system.start(y, torch.tensor([0.0, 5.0]))
    change, pace = system.split(system(T0, state))
    assert torch.allclose(change / pace[:, None], bodies(T0, y), atol=1e-13)
    assert torch.equal(system.split(state)[0], y)
    assert system.split(state)[1].tolist() == [0.0, 5.0]


def test_leapfrog_in_that_time_stays_on_a_two_body_orbit_however_thin():
    bodies = NBody([1.0, 1.0], G=1.0)
    eccentricity, steps = 0.999, 60
    speed = math.sqrt(2 * (1 + eccentricity) / (1 - eccentricity)) / 2
    far = (1 - eccentricity) / 2
    y0 = torch.tensor([far, 0.0, 0.0, -far, 0.0, 0.0, 0.0, speed, 0.0, 0.0, -speed, 0.0])
    system = LogarithmicNBody(bodies)
    s = torch.linspace(0.0, 12.0, steps)
    y = system.split(po.solve(system, system.start(y0, torch.zeros(())), s, method="leapfrog").y)[0]
    energy, spin = (bodies.invariants(y)[name] for name in ("energy", "angular_momentum"))
    assert torch.allclose(energy, energy[0], rtol=1e-9)
    assert torch.allclose(spin, spin[0], rtol=1e-10)
    assert float(y[:, 0].min()) < -0.9  # it has been far out
