"""A full disk: what could not be written whole is not there, what was there is kept, and the error says so."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import physode as po
from physode.datasets import Trajectories, read_trajectories, write_trajectories
from physode.datasets.atomic_write import append_line, replacing, write_all, write_text
from physode.datasets.images import read_images, write_images
from physode.datasets.series import IrregularSeries, read_series, write_series
from physode.plotting.style import new_figure, save
from physode.training.checkpoints import write_tensors
from tests.conftest import make_images
from tests.disks import room_for, small_disk

FULL = (errno.EFBIG, errno.ENOSPC)


def trajectories():
    y = np.random.default_rng(1).normal(size=(4, 300, 5))
    return Trajectories(t=np.linspace(0.0, 1.0, 300), y=y, y_clean=2 * y, columns=tuple("abcde"), units=("m",) * 5)


def text(path):
    write_text(path, "word " * 20_000, overwrite=True)


def figure(path):
    drawn = new_figure(4, 3)
    drawn.subplots().plot([0, 1], [0, 1])
    save(drawn, path, overwrite=True)


def animation(path):
    from PIL import Image

    from physode.datasets.atomic_write import filling

    noise = np.random.default_rng(0).integers(0, 255, (3, 100, 100, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    with replacing(path, overwrite=True) as part, filling(part) as file:
        first.save(file, "GIF", save_all=True, append_images=others)


WRITERS = {
    "trajectories": lambda path: write_trajectories(path, trajectories(), overwrite=True),
    "compressed": lambda path: write_trajectories(path, trajectories(), overwrite=True, compression="gzip"),
    "images": lambda path: write_images(path, make_images(300), overwrite=True),
    "series": lambda path: write_series(path, IrregularSeries.of(trajectories()), overwrite=True),
    "checkpoint": lambda path: write_tensors(path, {"w": torch.randn(5000)}, version=1),
    "text": text,
    "figure": figure,
    "animation": animation,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_does_not_fit_leaves_the_old_file_and_no_other(tmp_path, kind):
    path = tmp_path / "out.png"
    WRITERS[kind](path)
    size, before = path.stat().st_size, path.read_bytes()
    nearly = 0.98 if kind == "checkpoint" else 0.999  # torch's archive is shorter when its name is
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, nearly):
        with room_for(int(share * size)), pytest.raises(OSError, match=r"out\.png") as failed:
            WRITERS[kind](path)
        assert failed.value.errno in FULL
        assert str(failed.value.filename) == str(path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["out.png"]
    with room_for(size + 4096):
        WRITERS[kind](path)


@pytest.mark.parametrize("free", range(0, 200_001, 20_000))
def test_on_a_small_disk_a_file_is_whole_or_not_there(tmp_path, free):
    with small_disk(tmp_path / "disk", 200_000) as disk:
        (disk / "filler").write_bytes(bytes(200_000 - free))
        for name, write, read in (
            ("a.h5", lambda path: write_trajectories(path, trajectories()), read_trajectories),
            ("b.h5", lambda path: write_images(path, make_images(200)), read_images),
            ("c.h5", lambda path: write_series(path, IrregularSeries.of(trajectories())), read_series),
        ):
            with suppress(OSError):
                write(disk / name)
                assert len(read(disk / name)) in (4, 200)
                (disk / name).unlink()
            assert [each.name for each in disk.iterdir()] == ["filler"]


SCRIPT = """
import contextlib, torch, physode as po, physode.sink
from click.testing import CliRunner
from physode.cli.main import cli
from physode.datasets import trajectory_stream
from tests.disks import room_for

for words, room in (("simulate threebody --points 1000 --t-end 0.1 --out bodies.h5", 60_000),
                    ("simulate galaxies --count 40 --out galaxies.h5", 20_000)):
    with room_for(room):
        ended = CliRunner().invoke(cli, [*words.split(), "--force"])
    print(ended.exit_code, ended.stderr, end="")
physode.sink._SLAB_BYTES, trajectory_stream._FLUSH_BYTES = 2**12, 1
try:
    with room_for(120_000):
        po.solve(lambda t, y: -y, torch.ones(3, dtype=torch.float64), torch.linspace(0, 1, 5001), method="rk4",
                 sink=po.Sink("sink.h5", overwrite=True))
except OSError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_process_ends_by_itself_with_one_line_each_and_the_old_files_are_kept(tmp_path):
    names = ("bodies.h5", "galaxies.h5", "sink.h5")
    for name in names:
        (tmp_path / name).write_text("old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")  # no signal, and nothing of HDF5's own
    bodies, galaxies, sink = ended.stdout.splitlines()
    assert bodies == "1 Error: bodies.h5: File too large"
    assert galaxies == "1 Error: galaxies.h5: File too large"
    assert all((tmp_path / name).read_text() == "old" for name in names)
    (part,) = (each for each in tmp_path.iterdir() if each.name not in names)
    assert f"File too large; what was reached is kept as {part.name}" in sink
    assert reached_in(part) > 500


def reached_in(part):
    """Count the outputs in what a sink has left, which are those of exp(-t)."""
    with h5py.File(part, "r", swmr=True) as file:
        y, t = file["y"][0, :, 0], file["t"][()]
    reached = ~np.isnan(y)
    np.testing.assert_allclose(y[reached], np.exp(-t[reached]), rtol=1e-9)
    return int(reached.sum())


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_sink_keeps_what_was_reached_until_a_whole_file_takes_its_place(tmp_path, monkeypatch, compression):
    monkeypatch.setattr("physode.sink._SLAB_BYTES", 2**11)
    path, t = tmp_path / "out.h5", torch.linspace(0, 1, 2001, dtype=torch.float64)

    def solve():
        y0 = torch.ones(3, dtype=torch.float64)
        po.solve(lambda t, y: -y, y0, t, method="rk4", sink=po.Sink(path, compression=compression))

    kept = []
    for room in (4_000, 30_000, 46_000, 52_000):
        with room_for(room), pytest.raises(OSError, match=r"out\.h5"):
            solve()
        assert not path.exists()
        parts = list(tmp_path.glob(".out.h5.*.part"))
        assert len(parts) <= 1
        kept.append(max(map(reached_in, parts), default=0))
        if room < 52_000:
            for part in parts:
                part.unlink()
    assert kept[0] == 0 < kept[-1]
    assert kept == sorted(kept)
    solve()
    assert [each.name for each in tmp_path.iterdir()] == ["out.h5"]
    np.testing.assert_allclose(read_trajectories(path).y[0, :, 0], np.exp(-t.numpy()), rtol=1e-9)


# Lines that are added.


def test_a_line_that_does_not_fit_leaves_the_lines_before_it(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "first")
    with room_for(20), pytest.raises(OSError, match="lines"):
        append_line(path, "second " * 10)
    assert path.read_text() == "first\n"
    append_line(path, "third")
    assert path.read_text() == "first\nthird\n"


@pytest.mark.parametrize("before", ["", "half", "one\n", "one\nhal", "one\n" + "x" * 200_000])
def test_a_line_takes_the_place_of_one_that_was_cut_off(tmp_path, before):
    path = tmp_path / "lines"
    path.write_text(before)
    append_line(path, "two")
    assert path.read_text() == ("one\ntwo\n" if "\n" in before else "two\n")


def test_writes_that_the_system_takes_in_parts_are_gone_on_with():
    class Sluggish(io.RawIOBase):
        taken = b""

        def write(self, content):
            self.taken += bytes(content[:3])
            return min(3, len(content))

    file = Sluggish()
    write_all(file, b"all of it")
    assert file.taken == b"all of it"
