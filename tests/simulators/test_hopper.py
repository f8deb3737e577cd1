from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from physode.errors import ConfigError, SolveError
from physode.simulators import hopper as module
from physode.simulators import simulate_hopper


@pytest.fixture
def physics(monkeypatch):
    """The hopper as the Control Suite itself steps it."""
    monkeypatch.setenv("MUJOCO_GL", "disable")
    suite = pytest.importorskip("dm_control.suite.hopper")
    return suite.Physics.from_xml_string(*suite.get_model_and_assets())


def stepped(physics, state, steps):
    with physics.reset_context():
        physics.data.qpos[:], physics.data.qvel[:] = state[:7], state[7:]
    states = []
    for _ in range(steps):
        states.append(np.concatenate((physics.data.qpos, physics.data.qvel)))
        physics.step()
    return np.array(states)


def test_run_is_the_control_suites(physics):
    simulated = simulate_hopper(n=3, points=150, steps=150)
    assert simulated.params["first_step"].tolist() == [0, 0, 0]
    for own in simulated.y:
        np.testing.assert_allclose(own, stepped(physics, own[0], 150), rtol=0, atol=1e-10)
    np.testing.assert_allclose(simulated.t, physics.timestep() * np.arange(150), rtol=1e-15)


def test_columns_are_the_models_joints_in_order(physics):
    names = [physics.model.id2name(number, "joint") for number in range(physics.model.njnt)]
    simulated = simulate_hopper(n=1, points=2, steps=2)
    assert simulated.columns == (*names, *(f"{name}_velocity" for name in names))
    assert simulated.units == ("m", "m", *["rad"] * 5, "m/s", "m/s", *["rad/s"] * 5)
    assert simulated.attrs["time_unit"] == "s"
    assert simulated.attrs["method"].startswith("mujoco ")


def test_initial_states_fill_their_bounds():
    starts = simulate_hopper(n=400, points=2, steps=2).y[:, 0]
    low = np.array([0.0] * 2 + [-2.0] * 5 + [-5.0] * 7)
    high = np.array([0.5] * 2 + [2.0] * 5 + [5.0] * 7)
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


@pytest.mark.parametrize(("package", "name"), [("mujoco", "mujoco"), ("dm_control", "dm_control")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as caught:
        simulate_hopper(n=1)
    message = f"`physode simulate hopper` needs {name}; install it with: pip install 'physode[mujoco]'"
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
