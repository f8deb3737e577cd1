from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.errors import SolveError
from physode.rhs import ThreeBody
from physode.simulators import simulate_three_body, system_of

T0 = torch.zeros((), dtype=torch.float64)


def reference(system, y0, t_end, **settings):
    return solve_ivp(
        lambda t, y: system(T0, torch.from_numpy(y)).numpy(),
        (0.0, t_end),
        y0,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        **settings,
    )


@pytest.fixture(scope="module")
def aca():
    return simulate_three_body(preset="aca")


def test_preset_aca_has_the_authors_constants_times_and_start(aca):
    assert aca.params["masses"].tolist() == [[1.1, 1.1, 0.9]]
    assert aca.attrs["rhs"] == {
        "masses": [1.1, 1.1, 0.9],
        "G": 0.20048437269236732,
        "velocity_scale": 7.239323869320315,
        "softening": 0.0,
    }
    assert np.array_equal(aca.t, np.linspace(0.0, 1.0, 1000))
    expected = [0, 0.2, 0, 0.5, 0, 0.5, 0, 0, 0.5, 0, 0.1, 0, 0, 0, 0.1, 0.1, 0, 0]
    assert aca.y[0, 0].tolist() == expected


def test_preset_aca_follows_a_reference_solver(aca):
    path = reference(ThreeBody.from_preset("aca"), aca.y[0, 0], 1.0, t_eval=aca.t).y.T
    np.testing.assert_allclose(aca.y[0], path, rtol=0, atol=2e-7)
    assert aca.params["energy_drift"][0] < 1e-8


def test_given_arguments_replace_the_presets():
    simulated = simulate_three_body(preset="aca", masses=[1.0, 1.0, 1.0], t_end=0.1, points=5)
    assert simulated.params["masses"].tolist() == [[1.0, 1.0, 1.0]]
    assert simulated.t.tolist() == np.linspace(0.0, 0.1, 5).tolist()
    assert system_of(simulated).velocity_scale == 7.239323869320315


def test_random_systems_are_reproducible_by_seed_and_independent_of_their_number():
    few = simulate_three_body(n=2, seed=7, t_end=0.05, points=5, noise=0.01)
    many = simulate_three_body(n=4, seed=7, t_end=0.05, points=5, noise=0.01)
    other = simulate_three_body(n=2, seed=8, t_end=0.05, points=5)
    assert np.array_equal(few.y, many.y[:2])
    assert np.array_equal(few.params["masses"], many.params["masses"][:2])
    assert not np.array_equal(few.y_clean, other.y)
    assert len(np.unique(many.params["masses"])) == 12


def test_random_systems_are_bound_with_unequal_masses_in_astronomical_units():
    simulated = simulate_three_body(n=5, t_end=0.01, points=3)
    assert simulated.units == ("AU",) * 9 + ("AU/yr",) * 9
    assert simulated.attrs["time_unit"] == "yr"
    assert simulated.attrs["param_units"]["masses"] == "Msun"
    for k in range(5):
        invariants = system_of(simulated, k).invariants(torch.from_numpy(simulated.y[k]))
        assert bool((invariants["energy"] < 0).all())
        np.testing.assert_allclose(invariants["momentum"].numpy(), 0.0, atol=1e-10)


def test_a_trajectory_of_a_batch_is_the_one_simulated_alone():
    batch = simulate_three_body(n=3, t_end=0.3, points=50)
    for k in range(3):
        alone = simulate_three_body(masses=batch.params["masses"][k], y0=batch.y[k, 0], t_end=0.3, points=50)
        assert np.array_equal(alone.y[0], batch.y[k])
        for name in ("min_distance", "min_distance_time", "energy_drift"):
            assert alone.params[name][0] == batch.params[name][k]


def test_given_masses_and_states_of_every_trajectory_are_used():
    masses = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    simulated = simulate_three_body(n=2, masses=masses, t_end=0.01, points=3)
    assert np.array_equal(simulated.params["masses"], masses)
    assert "masses" not in simulated.attrs["rhs"]


def test_close_encounter_is_reported_with_bodies_time_and_distance():
    simulated = simulate_three_body(preset="pythagorean", t_end=2.5, points=26)
    (encounter,) = simulated.attrs["close_encounters"]
    start = ThreeBody.presets["pythagorean"]
    path = reference(ThreeBody.from_preset("pythagorean"), start.y0, 2.5, dense_output=True).sol
    times = encounter["time"] + np.linspace(-0.01, 0.01, 200_001)
    r = path(times)[:9].reshape(3, 3, -1)
    distances = np.linalg.norm(r[1] - r[2], axis=0)
    assert encounter["trajectory"] == 0
    assert encounter["bodies"] == [2, 3]
    assert encounter["distance"] == pytest.approx(distances.min(), rel=1e-5)
    assert encounter["time"] == pytest.approx(times[distances.argmin()], abs=1e-4)
    assert (
        encounter["distance"] < 0.9 * np.linalg.norm(simulated.y[0, :, 3:6] - simulated.y[0, :, 6:9], axis=-1).min()
    ), "the encounter lies between output times"


def test_orbits_without_close_encounters_report_none_but_tell_the_distance():
    simulated = simulate_three_body(preset="figure-eight", points=50)
    assert simulated.attrs["close_encounters"] == []
    assert 0.5 < simulated.params["min_distance"][0] < 1.0
    encounter = simulate_three_body(preset="figure-eight", points=50, encounter_distance=0.8)
    assert len(encounter.attrs["close_encounters"]) == 1


def test_colliding_bodies_are_named_as_a_failure_and_as_an_encounter():
    falling = np.zeros(18)
    falling[[0, 3, 6]] = -0.5, 0.5, 100.0  # two bodies at rest fall onto each other, a third is far away
    apart = falling.copy()
    apart[[10, 13]] = -3.0, 3.0
    simulated = simulate_three_body(n=2, masses=[1.0, 1.0, 1.0], y0=[falling, apart], t_end=0.5, points=11)
    (failure,) = simulated.attrs["failures"]
    (encounter,) = simulated.attrs["close_encounters"]
    collision = np.pi / (2 * np.sqrt(2 * 4 * np.pi**2 * 2))
    assert failure["trajectory"] == encounter["trajectory"] == 0
    assert failure["time"] == pytest.approx(collision, rel=1e-3)
    assert encounter["bodies"] == [1, 2]
    assert encounter["distance"] < 1e-3
    assert np.isfinite(simulated.y[1]).all()


def test_a_lone_collision_is_an_error():
    falling = np.zeros(18)
    falling[[0, 3, 6]] = -0.5, 0.5, 100.0
    with pytest.raises(SolveError, match="no trajectory reached the end time"):
        simulate_three_body(masses=[1.0, 1.0, 1.0], y0=falling, t_end=0.5, points=11)


def test_bodies_that_coincide_at_the_start_are_named():
    coinciding = np.zeros(18)
    coinciding[6] = 5.0
    apart = np.zeros(18)
    apart[[0, 3, 7]] = 1.0, -1.0, 1.0
    simulated = simulate_three_body(n=2, masses=[1.0, 1.0, 1.0], y0=[coinciding, apart], t_end=0.1, points=4)
    (failure,), (encounter,) = simulated.attrs["failures"], simulated.attrs["close_encounters"]
    assert failure == {"trajectory": 0, "reason": "NON_FINITE", "time": 0.0}
    assert (encounter["trajectory"], encounter["distance"], encounter["bodies"]) == (0, 0.0, [1, 2])
    assert np.isnan(simulated.params["energy_drift"]).tolist() == [True, False]
    with pytest.raises(SolveError, match="no trajectory reached the end time; trajectory 0 stopped at t = 0"):
        simulate_three_body(masses=[1.0, 1.0, 1.0], y0=coinciding, t_end=0.1, points=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` must be at least 1 trajectory, got 0"),
        ({"masses": [1.0, 2.0]}, "`masses` must hold three masses, got 2"),
        ({"masses": [1.0, -2.0, 3.0]}, "`masses` must not be negative"),
        ({"masses": [1.0, float("nan"), 3.0]}, "`masses` must be finite"),
        ({"masses": np.ones((2, 3)), "n": 3}, "`masses` must be given once, or for each of n = 3 trajectories, got 2"),
        ({"y0": np.ones((2, 18)), "n": 3}, "`y0` must be one state, or one for each of n = 3 trajectories, got 2"),
        ({"y0": np.ones(17)}, r"`y0` must have shape \(18,\)"),
        ({"t_end": 0.0}, "`t_end` must be finite and above 0"),
        ({"points": 1}, "`points` must be at least 2"),
        ({"noise": -1.0}, "`noise` must be finite and not below 0"),
        ({"t": [0.0, 1.0], "t_end": 1.0}, "give either `t` or `t_end`"),
        ({"t": [[0.0, 1.0]] * 2}, "`t` must be one row of at least 2 times, or one for each of n = 1"),
        ({"times": "sorted"}, "`times` must be one of: grid, random; got 'sorted'"),
        ({"preset": "acca"}, "`preset` of three_body must be one of: aca, figure-eight, pythagorean; got 'acca'"),
        ({"encounter_distance": -1.0}, "`encounter_distance` must not be below 0"),
    ],
)
def test_bad_arguments_are_named_before_any_long_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_three_body(**arguments)
