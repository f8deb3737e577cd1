"""The examples' readers of real measurements take what those files hold, and say what they do not."""

from __future__ import annotations

import io
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from physode.datasets import read_trajectories

FOLDER = Path(__file__).parents[2] / "examples"
RECORDING = "%o v\n0 5.0 0.3 0.1\n0 5.5 0.2 -0.4\n0 6.5 -0.1 -0.2\n1 5.0 9.0 9.0\n"


@pytest.fixture(scope="module")
def planets():
    return runpy.run_path(str(FOLDER / "convert_horizons.py"))


@pytest.fixture(scope="module")
def pendulum():
    return runpy.run_path(str(FOLDER / "10_pendulum.py"))


@pytest.fixture
def archive(tmp_path):
    """Bodies at epochs of their own: the Sun every 20 days, Jupiter every 50."""
    path, tables = tmp_path / "archive.npz", {}
    for body, step, offset in (("Sun", 20.0, 0.0), ("Jupiter", 50.0, 5.0)):
        jd = np.arange(2451520.5, 2451520.5 + 800.0, step)
        tables[f"{body}_jd"], tables[body] = jd, jd[:, None] - 2451520.5 + offset + np.arange(6) / 10
    np.savez(path, **tables)
    return path


def packed(path, name, text):
    with tarfile.open(path, "w:xz") as file:
        member = tarfile.TarInfo(f"folder/{name}")
        member.size = len(text)
        file.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.slow
def test_the_converter_puts_bodies_at_all_epochs_and_leaves_gaps_where_one_has_none(archive, tmp_path):
    path = tmp_path / "planets.h5"
    command = [sys.executable, str(FOLDER / "convert_horizons.py"), str(archive), str(path)]
    done = subprocess.run(
        [*command, "--bodies", "Sun", "Jupiter", "--years", "1"], capture_output=True, text=True, check=True
    )
    assert "Sun, Jupiter at 23 times" in done.stdout
    found = read_trajectories(path)
    days = 365.25 * found.t
    np.testing.assert_allclose(days, sorted({*range(0, 366, 20), *range(0, 366, 50)}), atol=1e-9)
    jupiter = np.isfinite(found.y[0, :, 3])
    np.testing.assert_allclose(days[jupiter], np.arange(0, 366, 50), atol=1e-9)
    np.testing.assert_allclose(found.y[0, jupiter, 4], days[jupiter] + 5.1)
    assert np.isnan(found.y[..., 6:]).all()
    assert found.attrs["bodies"] == ["Sun", "Jupiter"]
    assert found.attrs["rhs"]["G"] == pytest.approx(39.4769264, rel=1e-8)


def test_the_converter_names_the_body_that_an_archive_lacks(planets, archive):
    with pytest.raises(SystemExit, match=r"holds no Saturn_jd, Saturn; it has Jupiter, Jupiter_jd, Sun, Sun_jd"):
        planets["read_archive"](archive, ("Sun", "Saturn"))


def test_the_converter_says_so_where_a_span_is_empty(planets, archive):
    tables = planets["read_archive"](archive, ("Sun", "Jupiter"))
    with pytest.raises(SystemExit, match=r"has 0 epochs in 1 years from 2400000.0; choose another span"):
        planets["join"](tables, start=2400000.0, years=1.0)


def test_pelts_are_prey_and_predators_whatever_the_order_of_the_columns(tmp_path):
    path = tmp_path / "pelts.csv"
    path.write_text("Year,Lynx,Hare\n1900,4.0,30.0\n1901,6.1,47.2\n1902,9.8,70.2\n")
    t, pelts = runpy.run_path(str(FOLDER / "09_lynx_hare.py"))["read_pelts"](path)
    np.testing.assert_array_equal(t, [1900.0, 1901.0, 1902.0])
    np.testing.assert_array_equal(pelts, [[30.0, 4.0], [47.2, 6.1], [70.2, 9.8]])


def test_a_recording_is_read_from_its_file_and_from_an_archive(pendulum, tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text(RECORDING)
    for path in (plain, packed(tmp_path / "all.tar.xz", "real_pend_h_1.txt", RECORDING)):
        t, angle = pendulum["read_recording"](path)
        np.testing.assert_array_equal(t, [0.0, 0.5, 1.5])
        np.testing.assert_array_equal(angle, [0.3, 0.2, -0.1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tar.xz", "plain.txt"]


def test_an_archive_without_the_recording_is_refused(pendulum, tmp_path):
    with pytest.raises(SystemExit, match=r"holds no real_pend_h_1.txt"):
        pendulum["read_recording"](packed(tmp_path / "other.tar.xz", "other.txt", RECORDING))


def test_a_recording_that_is_too_large_is_refused(pendulum, tmp_path):
    path = packed(tmp_path / "large.tar.xz", "real_pend_h_1.txt", "%" + 10_000_000 * "0")
    with pytest.raises(SystemExit, match=r"has 10000001 bytes; at most 10000000 are read"):
        pendulum["read_recording"](path)
