"""Ensembles of simulations against single ones."""

from __future__ import annotations

import numpy as np
import pytest

import physode as po
from physode.datasets import read_trajectories
from physode.errors import ConfigError
from physode.simulators import simulate_system


def test_rows_are_the_simulations_of_their_constants_and_states(tmp_path):
    table = po.simulate_ensemble(
        "lotka_volterra", {"alpha": [1.0, 2.0], "prey": [1.5, 3.0]}, y0=[1.0, 1.0], t_end=3.0, points=31,
        trajectories=tmp_path / "all.h5",
    )  # fmt: skip
    assert table.statuses == {"done": 4}
    kept = read_trajectories(tmp_path / "all.h5")
    for i, (alpha, prey) in enumerate([(1.0, 1.5), (1.0, 3.0), (2.0, 1.5), (2.0, 3.0)]):
        alone = simulate_system("lotka_volterra", constants={"alpha": alpha}, y0=[prey, 1.0], t_end=3.0, points=31)
        np.testing.assert_allclose(kept.y[i], alone.y[0], rtol=1e-8)
        assert table["prey_end"][i] == kept.y[i, -1, 0]
        assert table["predators_max"][i] == kept.y[i, :, 1].max()
        assert kept.params["alpha"][i] == alpha


def test_seeds_draw_the_states_that_simulate_draws():
    table = po.simulate_ensemble("lotka_volterra", {"seed": [0, 7]}, t_end=1.0, points=5)
    for i, seed in enumerate((0, 7)):
        alone = simulate_system("lotka_volterra", seed=seed, t_end=1.0, points=5)
        assert table["prey_end"][i] == pytest.approx(alone.y[0, -1, 0], rel=1e-9)


def test_elements_of_vectors_are_counted_from_one():
    table = po.simulate_ensemble("three_body", {"masses[2]": [0.9, 1.1]}, preset="aca", t_end=0.05, points=4)
    alone = simulate_system("three_body", preset="aca", constants={"masses": (1.1, 0.9, 0.9)}, t_end=0.05, points=4)
    assert table["v1_x_end"][0] == pytest.approx(alone.y[0, -1, 9], rel=1e-8)
    assert table["v1_x_end"][0] != table["v1_x_end"][1]


def test_one_that_ends_early_says_why_and_spoils_nobody():
    options = {"t_end": 5.0, "points": 11, "max_steps": 200}
    table = po.simulate_ensemble("van_der_pol", {"mu": [1.0, 1000.0]}, **options)
    assert table["status"] == ["done", "max steps"]
    assert table["time"][0] == 5.0
    assert table["time"][1] < 5.0
    alone = [po.simulate_ensemble("van_der_pol", {"mu": [mu]}, **options).rows[0] for mu in (1.0, 1000.0)]
    assert tuple(alone) == table.rows


@pytest.mark.parametrize(
    ("system", "over", "options", "message"),
    [
        ("nothing", {"mu": [1.0]}, {}, "no system that can be simulated"),
        ("van_der_pol", {"nu": [1.0]}, {}, "`over` names 'nu'; van_der_pol has mu"),
        ("three_body", {"masses[4]": [1.0]}, {}, r"`over` names 'masses\[4\]'"),
        ("van_der_pol", {"mu": ["much"]}, {}, "no finite number"),
        ("van_der_pol", {"mu": [1.0]}, {"y0": [1.0]}, "`y0` must have a number for each of"),
        ("van_der_pol", {"mu": [1.0]}, {"points": 1}, "`points` must be at least 2"),
    ],
)
def test_what_cannot_be_is_said_before_the_work(system, over, options, message):
    with pytest.raises(ConfigError, match=message):
        po.simulate_ensemble(system, over, **options)
