"""Summaries, computed in pieces, agree with the arrays."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import Trajectories, summarise, summary, write_trajectories


@pytest.fixture
def made(tmp_path):
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(7, 11, 2))
    y = clean + rng.normal(scale=0.1, size=clean.shape)
    y[2, 3, 0] = np.nan
    trajectories = Trajectories(
        t=np.linspace(0.0, 2.0, 11),
        y=y,
        y_clean=clean,
        params={"masses": rng.uniform(size=(7, 3))},
        columns=("x", "v"),
        units=("AU", "AU/yr"),
        attrs={"system": "toy", "time_unit": "yr", "param_units": {"masses": "Msun"}, "notes": ["a", "b"]},
        sigma=rng.uniform(0.5, 1.5, size=clean.shape),
    )
    path = tmp_path / "data.h5"
    write_trajectories(path, trajectories)
    return path, trajectories


def test_ranges_missing_values_and_noise(made, monkeypatch):
    path, trajectories = made
    monkeypatch.setattr(summary, "_BLOCK_BYTES", 400)  # two trajectories at a time
    found = summarise(path)
    assert (found["trajectories"], found["times"]) == (7, 11)
    assert found["time"] == {"first": 0.0, "last": 2.0, "unit": "yr", "shared": True}
    x, v = found["components"]
    assert x == {
        "name": "x",
        "unit": "AU",
        "min": np.nanmin(trajectories.y[..., 0]),
        "max": np.nanmax(trajectories.y[..., 0]),
        "missing": 1,
    }
    assert v["missing"] == 0
    noise = trajectories.y - trajectories.y_clean
    assert found["noise_rms"] == pytest.approx(np.sqrt(np.nanmean(noise**2)), rel=1e-12)
    assert found["sigma"] == {"min": trajectories.sigma.min(), "max": trajectories.sigma.max()}
    assert found["notes"] == ["a", "b"]
    masses = trajectories.params["masses"]
    assert found["params"]["masses"] == {"shape": [3], "unit": "Msun", "min": masses.min(), "max": masses.max()}
    assert found["attributes"]["system"] == "toy"
    assert found["bytes"] == path.stat().st_size


def test_a_component_that_was_never_observed_has_no_range(tmp_path):
    path = tmp_path / "data.h5"
    y = np.full((1, 3, 1), np.nan)
    write_trajectories(path, Trajectories(t=np.arange(3.0), y=y, y_clean=np.zeros_like(y), columns=("x",), units=("",)))
    found = summarise(path)
    assert found["components"] == [{"name": "x", "unit": "", "min": None, "max": None, "missing": 3}]
    assert found["noise_rms"] is None
    assert found["sigma"] is None
    assert found["notes"] == []
