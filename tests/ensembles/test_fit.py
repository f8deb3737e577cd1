"""Fits of ensembles against physode's single fits, SciPy, and themselves in other company."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import threading

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import physode as po
from physode.ensembles.members import Members, Part
from physode.errors import ConfigError
from physode.estimation.observed import observed
from tests.ensembles.conftest import SIGMA, lotka_volterra

CONSTANTS = ("alpha", "beta", "delta", "gamma")
STATES = ("prey(0)", "predators(0)")

needs_cluster = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs physode[cluster]")


@pytest.fixture(scope="module")
def table(herds):
    return po.fit_ensemble("lotka_volterra", herds, log=CONSTANTS, sigma=SIGMA, starts=2)


@pytest.fixture
def kernels(monkeypatch):
    """Let single fits be solved by kernels, as those of ensembles are."""
    monkeypatch.delenv("PHYSODE_COMPILE")


def rows_of(table, names=(*CONSTANTS, *STATES)):
    return np.array([table[name] for name in names], dtype=float).T


def test_all_members_are_recovered_within_their_errors(table, herds):
    assert table.statuses == {"converged": 8}
    true = np.stack([herds.params[name] for name in CONSTANTS], 1)
    errors = rows_of(table, [f"{name}_error" for name in CONSTANTS])
    pulls = (rows_of(table, CONSTANTS) - true) / errors
    assert np.abs(pulls).max() < 4
    assert 0.6 < np.sqrt(np.square(pulls).mean()) < 1.5
    assert table["values"] == [62, 62, 46, 62, 62, 62, 62, 62]


def test_members_are_those_of_single_fits(table, herds, kernels):
    alone = po.fit(
        lotka_volterra, (herds.t, herds.y[2]), sigma=SIGMA, starts=1, log=CONSTANTS, states=["prey", "predators"],
        observe=["prey", "predators"], constants={name: table[name][2] for name in CONSTANTS}, rtol=1e-9, atol=1e-11,
    )  # fmt: skip
    for name in (*CONSTANTS, *STATES):
        assert table[name][2] == pytest.approx(alone[name].value, rel=1e-6)
        assert table[f"{name}_error"][2] == pytest.approx(alone[name].error, rel=1e-5)


def test_members_are_those_of_scipy(table, herds):
    t, y = herds.t, herds.y[3]

    def residuals(p):
        def f(t, x):
            return [x[0] * (p[0] - p[1] * x[1]), x[1] * (p[2] * x[0] - p[3])]

        path = solve_ivp(f, (t[0], t[-1]), p[4:], method="DOP853", rtol=1e-10, atol=1e-12, t_eval=t).y.T
        return ((path - y) / SIGMA).ravel()

    begin = rows_of(table)[3] * 1.01
    best = least_squares(residuals, begin, method="lm", x_scale=np.abs(begin), xtol=1e-13, ftol=1e-13, gtol=1e-13)
    np.testing.assert_allclose(rows_of(table)[3], best.x, rtol=1e-6)
    assert table["loss"][3] == pytest.approx(2 * best.cost, rel=1e-8)
    errors = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)))
    found = rows_of(table, [f"{name}_error" for name in (*CONSTANTS, *STATES)])[3]
    np.testing.assert_allclose(found, errors, rtol=1e-3)


@pytest.mark.slow
def test_unknown_spreads_are_found_one_a_column_as_in_single_fits(herds, kernels):
    several = po.fit_ensemble(lotka_volterra, herds, log=True)
    alone = po.fit(
        lotka_volterra, (herds.t, herds.y[0]), starts=1, log=True, states=["prey", "predators"],
        observe=["prey", "predators"], rtol=1e-9, atol=1e-11,
        constants={name: several[name][0] for name in CONSTANTS},
    )  # fmt: skip
    for name in (*CONSTANTS, *STATES):
        assert several[name][0] == pytest.approx(alone[name].value, rel=1e-6)
        assert several[f"{name}_error"][0] == pytest.approx(alone[name].error, rel=1e-5)


def test_no_member_owes_a_bit_to_its_company(table, herds):
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    mixed = dataclasses.replace(
        herds, y=herds.y[order], y_clean=herds.y_clean[order], params={k: v[order] for k, v in herds.params.items()}
    )
    options = {"log": CONSTANTS, "sigma": SIGMA, "starts": 2}
    found = po.fit_ensemble("lotka_volterra", mixed, batch=3, **options)
    assert [row[1:] for row in found.rows] == [table.rows[i][1:] for i in order]
    alone = po.fit_ensemble("lotka_volterra", (herds.t, herds.y[2]), **options)
    assert alone.rows[0][1:] == table.rows[2][1:]


def test_members_that_fail_have_a_status_by_name_and_spoil_nobody(table, herds):
    y = herds.y.copy()
    y[1] = np.nan
    y[1, 0], y[1, 3] = 1.0, 1.0  # four values for six unknowns
    y[4] = np.array([2.0, 0.0])  # no predators: nothing tells of what they do
    y[5, :] = 1e200
    odd = dataclasses.replace(herds, y=y, y_clean=None)
    found = po.fit_ensemble("lotka_volterra", odd, log=CONSTANTS, sigma=SIGMA, starts=2)
    assert found["status"][1] == "refused"
    assert "its 4 values do not determine 6 unknowns" in found["reason"][1]
    assert found["status"][5] == "unsolved"
    assert found["status"][4] != "converged"
    kept = [0, 2, 3, 6, 7]
    assert [found["status"][i] for i in kept] == ["converged"] * 5
    np.testing.assert_array_equal(rows_of(found)[kept], rows_of(table)[kept])


def test_what_the_data_leave_open_is_said_by_name(herds):
    def doubled(t, x, alpha=1.0, more=0.5, beta=1.0, delta=1.0, gamma=1.0):
        return lotka_volterra(t, x, alpha + more, beta, delta, gamma)

    data = dataclasses.replace(herds, y=herds.y[:2], y_clean=None, params={})
    found = po.fit_ensemble(doubled, data, starts=1)
    assert found["status"] == ["not determined"] * 2
    assert "the data leave alpha, more open" in found["reason"][0]
    assert found["alpha_error"] == [None, None]
    assert found["beta_error"][0] > 0


def test_constants_are_swept_as_guesses_or_as_values_that_are_kept(herds):
    data = dataclasses.replace(herds, y=herds.y[:1], y_clean=None, params={})
    found = po.fit_ensemble(
        "lotka_volterra", data, over={"gamma": [2.5, 3.0], "alpha": [1.0, 1.3]}, fixed=["gamma"], log=True, sigma=SIGMA
    )
    assert found.columns[:4] == ("member", "gamma", "alpha_guess", "status")
    assert found["gamma"] == [2.5, 2.5, 3.0, 3.0]
    assert found["alpha_guess"] == [1.0, 1.3, 1.0, 1.3]
    assert "gamma_error" not in found.columns
    assert found["loss"][0] == pytest.approx(found["loss"][1], rel=1e-6)
    assert found["loss"][0] > found["loss"][2]


def test_constants_that_are_kept_are_the_members_own_where_the_data_know_them(herds):
    found = po.fit_ensemble("lotka_volterra", herds, fixed=["delta", "gamma"], start="known", sigma=SIGMA, log=True)
    assert found.statuses == {"converged": 8}
    true = np.stack([herds.params[name] for name in ("alpha", "beta")], 1)
    assert np.abs(rows_of(found, ("alpha", "beta")) / true - 1).max() < 0.1


def test_bounds_are_kept_and_have_no_error(herds):
    data = dataclasses.replace(herds, y=herds.y[:1], y_clean=None, params={})
    bounds = {"alpha": (0.1, 1.0), "beta": (0.0, np.inf)}
    found = po.fit_ensemble(lotka_volterra, data, sigma=SIGMA, bounds=bounds)
    assert found["alpha"] == [1.0]
    assert found["alpha_error"] == [None]
    assert found["beta_error"][0] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": {"mass": [1.0]}}, "`over` names 'mass'; there are alpha"),
        ({"over": {"alpha": ["big"]}}, "no finite number"),
        ({"constants": {"mass": 1.0}}, "`constants` names 'mass'"),
        ({"fixed": [*CONSTANTS], "start": "known"}, "nothing is to be fitted"),
        ({"method": "rk4"}, "takes fixed steps"),
        ({"starts": 0}, "must be at least 1"),
        ({"batch": 0}, "`batch` must be at least 1"),
    ],
)
def test_what_cannot_be_is_said_before_the_work(herds, options, message):
    with pytest.raises(ConfigError, match=message):
        po.fit_ensemble("lotka_volterra", herds, **options)


def test_a_system_is_known_by_its_name(herds):
    with pytest.raises(ConfigError, match="is no system with constants"):
        po.fit_ensemble("lotka", herds)


def test_parts_of_members_keep_their_own_times_in_their_order(herds):
    members = Members.of(observed(herds))
    part = Part.of(members, [0, 2], [9, 5])
    own = part.own(part.t[..., None])[..., 0]
    np.testing.assert_array_equal(own[:, 0], members.t[0, :9])
    np.testing.assert_array_equal(own[:5, 1], members.t[2, :5])
    assert bool((part.t.diff(dim=0) > 0).all())
    assert float(part.t[-1, 1]) == members.t[2, 4]
    assert not bool(part.counted[5:, :, 1].any())
    again = Members.unpacked(members.packed(), members.names, members.columns)
    np.testing.assert_array_equal(again.y, members.y)
    assert again.digest == members.digest


def test_an_interrupted_ensemble_goes_on(herds, tmp_path):
    def interrupt(done, of, name):
        if done == 4:
            raise KeyboardInterrupt

    options = {"log": CONSTANTS, "sigma": SIGMA, "starts": 1, "batch": 2, "folder": tmp_path / "cells"}
    with pytest.raises(KeyboardInterrupt):
        po.fit_ensemble("lotka_volterra", herds, progress=interrupt, **options)
    told = []
    po.fit_ensemble("lotka_volterra", herds, progress=lambda *each: told.append(each[:2]), **options)
    assert told == [(4, 8), (6, 8), (8, 8)]


@needs_cluster
@pytest.mark.slow
def test_processes_and_a_cluster_that_loses_a_worker_make_the_same_table(herds, table):
    from distributed import LocalCluster

    options = {"log": CONSTANTS, "sigma": SIGMA, "starts": 2, "batch": 1}
    assert po.fit_ensemble("lotka_volterra", herds, jobs=2, **options).text() == table.text()
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        pids = [worker.process.pid for worker in cluster.workers.values()]
        killed = threading.Event()

        def kill(done, of, name):
            if done == 1 and not killed.is_set():
                os.kill(pids[0], signal.SIGKILL)
                killed.set()

        found = po.fit_ensemble("lotka_volterra", herds, scheduler=cluster.scheduler_address, progress=kill, **options)
    assert killed.is_set()
    assert found.text() == table.text()
