from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.errors import ConfigError, SolveError
from physode.rhs import HarmonicOscillator, Hybrid, LotkaVolterra, System, ThreeBody, VanDerPol
from physode.simulators import core, simulate, system_of

T = np.linspace(0.0, 3.0, 31)


class Pole(System):
    """dy/dt = y^2, which from y0 > 0 reaches infinity at t = 1 / y0."""

    name = "pole"
    columns = ("y",)
    units = ("",)

    def forward(self, t, y):
        return y * y


def test_solution_is_scipys():
    y0 = np.array([[2.0, 0.0], [0.5, -1.0]])
    simulated = simulate(VanDerPol.from_preset("aca"), y0, T)
    for k in range(2):
        reference = solve_ivp(
            lambda t, y: [y[1], (0.15 - y[0] ** 2) * y[1] - y[0]],
            (0.0, 3.0),
            y0[k],
            method="DOP853",
            t_eval=T,
            rtol=1e-12,
            atol=1e-13,
        )
        np.testing.assert_allclose(simulated.y[k], reference.y.T, rtol=0, atol=1e-9)


def test_result_says_what_was_simulated():
    simulated = simulate(LotkaVolterra(), [[1.0, 1.0], [2.0, 1.0]], T, noise=0.1, seed=5, method="tsit5", rtol=1e-6)
    attrs = simulated.attrs
    assert (attrs["system"], attrs["method"], attrs["rtol"], attrs["seed"]) == ("lotka_volterra", "tsit5", 1e-6, 5)
    assert attrs["rhs"] == {"alpha": 1.5, "beta": 1.0, "delta": 1.0, "gamma": 3.0}
    assert attrs["noise"] == 0.1
    assert attrs["failures"] == []
    assert simulated.columns == ("prey", "predators")
    assert simulated.params["alpha"].tolist() == [1.5, 1.5]
    assert np.array_equal(simulated.t, T)
    json.dumps(attrs)


def test_one_state_is_shared_by_a_batch_of_constants():
    simulated = simulate(HarmonicOscillator(np.array([1.0, 2.0, 3.0])), [1.0, 0.0], T)
    expected = np.cos(simulated.params["omega"][:, None] * T)
    np.testing.assert_allclose(simulated.y[..., 0], expected, atol=1e-9)
    assert "omega" not in simulated.attrs["rhs"]


@pytest.mark.parametrize("n", [1, 3])
def test_system_of_one_trajectory_is_rebuilt_with_its_own_constants(n):
    omega = np.arange(1.0, n + 1)
    simulated = simulate(HarmonicOscillator(omega, damping_ratio=0.1), [1.0, 0.0], T)
    for k in range(n):
        system = system_of(simulated, k)
        assert system.omega.item() == omega[k]
        assert system.damping_ratio.item() == 0.1


def test_system_of_unnamed_trajectories_is_refused():
    simulated = simulate(HarmonicOscillator(), [1.0, 0.0], T)
    del simulated.attrs["system"]
    with pytest.raises(ConfigError, match="known right-hand side"):
        system_of(simulated)


def test_a_trajectory_is_the_same_in_every_bit_alone_and_in_any_chunk_and_order(rng):
    y0 = rng.normal(size=(7, 2))
    mu = rng.uniform(0.5, 2.0, 7)
    whole = simulate(VanDerPol(mu), y0, T).y
    assert np.array_equal(simulate(VanDerPol(mu), y0, T, chunk_size=3).y, whole)
    order = rng.permutation(7)
    assert np.array_equal(simulate(VanDerPol(mu[order]), y0[order], T).y, whole[order])
    for k in range(7):
        assert np.array_equal(simulate(VanDerPol(mu[k]), y0[k], T).y[0], whole[k])


@pytest.fixture
def batches(monkeypatch) -> list[tuple[int, object]]:
    """How many trajectories each solve of the test has, and whether by a kernel."""
    noted = []

    def solve(system, y0, t, **options):
        solution = core_solve(system, y0, t, **options)
        noted.append((len(y0), solution.stats.fused))
        return solution

    core_solve = core.solve
    monkeypatch.setattr(core, "solve", solve)
    return noted


@pytest.mark.parametrize("kernels", [False, True])
def test_memory_decides_how_many_are_solved_at_a_time_and_no_bit_depends_on_it(rng, monkeypatch, batches, kernels):
    if kernels:
        kernel_solve = core.solve
        monkeypatch.setattr(
            core, "solve", lambda *given, **options: kernel_solve(*given, **options | {"compile": True})
        )
    y0 = rng.normal(size=(200, 2))
    whole = simulate(VanDerPol(), y0, T, chunk_size=200).y
    ample = simulate(VanDerPol(), y0, T).y
    monkeypatch.setattr(core, "_CHUNK_BYTES", 2**20)
    scarce = simulate(VanDerPol(), y0, T).y
    assert np.array_equal(ample, whole)
    assert np.array_equal(scarce, whole)
    counts = [count for count, _ in batches]
    assert counts[:3] == [200, 32, 168]
    assert len(counts) > 5
    assert max(counts[3:]) < 168
    assert {fused for _, fused in batches} == {kernels}


def test_all_trajectories_are_solved_by_a_kernel_where_it_was_worth_making_for_the_later_ones(
    rng, monkeypatch, batches
):
    first_solve = core.solve

    def solve(*given, **options):
        late = bool(batches) or options["compile"] is True
        return first_solve(*given, **options | {"compile": late})

    monkeypatch.setattr(core, "solve", solve)
    y0 = rng.normal(size=(64, 2))
    mixed = simulate(VanDerPol(), y0, T, chunk_size=32).y
    assert batches == [(32, False), (32, True), (32, True)]
    assert np.array_equal(mixed, simulate(VanDerPol(), y0, T, chunk_size=64).y)


def test_noise_has_the_asked_standard_deviation_in_each_column_and_no_bias():
    t = np.linspace(0.0, 1.0, 1000)
    simulated = simulate(HarmonicOscillator(), np.zeros((20, 2)), t, noise=[0.5, 2.0], seed=1)
    assert simulated.y_clean is not None
    error = simulated.y - simulated.y_clean
    count = error[..., 0].size
    for column, sigma in enumerate((0.5, 2.0)):
        values = error[..., column]
        assert abs(values.mean()) < 5 * sigma / np.sqrt(count)
        assert abs(values.std() / sigma - 1) < 5 / np.sqrt(2 * count)
    assert abs(np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1]) < 5 / np.sqrt(count)
    assert abs(np.corrcoef(error[0, :, 0], error[1, :, 0])[0, 1]) < 5 / np.sqrt(1000)


def test_without_noise_there_is_no_second_copy():
    assert simulate(HarmonicOscillator(), [1.0, 0.0], T).y_clean is None


def test_noise_is_reproducible_by_seed_and_differs_between_seeds():
    def run(seed):
        return simulate(HarmonicOscillator(), [[1.0, 0.0], [0.0, 1.0]], T, noise=0.1, seed=seed)

    assert np.array_equal(run(3).y, run(3).y)
    assert not np.array_equal(run(3).y, run(4).y)
    assert np.array_equal(run(3).y_clean, run(4).y_clean)


def test_failing_trajectory_is_named_and_leaves_the_others_alone():
    t = np.linspace(0.0, 2.0, 21)
    y0 = np.array([[-1.0], [1.0], [0.25]])
    simulated = simulate(Pole(), y0, t)
    (failure,) = simulated.attrs["failures"]
    assert failure["trajectory"] == 1
    assert failure["reason"] in {"STEP_UNDERFLOW", "NON_FINITE"}
    assert failure["time"] == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(simulated.y[1, t > 1.0]).all()
    assert np.isfinite(simulated.y[1, t < 0.99]).all()
    np.testing.assert_allclose(simulated.y[0, :, 0], -1.0 / (1.0 + t), rtol=1e-8)
    assert np.array_equal(simulated.y[2], simulate(Pole(), y0[2], t).y[0])


def test_an_error_is_raised_where_every_trajectory_fails():
    with pytest.raises(SolveError, match=r"no trajectory reached the end time; trajectory 0 stopped at t = 0\.\d+"):
        simulate(Pole(), [[2.0], [3.0]], [0.0, 1.0])


def test_index_of_a_failure_counts_from_the_first_chunk():
    simulated = simulate(Pole(), [[-1.0], [-1.0], [-1.0], [2.0]], [0.0, 1.0], chunk_size=2)
    assert [failure["trajectory"] for failure in simulated.attrs["failures"]] == [3]


def test_progress_rises_to_one_over_all_chunks():
    seen: list[float] = []
    simulate(HarmonicOscillator(), np.ones((5, 2)), T, chunk_size=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert seen[0] < 0.4


def test_measurements_of_the_chunks_are_joined_in_order():
    simulated = simulate(
        HarmonicOscillator(),
        np.arange(10.0).reshape(5, 2),
        T,
        chunk_size=2,
        measure=lambda system, solution: {"start": solution.y[0, :, 0].numpy()},
    )
    assert simulated.params["start"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_hybrid_systems_can_be_simulated():
    class Drag(torch.nn.Module):
        def forward(self, t, y):
            return -0.2 * y

    system = Hybrid(HarmonicOscillator(np.array([1.0, 2.0])), Drag(), acts_on=["velocity"])
    simulated = simulate(system.rows(slice(0, 2)).physics, [1.0, 0.0], T)
    damped = HarmonicOscillator(np.array([1.0, 2.0]), damping_ratio=np.array([0.1, 0.05]))
    part = system.rows(slice(1, 2))
    y = torch.ones(1, 2, dtype=torch.float64)
    torch.testing.assert_close(part(None, y), damped.rows(slice(1, 2))(None, y))
    assert len(simulated) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -0.1}, r"`noise` must be finite and not below 0, got -0\.1"),
        ({"noise": [0.1, 0.1, 0.1]}, "`noise` must be one number, or one for each of 2 columns, got 3"),
        ({"noise": float("nan")}, "`noise` must be finite"),
        ({"y0": [1.0, 2.0, 3.0]}, r"`y0` must have shape \(2,\) or \(n, 2\), got \(3,\)"),
        ({"y0": [1.0, float("inf")]}, "`y0` must be finite"),
        ({"chunk_size": 0}, "`chunk_size` must be at least 1"),
        ({"method": "rk5"}, "`method`"),
        ({"rtol": -1e-3}, "`rtol` must be positive"),
        ({"t": [0.0, 0.0]}, "`t` must be strictly increasing"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(HarmonicOscillator(), **{"y0": [1.0, 0.0], "t": T, **arguments})


def test_states_and_constants_for_different_numbers_of_trajectories_are_refused():
    system = ThreeBody(np.ones((3, 3)))
    with pytest.raises(ValueError, match="same number of trajectories, got `masses` for 3, `y0` for 2"):
        simulate(system, np.ones((2, 18)), T)
