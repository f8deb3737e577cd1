"""Run folders: what is in them, going on, being killed, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import physode
from physode.datasets import write_trajectories
from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.fitting.state import TrainingState, read_checkpoint, write_checkpoint

SOLVER = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7}
KINDS = {
    "lm": FitConfig(**SOLVER, epochs=6),
    "adam": FitConfig(**SOLVER, optimizer="adam", epochs=6),
    "sgd": FitConfig(**SOLVER, optimizer="sgd", epochs=6),
    "lbfgs": FitConfig(**SOLVER, rhs="neural", hidden=(4,), optimizer="lbfgs", epochs=4),
    "network": FitConfig(**SOLVER, rhs="neural", hidden=(4,), epochs=6),
}


@pytest.fixture
def start(tmp_path, oscillation):
    """Make a run of settings, with the data beside it."""
    data = tmp_path / "data.h5"
    write_trajectories(data, oscillation)

    def make(config: FitConfig, name: str = "run", **options: object):
        config = effective_config(config, oscillation)
        return create_run(tmp_path / "runs" / name, config, data=[data], digest=digest(oscillation), **options)

    return make


@pytest.fixture
def done(start, oscillation):
    run = start(KINDS["adam"])
    fit(oscillation, run.config, run=run)
    return run


class InterruptionError(Exception):
    pass


def interrupt_at(epoch: int):
    def on_epoch(told):
        if told.epoch == epoch:
            raise InterruptionError

    return on_epoch


def test_a_run_s_folder_holds_everything(done, oscillation):
    assert {path.name for path in done.path.iterdir()} == {
        *("config.toml", "made.json", "metrics.jsonl", "checkpoints", "predictions.h5", "report.json", "log.txt")
    }
    assert {path.name for path in (done.path / "checkpoints").iterdir()} == {"last.pt", "best.pt"}
    assert [line["epoch"] for line in done.history()] == list(range(7))
    assert done.predictions().y.shape == oscillation.y.shape
    assert done.report()["constants"][0]["name"] == "mu"
    assert "fit begins" in (done.path / "log.txt").read_text()


def test_the_settings_in_the_folder_are_the_effective_ones(done):
    again = open_run(done.path)
    assert again == done
    kept = tomllib.loads((done.path / "config.toml").read_text())["fit"]
    assert kept["train_until"] == pytest.approx(3.0)
    assert (kept["loss"], kept["init"]) == ("state", {"mu": [1.0], "threshold": [1.0]})
    assert effective_config(again.config, read(again)) == again.config


def read(run):
    from physode.datasets import read_data

    return read_data(run.data)


def test_the_best_checkpoint_is_what_the_fit_returns(start, oscillation):
    run = start(FitConfig(**SOLVER, optimizer="adam", lr=0.5, epochs=8))
    found = fit(oscillation, run.config, run=run)
    best = read_checkpoint(run.path / "checkpoints" / "best.pt")
    assert best.loss == min(epoch.loss for epoch in found.history) < found.history[-1].loss
    for name, value in found.rhs.state_dict().items():
        assert torch.equal(value, best.model[name])


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == "lbfgs" else kind for kind in KINDS]
)
def test_an_interrupted_fit_goes_on_to_the_same_numbers(start, oscillation, kind):
    whole, broken = start(KINDS[kind], "whole"), start(KINDS[kind], "broken")
    expected = fit(oscillation, whole.config, run=whole)
    with pytest.raises(InterruptionError):
        fit(oscillation, broken.config, run=broken, on_epoch=interrupt_at(2), checkpoint_seconds=1e9)
    found = fit(oscillation, broken.config, run=open_run(broken.path), resume=True)
    assert broken.history() == whole.history()
    for name, value in expected.rhs.state_dict().items():
        assert torch.equal(found.rhs.state_dict()[name], value)
    assert np.array_equal(found.predictions.y, expected.predictions.y)
    assert found.report == expected.report


def test_more_epochs_go_on_from_where_a_run_ended(start, oscillation):
    short, long = start(FitConfig(**SOLVER, optimizer="adam", epochs=3), "short"), start(KINDS["adam"], "long")
    fit(oscillation, short.config, run=short)
    expected = fit(oscillation, long.config, run=long)
    found = fit(oscillation, long.config, run=short, resume=True)
    assert short.history() == long.history()
    assert found.report == expected.report


def test_lines_after_the_last_checkpoint_are_told_again(start, oscillation):
    whole, broken = start(KINDS["adam"], "whole"), start(KINDS["adam"], "broken")
    fit(oscillation, whole.config, run=whole)
    fit(oscillation, FitConfig(**SOLVER, optimizer="adam", epochs=2), run=broken)
    with (broken.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "loss": 99.0}\n{"epoch": 4, "lo')
    fit(oscillation, broken.config, run=broken, resume=True)
    assert broken.history() == whole.history()


@pytest.mark.slow
def test_a_killed_fit_leaves_whole_files_and_goes_on_to_the_same_numbers(start, oscillation, tmp_path):
    config = FitConfig(**SOLVER, optimizer="adam", epochs=2000)
    run = start(config)
    script = f"""
from physode.datasets import read_data
from physode.fitting import fit, open_run
run = open_run({str(run.path)!r})
fit(read_data(run.data), run.config, run=run, checkpoint_seconds=0.0)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 120
        while len(run.history()) < 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(run.history()) >= 4
    names = {
        path.name for path in run.path.rglob("*") if not (path.name.startswith(".") and path.name.endswith(".part"))
    }
    assert names == {"config.toml", "made.json", "metrics.jsonl", "log.txt", "checkpoints", "last.pt", "best.pt"}
    last = run.last()
    read_checkpoint(run.path / "checkpoints" / "best.pt")
    epochs = last.epoch + 2
    settings = effective_config(FitConfig(**SOLVER, optimizer="adam", epochs=epochs), oscillation)
    found = fit(oscillation, settings, run=open_run(run.path), resume=True)
    assert found.report == fit(oscillation, settings).report


def test_a_fit_of_other_data_is_not_gone_on_with(done):
    import dataclasses

    trajectories = read(done)
    other = dataclasses.replace(trajectories, y=trajectories.y + 1e-12)
    with pytest.raises(ConfigError, match="the data are not those that"):
        fit(other, done.config, run=done, resume=True)


def test_a_run_is_not_replaced_unasked(start, done):
    with pytest.raises(ConfigError, match="exists already; choose another name, replace it"):
        start(KINDS["adam"])
    (done.path / "mine.txt").write_text("notes")
    start(KINDS["lm"], overwrite=True)
    assert {path.name for path in done.path.iterdir()} == {"config.toml", "made.json", "checkpoints", "mine.txt"}


def test_a_folder_that_is_no_run_is_never_replaced(start, tmp_path):
    precious = tmp_path / "runs" / "run" / "figures"
    precious.mkdir(parents=True)
    with pytest.raises(ConfigError, match="exists and is not a run"):
        start(KINDS["adam"], overwrite=True)
    assert precious.exists()


def test_a_run_of_another_version_is_named_in_one_line(done):
    settings = done.path / "config.toml"
    text = settings.read_text()
    settings.write_text(text.replace("run_version = 2", "run_version = 7"))
    with pytest.raises(ConfigError) as caught:
        open_run(done.path)
    assert str(caught.value) == (
        f"{done.path} is a run of version 7 (physode {physode.__version__}), this physode reads 2; "
        "fit it again, or use the physode that made it"
    )
    settings.write_text(text.replace("run_version = 2\n", ""))
    with pytest.raises(ConfigError, match="a run of version None"):
        open_run(done.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "\nnonsense", "is damaged"),
        (lambda text: text.replace("data_digest", "data_digits"), "is damaged: it has no 'data_digest'"),
        (lambda text: text.replace('"adam"', '"magic"'), "`optimizer` must be one of"),
        (lambda text: text.replace("[fit]", "fit = 3\n[other]"), "config.toml"),
    ],
)
def test_damaged_settings_are_named(done, change, message):
    settings = done.path / "config.toml"
    settings.write_text(change(settings.read_text()))
    with pytest.raises(ConfigError) as caught:
        open_run(done.path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_runs_are_named(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder; name the folder of a run"):
        open_run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"is not a run: it has no config\.toml"):
        open_run(tmp_path)


def test_a_fit_that_has_not_ended_has_no_report(start):
    with pytest.raises(DataError, match="its fit has not ended; go on with --resume"):
        start(KINDS["adam"]).report()


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_a_hostile_checkpoint_is_refused_unrun(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = done.path / "checkpoints" / "last.pt"
    for write in (
        lambda: torch.save({"version": 1, "x": Hostile()}, path),
        lambda: path.write_bytes(pickle.dumps(Hostile())),
    ):
        write()
        with pytest.raises(DataError, match="is not a checkpoint of tensors and numbers, and was not loaded"):
            done.last()
    assert not Path("hacked").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_truncated_checkpoint_is_named(done, keep):
    path = done.path / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"last\.pt is (damaged|not a checkpoint)"):
        done.last()


def test_foreign_and_missing_checkpoints_are_named(tmp_path):
    path = tmp_path / "x.pt"
    with pytest.raises(DataError, match="does not exist"):
        read_checkpoint(path)
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(DataError, match="is not a checkpoint of physode"):
        read_checkpoint(path)
    torch.save({"version": 99}, path)
    with pytest.raises(DataError, match="of version 99, this physode reads 2"):
        read_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    state = TrainingState(1, 0.5, {"w": torch.ones(1)}, {}, {}, 0.5, {"w": torch.ones(1)})
    write_checkpoint(path, state)

    def full(content, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, state)
    assert [each.name for each in tmp_path.iterdir()] == ["last.pt"]
    assert read_checkpoint(path).epoch == 1


def test_metrics_are_json_a_line(done):
    lines = (done.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(7))
    (done.path / "metrics.jsonl").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl is damaged"):
        done.history()
