"""Searches from many starts: which have met, and how those that have are finished."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, SolveError
from physode.estimation.fit import estimate, fit
from physode.estimation.from_callable import Wishes, estimation_of
from physode.estimation.meeting import representatives
from physode.estimation.observed import observed
from physode.estimation.scoring import Point, minimise
from physode.estimation.search import prepare, search
from physode.estimation.stages import KeptStages

F64 = torch.float64


def test_ends_within_a_standard_error_of_each_unknown_have_met():
    z = torch.tensor([[0.0, 0.0], [0.1, 0.1], [3.0, 0.0], [3.0, 0.1]], dtype=F64)
    loss = torch.tensor([1.2, 1.0, 1.5, 1.4], dtype=F64)
    information = torch.eye(2, dtype=F64).expand(4, 2, 2)
    assert representatives(z, loss, information).tolist() == [1, 1, 3, 3]
    assert representatives(z, loss, 1e-2 * information).tolist() == [1, 1, 1, 1]


def test_an_end_where_an_unknown_says_nothing_stands_for_no_other():
    z = torch.tensor([[0.0, 9.0], [0.0, 0.0]], dtype=F64)
    information = torch.stack([torch.diag(torch.tensor([1.0, 0.0])), torch.eye(2)]).to(F64)
    assert representatives(z, torch.tensor([1.0, 1.1], dtype=F64), information).tolist() == [0, 1]


def test_starts_that_met_are_finished_together():
    t = np.linspace(0.0, 5.0, 30)
    y = 2.0 * np.exp(-0.7 * t) + 0.02 * np.random.default_rng(0).normal(size=30)
    found = fit(lambda t, x, k: -k * x, {"t": t, "y": y}, constants={"k": 1.0}, starts=6)
    assert found.met == 6
    assert found.minima.converged == (True,) * 6
    assert bool((found.minima.z == found.minima.z[0]).all())
    alone = fit(lambda t, x, k: -k * x, {"t": t, "y": y}, constants={"k": 1.0}, starts=1)
    assert abs(found["k"].value - alone["k"].value) < 1e-4 * alone["k"].error


def test_light_damping_does_not_creep_along_what_is_hardly_determined():
    stiff = torch.tensor([[1.0, 1.0 - 1e-7], [1.0 - 1e-7, 1.0]], dtype=F64)

    def bowl(z):
        slope = z @ stiff
        return Point(0.5 * (z * slope).sum(1), slope, stiff.expand(len(z), 2, 2))

    start, ends = torch.tensor([[1e3, -1e3]], dtype=F64), torch.full((2,), torch.inf, dtype=F64)
    usual, light = (minimise(bowl, start, -ends, ends, damping=damping) for damping in (1e-3, 1e-9))
    assert light.iterations[0] < usual.iterations[0]
    assert float(light.loss[0]) < 1e-8


def decay():
    t = np.linspace(0.0, 5.0, 30)
    y = 2.0 * np.exp(-0.7 * t) + 0.02 * np.random.default_rng(0).normal(size=30)
    return estimation_of(
        lambda t, x, k: -k * x, observed({"t": t, "x": y}), constants={"k": 1.0}, start="fit", observe=None,
        states=None, sigma=None, wishes=Wishes({"k": (0.1, 20.0)}, {}, (), (), ()), stiff=None,
    )  # fmt: skip


def same(one, other):
    return torch.equal(one.z, other.z) and torch.equal(one.loss, other.loss) and one.reasons == other.reasons


def test_a_search_that_was_killed_at_any_stage_goes_on_to_the_same_end(tmp_path):
    problem = prepare(decay())
    whole, names = KeptStages(tmp_path / "whole"), []
    end = search(problem, starts=4, keep=lambda name, stage: names.append(name) or whole(name, stage))
    assert names[-2:] == ["rough", "finished"]
    for k, name in enumerate(names):
        kept = KeptStages(tmp_path / name)

        def killed(asked, stage, kept=kept, name=name):
            if asked == name:
                raise KeyboardInterrupt
            return kept(asked, stage)

        with pytest.raises(KeyboardInterrupt):
            search(problem, starts=4, keep=killed)
        there = {path.stem for path in kept.folder.glob("*.json")}
        assert there == set(names[:k])
        assert same(search(problem, starts=4, keep=kept), end)


def test_a_stage_whose_file_is_damaged_is_computed_again(tmp_path):
    problem = prepare(decay())
    end = search(problem, starts=3, keep=KeptStages(tmp_path / "kept"))
    for text in ("", "{", "[]", '{"z": [[1.0]], "loss": [1.0, 2.0], "iterations": [1], "reasons": ["x"]}'):
        (tmp_path / "kept" / "rough.json").write_text(text)
        assert same(search(problem, starts=3, keep=KeptStages(tmp_path / "kept")), end)


def test_batches_of_starts_end_the_same_wherever_they_are_searched(tmp_path):
    here = estimate(decay(), starts=10, jobs=1, folder=tmp_path)
    assert here.met > 1
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == ["starts-1-to-8.json", "starts-9-to-10.json"]
    told = []
    again = estimate(decay(), starts=10, jobs=1, folder=tmp_path, on_batch=lambda *counts: told.append(counts))
    assert told == [(2, 2)]
    assert same(here.minima, again.minima)
    eight = estimate(decay(), starts=8, jobs=1)
    assert eight["k"].value == pytest.approx(here["k"].value, rel=1e-5)


@pytest.mark.slow
def test_processes_of_this_machine_find_what_this_process_finds():
    here, there = (estimate(decay(), starts=10, jobs=jobs) for jobs in (1, 2))
    assert same(here.minima, there.minima)


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs physode[cluster]")
def test_a_dask_cluster_finds_what_this_process_finds():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        there = estimate(decay(), starts=10, scheduler=cluster.scheduler_address)
    assert same(there.minima, estimate(decay(), starts=10, jobs=1).minima)


def test_what_cannot_be_searched_in_batches_is_one_line():
    with pytest.raises(ConfigError, match="`jobs` must be at least 1, got 0"):
        estimate(decay(), starts=2, jobs=0)
    with pytest.raises(ConfigError, match="`jobs` 2 has no part beside `scheduler`"):
        estimate(decay(), starts=2, jobs=2, scheduler="tcp://127.0.0.1:1")
    t = np.linspace(0.0, 3.0, 9)
    with pytest.raises(SolveError, match="at all starts"):
        fit(lambda t, x, k: k * x**2, {"t": t, "x": 2.0 + t}, constants={"k": 50.0}, bounds={"k": (40, 60)},
            start={"x": 2.0}, starts=2, jobs=1, max_steps=200)  # fmt: skip
