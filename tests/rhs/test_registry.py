from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from physode.errors import ConfigError
from physode.rhs import (
    MLP,
    SYSTEMS,
    Arenstorf,
    AugmentedNBody,
    Constant,
    HarmonicOscillator,
    Hires,
    Hybrid,
    Lorenz,
    LotkaVolterra,
    NBody,
    Oregonator,
    Pendulum,
    Pollution,
    Robertson,
    Span,
    System,
    ThreeBody,
    VanDerPol,
    build,
)

EXAMPLES = [
    NBody([1.0, 2.0, 3.0, 4.0], softening=0.1),
    ThreeBody([[1.1, 1.1, 0.9], [1.0, 2.0, 3.0]], G=2.0, velocity_scale=3.0, learnable=True),
    ThreeBody([1.1, 1.1, 0.9], learnable=True, positive=True),
    VanDerPol(2.0, threshold=0.15, learnable=["mu"]),
    LotkaVolterra(positive=["alpha"]),
    Pendulum(2.0, damping=0.1),
    HarmonicOscillator(2.0),
    Lorenz(),
    Arenstorf(),
    Robertson(learnable=True, positive=True),
    Oregonator(q=1e-5),
    Hires(),
    Pollution(),
    AugmentedNBody(3, hidden=(8,), velocity_scale=2.0),
    MLP(3, hidden=(4,), activation="silu", time=True),
    Hybrid(Pendulum(learnable=True), MLP(2), acts_on=["angular_velocity"], zero_init=True),
]
T0 = torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("system", EXAMPLES, ids=lambda system: system.name)
def test_system_is_rebuilt_from_its_name_and_json(system):
    rebuilt = build(system.name, json.loads(json.dumps(system.config())))
    rebuilt.load_state_dict(system.state_dict())
    y = torch.rand(2, len(system.columns), dtype=torch.float64) + 0.1
    assert type(rebuilt) is type(system)
    assert torch.equal(rebuilt.double()(T0, y), copy.deepcopy(system).double()(T0, y))
    assert [name for name, _ in rebuilt.named_parameters()] == [name for name, _ in system.named_parameters()]
    assert (rebuilt.columns, rebuilt.units, rebuilt.time_unit) == (system.columns, system.units, system.time_unit)


@pytest.mark.parametrize("system", EXAMPLES, ids=lambda system: system.name)
def test_system_can_be_copied_and_pickled(system):
    y = torch.rand(2, len(system.columns)) + 0.1
    expected = system(T0.float(), y)
    assert torch.equal(copy.deepcopy(system)(T0.float(), y), expected)
    assert torch.equal(pickle.loads(pickle.dumps(system))(T0.float(), y), expected)


def test_every_system_is_registered_under_its_own_name():
    assert {system.name for system in EXAMPLES} == set(SYSTEMS)
    assert all(SYSTEMS[name].name == name for name in SYSTEMS)


def test_config_holds_constants_in_full_precision():
    masses = np.random.default_rng(1).uniform(size=3)
    assert build("three_body", ThreeBody(masses).config()).masses.tolist() == masses.tolist()


def test_rows_cut_the_constants_of_a_batch_and_keep_the_shared_ones():
    system = VanDerPol(np.arange(5.0), threshold=0.5)
    part = system.rows(slice(1, 3))
    assert part.mu.tolist() == [1.0, 2.0]
    assert part.threshold.item() == 0.5


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"harmonic_oscillator.*got 'two_body'"):
        build("two_body", {})


@pytest.mark.parametrize("config", [{"masses": [1.0, 1.0]}, {"mass": [1.0, 1.0, 1.0]}, {}])
def test_config_that_does_not_fit_is_refused(config):
    with pytest.raises(ConfigError, match="`config` does not fit the right-hand side 'three_body'"):
        build("three_body", config)


def test_a_class_with_constants_alone_is_a_system():
    class Decay(System):
        """Exponential decay."""

        name = "decay"
        columns, units = ("y",), ("",)
        initial_box = ((1.0, 2.0),)
        span = Span(3.0, 10)
        rate = Constant(0.5, "rate of the decay", unit="1/s", domain="nonzero")

        def forward(self, t, y):
            return -self.rate.to(y.dtype) * y

    assert Decay.__doc__.startswith("Exponential decay.\n\nParameters\n")
    assert "rate of the decay in 1/s: a number, or (batch,); 0.5 by default." in Decay.__doc__
    assert Decay.constant_units == {"rate": "1/s"}
    assert Decay().rate.item() == 0.5
    assert Decay(2.0, learnable=True, positive=True).config() == {
        "rate": pytest.approx(2.0),
        "learnable": True,
        "positive": True,
    }
    assert 1.0 <= Decay().draw_state(np.random.default_rng(0), 0).item() <= 2.0
    with pytest.raises(ValueError, match="`rate` must not be 0"):
        Decay(rate=0.0)
    for arguments in ((1.0, 2.0), {"speed": 1.0}):
        with pytest.raises(TypeError, match="argument"):
            Decay(**arguments) if isinstance(arguments, dict) else Decay(*arguments)
