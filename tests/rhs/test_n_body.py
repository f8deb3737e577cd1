from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.rhs import G_ASTRONOMICAL, NBody, ThreeBody, pair_distances


def reference(y, masses, *, G, velocity_scale=1.0, softening=0.0):
    n = len(masses)
    r, v = y[: 3 * n].reshape(n, 3), y[3 * n :].reshape(n, 3)
    a = np.zeros((n, 3))
    for i in range(n):
        for j in range(n):
            if i != j:
                d = r[j] - r[i]
                a[i] += G * masses[j] * d / (np.dot(d, d) + softening**2) ** 1.5
    return np.concatenate([velocity_scale * v.ravel(), a.ravel()])


def states(rng, n, *batch):
    return torch.from_numpy(rng.normal(size=(*batch, 6 * n)))


T0 = torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_derivative_equals_a_double_loop_over_the_bodies(rng, n, softening):
    masses = rng.uniform(0.1, 3.0, n)
    y = states(rng, n, 7)
    settings = {"G": 0.7, "velocity_scale": 2.5, "softening": softening}
    expected = np.stack([reference(row, masses, **settings) for row in y.numpy()])
    np.testing.assert_allclose(NBody(masses, **settings)(T0, y).numpy(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_acceleration_is_minus_the_gradient_of_the_potential_energy_by_finite_differences(rng, softening):
    masses = np.array([1.0, 2.0, 0.5])
    system = ThreeBody(masses, G=1.3, softening=softening)
    y = states(rng, 3)
    y[9:] = 0.0  # at rest, energy is potential energy
    force = np.empty(9)
    for k in range(9):
        h = torch.zeros(18, dtype=torch.float64)
        h[k] = 1e-5
        force[k] = -(system.invariants(y + h)["energy"] - system.invariants(y - h)["energy"]) / 2e-5
    acceleration = force.reshape(3, 3) / masses[:, None]
    np.testing.assert_allclose(system(T0, y)[9:].numpy(), acceleration.ravel(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("preset", ["aca", "figure-eight"])
def test_invariants_stay_constant_along_a_reference_trajectory(preset):
    system = ThreeBody.from_preset(preset)
    start = ThreeBody.presets[preset]
    values = start.config["masses"], start.config["G"], start.config.get("velocity_scale", 1.0)

    def f(t, y):
        return reference(y, values[0], G=values[1], velocity_scale=values[2])

    path = solve_ivp(f, (0.0, start.t_end), start.y0, method="DOP853", rtol=1e-12, atol=1e-13).y.T
    for name, value in system.invariants(torch.from_numpy(path)).items():
        drift = (value - value[0]).abs().max().item()
        assert drift < 1e-10, f"{name} drifts by {drift}"


def test_figure_eight_returns_to_its_start():
    system = ThreeBody.from_preset("figure-eight")
    start = ThreeBody.presets["figure-eight"]

    def f(t, y):
        return system(T0, torch.from_numpy(y)).numpy()

    end = solve_ivp(f, (0.0, start.t_end), start.y0, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(end, start.y0, atol=1e-6)


def test_earth_goes_round_the_sun_in_a_year():
    system = NBody([1.0, 0.0])
    y0 = np.zeros(12)
    y0[3], y0[10] = 1.0, 2.0 * np.pi

    def f(t, y):
        return system(T0, torch.from_numpy(y)).numpy()

    end = solve_ivp(f, (0.0, 1.0), y0, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(end, y0, atol=1e-8)
    assert (system.units[0], system.units[-1], system.time_unit) == ("AU", "AU/yr", "yr")
    assert system.constant_units == {"masses": "Msun"}


def test_units_are_not_claimed_where_scales_are_the_users_own():
    system = ThreeBody([1.0, 1.0, 1.0], G=1.0)
    assert set(system.units) == {""}
    assert system.time_unit == ""


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("batched_masses", [False, True])
def test_a_samples_derivative_is_the_same_in_every_bit_alone_and_in_any_batch_and_order(rng, n, batched_masses):
    batch = 257
    masses = torch.from_numpy(rng.uniform(0.5, 2.0, (batch, n) if batched_masses else n))
    y = states(rng, n, batch)
    whole = NBody(masses)(T0, y)
    order = torch.from_numpy(rng.permutation(batch))
    shuffled = NBody(masses[order] if batched_masses else masses)(T0, y[order])
    assert torch.equal(shuffled, whole[order])
    for k in range(batch):
        alone = NBody(masses[k])(T0, y[k]) if batched_masses else NBody(masses)(T0, y[k])
        assert torch.equal(alone, whole[k])
    for size in (1, 2, 3, 5, 8, 13, 100):
        some = NBody(masses[:size] if batched_masses else masses)(T0, y[:size])
        assert torch.equal(some, whole[:size])


def test_derivative_does_not_depend_on_the_memory_layout_of_the_state(rng):
    system = ThreeBody([1.0, 2.0, 3.0])
    y = states(rng, 3, 50)
    strided = y.t().contiguous().t()
    assert not strided.is_contiguous()
    assert torch.equal(system(T0, strided), system(T0, y))


def test_vmap_over_a_leading_axis_gives_the_batched_result(rng):
    system = ThreeBody([1.0, 2.0, 3.0], learnable=True)
    y = states(rng, 3, 4, 5)
    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(system)(t, y), system(T0, y), rtol=0, atol=0)


def test_vmapped_pullback_equals_one_by_one(rng):
    system = ThreeBody([1.0, 2.0, 3.0])
    y, w = states(rng, 3, 6), states(rng, 3, 6)

    def pull(y, w):
        return torch.func.vjp(lambda y: system(T0, y), y)[1](w)[0]

    expected = torch.stack([pull(a, b) for a, b in zip(y, w, strict=True)])
    torch.testing.assert_close(torch.func.vmap(pull)(y, w), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("positive", [False, True])
def test_gradients_reach_state_and_masses(rng, positive):
    system = ThreeBody([1.0, 2.0, 0.5], G=1.0, learnable=True, positive=positive)
    y = states(rng, 3, 2).requires_grad_()

    def f(raw, y):
        return torch.func.functional_call(system, {"raw_masses": raw}, (T0, y))

    raw = system.raw_masses
    assert isinstance(raw, torch.nn.Parameter)
    assert torch.autograd.gradcheck(f, (raw, y))
    assert torch.autograd.gradgradcheck(f, (raw, y))


def test_gradients_reach_a_mass_tensor_that_is_not_a_parameter(rng):
    masses = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    ThreeBody(2.0 * masses)(T0, states(rng, 3)).sum().backward()
    assert masses.grad is not None
    assert bool((masses.grad != 0).all())


def test_a_given_mass_tensor_is_not_changed_by_the_system():
    masses = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    system = ThreeBody(masses)
    system.load_state_dict(ThreeBody([3.0, 3.0, 3.0]).state_dict())
    assert system.masses.tolist() == [3.0, 3.0, 3.0]
    assert masses.tolist() == [1.0, 2.0, 0.5]


def test_positive_masses_stay_positive_whatever_an_optimiser_does():
    system = ThreeBody([1.0, 2.0, 0.5], learnable=True, positive=True)
    with torch.no_grad():
        system.raw_masses -= 100.0
    assert bool((system.masses > 0).all())
    assert bool((system.constants["masses"] > 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative_has_the_states_dtype_and_shape(rng, dtype):
    y = states(rng, 3, 2, 4).to(dtype)
    dy = ThreeBody([1.1, 1.1, 0.9])(T0.to(dtype), y)
    assert (dy.dtype, dy.shape) == (dtype, y.shape)


def test_coinciding_bodies_give_non_finite_numbers_only_there(rng):
    y = states(rng, 3, 2)
    y[0, :3] = y[0, 3:6]
    dy = ThreeBody([1.0, 1.0, 1.0])(T0, y)
    assert not bool(dy[0].isfinite().all())
    assert bool(dy[1].isfinite().all())


def test_pair_distances_run_over_the_pairs_in_order(rng):
    y = states(rng, 4, 3)
    r = y[:, :12].reshape(3, 4, 3).numpy()
    expected = [np.linalg.norm(r[:, i] - r[:, j], axis=-1) for i, j in itertools.combinations(range(4), 2)]
    np.testing.assert_allclose(pair_distances(y).numpy(), np.stack(expected, -1), rtol=1e-14)


def test_preset_aca_is_the_system_of_the_authors_example():
    preset = ThreeBody.presets["aca"]
    system = ThreeBody.from_preset("aca", learnable=True)
    assert system.masses.tolist() == [1.1, 1.1, 0.9]
    assert (system.G, system.velocity_scale) == (0.20048437269236732, 7.239323869320315)
    state = dict(zip(system.columns, preset.y0, strict=True))
    assert {name: value for name, value in state.items() if value} == {
        "r1_y": 0.2,
        "r2_x": 0.5,
        "r2_z": 0.5,
        "r3_z": 0.5,
        "v1_y": 0.1,
        "v2_z": 0.1,
        "v3_x": 0.1,
    }
    assert (preset.t_end, preset.points) == (1.0, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masses": [1.0, -2.0, 1.0]}, r"`masses` must not be negative.*-2"),
        ({"masses": [1.0, float("nan"), 1.0]}, "`masses` must be finite"),
        ({"masses": [1.0, float("inf"), 1.0]}, "`masses` must be finite"),
        ({"masses": [1.0, 2.0]}, "`masses` must hold three masses, got 2"),
        ({"masses": [1.0]}, "at least two bodies"),
        ({"masses": 1.0}, "`masses` must be a vector"),
        ({"masses": [1.0, 0.0, 1.0], "positive": True}, "`masses` must be above 0"),
        ({"masses": [1.0, 1.0, 1.0], "G": 0.0}, "`G` must be finite and above 0"),
        ({"masses": [1.0, 1.0, 1.0], "velocity_scale": float("inf")}, "`velocity_scale` must be finite"),
        ({"masses": [1.0, 1.0, 1.0], "softening": -1.0}, "`softening` must be finite and not below 0"),
        ({"masses": [1.0, 1.0, 1.0], "learnable": ["mass"]}, r"`learnable` names unknown constants \['mass'\]"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ThreeBody(**arguments)


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="aca, figure-eight, pythagorean; got 'acca'"):
        ThreeBody.from_preset("acca")


def test_gravitational_constant_is_keplers():
    assert pytest.approx(39.478417604357434) == G_ASTRONOMICAL


@pytest.mark.parametrize("n", [2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_alone_equals_a_sample_among_others_bit_for_bit(rng, n, dtype):
    system = NBody(rng.uniform(0.1, 3.0, n), softening=0.1).to(dtype)
    y = states(rng, n, 70).to(dtype)
    together = system(T0, y)
    for count in (1, 2, 9, 33):
        assert torch.equal(system(T0, y[:count]), together[:count])
    assert torch.equal(torch.stack([system(T0, row) for row in y]), together)
