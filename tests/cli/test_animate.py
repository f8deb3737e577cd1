"""``physode animate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.plotting import animation
from physode.simulators import simulate_van_der_pol

QUICK = ("--seconds", "0.5", "--fps", "8", "--size", "400x240", "--dpi", "50")


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def swing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(animation, "_ffmpeg", lambda: None)
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", n=2, t_end=3.0, points=30, noise=0.01))
    assert run("fit", "vdp.h5", "--epochs", "2").exit_code == 0
    return Path("runs/vdp-physical")


def test_a_run_becomes_a_gif_among_its_figures(swing):
    result = run("animate", swing, "--trajectory", 1, *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")
    path = Path(result.stdout.strip())
    assert path == swing / "figures" / "animation.gif"
    with Image.open(path) as found:
        assert (found.n_frames, found.size) == (4, (400, 240))


def test_the_file_is_named_and_told_as_json(swing):
    result = run("animate", swing, "--out", "swing.gif", "--tail", 0.5, "--rotate", 0, "--json", *QUICK)
    assert json.loads(result.stdout) == {"run": str(swing), "animation": "swing.gif"}
    assert Path("swing.gif").read_bytes().startswith(b"GIF89a")


def test_a_file_that_stands_is_kept_unless_forced(swing):
    Path("swing.gif").write_bytes(b"kept")
    result = run("animate", swing, "--out", "swing.gif", *QUICK)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "swing.gif exists already" in result.stderr
    assert Path("swing.gif").read_bytes() == b"kept"
    assert run("animate", swing, "--out", "swing.gif", "--force", *QUICK).exit_code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--format", "mp4"), 1, "needs ffmpeg, which is not on the PATH; install it, or use 'gif' (--format gif)"),
        (("--out", "nowhere/a.gif"), 1, "the folder nowhere does not exist"),
        (("--seconds", "1000"), 1, "are more than 3000 frames"),
        (("--trajectory", "7"), 1, "`trajectory` must be between 0 and 1, got 7"),
        (("--size", "800"), 2, "'800' is not of the form WIDTHxHEIGHT"),
        (("--format", "avi"), 2, "'avi' is not one of"),
    ],
)
def test_what_cannot_be_is_said(swing, options, code, message):
    result = run("animate", swing, *QUICK, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in " ".join(result.stderr.split())


def test_a_fit_that_has_not_ended_is_not_shown(swing):
    (swing / "report.json").unlink()
    result = run("animate", swing, *QUICK)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "its fit has not ended" in result.stderr
