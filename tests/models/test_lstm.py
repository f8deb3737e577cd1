from __future__ import annotations

import numpy as np
import pytest
import torch

from physode.errors import DataError
from physode.models import TrajectoryLSTM
from physode.rhs import pair_features


def positions(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def made(bodies=3, sequences=None, **settings):
    """A small model in double precision, standardised where sequences are given."""
    model = TrajectoryLSTM(bodies, hidden=5, **settings).double()
    if sequences is not None:
        model.standardise(sequences)
    return model


@pytest.mark.parametrize(("bodies", "augmented"), [(1, False), (2, False), (2, True), (3, True), (4, True)])
@pytest.mark.parametrize("layers", [1, 2])
def test_every_point_has_a_successor_for_any_number_of_bodies(rng, bodies, augmented, layers):
    sequences = positions(rng, 4, 6, 3 * bodies)
    model = made(bodies, sequences, augmented=augmented, layers=layers)
    assert model(sequences).shape == (4, 6, 3 * bodies)
    assert model.forecast(sequences[:, :2], 7).shape == (4, 9, 3 * bodies)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_forward_pass_is_the_lstm_equations_written_out(rng, augmented):
    sequences = positions(rng, 3, 4, 6)
    model = made(2, sequences, augmented=augmented)
    features = pair_features(sequences.reshape(3, 4, 2, 3)) if augmented else sequences
    features, steps = features.numpy(), np.diff(sequences.numpy(), axis=1)
    x = (features - features.mean((0, 1))) / features.std((0, 1))
    w = {name: value.detach().numpy() for name, value in model.named_parameters()}

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    h = c = np.zeros((3, 5))
    for k in range(4):
        gates = x[:, k] @ w["lstm.weight_ih_l0"].T + h @ w["lstm.weight_hh_l0"].T
        i, f, g, o = np.split(gates + w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        step = steps.mean((0, 1)) + steps.std((0, 1)) * (h @ w["readout.weight"].T + w["readout.bias"])
        expected = sequences[:, k].numpy() + step
        np.testing.assert_allclose(model(sequences)[:, k].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_positions_can_be_predicted_in_place_of_steps(rng):
    sequences = positions(rng, 3, 5, 6)
    model = made(2, sequences, predicts="position")
    standardised, _ = model.steps(model.inputs(sequences))
    ahead = sequences[:, 1:]
    expected = ahead.mean((0, 1)) + ahead.std((0, 1), correction=0) * standardised
    torch.testing.assert_close(model(sequences), expected, rtol=1e-12, atol=1e-12)
    targets = model.targets(sequences)
    torch.testing.assert_close(targets.mean((0, 1)), torch.zeros(6).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.step_mean + model.step_scale * targets, ahead, rtol=1e-12, atol=1e-12)
    assert TrajectoryLSTM(**model.config()).predicts == "position"
    with pytest.raises(ValueError, match="`predicts` must be 'step' or 'position', got 'speed'"):
        made(predicts="speed")


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_forecast_is_the_forward_pass_over_all_that_was_predicted_so_far(rng, augmented, layers):
    start = positions(rng, 2, 3, 6)
    model = made(2, start, augmented=augmented, layers=layers)
    expected = start
    with torch.no_grad():
        for _ in range(8):
            expected = torch.cat((expected, model(expected)[:, -1:]), 1)
    forecast = model.forecast(start, 8)
    assert torch.equal(forecast[:, :3], start)
    torch.testing.assert_close(forecast, expected, rtol=1e-12, atol=1e-12)


def test_a_forecast_of_no_steps_is_its_start(rng):
    start = positions(rng, 2, 3, 9)
    assert torch.equal(made().forecast(start, 0), start)


@pytest.mark.parametrize("augmented", [False, True])
def test_inputs_and_steps_of_the_training_sequences_have_mean_0_and_deviation_1(rng, augmented):
    sequences = 3.0 + 0.1 * positions(rng, 5, 7, 9)
    model = made(3, sequences, augmented=augmented)
    for values in (model.inputs(sequences), model.targets(sequences)):
        assert values.mean((0, 1)).abs().max() < 1e-10
        torch.testing.assert_close(values.std((0, 1), correction=0), torch.ones_like(values[0, 0]))


def test_standardised_steps_lead_back_to_the_positions(rng):
    sequences = positions(rng, 4, 5, 3)
    model = made(1, sequences)
    steps = model.step_mean + model.step_scale * model.targets(sequences)
    torch.testing.assert_close(sequences[:, :1] + steps.cumsum(1), sequences[:, 1:], rtol=1e-12, atol=1e-12)


def test_units_of_length_do_not_matter_to_positions_as_input(rng):
    sequences = positions(rng, 4, 5, 6)
    model = made(2, sequences)
    expected = 1e6 * model(sequences)
    model.standardise(1e6 * sequences)
    torch.testing.assert_close(model(1e6 * sequences), expected, rtol=1e-10, atol=1e-6)


def test_components_at_rest_or_at_constant_speed_are_continued_exactly(rng):
    sequences = positions(rng, 4, 6, 3)
    sequences[..., 1] = 0.7
    sequences[..., 2] = torch.linspace(0.1, 0.6, 6, dtype=torch.float64)
    model = made(1, sequences)
    forecast = model.forecast(sequences, 10)
    assert torch.isfinite(model.inputs(sequences)).all()
    assert torch.isfinite(model.targets(sequences)).all()
    torch.testing.assert_close(forecast[..., 1], torch.full((4, 16), 0.7, dtype=torch.float64), rtol=1e-14, atol=0)
    grid = torch.linspace(0.1, 1.6, 16, dtype=torch.float64).expand(4, 16)
    torch.testing.assert_close(forecast[..., 2], grid, rtol=1e-12, atol=0)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_model_rebuilt_from_config_and_state_forecasts_the_same(rng, augmented):
    sequences = positions(rng, 2, 5, 9)
    model = made(3, sequences, augmented=augmented, layers=2)
    again = TrajectoryLSTM(**model.config()).double()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.forecast(sequences, 6), model.forecast(sequences, 6))


def test_gradients_of_the_forward_pass_are_right(rng):
    sequences = positions(rng, 2, 3, 6)
    model = made(2, sequences, augmented=True)
    assert torch.autograd.gradcheck(model, (sequences.requires_grad_(),))


@pytest.mark.parametrize("name", ["bodies", "hidden", "layers"])
def test_a_size_of_zero_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        TrajectoryLSTM(**{name: 0})


def test_one_body_has_no_distances():
    with pytest.raises(ValueError, match=r"`bodies` at least 2, got 1; leave it False"):
        TrajectoryLSTM(1, augmented=True)


def test_two_bodies_at_one_place_are_named(rng):
    sequences = positions(rng, 4, 5, 6)
    sequences[2, 3, 3:] = sequences[2, 3, :3]
    made(2, sequences)
    with pytest.raises(DataError, match=r"point 3 of sequence 2.*leave `augmented` False"):
        made(2, sequences, augmented=True)


@pytest.mark.parametrize("shape", [(5, 9), (2, 5, 6), (2, 5, 3, 3)])
def test_another_shape_is_refused_by_name(rng, shape):
    with pytest.raises(ValueError, match=r"`sequence` must be \(B, T, 9\)"):
        made()(positions(rng, *shape))
    with pytest.raises(ValueError, match=r"`start` must be \(B, T, 9\)"):
        made().forecast(positions(rng, *shape), 3)


def test_another_precision_is_refused_by_name(rng):
    with pytest.raises(ValueError, match=r"`start` must be torch.float32 like the weights, got torch.float64"):
        TrajectoryLSTM().forecast(positions(rng, 2, 5, 9), 3)


@pytest.mark.parametrize(("points", "steps"), [(0, 3), (2, -1)])
def test_a_forecast_from_nothing_or_backwards_is_refused(rng, points, steps):
    with pytest.raises(ValueError, match=f"got {points} and {steps}"):
        made().forecast(positions(rng, 2, points, 9), steps)
