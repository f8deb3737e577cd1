"""Outputs into a file while solving: the same numbers, none in memory, and nothing lost of what was reached."""

from __future__ import annotations

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

import physode as po
from physode import sink as sink_module
from physode.datasets import read_trajectories
from physode.errors import DataError
from physode.gradcheck.diagnosis import peak_bytes
from tests.systems import Spiral

pytestmark = pytest.mark.usefixtures("float64")


def spiral():
    return Spiral().requires_grad_(False)


def batch():
    return 3 * torch.rand(5, 2)


OWN_TIMES = torch.linspace(0, 3, 40, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, 0.5, -1.0, 1.5]).double()
CASES = {
    "one state": {"y0": lambda: torch.tensor([1.0, 0.5])},
    "a batch that shares steps": {"y0": batch},
    "per sample": {"y0": batch, "step_control": "per-sample"},
    "per sample, times of their own": {"y0": batch, "step_control": "per-sample", "t": OWN_TIMES},
    "fixed steps": {"y0": batch, "method": "rk4"},
    "a pair with a velocity": {"y0": batch, "method": "alf", "rtol": 1e-3},
    "pairs with a velocity, per sample": {
        "y0": batch,
        "method": "alf",
        "rtol": 1e-3,
        "step_control": "per-sample",
        "t": OWN_TIMES,
    },
    "a solve that fails": {"y0": batch, "max_steps": 8, "throw": False},
    "samples that fail": {"y0": batch, "max_steps": 20, "throw": False, "step_control": "per-sample"},
}


@pytest.mark.parametrize("slab", [2**7, 2**20])
@pytest.mark.parametrize("name", list(CASES))
def test_the_file_holds_what_the_solution_would(tmp_path, monkeypatch, name, slab):
    monkeypatch.setattr(sink_module, "_SLAB_BYTES", slab)
    monkeypatch.setattr(sink_module, "_RAGGED_SLAB_BYTES", 4 * slab)
    options = dict(CASES[name])
    y0, t = options.pop("y0")(), options.pop("t", torch.linspace(0, 3, 101))
    expected = po.solve(spiral(), y0, t, **options)
    sol = po.solve(spiral(), y0, t, sink=tmp_path / "out.h5", **options)
    found = read_trajectories(tmp_path / "out.h5")
    right = expected.y if expected.y.ndim == 3 else expected.y[:, None]
    assert sol.y is None
    assert torch.equal(sol.step_times, expected.step_times)
    np.testing.assert_array_equal(found.y, right.transpose(0, 1).numpy())
    np.testing.assert_array_equal(found.t, t.movedim(0, -1).numpy())
    assert found.attrs["status"].tolist() == expected.status.expand(len(found)).tolist()
    assert found.attrs["ended"].tolist() == expected.ended.expand(len(found)).tolist()
    assert found.attrs["method"] == options.get("method", "dopri5")
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_a_sink_names_columns_and_adds_attributes(tmp_path):
    to = po.Sink(tmp_path / "out.h5", units=("m", "m/s"), attrs={"note": "a test"}, compression="gzip")
    f = lambda t, y: {"x": y["v"], "v": -y["x"]}  # noqa: E731
    po.solve(f, {"x": torch.ones(1), "v": torch.zeros(1)}, torch.linspace(0, 1, 11), sink=to)
    found = read_trajectories(tmp_path / "out.h5")
    assert found.columns == ("x", "v")
    assert found.units == ("m", "m/s")
    assert found.attrs["note"] == "a test"
    assert found.y[0, -1] == pytest.approx([np.cos(1.0), -np.sin(1.0)], abs=1e-6)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(sink_module, "_SLAB_BYTES", 2**15)

    def peak(outputs):
        t = torch.linspace(0, 1, outputs)
        to = po.Sink(tmp_path / f"{outputs}.h5")
        return peak_bytes(
            lambda: po.solve(lambda t, y: -y, torch.ones(8000), t, method="rk4", step_size=0.1, sink=to),
            torch.device("cpu"),
        )

    few, many = peak(1000), peak(2000)
    assert many <= 1.1 * few
    assert many < 2000 * 8000 * 8 / 4


def test_gradients_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no outputs to differentiate"):
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1.0], sink=tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []
    with torch.no_grad():
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1.0], sink=tmp_path / "out.h5")


def test_what_a_file_cannot_take_is_refused(tmp_path):
    y0, options = torch.ones(2), {"compile": True}
    with pytest.raises(ValueError, match="leave out `compile`"):
        po.solve(lambda t, y: -y, y0, [0.0, 1.0], sink=tmp_path / "out.h5", **options)


def test_a_file_that_exists_is_replaced_only_where_asked(tmp_path):
    path = tmp_path / "out.h5"
    path.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        po.solve(spiral(), torch.ones(2), [0.0, 1.0], sink=path)
    po.solve(spiral(), torch.ones(2), [0.0, 1.0], sink=po.Sink(path, overwrite=True))
    assert read_trajectories(path).y.shape == (1, 2, 2)


def test_a_failing_right_hand_side_leaves_no_file(tmp_path):
    def f(t, y):
        if t > 0.5:
            raise ArithmeticError("mine")
        return -y

    with pytest.raises(ArithmeticError, match="mine"):
        po.solve(f, torch.ones(2), [0.0, 1.0], sink=tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_what_was_reached(tmp_path):
    def f(t, y):
        if t > 0.5:
            raise KeyboardInterrupt
        return -y

    with pytest.raises(KeyboardInterrupt):
        po.solve(f, torch.ones(2), torch.linspace(0, 1, 101), method="rk4", sink=tmp_path / "out.h5")
    found = read_trajectories(tmp_path / "out.h5")
    assert found.attrs["interrupted"]
    reached = ~np.isnan(found.y[0, :, 0])
    assert 40 <= reached.sum() <= 51
    np.testing.assert_allclose(found.y[0, reached, 0], np.exp(-found.t[reached]), rtol=1e-8)


@pytest.mark.parametrize("where", ["fill", "flush", "put", "_add"])
def test_a_second_interruption_does_not_undo_what_the_first_has_left(tmp_path, monkeypatch, where):
    from physode.datasets import trajectory_stream

    home = trajectory_stream if where == "_add" else trajectory_stream.TrajectoryStream
    work, interrupted = getattr(home, where), []

    def impatient(*arguments):
        if interrupted:
            signal.raise_signal(signal.SIGINT)
            interrupted.append("again")
        return work(*arguments)

    def f(t, y):
        if t > 0.5:
            interrupted.append("once")
            signal.raise_signal(signal.SIGINT)
        return -y

    monkeypatch.setattr(home, where, impatient)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        po.solve(f, torch.ones(2), torch.linspace(0, 1, 101), method="rk4", sink=tmp_path / "out.h5")
    assert interrupted[:2] == ["once", "again"]
    assert signal.getsignal(signal.SIGINT) is handler
    found = read_trajectories(tmp_path / "out.h5")
    assert found.attrs["interrupted"]
    assert 40 <= (~np.isnan(found.y[0, :, 0])).sum() <= 51


def test_a_file_made_while_a_sink_is_written_is_kept_and_so_is_the_sink(tmp_path):
    def f(t, y):
        if t > 0.5:
            (tmp_path / "out.h5").write_text("theirs")
        return -y

    with pytest.raises(DataError, match=r"out.h5 exists already.*; what was reached is kept as .*\.part"):
        po.solve(f, torch.ones(2), torch.linspace(0, 1, 11), method="rk4", sink=tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_text() == "theirs"
    (part,) = tmp_path.glob(".out.h5.*.part")
    assert np.isfinite(read_trajectories(part).y).all()


def test_an_interruption_after_the_last_step_leaves_the_whole_file_and_is_heard(tmp_path, monkeypatch):
    from physode.datasets.trajectory_stream import TrajectoryStream

    fill = TrajectoryStream.fill
    monkeypatch.setattr(TrajectoryStream, "fill", lambda self: (signal.raise_signal(signal.SIGINT), fill(self)))
    with pytest.raises(KeyboardInterrupt):
        po.solve(spiral(), torch.ones(2), torch.linspace(0, 1, 11), sink=tmp_path / "out.h5")
    found = read_trajectories(tmp_path / "out.h5")
    assert "interrupted" not in found.attrs
    assert np.isfinite(found.y).all()


@pytest.mark.slow
def test_a_killed_process_leaves_a_part_that_can_be_read(tmp_path):
    script = """
import os, sys, torch, physode as po, physode.sink as sink
sink._SLAB_BYTES = 2**10
from physode.datasets import trajectory_stream
trajectory_stream._FLUSH_BYTES = 1
def f(t, y):
    if t > 0.5:
        print("half", flush=True)
        sys.stdin.read()
    return -y
po.solve(f, torch.ones(2, dtype=torch.float64), torch.linspace(0, 1, 1001), method="rk4", sink="out.h5")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".out.h5.")
    with h5py.File(part, "r", swmr=True) as file:
        y, t = file["y"][0, :, 0], file["t"][()]
    reached = ~np.isnan(y)
    assert 400 <= reached.sum() <= 501
    np.testing.assert_allclose(y[reached], np.exp(-t[reached]), rtol=1e-10)


def test_outputs_are_written_after_a_while_though_their_slab_is_not_full(tmp_path, monkeypatch):
    monkeypatch.setattr("physode.sink._SECONDS", 0.0)
    seen = []

    def look(moment):
        (part,) = tmp_path.glob(".out.h5.*.part")
        with h5py.File(part, "r", swmr=True) as file:
            seen.append(int((~np.isnan(file["y"][0, :, 0])).sum()))

    po.solve(
        lambda t, y: -y, torch.ones(1), torch.linspace(0, 1, 11), method="rk4", sink=tmp_path / "out.h5", monitor=look
    )
    assert seen == list(range(2, 12))


def test_what_is_no_file_is_refused():
    with pytest.raises(TypeError, match="`sink` must be the name of a file or a Sink, got int"):
        po.solve(spiral(), torch.ones(2), [0.0, 1.0], sink=3)


def test_a_folder_that_takes_no_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("h5py.File", lambda *args, **options: open(tmp_path / "missing" / "file"))  # noqa: PTH123, SIM115
    with pytest.raises(DataError, match=r"cannot write .*out.h5: no such file or directory; choose another folder"):
        po.solve(spiral(), torch.ones(2), [0.0, 1.0], sink=tmp_path / "out.h5")


def test_transforms_are_refused(tmp_path):
    f = spiral()
    with pytest.raises(ValueError, match=r"`sink` cannot be used under torch\.func"):
        torch.func.vmap(lambda y: po.solve(f, y, [0.0, 1.0], sink=tmp_path / "out.h5").ended)(torch.ones(3, 2))
