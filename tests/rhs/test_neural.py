from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from physode.rhs import MLP, AugmentedNBody, Hybrid, LotkaVolterra, Pendulum, ThreeBody, pair_features

T0 = torch.zeros((), dtype=torch.float64)


def test_mlp_is_reproducible_by_the_callers_seed():
    torch.manual_seed(3)
    first = MLP(4)
    torch.manual_seed(3)
    second = MLP(4)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_mlp_maps_any_leading_axes_to_the_same_shape(float64):
    system = MLP(3, hidden=(7, 5), activation="gelu")
    y = torch.randn(2, 4, 3)
    assert system(T0, y).shape == y.shape
    assert system(T0, y[0, 0]).shape == (3,)
    assert system.columns == ("y1", "y2", "y3")


def test_mlp_without_hidden_layers_is_linear(float64):
    system = MLP(3, hidden=())
    a, b = torch.randn(2, 3)
    zero = system(T0, torch.zeros(3))
    torch.testing.assert_close(system(T0, a + b) - zero, system(T0, a) + system(T0, b) - 2 * zero)


def test_mlp_sees_the_time_shared_or_one_clock_per_sample(float64):
    system = MLP(2, time=True)
    y = torch.randn(5, 2)
    clocks = torch.linspace(0.0, 1.0, 5)
    each = system(clocks.unsqueeze(-1), y)
    for k in range(5):
        torch.testing.assert_close(each[k], system(clocks[k], y)[k])
    assert not torch.allclose(system(clocks[0], y), system(clocks[4], y))


def test_hybrid_adds_the_residual_to_the_physics(float64):
    physics, residual = LotkaVolterra(), MLP(2)
    y = torch.rand(6, 2)
    system = Hybrid(physics, residual)
    torch.testing.assert_close(system(T0, y), physics(T0, y) + residual(T0, y))
    assert system.columns == physics.columns
    assert system.constants == physics.constants
    assert set(system.invariants(y)) == {"orbit"}


def test_hybrid_starts_from_pure_physics_where_told_to(float64):
    physics = Pendulum()
    system = Hybrid(physics, MLP(2), zero_init=True)
    y = torch.randn(4, 2)
    assert torch.equal(system(T0, y), physics(T0, y))
    system(T0, y).square().sum().backward()
    assert bool(system.residual.layers[-1].weight.grad.any())


def test_hybrid_residual_reaches_only_the_named_columns(float64):
    physics = ThreeBody([1.0, 1.0, 1.0])
    system = Hybrid(physics, MLP(18), acts_on=physics.columns[9:])
    y = torch.randn(2, 18)
    extra = system(T0, y) - physics(T0, y)
    assert not bool(extra[:, :9].any())
    assert bool((extra[:, 9:] != 0).all())


def test_hybrid_trains_physics_and_residual_together(float64):
    system = Hybrid(Pendulum(learnable=["length"]), MLP(2, hidden=(4,)))
    system(T0, torch.ones(2)).sum().backward()
    assert all(parameter.grad is not None for parameter in system.parameters())
    assert len(list(system.parameters())) == 5


def test_hybrid_names_unknown_columns():
    with pytest.raises(ValueError, match=r"`acts_on` names unknown columns \['speed'\]; choose from \['angle'"):
        Hybrid(Pendulum(), MLP(2), acts_on=["speed"])


def test_zero_init_needs_a_linear_layer():
    with pytest.raises(ValueError, match="`zero_init` needs a linear layer"):
        Hybrid(Pendulum(), nn.Identity(), zero_init=True)


def test_hybrid_with_a_foreign_residual_cannot_be_stored_by_name():
    with pytest.raises(TypeError, match="`residual` must be a physode System"):
        Hybrid(Pendulum(), nn.Identity()).config()


T0 = torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_features_equal_equation_33_in_a_direct_loop(rng, n):
    r = rng.normal(size=(n, 3))
    expected = list(r)
    for power in range(4):
        for i in range(n):
            for j in range(n):
                if i != j:
                    d = r[i] - r[j]
                    expected.append(d / np.linalg.norm(d) ** power)
    features = pair_features(torch.from_numpy(r)).numpy()
    np.testing.assert_allclose(features, np.concatenate(expected), rtol=1e-13)


def test_features_of_a_batch_are_those_of_its_samples(rng):
    r = torch.from_numpy(rng.normal(size=(4, 5, 3, 3)))
    features = pair_features(r)
    assert features.shape == (4, 5, 81)
    assert torch.equal(features[2, 3], pair_features(r[2, 3]))


def test_acceleration_is_one_linear_layer_of_the_features_and_velocity_is_exact(rng, float64):
    system = AugmentedNBody(velocity_scale=2.0, acceleration_scale=0.2)
    y = torch.from_numpy(rng.normal(size=(6, 18)))
    dy = system(T0, y)
    weight, bias = system.layers[0].weight, system.layers[0].bias
    expected = torch.stack([weight @ pair_features(row[:9].reshape(3, 3)) + bias for row in y])
    assert len(system.layers) == 1
    assert torch.equal(dy[:, :9], 2.0 * y[:, 9:])
    torch.testing.assert_close(dy[:, 9:], 0.2 * expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("velocity_scale", [1.0, 7.24])
def test_the_second_derivative_of_positions_is_the_layer_whatever_the_unit_of_velocities(rng, float64, velocity_scale):
    """Equation 34: r'' = FC(Aug)."""
    system = AugmentedNBody(velocity_scale=velocity_scale)
    y = torch.from_numpy(rng.normal(size=18))

    step = 1e-3
    dy = system(T0, y)
    ahead, behind = (system(T0, y + sign * step * dy)[:9] for sign in (1.0, -1.0))
    second = (ahead - behind) / (2 * step)  # r' is linear in the state
    torch.testing.assert_close(second, system.layers(pair_features(y[:9].reshape(3, 3))), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_pairs_taken_once_are_the_first_of_each_two_that_are_ordered(rng, n):
    r = torch.from_numpy(rng.normal(size=(5, n, 3)))
    both, once = pair_features(r), pair_features(r, ordered=False)
    assert once.shape == (5, 3 * n + 6 * n * (n - 1))
    assert torch.equal(once[:, : 3 * n], both[:, : 3 * n])
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    ordered = both[:, 3 * n :].reshape(5, 4, len(pairs), 3)
    first = [place for place, (i, j) in enumerate(pairs) if i < j]
    assert torch.equal(once[:, 3 * n :].reshape(5, 4, -1, 3), ordered[:, :, first])


def test_a_layer_on_pairs_taken_once_can_be_newton_s_law(float64):
    truth = ThreeBody([1.1, 1.1, 0.9], G=0.2, velocity_scale=7.24)
    system = AugmentedNBody(velocity_scale=7.24, acceleration_scale=0.2, ordered=False)
    with torch.no_grad():
        weight = system.layers[0].weight.zero_().reshape(3, 3, 45)
        system.layers[0].bias.zero_()
        for place, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
            for axis in range(3):
                column = 9 + 27 + 3 * place + axis  # d / |d|^3
                weight[i, axis, column] = -truth.masses[j]
                weight[j, axis, column] = truth.masses[i]
    y = torch.randn(4, 18)
    torch.testing.assert_close(system(T0, y), truth(T0, y), rtol=1e-12, atol=1e-12)


def test_network_does_not_see_the_velocities(rng, float64):
    system = AugmentedNBody(hidden=(8,))
    y = torch.from_numpy(rng.normal(size=18))
    faster = y.clone()
    faster[9:] += 1.0
    assert torch.equal(system(T0, y)[9:], system(T0, faster)[9:])


def test_vmap_and_gradients_work(rng, float64):
    system = AugmentedNBody(2, hidden=(5,), activation="silu")
    y = torch.from_numpy(rng.normal(size=(3, 12))).requires_grad_()
    mapped = torch.func.vmap(system)(torch.zeros(3), y)
    torch.testing.assert_close(mapped, system(T0, y), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda y: system(T0, y), (y,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "`n` must be at least 2 bodies, got 1"),
        ({"hidden": (0,)}, "`hidden` and `dim` must be at least 1"),
        ({"velocity_scale": 0.0}, "`velocity_scale` must be finite and above 0, got 0.0"),
        ({"acceleration_scale": -1.0}, "`acceleration_scale` must be finite and above 0, got -1.0"),
        ({"activation": "sigmoidal"}, "`activation` must be one of: .*tanh; got 'sigmoidal'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentedNBody(**arguments)
