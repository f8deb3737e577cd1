"""Every example runs, saves its figure, and finds what its story says it finds."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.integrate import solve_ivp

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, folder, **options):
    found = load(name).main(folder, **options)
    assert [path.name for path in folder.iterdir()] == [f"{name}.png"]
    assert (folder / f"{name}.png").stat().st_size > 10_000
    return found


def test_the_examples_are_numbered_without_gaps_and_tested_here():
    assert [name[:2] for name in EXAMPLES] == [f"{number:02d}" for number in range(1, len(EXAMPLES) + 1)]
    source = Path(__file__).read_text()
    assert all(f'run("{name}"' in source for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_begins_with_its_story_and_how_to_run_it(name):
    story = load(name).__doc__
    assert f"python examples/{name}.py --out ." in story


@pytest.mark.slow
def test_an_example_runs_as_a_script(tmp_path):
    command = [sys.executable, str(FOLDER / "01_custom_ode.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "d angle(20) / d damping" in done.stdout
    assert (tmp_path / "01_custom_ode.png").exists()


def final_angle(damping, frequency):
    def swing(t, y):
        return [y[1], -math.sin(y[0]) - damping * y[1] + 0.5 * math.cos(frequency * t)]

    return solve_ivp(swing, (0, 20), [0.5, 0.0], method="DOP853", rtol=1e-12, atol=1e-12).y[0, -1]


def test_01_its_gradients_are_finite_differences_of_scipy_s_solution(tmp_path):
    found = run("01_custom_ode", tmp_path)
    step = 1e-5
    for name, lower, upper in (
        ("damping", (0.2 - step, 0.9), (0.2 + step, 0.9)),
        ("frequency", (0.2, 0.9 - step), (0.2, 0.9 + step)),
    ):
        assert found[name] == pytest.approx((final_angle(*upper) - final_angle(*lower)) / (2 * step), rel=1e-4)
    assert found["end time"] == pytest.approx(found["velocity"], rel=1e-6)


@pytest.mark.slow
def test_02_the_masses_are_found_within_their_standard_errors(tmp_path):
    found = run("02_three_bodies", tmp_path, adam_steps=8)
    assert found["largest deviation in standard errors"] < 4
    assert found["largest error"] < 1e-3
    assert found["last loss of Adam"] < found["first loss of Adam"]
    assert found["last loss"] == pytest.approx(1e-6, rel=0.2)  # the noise's own
    assert found["error beyond"] < 1e-6


@pytest.mark.slow
def test_03_each_sample_takes_its_own_steps_and_a_bad_one_hurts_no_other(tmp_path):
    found = run("03_batches_per_sample", tmp_path)
    assert found["fewest steps"] < 0.5 * found["most steps"] < found["shared steps"]
    assert found["failed sample"] == 2
    assert found["others unchanged"] == 1


@pytest.mark.slow
def test_04_aca_s_gradient_is_the_best_at_common_tolerances(tmp_path):
    found = run("04_gradient_methods", tmp_path)
    assert found["aca at 1e-5"] < 0.5 * min(found["adjoint at 1e-5"], found["naive-steps at 1e-5"])
    assert found["aca at 1e-8"] < 0.1 * found["adjoint at 1e-8"]


@pytest.mark.slow
def test_05_the_network_learns(tmp_path):
    found = run("05_neural_ode", tmp_path, steps=60)
    assert found["last loss"] < 0.2 * found["first loss"]


@pytest.mark.slow
def test_05_the_network_follows_a_new_trajectory(tmp_path):
    assert run("05_neural_ode", tmp_path)["error"] < 0.5


@pytest.mark.slow
def test_06_the_hybrid_fits_what_physics_alone_cannot_and_extrapolates(tmp_path):
    found = run("06_hybrid", tmp_path, steps=60)
    assert found["hybrid, training"] < 0.1 * found["physics, training"]
    assert found["hybrid, beyond"] < 0.1 * found["physics, beyond"]


@pytest.mark.slow
def test_07_the_torchdiffeq_script_finds_the_constants(tmp_path):
    found = run("07_torchdiffeq_script", tmp_path, steps=40)
    assert found["frequency"] == pytest.approx(2.0, abs=0.1)
    assert found["last loss"] < 0.02


@pytest.mark.slow
def test_08_jupiter_and_saturn_are_weighed_within_their_errors(tmp_path):
    found = run("08_planets", tmp_path)
    assert abs(found["Jupiter"]) < 1e-3
    assert abs(found["Saturn"]) < 1e-2
    for name in ("Jupiter", "Saturn", "Uranus", "Neptune"):
        assert abs(found[name]) < 4 * found[f"{name}, error"]
    assert abs(found["Sun"]) < 1e-6
    assert found["up to 12 years"] == pytest.approx(3**0.5 * 149.6, rel=0.1)  # the noise's own, in km
    assert found["beyond"] < 2000  # km, over 24 years


@pytest.mark.slow
def test_09_the_rates_lie_in_their_intervals(tmp_path):
    found = run("09_lynx_hare", tmp_path)
    truth = {"alpha": 0.55, "beta": 0.028, "delta": 0.026, "gamma": 0.84}
    for name, value in truth.items():
        assert found[f"{name}, low"] < value < found[f"{name}, high"]
    assert found["share"] == pytest.approx(0.15, abs=0.03)
    assert found["period"] == pytest.approx(cycle(**truth), rel=0.02)


def cycle(*, alpha, beta, delta, gamma):
    def change(t, y):
        return [y[0] * (alpha - beta * y[1]), y[1] * (delta * y[0] - gamma)]

    def balance(t, y):
        return y[0] - gamma / delta

    balance.direction = 1
    rises = solve_ivp(change, (0, 40), [33.0, 6.0], events=balance, rtol=1e-10, atol=1e-10).t_events[0]
    return rises[1] - rises[0]


def check_pendulum(found):
    assert abs(found["ratio"] - 1.36) < 4 * found["ratio, error"]
    assert abs(found["damping"] - 0.012) < 4 * found["damping, error"]
    assert found["tilt"] == pytest.approx(0.01, abs=0.003)
    assert found["residuals"] == pytest.approx(0.01, rel=0.15)


@pytest.mark.slow
def test_10_the_pendulum_s_constants_and_the_camera_s_tilt_are_found(tmp_path):
    check_pendulum(run("10_pendulum", tmp_path, span=30.0))


@pytest.mark.slow
def test_10_the_damping_of_the_first_quarter_is_that_of_the_last(tmp_path):
    found = run("10_pendulum", tmp_path)
    check_pendulum(found)
    assert found["first quarter"] == pytest.approx(found["last quarter"], rel=0.2)


@pytest.mark.slow
def test_11_a_learnt_force_takes_the_misses_away(tmp_path):
    found = run("11_hidden_force", tmp_path, ends=(0.15,), evaluations=8)
    for kind in ("drag", "field"):
        assert found[f"{kind}, hybrid, training"] < 0.1 * found[f"{kind}, physics, training"]


@pytest.mark.slow
def test_11_the_force_itself_is_recovered_and_its_cause(tmp_path):
    found = run("11_hidden_force", tmp_path)
    assert found["drag, training"] < 0.07
    assert found["drag, beyond"] < 0.15
    assert found["drag, coefficient"] == pytest.approx(0.3, rel=0.02)
    assert found["field, training"] < 0.06
    assert found["field, mass"] == pytest.approx(2.0, rel=0.1)
    assert found["field, off"] < 0.2
    for kind in ("drag", "field"):
        assert found[f"{kind}, hybrid, training"] < 1e-4  # the noise's
        assert found[f"{kind}, hybrid, beyond"] < 0.1 * found[f"{kind}, physics, beyond"]


@pytest.mark.slow
def test_12_motion_is_learnt_from_halves_of_measurements_at_random_times(tmp_path):
    found = run("12_irregular_series", tmp_path, count=50, epochs=40)
    assert found["interpolation"] < 0.65 * found["spread"]
    assert found["extrapolation"] < 0.75 * found["spread"]


@pytest.mark.slow
def test_12_paths_are_followed_and_foretold_within_the_band(tmp_path):
    found = run("12_irregular_series", tmp_path)
    assert found["interpolation"] < 0.25 * found["spread"]
    assert found["extrapolation"] < 0.3 * found["spread"]
    assert found["inside the band"] == pytest.approx(0.95, abs=0.04)


@pytest.mark.slow
def test_13_bounces_are_those_of_the_closed_form_and_their_sounds_give_height_and_bounce(tmp_path):
    found = run("13_bouncing_balls", tmp_path, balls=50)
    assert found["time error"] < 1e-12
    assert found["gradient error"] < 1e-10
    assert found["height"] == pytest.approx(1.3, abs=0.02)
    assert found["bounce"] == pytest.approx(0.83, abs=0.005)


@pytest.mark.slow
def test_14_energies_are_kept_and_learnt_and_bodies_meet(tmp_path):
    found = run("14_hamiltonian", tmp_path, periods=6, steps=25, end=3.0)
    assert found["leapfrog, growth"] < 1.2
    assert found["rk4, growth"] > 1.5
    assert found["coefficients"] < 0.02
    assert found["last loss"] == pytest.approx(1e-4, rel=0.5)  # the noise's own
    assert found["encounters"] == 1
    assert found["nearest"] == pytest.approx(0.0097, rel=0.01)
    assert found["steps"] < 0.7
    assert found["energy"] < 1e-6
