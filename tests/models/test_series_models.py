"""Models of irregular series: what their outputs do not depend on, and what their losses are."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from physode.errors import ConfigError
from physode.models import SERIES_MODELS, Solver, build_series_model
from physode.models.gaussian import Noise, divergence
from physode.models.observations import Points, Times

pytestmark = pytest.mark.usefixtures("float64")

every_model = pytest.mark.parametrize("name", SERIES_MODELS)
SAME = {"rtol": 1e-10, "atol": 1e-10}


def outputs(model, observed, target):
    """All that a model says, of each series: means and latent states at the target's times, draws, likelihoods."""
    with torch.no_grad():
        said = model.predict(observed, target.times, draws=2)
        likelihood = model.log_likelihood(observed, target, draws=3)
    found = []
    for row, used in enumerate(target.used):
        parts = [said.mean[row][used], said.latent[row][used], said.draws[:, row][:, used], likelihood[row]]
        found.append(torch.cat([each.flatten() for each in parts]))
    return found


def loss(model, observed, target):
    return float(model.loss(observed, target, kl_weight=0.7).detach())


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, **SAME)


def moved(points, by):
    return Points(points.t + by, points.x, points.mask)


def with_masked_places(points, seed):
    """The same observations between places of random times and channels where nothing is observed."""
    batch, places, channels = points.x.shape
    generator = torch.Generator().manual_seed(seed)
    wider = 2 * places + 3
    order = torch.rand(batch, wider, generator=generator).argsort(1)[:, :places].sort(1).values
    t = 4 * torch.rand(batch, wider, generator=generator, dtype=torch.float64) - 2
    index = order[..., None].expand(-1, -1, channels)
    x = torch.zeros(batch, wider, channels, dtype=torch.float64).scatter(1, index, points.x)
    mask = torch.zeros(batch, wider, channels, dtype=torch.bool).scatter(1, index, points.mask)
    return Points(t.scatter(1, order, points.t), x, mask)


# What outputs do not depend on.


@every_model
@pytest.mark.usefixtures("fixed_draws")
def test_the_order_of_series_changes_nothing(name, model_of, points_of):
    model, observed, target = model_of(name), points_of(single=True), points_of(seed=1)
    order = torch.tensor([2, 0, 3, 1])
    first = outputs(model, observed, target)
    assert_same([first[i] for i in order], outputs(model, observed.rows(order), target.rows(order)))
    assert loss(model, observed.rows(order), target.rows(order)) == pytest.approx(loss(model, observed, target), 1e-10)


@every_model
@pytest.mark.usefixtures("fixed_draws")
def test_a_series_alone_is_what_it_is_in_a_batch(name, model_of, points_of):
    model, observed, target = model_of(name), points_of(single=True), points_of(seed=1, places=9)
    together = outputs(model, observed, target)
    sums = 0.0
    for row in range(4):
        index = torch.tensor([row])
        one, asked = observed.rows(index), target.rows(index)
        assert_same([together[row]], outputs(model, one, asked))
        sums += loss(model, one, asked) * float(asked.mask.sum())
    assert sums / float(target.mask.sum()) == pytest.approx(loss(model, observed, target), 1e-10)


@every_model
@pytest.mark.parametrize("which", ["observed", "target"])
@pytest.mark.usefixtures("fixed_draws")
def test_places_where_nothing_is_observed_change_nothing(name, which, model_of, points_of):
    model, observed, target = model_of(name), points_of(single=True), points_of(seed=1)
    wider = {"observed": observed, "target": target}
    wider[which] = with_masked_places(wider[which], seed=2)
    assert_same(outputs(model, observed, target), outputs(model, **wider))
    assert loss(model, **wider) == pytest.approx(loss(model, observed, target), 1e-10)


@every_model
@pytest.mark.usefixtures("fixed_draws")
def test_when_the_clock_was_started_changes_nothing(name, model_of, points_of):
    model, observed, target = model_of(name), points_of(single=True), points_of(seed=1)
    later = [moved(points, 37.0) for points in (observed, target)]
    assert_same(outputs(model, observed, target), outputs(model, *later))
    assert loss(model, *later) == pytest.approx(loss(model, observed, target), 1e-10)


@every_model
def test_values_that_are_masked_are_never_read(name, model_of, points_of):
    model, points = model_of(name), points_of(missing=0.6)
    junk = Points(points.t, torch.where(points.mask, points.x, 1e9), points.mask)
    times = Times(points.t, points.used)
    assert torch.equal(model.predict(points, times).mean, model.predict(junk, times).mean)


@pytest.mark.parametrize("name", ["ode-rnn", "rnn", "gru", "gru-d"])
def test_a_causal_model_does_not_see_what_is_observed_at_a_time_or_after_it(name, model_of, points_of):
    model, points = model_of(name), points_of(missing=0.0)
    place = 3
    x = points.x.clone()
    x[:, place:] += 5.0
    first, second = (model.predict(each, points.times).mean for each in (points, Points(points.t, x, points.mask)))
    assert torch.equal(first[:, : place + 1], second[:, : place + 1])
    assert bool((first[:, place + 1 :] != second[:, place + 1 :]).any(-1).all())


def test_a_latent_ode_sees_all_observations_wherever_it_is_asked(model_of, points_of):
    model, points = model_of("latent-ode"), points_of(missing=0.0)
    x = points.x.clone()
    x[:, -1] += 1.0
    first, second = (model.predict(each, points.times).mean for each in (points, Points(points.t, x, points.mask)))
    assert bool((first != second).any(-1).all())


def test_a_latent_path_begins_at_the_start_that_is_given(model_of, points_of):
    model, points = model_of("latent-ode"), points_of()
    start = torch.full((4,), -1.0, dtype=torch.float64)
    wanted = torch.cat([start[:, None], points.t], 1)
    told = model.predict(points, Times(points.t, points.used), start=start).latent
    asked = model.predict(points, Times(wanted, torch.ones_like(wanted, dtype=torch.bool))).latent
    torch.testing.assert_close(told, asked[:, 1:], rtol=1e-6, atol=1e-6)  # steps differ


# Distributions.


def test_the_divergence_is_torch_s():
    mean, log_sigma = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mean, log_sigma.exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, log_sigma), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [None, 0.03])
def test_the_density_of_noise_is_scipy_s(sigma, points_of):
    noise, points = Noise(2, sigma=sigma), points_of()
    if sigma is None:
        torch.nn.init.normal_(noise.log_sigma)
    mean = torch.randn(3, *points.x.shape)
    each = norm.logpdf(points.x.numpy(), mean.numpy(), noise.sigma.detach().numpy())
    expected = np.where(points.mask.numpy(), each, 0.0).sum((-2, -1))
    found = noise.log_density(points.x, mean, points.mask).detach()
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_noise_without_a_width_is_refused(sigma):
    with pytest.raises(ValueError, match="`sigma` must be above 0 and finite"):
        Noise(2, sigma=sigma)


def test_the_bound_is_below_the_evidence_and_their_difference_is_a_divergence(model_of, points_of):
    """One latent component: the evidence and the posterior are sums over a fine grid of initial states."""
    model = model_of("latent-ode", latent=1, sigma=0.5)
    points = points_of(batch=1, places=3)
    z = torch.linspace(-8.0, 8.0, 1601)
    with torch.no_grad():
        posterior = model.recognition(points, points.t[:, 0])
        times = Times((points.t - points.t[:, :1]).repeat(len(z), 1), points.used.repeat(len(z), 1))
        paths = model.readout(model.flow.path(z[:, None], times))
        likelihood = model.noise.log_density(points.x, paths, points.mask).numpy()
        prior, width = norm.logpdf(z.numpy()), float(z[1] - z[0])
        evidence = logsumexp(likelihood + prior) + math.log(width)
        q = norm.logpdf(z.numpy(), float(posterior.mean), float(posterior.log_sigma.exp()))
        gap = width * np.sum(np.exp(q) * (q - (likelihood + prior - evidence)))
        many = points.rows(torch.zeros(20_000, dtype=torch.long))  # a draw for each copy
        bound = -float(model.loss(many, many)) * float(points.mask.sum())
        near = float(model.log_likelihood(points, points, draws=20_000))
    assert bound < evidence
    assert evidence - bound == pytest.approx(gap, rel=0.03)
    assert near == pytest.approx(logsumexp(likelihood + q) + math.log(width), abs=0.05)
    assert bound < near


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_divergence_weighs_what_it_is_told_to(weight, model_of, points_of):
    model, points = model_of("latent-ode"), points_of()
    posterior = model.recognition(points, points.t[:, 0])
    added = weight * float(divergence(*posterior).sum().detach()) / float(points.mask.sum())
    values = []
    for each in (0.0, weight):
        torch.manual_seed(1)
        values.append(float(model.loss(points, points, kl_weight=each).detach()))
    assert values[1] - values[0] == pytest.approx(added, rel=1e-9, abs=1e-12)


def test_the_loss_of_several_draws_is_that_of_their_mean_density_a_value(model_of, points_of):
    model, observed, target = model_of("latent-ode"), points_of(missing=0.5), points_of(seed=1)
    alone = []
    torch.manual_seed(4)
    noise = torch.randn(3, 4, 3)  # the draws, batch after batch
    with torch.no_grad():
        start = torch.minimum(observed.t[:, 0], target.t[:, 0])
        posterior = model.recognition(observed, start)
        for each in noise:
            z = posterior.mean + posterior.log_sigma.exp() * each
            mean = model.readout(model.flow.path(z, Times(target.t - start[:, None], target.used)))
            likelihood = Normal(mean, model.noise.sigma).log_prob(target.x)[target.mask].mean()
            apart = kl_divergence(Normal(posterior.mean, posterior.log_sigma.exp()), Normal(0.0, 1.0)).sum()
            alone.append(float(likelihood - 0.7 * apart / target.mask.sum()))
        torch.manual_seed(4)
        together = float(model.loss(observed, target, kl_weight=0.7, draws=3))
    assert together == pytest.approx(-np.log(np.mean(np.exp(alone))), rel=1e-9)


# GRU-D.


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gru_d(weights, t, x, mask, wanted):
    """Che et al.'s equations for one series, channel by channel, up to a wanted time at which nothing is observed."""
    (w, b), C = weights["input_decay"], x.shape[1]
    h, last, since = np.zeros(len(weights["candidate.bias"])), np.zeros(C), np.full(C, t[0])

    def step(h, now, values, m):
        delta = np.array([now - since[c] for c in range(C)])
        filled = np.zeros(C)
        for c in range(C):
            decay = math.exp(-max(0.0, w[c] * delta[c] + b[c]))
            filled[c] = values[c] if m[c] else decay * last[c] + (1 - decay) * 0.0
        h = np.exp(-np.maximum(0.0, weights["hidden_decay.weight"] @ delta + weights["hidden_decay.bias"])) * h
        both = np.concatenate([filled, m.astype(float), h])
        z, r = np.split(sigmoid(weights["gates.weight"] @ both + weights["gates.bias"]), 2)
        again = np.concatenate([filled, m.astype(float), r * h])
        return (1 - z) * h + z * np.tanh(weights["candidate.weight"] @ again + weights["candidate.bias"])

    for place in range(len(t)):
        if t[place] >= wanted:
            break
        h = step(h, t[place], x[place], mask[place])
        for c in range(C):
            if mask[place, c]:
                last[c], since[c] = x[place, c], t[place]
    now = wanted if t[0] < wanted else t[0]
    return step(h, now, last, np.zeros(C, dtype=bool))


def test_gru_d_is_its_equations_one_series_and_channel_at_a_time(model_of, points_of):
    model = model_of("gru-d", channels=3)
    observed, target = points_of(channels=3, missing=0.5, single=True), points_of(seed=1, channels=3, places=9)
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    found = model.predict(observed, target.times).latent.detach()
    for row in range(4):
        used = observed.used[row]
        t, x, mask = (part[row][used].numpy() for part in (observed.t, observed.x, observed.mask))
        for place in target.used[row].nonzero().flatten().tolist():
            expected = gru_d(weights, t, x, mask, float(target.t[row, place]))
            np.testing.assert_allclose(found[row, place].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_gru_d_forgets_what_was_long_ago(model_of, points_of):
    """All decays on: after ages nothing of the observations is left in what it says."""
    model, points = model_of("gru-d"), points_of(missing=0.0)
    with torch.no_grad():
        model.input_decay[0], model.hidden_decay.weight[:] = 1.0, 1.0
    late = Times(torch.full((4, 1), 1e3, dtype=torch.float64), torch.ones(4, 1, dtype=torch.bool))
    mean = model.predict(points, late).mean
    torch.testing.assert_close(mean, mean[:1].expand_as(mean), rtol=0, atol=1e-12)


# Gradients.


def loss_gradient(model, points, observed):
    model.zero_grad()
    torch.manual_seed(1)
    model.loss(observed, points).backward()
    return torch.cat([each.grad.flatten() for each in model.parameters()])


def with_gradient(model_of, gradient, **options):
    return model_of("latent-ode", solver=Solver(gradient=gradient, **options))


def test_on_fixed_steps_the_loss_s_gradients_by_aca_and_naive_are_equal(model_of, points_of):
    aca, naive = (
        loss_gradient(with_gradient(model_of, name, method="rk4", step=0.1), points_of(), points_of(seed=1))
        for name in ("aca", "naive")
    )
    torch.testing.assert_close(aca, naive, rtol=1e-9, atol=1e-9)


def test_at_tight_tolerances_the_loss_s_gradients_by_all_methods_are_equal(model_of, points_of):
    options = {"method": "dopri5", "rtol": 1e-10, "atol": 1e-12}
    aca, naive, adjoint = (
        loss_gradient(with_gradient(model_of, name, **options), points_of(), points_of(seed=1))
        for name in ("aca", "naive", "adjoint")
    )
    torch.testing.assert_close(aca, naive, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(aca, adjoint, rtol=1e-6, atol=1e-6)


@every_model
@pytest.mark.slow
def test_the_loss_s_gradients_are_finite_differences(name, model_of, points_of):
    options = {"solver": Solver("rk4", step=0.25)} if name == "latent-ode" else {}
    model = model_of(name, hidden=2, **options)
    points, observed = points_of(batch=2, places=3), points_of(batch=2, places=2, seed=1)
    weights = dict(model.named_parameters())
    exact = loss_gradient(model, points, observed)
    differences = []
    for weight in weights.values():
        for index in range(weight.numel()):
            ends = []
            for step in (1e-6, -1e-6):
                twin = copy.deepcopy(weight.detach())
                weight.data.view(-1)[index] += step
                torch.manual_seed(1)
                ends.append(float(model.loss(observed, points).detach()))
                weight.data.copy_(twin)
            differences.append((ends[0] - ends[1]) / 2e-6)
    torch.testing.assert_close(exact, torch.tensor(differences), rtol=1e-5, atol=1e-7)


# Learning.


def test_a_latent_ode_learns_a_linear_oscillator():
    """Half of the points of sines of any phase: the error at all of them falls far below that of their mean."""
    torch.manual_seed(0)
    t = 2 * torch.rand(60, 16, dtype=torch.float64).sort(1).values
    phase = 2 * math.pi * torch.rand(60, 1)
    x = torch.stack([torch.sin(math.pi * t + phase), torch.cos(math.pi * t + phase)], -1)
    points = Points(t, x, torch.ones_like(x, dtype=torch.bool))
    told = points.where(torch.arange(16) % 2 == torch.zeros(60, 1))
    model = build_series_model(
        "latent-ode",
        2,
        latent=4,
        units=(20,),
        hidden=20,
        encoder_units=(20,),
        sigma=0.1,
        solver=Solver("rk4", step=0.5),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(told, points, kl_weight=0.01).backward()
        optimizer.step()
    with torch.no_grad():
        error = (model.predict(told, points.times).mean - x).square().mean()
    assert float(error) < 0.1 * float(x.var())


# Names.


def test_unknown_models_options_and_widths_are_refused():
    for call, why in (
        (lambda: build_series_model("gpt", 2), f"`model` must be one of {', '.join(SERIES_MODELS)}; got 'gpt'"),
        (lambda: build_series_model("gru", 2, latent=3), "the model gru has no `latent`; it has hidden, sigma"),
        (lambda: build_series_model("ode-rnn", 2, units=(0,)), "widths of the model ode-rnn must be at least 1"),
        (lambda: build_series_model("latent-ode", 2, sigma=0.0), "`sigma` must be above 0"),
    ):
        with pytest.raises(ConfigError, match="^" + why):
            call()
