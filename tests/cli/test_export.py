"""``physode export``: programs in files, or one line that says why not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from physode.cli.commands.export import PIXELS
from physode.cli.main import cli
from physode.datasets.images import write_images
from physode.images import export

pytest.importorskip("sklearn")

SMALL = ("--model", "galaxy-node", "--width", "8", "--batch", "24", "--epochs", "1", "--lr", "0.05")


@pytest.fixture
def call(tmp_path, monkeypatch, images_of):
    """Call ``physode`` in a folder with a run, ``runs/bars``."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "bars.h5", images_of(240))

    def invoke(*words):
        return CliRunner().invoke(cli, list(map(str, words)))

    result = invoke("train", "bars.h5", *SMALL, "--name", "bars", "--no-tensorboard")
    assert result.exit_code == 0, result.output
    return invoke


def test_a_program_has_the_probabilities_of_predict_by_the_same_steps(call, images_of):
    result = call("export", "runs/bars", "--method", "rk4", "--step", 0.5, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert "calibrated on 60 test images" in result.stderr
    assert Path("runs/bars/evaluations/test-rk4-step-0.5.h5").exists()
    assert told["temperature"] is not None
    x = torch.from_numpy(images_of(9, seed=4).x)
    shares = torch.export.load(told["path"]).module()(x).detach()
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    shown = call("export", "runs/bars", "--method", "rk4", "--step", 0.5, "--raw", "--force")
    assert "class 0, class 1, class 2" in shown.stdout
    raw = torch.export.load(told["path"]).module()(x).detach() ** (1 / told["temperature"])
    torch.testing.assert_close(shares, raw / raw.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_what_cannot_be_exported_gets_one_line(call, monkeypatch, tmp_path):
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    fixed = ("--method", "rk4", "--step", "0.25")
    (tmp_path / "there.pt2").touch()
    cases = {
        "physode export runs/bars --method rk4 --step 0.25": ("runs/bars",),
        "pip install 'physode[export]'": ("runs/bars", *fixed, "--out", "bars.onnx"),
        "ends in none of .pt2, .onnx": ("runs/bars", *fixed, "--out", "program.h5"),
        "there.pt2 exists already": ("runs/bars", *fixed, "--out", "there.pt2"),
        "leave out --shape": ("runs/bars", *fixed, "--shape", "8", "8"),
        "nowhere": ("nowhere",),
    }
    for message, words in cases.items():
        result = call("export", *words)
        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not list(Path("runs/bars").glob("evaluations/*"))


def test_the_choices_of_the_command_line_are_the_librarys():
    assert export.PIXELS == PIXELS
