from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.rhs import HarmonicOscillator, Lorenz, LotkaVolterra, Pendulum, VanDerPol

T0 = torch.zeros((), dtype=torch.float64)

SYSTEMS = [VanDerPol, LotkaVolterra, Pendulum, HarmonicOscillator, Lorenz]

REFERENCES = {
    "van_der_pol": (
        VanDerPol(1.7, threshold=0.6),
        lambda y: [y[1], 1.7 * (0.6 - y[0] ** 2) * y[1] - y[0]],
    ),
    "van_der_pol_of_the_aca_paper": (
        VanDerPol.from_preset("aca"),
        lambda y: [y[1], (0.15 - y[0] ** 2) * y[1] - y[0]],
    ),
    "lotka_volterra": (
        LotkaVolterra(1.1, 0.4, 0.1, 0.9),
        lambda y: [1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.9 * y[1]],
    ),
    "pendulum": (
        Pendulum(2.0, gravity=9.0, damping=0.3),
        lambda y: [y[1], -9.0 / 2.0 * np.sin(y[0]) - 0.3 * y[1]],
    ),
    "harmonic_oscillator": (
        HarmonicOscillator(3.0, damping_ratio=0.2),
        lambda y: [y[1], -9.0 * y[0] - 2 * 0.2 * 3.0 * y[1]],
    ),
    "lorenz": (
        Lorenz(9.0, 27.0, 2.5),
        lambda y: [9.0 * (y[1] - y[0]), y[0] * (27.0 - y[2]) - y[1], y[0] * y[1] - 2.5 * y[2]],
    ),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_derivative_equals_the_equations_written_out(rng, case):
    system, reference = REFERENCES[case]
    y = rng.normal(size=(4, 3, len(system.columns)))
    expected = np.stack(reference(np.moveaxis(y, -1, 0)), -1)
    np.testing.assert_allclose(system(T0, torch.from_numpy(y)).numpy(), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_constants_of_a_batch_apply_to_their_own_samples(rng, kind):
    names = tuple(kind().constants)
    values = {name: rng.uniform(0.5, 2.0, 5) for name in names}
    system = kind(**values)
    y = torch.from_numpy(rng.normal(size=(5, len(system.columns))))
    whole = system(T0, y)
    for k in range(5):
        alone = kind(**{name: value[k] for name, value in values.items()})(T0, y[k])
        torch.testing.assert_close(whole[k], alone, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", SYSTEMS)
@pytest.mark.parametrize("positive", [False, True])
def test_gradients_reach_every_learnable_constant(rng, kind, positive):
    values = {name: rng.uniform(0.5, 2.0) for name in kind().constants}
    system = kind(**values, learnable=True, positive=positive)
    y = torch.from_numpy(rng.uniform(0.5, 1.5, (3, len(system.columns)))).requires_grad_()
    names, raw = zip(*system.named_parameters(), strict=True)

    def f(y, *raw):
        return torch.func.functional_call(system, dict(zip(names, raw, strict=True)), (T0, y))

    assert len(names) == len(values)
    assert torch.autograd.gradcheck(f, (y, *raw))


def test_only_the_named_constants_are_parameters():
    system = LotkaVolterra(learnable=["alpha", "gamma"], positive=["gamma"])
    assert [name for name, _ in system.named_parameters()] == ["raw_alpha", "raw_gamma"]
    assert system.constants["gamma"].item() == pytest.approx(3.0, rel=1e-15)
    assert system.raw_gamma.item() == pytest.approx(np.log(3.0))
    assert system.raw_alpha.item() == 1.5


@pytest.mark.parametrize("kind", SYSTEMS)
def test_derivative_keeps_the_states_dtype_with_constants_of_a_batch(kind):
    names = tuple(kind().constants)
    system = kind(**{name: np.ones(4) for name in names})
    y = torch.ones(4, len(system.columns), dtype=torch.float32)
    assert system(T0.float(), y).dtype == torch.float32


@pytest.mark.parametrize("kind", SYSTEMS)
def test_vmap_over_a_leading_axis_gives_the_batched_result(rng, kind):
    system = kind()
    y = torch.from_numpy(rng.normal(size=(6, len(system.columns))))
    t = torch.zeros(6, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(system)(t, y), system(T0, y), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize(
    ("system", "y0"),
    [
        (LotkaVolterra(), (1.0, 1.0)),
        (Pendulum(0.7), (2.5, 0.3)),
        (HarmonicOscillator(2.0), (1.0, 0.5)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_invariants_stay_constant_along_a_reference_trajectory(system, y0):
    reference = solve_ivp(
        lambda t, y: system(T0, torch.from_numpy(y)).numpy(), (0.0, 10.0), y0, method="DOP853", rtol=1e-11, atol=1e-12
    )
    values = system.invariants(torch.from_numpy(reference.y.T))
    assert values
    for value in values.values():
        torch.testing.assert_close(value, value[:1].expand_as(value), rtol=1e-8, atol=1e-9)


def test_damped_systems_claim_no_energy():
    y = torch.ones(2, dtype=torch.float64)
    assert Pendulum(damping=0.1).invariants(y) == {}
    assert HarmonicOscillator(damping_ratio=0.1).invariants(y) == {}
    assert VanDerPol().invariants(y) == {}


def test_harmonic_oscillator_follows_its_closed_form():
    omega, zeta, t = 3.0, 0.2, 1.3
    system = HarmonicOscillator(omega, damping_ratio=zeta)
    end = solve_ivp(
        lambda t, y: system(T0, torch.from_numpy(y)).numpy(),
        (0.0, t),
        (1.0, 0.0),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    ).y[:, -1]
    damped = omega * np.sqrt(1 - zeta**2)
    x = np.exp(-zeta * omega * t) * (np.cos(damped * t) + zeta * omega / damped * np.sin(damped * t))
    assert end[0] == pytest.approx(x, rel=1e-10)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_every_column_has_a_name_and_a_unit(kind):
    system = kind()
    assert len(set(system.columns)) == len(system.columns) == len(system.units)
    assert set(system.constant_units) <= set(system.constants)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VanDerPol(float("nan")), "`mu` must be finite"),
        (lambda: VanDerPol(np.ones((2, 2))), "`mu` must be a number, or one per sample"),
        (lambda: Pendulum(0.0), "`length` must not be 0"),
        (lambda: Lorenz(positive=["x"]), "`positive` names unknown constants"),
    ],
)
def test_bad_constants_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
