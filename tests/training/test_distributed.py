"""Two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from physode.errors import ConfigError

HERE = Path(__file__).parents[1]  # where conftest.py is
ROOT = HERE.parent

# What each process does: train on halves of every batch, write in the first one only, save what it has learnt.
WORKER = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from conftest import make_images
from physode.images import TrainConfig, create_train_run, train
from physode.training.distributed import joined

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
images, folder = make_images(), sys.argv[2]
gradient, tolerance = sys.argv[4], 1e-2
if gradient == "unequal room":  # the second process has none
    import os
    from physode.gradients import kept_graphs
    kept_graphs._SHARE = 0.0 if os.environ["RANK"] == "1" else 0.25
    gradient = "aca"
if gradient == "adjoint":
    tolerance = 1e-4
config = TrainConfig(model="galaxy-node", width=8, norm=sys.argv[3], gradient=gradient, rtol=tolerance, atol=tolerance,
                     batch=24, epochs=2, lr=0.05,
                     rotate=True, crop=1, dropout=0.0)
from pathlib import Path
from physode.images.run import TrainRun
with joined("cpu") as place:
    about = dict(dataset="images", size=12, data=Path("x"), classes=images.classes, digest=images.digest())
    path = Path(folder)
    run = create_train_run(path, config, **about) if place.writes else TrainRun(path, config, **about)
    trainer = train(images, config, run=run, place=place, on_epoch=lambda epoch, state: print(place.rank, epoch.loss))
    torch.save(trainer.model.state_dict(), Path(folder).with_suffix(f".{place.rank}.pt"))
"""


def start(tmp_path, name, *settings, processes):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(HERE), str(tmp_path / name), *settings]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command[1:1] = launcher
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_DISTRIBUTED_DEBUG": "OFF"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def weights(tmp_path, name, rank):
    return torch.load(tmp_path / f"{name}.{rank}.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_two_processes_learn_what_one_learns(tmp_path, norm):
    """Gradients are those of the whole batch: batch norm and the adaptive steps see both halves of it."""
    pytest.importorskip("torch.distributed")
    start(tmp_path, "one", norm, "aca", processes=1)
    told = start(tmp_path, "two", norm, "aca", processes=2)
    alone, first, second = weights(tmp_path, "one", 0), weights(tmp_path, "two", 0), weights(tmp_path, "two", 1)
    for name, expected in alone.items():
        torch.testing.assert_close(first[name], expected, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
    assert [line.split()[0] for line in told.splitlines() if line[:1].isdigit()] == ["0", "0"]  # one writer
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["adjoint", "unequal room"])
def test_processes_meet_in_the_backward_pass_too(tmp_path, gradient):
    """Batch norm's sums inside f meet though the processes' own errors and memories would have them part."""
    told = start(tmp_path, "two", "batch", gradient, processes=2)
    first, second = weights(tmp_path, "two", 0), weights(tmp_path, "two", 1)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(float(line.split()[1]) < 1.5 for line in told.splitlines() if line[:1].isdigit())


def test_a_batch_that_cannot_be_divided_is_named():
    from physode.training.distributed import Place

    with pytest.raises(ConfigError, match="`batch` 25 must be a multiple of the number of processes, 2"):
        Place(0, 2, torch.device("cpu")).part(25)


def test_half_an_environment_is_named(monkeypatch):
    from physode.training.distributed import joined

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2, but 'RANK' is not set; start with torchrun"), joined("cpu"):
        pass
