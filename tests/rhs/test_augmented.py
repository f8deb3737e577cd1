from __future__ import annotations

import numpy as np
import pytest
import torch

from physode.rhs import AugmentedNBody, pair_features

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
    system = AugmentedNBody(velocity_scale=2.0)
    y = torch.from_numpy(rng.normal(size=(6, 18)))
    dy = system(T0, y)
    weight, bias = system.layers[0].weight, system.layers[0].bias
    expected = torch.stack([weight @ pair_features(row[:9].reshape(3, 3)) + bias for row in y])
    assert len(system.layers) == 1
    assert torch.equal(dy[:, :9], 2.0 * y[:, 9:])
    torch.testing.assert_close(dy[:, 9:], expected, rtol=1e-12, atol=1e-12)


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
        ({"activation": "sigmoidal"}, "`activation` must be one of: .*tanh; got 'sigmoidal'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentedNBody(**arguments)
