"""Commands that are killed at random moments: whatever is left goes on, or is replaced, to the same numbers."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import time

import numpy as np
import pytest

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.datasets.images import write_images
from physode.datasets.series import IrregularSeries
from physode.datasets.series.hdf5 import write_series
from physode.simulators import simulate_van_der_pol

QUIET = ("--no-tensorboard",)
FIT = ("--optimizer", "adam", "--method", "dopri5", "--rtol", "1e-4", "--atol", "1e-6", "--checkpoint-seconds", "0")
COMMANDS = {
    "fit": ("fit", "vdp.h5", *FIT, "--epochs", "12"),
    "images": ("train", "bars.h5", "--model", "galaxy-node", "--width", "2", "--batch", "24", "--epochs", "4", *QUIET),
    "series": ("train", "timeseries", "sines.h5", "--model", "gru", "--hidden", "4", "--epochs", "6", *QUIET),
}
RESUME = {"fit": ("fit", "--resume", "runs/one", "--checkpoint-seconds", "0")} | {
    kind: (*words, "--resume", "runs/one", *QUIET)
    for kind, words in {"images": ("train",), "series": ("train", "timeseries")}.items()
}
MEASURED = ("seconds", "test_seconds")


for _name in (
    "physode.fitting",
    "physode.images",
    "physode.series",
    "physode.series.evaluation",
    "rich.progress",
    "scipy.stats",
    "torch._functorch.apis",
):
    importlib.import_module(_name)  # once here, not in each process


@pytest.fixture
def home(tmp_path, monkeypatch, images_of):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "bars.h5", images_of(32, size=12))
    write_trajectories(tmp_path / "vdp.h5", simulate_van_der_pol(preset="aca", t_end=1.0, points=8))
    t = np.linspace(0.0, 1.0, 6)
    phases = np.arange(8.0)[:, None]
    series = IrregularSeries.of_arrays(np.tile(t, (8, 1)), np.sin(5 * t + phases)[..., None])
    write_series(tmp_path / "sines.h5", series)
    return tmp_path


def begin(words):
    """Start a command in a process of its own; it shares what this one has imported."""
    child = os.fork()
    if child == 0:
        try:
            for stream in (1, 2):
                os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            cli(list(words), prog_name="physode")
        except SystemExit as error:
            os._exit(error.code if isinstance(error.code, int) else 1)
        finally:
            os._exit(1)
    return child


def killed(words, home, rng, *, longest):
    """Kill a command in the first 20 ms of its run's folder, or at any moment of `longest` seconds."""
    child, run = begin(words), home / "runs" / "one"
    moment = time.monotonic() + rng.uniform(0, longest)
    if rng.random() < 0.5:
        while not run.exists() and os.waitpid(child, os.WNOHANG) == (0, 0):
            pass
        moment = time.monotonic() + rng.uniform(0, 0.02)
    while time.monotonic() < moment:
        pass
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended by itself


def ended(words):
    return os.waitstatus_to_exitcode(os.waitpid(begin(words), 0)[1])


def history(home):
    lines = [json.loads(line) for line in (home / "runs" / "one" / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


def go_on(kind, words, home, rng):
    """Go on with what a kill has left, by one of the ways that there are; return which."""
    if not (home / "runs" / "one").exists():
        assert ended(words) == 0
        return "begun again"
    way = rng.choice(["resumed", "replaced"])
    assert ended(RESUME[kind] if way == "resumed" else (*words, "--force")) == 0, (home / "said.txt").read_text()
    return way


def kill_again_and_again(kind, home, count):
    rng = np.random.default_rng(list(COMMANDS).index(kind))
    words = (
        *COMMANDS[kind],
        "--name",
        "one",
        *([] if kind == "fit" else ["--limit", "12"] if kind == "images" else []),
    )
    before = time.monotonic()
    assert ended(words) == 0, (home / "said.txt").read_text()
    longest, whole = time.monotonic() - before, history(home)
    ways = {"begun again": 0, "resumed": 0, "replaced": 0}
    for turn in range(count):
        # Every third time a finished run is replaced; else one begins, perhaps in what another kill has left.
        force = ["--force"] if turn % 3 == 0 else []
        if not force:
            for path in sorted((home / "runs").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        killed((*words, *force), home, rng, longest=longest)
        if turn % 2 and (home / "runs" / "one").exists():
            killed(RESUME[kind], home, rng, longest=longest)
        ways[go_on(kind, words, home, rng)] += 1
        assert history(home) == whole
    return ways


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
def test_after_a_hundred_kills_nothing_is_lost_and_every_run_can_go_on(kind, home):
    ways = kill_again_and_again(kind, home, 100)
    logging.getLogger(__name__).info("%s: %s", kind, ways)
    assert sum(ways.values()) == 100
