"""Bodies through close encounters: the regularised route, and the list of encounters."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.errors import SolveError
from physode.rhs import NBody, ThreeBody
from physode.simulators import closest_approach, find_encounters

pytestmark = pytest.mark.usefixtures("float64")


def pythagorean(end, points=2, **options):
    bodies, preset = ThreeBody.from_preset("pythagorean"), ThreeBody.find_preset("pythagorean")
    with torch.no_grad():
        return bodies, po.solve_regularised(bodies, torch.tensor(preset.y0), torch.linspace(0, end, points), **options)


def test_the_first_close_encounter_is_found_when_and_as_near_as_it_is():
    bodies, sol = pythagorean(3.0, rtol=1e-8, atol=1e-10)
    energy = bodies.invariants(sol.y)["energy"]
    assert abs(float(energy[-1] / energy[0] - 1)) < 1e-7
    (met,) = find_encounters(sol, below=0.05)
    assert (met.trajectory, met.bodies) == (0, (2, 3))
    assert (met.time, met.distance) == pytest.approx((1.87934308, 0.00970009), rel=1e-6)


def test_the_list_has_the_closest_approach_that_reports_give():
    preset = ThreeBody.find_preset("figure-eight")
    bodies = NBody([1.0, 1.0, 1.0], G=0.9)
    y0 = torch.tensor(preset.y0).repeat(2, 1) * torch.tensor([[1.0], [1.1]])
    sol = po.solve(bodies, y0, [0.0, 5.0], dense=True, step_control="per-sample")
    distance, time, pair = closest_approach(sol)
    for row in range(2):
        nearest = min((each for each in find_encounters(sol, below=9.0) if each.trajectory == row),
                      key=lambda each: each.distance)  # fmt: skip
        assert nearest.distance == pytest.approx(float(distance[row]), rel=1e-6)
        assert nearest.time == pytest.approx(float(time[row]), abs=1e-4)
        assert nearest.bodies == [(1, 2), (1, 3), (2, 3)][int(pair[row])]


@pytest.mark.slow
def test_the_pythagorean_bodies_meet_when_and_as_near_as_is_known_and_the_lightest_leaves_at_last():
    """The closest approach, of masses 4 and 5 at t = 15.8299; they stay together (Szebehely & Peters 1967)."""
    bodies, sol = pythagorean(64.0, points=65, rtol=1e-11, atol=1e-13)
    energy = bodies.invariants(sol.y)["energy"]
    assert float((energy / energy[0] - 1).abs().max()) < 1e-9
    met = find_encounters(sol, below=0.05)
    assert [each.bodies for each in met[:3]] == [(2, 3)] * 3
    assert [each.time for each in met[:3]] == pytest.approx([1.8793, 8.7598, 15.8299], abs=1e-4)
    assert min(met, key=lambda each: each.distance) == met[2]
    assert met[2].distance == pytest.approx(4.138e-4, rel=1e-3)
    first, second, third = po.rhs.pair_distances(sol.y).unbind(-1)  # (1, 2), (1, 3), (2, 3)
    assert float(torch.minimum(first, second)[-1]) > 10.0
    assert float(third[-5:].max()) < 2.0
    assert bool((first[-5:].diff() > 0).all())


def test_it_is_the_solution_in_physical_time_for_each_sample():
    bodies, preset = ThreeBody.from_preset("figure-eight"), ThreeBody.find_preset("figure-eight")
    y0 = torch.tensor(preset.y0) * torch.tensor([[1.0], [1.05]])
    times = torch.tensor([0.5, 0.7, 1.5, 2.5])
    sol = po.solve_regularised(bodies, y0, times)
    right = po.solve(bodies, y0, times, method="dopri8", rtol=1e-12, atol=1e-13, dense=True)
    assert torch.allclose(sol.y, right.y, atol=1e-8)
    assert torch.allclose(sol(torch.tensor([1.0, 2.0])), right(torch.tensor([1.0, 2.0])), atol=1e-8)
    alone = po.solve_regularised(bodies, y0[1], times)
    assert alone.y.shape == (4, 18)
    assert torch.allclose(alone.y, right.y[:, 1], atol=1e-8)
    assert alone(torch.tensor(1.0)).shape == (18,)
    assert float(sol.step_times.max()) == 2.5


@pytest.mark.slow
def test_gradients_reach_masses_states_and_times():
    def read(masses, y0, times):
        return (
            po.solve_regularised(NBody(masses, G=1.0), y0, times, rtol=1e-6, atol=1e-7, method="dopri5")
            .y[1:]
            .flatten()[::9]
        )

    y0 = torch.tensor([0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, -0.4, 0.0, 0.3, 0.5, 0.0], requires_grad=True)
    masses, times = torch.tensor([1.0, 0.3], requires_grad=True), torch.tensor([0.0, 0.4, 1.0], requires_grad=True)
    assert torch.autograd.gradcheck(read, (masses, y0, times))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "leapfrog"}, "`method` must have adaptive steps"),
        ({"gradient": "adjoint"}, "`gradient` must be 'aca' or 'naive'"),
        ({"t": [1.0, 0.0]}, "`t` must rise"),
        ({"y0": torch.ones(5)}, r"`y0` must be a tensor \(12,\)"),
        ({"y0": torch.arange(12.0, dtype=torch.float32)}, "`y0` must be float64"),
        ({"bodies": NBody([1.0, 0.0])}, "at least two bodies with a mass"),
    ],
)
def test_what_cannot_be_solved_is_refused(change, message):
    given = {"bodies": NBody([1.0, 1.0]), "y0": torch.arange(12.0, dtype=torch.float64), "t": [0.0, 1.0]} | change
    with pytest.raises(ValueError, match=message):
        po.solve_regularised(given.pop("bodies"), given.pop("y0"), given.pop("t"), **given)


def test_encounters_of_several_trajectories_with_shared_and_own_steps():
    """Two bodies that fly past one another on straight lines, since they have no mass to speak of."""
    bodies = NBody([1e-12, 1e-12], G=1.0)
    y0 = torch.zeros(2, 12)
    y0[:, 0], y0[:, 6] = torch.tensor([-1.0, -2.0]), 1.0
    y0[:, 4] = torch.tensor([0.1, 0.3])
    for control in ("shared", "per-sample"):
        sol = po.solve(bodies, y0, [0.0, 5.0], dense=True, step_control=control, max_step=0.5)
        first, second = find_encounters(sol, below=0.5)
        assert (first.trajectory, second.trajectory) == (0, 1)
        assert (first.time, second.time) == pytest.approx((1.0, 2.0), abs=1e-6)
        assert (first.distance, second.distance) == pytest.approx((0.1, 0.3), abs=1e-9)
        assert find_encounters(sol, below=0.2) == [first]
    with pytest.raises(ValueError, match="`below` must be a distance above 0"):
        find_encounters(sol, below=0.0)


def two(speed):
    """Return two bodies side by side that move apart at a speed, across the line between them."""
    return torch.tensor([-0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, -speed / 2, 0.0, 0.0, speed / 2, 0.0])


def test_bodies_that_part_for_ever_are_followed_though_their_time_grows_exponentially():
    bodies, times = NBody([1.0, 1.0], G=1.0), torch.tensor([0.0, 10.0, 3000.0])
    y0 = torch.stack([two(3.0), two(3.3)])
    sol = po.solve_regularised(bodies, y0, times, max_steps=2000)
    right = po.solve(bodies, y0, times, method="dopri8", rtol=1e-12, atol=1e-13, step_control="per-sample")
    assert torch.allclose(sol.y, right.y, rtol=1e-7)


def test_a_collision_is_named_with_its_time():
    with pytest.raises(SolveError, match=r"sample 0 stopped at t = 0.78539816\d*: bodies collide"):
        po.solve_regularised(NBody([1.0, 1.0], G=1.0), two(0.0), [0.0, 1.0])


def test_samples_that_stand_still_meanwhile_have_no_encounters_of_their_own():
    """The distance of two bodies that pass at a time and a distance, read at steps of size 0, too."""
    passing = torch.tensor([0.95, 0.5])

    class Passing:
        y = torch.zeros(2, 2, 12)
        step_times = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0])[:, None].expand(-1, 2)

        def __call__(self, t):
            apart = torch.zeros(*t.shape, 12)
            apart[..., 0], apart[..., 1] = t - passing, 0.1
            return apart

    met = find_encounters(Passing(), below=0.9)
    assert [each.trajectory for each in met] == [1, 0]
    assert [each.time for each in met] == pytest.approx([0.5, 0.95], abs=1e-6)
