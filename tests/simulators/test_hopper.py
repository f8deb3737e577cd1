from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from physode.errors import ConfigError, SolveError
from physode.simulators import hopper as module
from physode.simulators import simulate_hopper
from physode.simulators.hopper import JOINTS, SEGMENTS, load_hopper

GRAVITY = 9.81
ARMATURES = (0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 0.2)
LOWEST = (0.0, 0.0, *(-2.0,) * 5, *(-5.0,) * 7)
HIGHEST = (0.5, 0.5, *(2.0,) * 5, *(5.0,) * 7)


def flying(step=0.005):
    """A hopper that nothing touches, held by no limits, without friction, integrated in fourth order."""
    body = load_hopper()
    mujoco, option = body.mujoco, body.model.opt
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_LIMIT
    option.integrator = mujoco.mjtIntegrator.mjINT_RK4
    option.timestep = step
    body.model.dof_damping[:] = 0.0
    return body


def capsules():
    """The segment's number, the mass, the middle in the segment's frame, and the inertia about it, of every capsule."""
    for number, segment in enumerate(SEGMENTS):
        for (x1, z1), (x2, z2), r in segment.capsules:
            length = math.hypot(x2 - x1, z2 - z1)
            rod, ball = 1000 * math.pi * r**2 * length, 1000 * 4 / 3 * math.pi * r**3
            inertia = rod * (length**2 / 12 + r**2 / 4) + ball * (2 / 5 * r**2 + length**2 / 4 + 3 / 8 * length * r)
            yield number, rod + ball, ((x1 + x2) / 2, (z1 + z2) / 2), inertia


def placed(q):
    """Where the middles of the capsules are, and how far they have turned: (capsules, 3), x, z and angle of each."""
    x, z, turn = q[0], q[1], q.new_zeros(())
    origins = []
    for number, segment in enumerate(SEGMENTS):
        x, z = x + segment.height * torch.sin(turn), z + segment.height * torch.cos(turn)  # a turn leans z to x
        turn = turn + q[2 + number]
        origins.append((x, z, turn))
    return torch.stack([at(*origins[number], *middle) for number, _, middle, _ in capsules()])


def at(x, z, turn, ahead, up):
    cos, sin = torch.cos(turn), torch.sin(turn)
    return torch.stack([x + ahead * cos + up * sin, z - ahead * sin + up * cos, turn])


def mass_matrix(q):
    moving = jacobian(placed, q, create_graph=True)
    weights = torch.tensor([[mass, mass, inertia] for _, mass, _, inertia in capsules()], dtype=q.dtype)
    return torch.einsum("kai,ka,kaj->ij", moving, weights, moving) + torch.diag(q.new_tensor(ARMATURES))


def potential(q):
    heights = placed(q)[:, 1]
    return GRAVITY * sum(mass * height for (_, mass, _, _), height in zip(capsules(), heights, strict=True))


def kinetic(q, v):
    return 0.5 * v @ mass_matrix(q) @ v


def accelerations(q, v):
    """Those of Lagrange's equations, from the energies: d/dt (dT/dv) = dT/dq - dV/dq."""
    force = jacobian(lambda q: kinetic(q, v) - potential(q), q)
    turning = jacobian(lambda q: mass_matrix(q) @ v, q) @ v
    return torch.linalg.solve(mass_matrix(q), force - turning).detach()


def energy(state):
    q, v = torch.from_numpy(state[:7]), torch.from_numpy(state[7:])
    return (kinetic(q, v) + potential(q)).item()


@pytest.fixture
def thrown():
    return np.random.default_rng(3).uniform(LOWEST, HIGHEST)


@pytest.mark.parametrize("seed", range(5))
def test_its_accelerations_in_flight_are_those_of_lagrange_s_equations(seed):
    state, body = np.random.default_rng(seed).uniform(LOWEST, HIGHEST), flying()
    body.data.qpos[:], body.data.qvel[:] = state[:7], state[7:]
    body.mujoco.mj_forward(body.model, body.data)
    expected = accelerations(*torch.from_numpy(state).split(7)).numpy()
    np.testing.assert_allclose(body.data.qacc, expected, rtol=1e-9, atol=1e-9)


def test_energy_is_kept_where_nothing_touches_and_no_joint_is_damped(thrown):
    path, _ = flying(step=0.001).run(thrown, steps=201)
    energies = [energy(state) for state in path[::20]]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-7)
    damped = flying(step=0.001)
    damped.model.dof_damping[3:] = 0.05
    lost = energies[0] - energy(damped.run(thrown, steps=201)[0][-1])
    assert 0.05 < lost < 0.2 * energies[0]


def test_it_falls_as_everything_does(thrown):
    path, _ = flying().run(thrown, steps=101)
    masses = np.array([mass for _, mass, _, _ in capsules()])
    middles = np.array([placed(torch.from_numpy(state[:7]))[:, :2].numpy() for state in path])
    x, z = np.einsum("k,tkc->ct", masses / masses.sum(), middles)
    t = 0.005 * np.arange(101)
    np.testing.assert_allclose(np.polyfit(t, z, 2)[0], -GRAVITY / 2, rtol=1e-4)
    np.testing.assert_allclose(np.polyfit(t, x, 2)[0], 0.0, atol=1e-3)


def test_it_comes_to_rest_upon_the_floor_within_its_joints_limits(thrown):
    path, lost = load_hopper().run(thrown, steps=4000)
    assert lost is None
    assert np.abs(path[-1, 7:]).max() < 0.05
    limits = np.radians([segment.limits for segment in SEGMENTS[1:]])
    assert (path[-1, 3:7] > limits[:, 0] - 0.05).all()
    assert (path[-1, 3:7] < limits[:, 1] + 0.05).all()
    position = torch.from_numpy(path[-1, :7])
    middles = placed(position).numpy()
    shapes = [shape for segment in SEGMENTS for shape in segment.capsules]
    lowest = []
    for (_, z, turn), ((x1, z1), (x2, z2), r) in zip(middles, shapes, strict=True):
        half = 0.5 * abs((z2 - z1) * math.cos(turn) - (x2 - x1) * math.sin(turn))
        lowest.append(z - half - r)
    assert abs(min(lowest)) < 0.01


def test_columns_are_the_models_joints_in_order():
    model = load_hopper().model
    assert [model.joint(number).name for number in range(model.njnt)] == list(JOINTS)
    simulated = simulate_hopper(n=1, points=2, steps=2)
    assert simulated.columns == (*JOINTS, *(f"{name}_velocity" for name in JOINTS))
    assert simulated.units == ("m", "m", *["rad"] * 5, "m/s", "m/s", *["rad/s"] * 5)
    assert simulated.attrs["time_unit"] == "s"
    assert simulated.attrs["method"].startswith("mujoco ")


def test_initial_states_fill_their_bounds():
    starts = simulate_hopper(n=400, points=2, steps=2).y[:, 0]
    low, high = np.array(LOWEST), np.array(HIGHEST)
    assert (starts >= low).all()
    assert (starts <= high).all()
    np.testing.assert_allclose(starts.mean(0), (low + high) / 2, rtol=0, atol=5 * 10 / np.sqrt(12 * 400))
    assert (starts.min(0) < low + 0.05 * (high - low)).all()
    assert (starts.max(0) > high - 0.05 * (high - low)).all()


def test_sequence_is_a_window_of_its_run():
    runs = simulate_hopper(n=12, points=30, steps=30, seed=5)
    windows = simulate_hopper(n=12, points=10, steps=30, seed=5)
    first = windows.params["first_step"]
    assert windows.t.shape == (10,)
    assert len(np.unique(first)) > 4
    for index, begin in enumerate(first):
        assert np.array_equal(windows.y[index], runs.y[index, begin : begin + 10])


def test_random_times_are_different_states_of_the_run():
    runs = simulate_hopper(n=4, points=40, steps=40, seed=5)
    drawn = simulate_hopper(n=4, points=10, steps=40, seed=5, times="random")
    assert drawn.t.shape == (4, 10)
    assert (np.diff(drawn.t) > 0).all()
    for index, own in enumerate(np.rint(drawn.t / 0.005).astype(int)):
        assert np.array_equal(drawn.y[index], runs.y[index, own])


def test_sequences_are_the_same_in_every_bit_among_any_number():
    few, many = (simulate_hopper(n=n, points=20, steps=60, noise=0.1, seed=9) for n in (3, 7))
    assert np.array_equal(few.y, many.y[:3])
    assert np.array_equal(few.y_clean, many.y_clean[:3])
    assert not np.array_equal(few.y, simulate_hopper(n=3, points=20, steps=60, noise=0.1, seed=10).y)


def test_unstable_sequence_is_named_and_nan_and_leaves_the_others_alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    calm = simulate_hopper(n=3, points=20, steps=20)
    initial = module._initial

    def wild(seed, index):
        return initial(seed, index) * (1e7 if index == 1 else 1.0)

    monkeypatch.setattr(module, "_initial", wild)
    simulated = simulate_hopper(n=3, points=20, steps=20)
    (failure,) = simulated.attrs["failures"]
    assert (failure["trajectory"], failure["reason"]) == (1, "NON_FINITE")
    good = simulated.t <= failure["time"]
    assert np.isfinite(simulated.y[1, good]).all()
    assert np.isnan(simulated.y[1, ~good]).all()
    assert (~good).any()
    assert np.array_equal(simulated.y[[0, 2]], calm.y[[0, 2]])
    assert list(Path().iterdir()) == []  # MuJoCo would write a log here


def test_an_error_is_raised_where_every_sequence_is_unstable(monkeypatch):
    monkeypatch.setattr(module, "_initial", lambda seed, index: np.full(14, 1e8))
    with pytest.raises(SolveError, match="no hopper reached the end; sequence 0 was unstable after 0 s"):
        simulate_hopper(n=2, points=10, steps=10)


def test_progress_rises_to_one():
    seen: list[float] = []
    simulate_hopper(n=5, points=2, steps=2, progress=seen.append)
    assert seen == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ConfigError) as caught:
        simulate_hopper(n=1)
    message = "`physode simulate hopper` needs mujoco; install it with: pip install 'physode[mujoco]'"
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` must be at least 1"),
        ({"points": 1}, "`points` must be at least 2 and at most `steps` = 200, got 1"),
        ({"points": 30, "steps": 20}, "`points` must be at least 2 and at most `steps` = 20, got 30; raise `steps`"),
        ({"times": "sorted"}, "`times` must be one of: grid, random"),
        ({"noise": [0.1, 0.2]}, "`noise` must be one number, or one for each of 14 columns, got 2"),
    ],
)
def test_bad_arguments_are_named_before_any_long_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_hopper(**arguments)
