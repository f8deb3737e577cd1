"""Temperature scaling: honest probabilities stay, overconfident ones are drawn back, and answers do not change."""

from __future__ import annotations

import numpy as np
import pytest

from physode.metrics import calibrate, entropy, fitted_temperature, tempered


def drawn(rng, count=20_000, classes=4, spread=1.5):
    """True probabilities, and labels drawn from them."""
    logits = spread * rng.standard_normal((count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return shares, (shares.cumsum(1) > rng.random((count, 1))).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_that_spoilt_probabilities_is_found_again(rng, temperature):
    shares, labels = drawn(rng)
    spoilt = tempered(shares, 1.0 / temperature)
    found = fitted_temperature(spoilt, labels)
    assert found == pytest.approx(temperature, rel=0.04)
    assert calibrate(tempered(spoilt, found), labels).error < 0.015


def test_the_likelihood_has_its_maximum_there(rng):
    shares, labels = drawn(rng, count=500)
    best = fitted_temperature(shares**2, labels)

    def loss(temperature):
        return -np.log(tempered(shares**2, temperature)[np.arange(500), labels]).mean()

    assert loss(best) <= min(loss(best * 1.01), loss(best / 1.01))


def test_answers_do_not_change_and_probabilities_sum_to_one(rng):
    shares, _ = drawn(rng, count=100)
    shares[0] = [1.0, 0.0, 0.0, 0.0]
    for temperature in (0.05, 1.0, 20.0):
        other = tempered(shares, temperature)
        np.testing.assert_array_equal(other.argmax(1), shares.argmax(1))
        np.testing.assert_allclose(other.sum(1), 1.0, rtol=1e-12)


def test_entropy_is_in_bits():
    np.testing.assert_allclose(entropy([[1.0, 0.0], [0.5, 0.5]]), [0.0, 1.0])


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(ValueError, match="one labelled image"):
        fitted_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))
