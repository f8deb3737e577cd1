"""What needs a GPU: pieces in order, stopped and gone on with, and results that the documentation takes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_pieces
from benchmarks.gpu_pieces import PIECES, Piece, chosen_pieces, run_here, write_result
from benchmarks.gpu_work import NETWORKS, Settings, report_images, result
from physode.experiments import find_experiment
from physode.images import TrainConfig, create_train_run
from physode.images.run import Epoch


@pytest.fixture
def settings(tmp_path):
    return Settings(device="cpu", work=tmp_path / "work", images=tmp_path / "images.tar")


def epoch(number, accuracy, memory=None):
    common = {"epoch": number, "loss": 1.0 / number, "lr": 0.1, "rhs_forward": 10.0, "rhs_backward": 5.0}
    more = {"accepted": 4.0, "rejected": 1.0, "seconds": 2.0, "test_seconds": 0.5, "test_rhs": 8.0, "memory": memory}
    names = {name for each in Epoch.__mro__ for name in getattr(each, "__annotations__", {})}
    found = {**common, **more, "accuracy": accuracy, "test_loss": 1.0, "test_accuracy": accuracy}
    return {name: value for name, value in found.items() if name in names}


def begun(settings, name, accuracies):
    """Make the folder of a training with as many epochs."""
    config = TrainConfig(**NETWORKS[name], epochs=5)
    about = {"dataset": "images", "size": None, "classes": ("a", "b"), "digest": "0" * 64}
    run = create_train_run(settings.work / "runs" / name, config, data=settings.images, **about)
    lines = [json.dumps(epoch(number, value)) for number, value in enumerate(accuracies, start=1)]
    (run.path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_pieces_come_in_the_order_of_their_worth_whatever_is_asked_first():
    assert [piece.name for piece in chosen_pieces([])] == list(PIECES)
    assert [piece.name for piece in chosen_pieces(["galaxies", "images", "tests"])] == [
        "tests", "node18-aca", "node18-adjoint", "node18-naive", "resnet18", "galaxies",
    ]  # fmt: skip


def test_an_unknown_piece_is_named_beside_the_known():
    with pytest.raises(ValueError, match="unknown pieces galaxy; known: ensembles, galaxies"):
        list(chosen_pieces(["galaxy", "tests"]))


def test_networks_are_compared_after_the_epochs_that_all_have(settings):
    begun(settings, "node18-aca", [0.5, 0.6, 0.7])
    begun(settings, "resnet18", [0.4, 0.55])
    rows = {row["network"]: row for row in report_images(settings)["rows"]}
    assert rows["node18-aca"]["test error (%)"] == pytest.approx(40.0)
    assert rows["resnet18"]["test error (%)"] == pytest.approx(45.0)
    assert (rows["node18-aca"]["epochs"], rows["node18-aca"]["of"]) == (2, 3)
    assert rows["resnet18"]["seconds of training"] == 4.0


def test_a_result_is_written_whole_and_names_no_place(settings, tmp_path):
    found = result("ensembles", "Ensembles", settings, [{"system": "Lorenz", "seconds": 0.25}], [])
    write_result(found, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "gpu-ensembles.json").read_text())
    assert kept["rows"] == found["rows"]
    assert "| Lorenz | 0.25 |" in (tmp_path / "out" / "gpu-ensembles.md").read_text()
    assert str(tmp_path) not in json.dumps(kept["config"])


def test_what_is_missing_leaves_a_piece_out_in_one_line(settings, tmp_path, capsys):
    settings.work.mkdir()
    assert run_here(PIECES["node18-aca"], settings, tmp_path / "out") == gpu_pieces._MISSING
    assert capsys.readouterr().out == (
        f"node18-aca: left out, {settings.images} is not there; name the images with --images\n"
    )


def test_a_training_that_is_stopped_still_reports_its_epochs(settings, tmp_path):
    begun(settings, "node18-aca", [0.5])

    def stopped(_):
        raise KeyboardInterrupt

    piece = replace(PIECES["node18-aca"], run=stopped)
    assert run_here(piece, settings, tmp_path / "out") == gpu_pieces._STOPPED
    assert json.loads((tmp_path / "out" / "gpu-images.json").read_text())["rows"][0]["of"] == 1


def test_what_is_done_is_not_done_again_and_what_was_stopped_is(monkeypatch, tmp_path, capsys):
    codes = {"tests": [0], "ensembles": [gpu_pieces._STOPPED, 0]}
    monkeypatch.setattr(gpu_pieces, "run_apart", lambda piece, arguments, limit: codes[piece.name].pop(0))
    here = ["--device", "cpu", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu.sh", *here, "--pieces", "tests", "ensembles"])
    said = []
    for _ in range(3):
        with pytest.raises(SystemExit) as ended:
            gpu_pieces.main()
        assert ended.value.code == 0
        said.append(capsys.readouterr().out)
    assert "ensembles  stopped, goes on after 0 s" in said[0]
    assert "tests      done before\nensembles  done after 0 s" in said[1]
    assert "ensembles  done before" in said[2]
    assert codes == {"tests": [], "ensembles": []}


def test_no_piece_is_begun_that_has_no_time_left(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_pieces, "run_apart", lambda *_: pytest.fail("begun"))
    monkeypatch.setattr(sys, "argv", ["gpu.sh", "--device", "cpu", "--work", str(tmp_path), "--within", "50"])
    with pytest.raises(SystemExit):
        gpu_pieces.main()
    assert "tests           not begun" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "-5"], "-5 is no time above 0"),
        (["--within", "0"], "0 is no time above 0"),
        (["--device", "cuda"], "PyTorch sees no GPU here; --device cpu tries the script without one"),
        (["--pieces", "galaxy"], "unknown pieces galaxy"),
    ],
)
def test_wrong_commands_are_a_line(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.sh", "--work", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as ended:
        gpu_pieces.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_failure_is_an_exit_code(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_pieces, "run_apart", lambda *_: 1)
    monkeypatch.setattr(sys, "argv", ["gpu.sh", "--device", "cpu", "--work", str(tmp_path), "--pieces", "hopper"])
    with pytest.raises(SystemExit) as ended:
        gpu_pieces.main()
    assert ended.value.code == 1


@pytest.mark.slow
def test_a_process_is_stopped_at_its_limit(tmp_path):
    piece = Piece("galaxies", PIECES["galaxies"].run)
    assert gpu_pieces.run_apart(piece, ["--device", "cpu", "--work", str(tmp_path)], 20.0) == gpu_pieces._STOPPED


@pytest.mark.slow
def test_the_script_finds_all_of_physode_where_it_is_not_installed(tmp_path):
    # -S leaves out the .pth files through which a checkout is installed; packages are still there
    packages = f"{Path(torch.__file__).parents[1]}"
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    script = Path(gpu_pieces.__file__).with_name("gpu.sh")
    arguments = ["--one", "node18-aca", "--device", "cpu", "--images", str(tmp_path / "none.tar")]
    done = subprocess.run(
        ["sh", str(script), *arguments, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHON": str(python), "PYTHONPATH": packages},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"node18-aca: left out, {tmp_path / 'none.tar'} is not there; name the images with --images\n"


def test_a_piece_without_its_packages_is_left_out_before_it_begins(settings, tmp_path, capsys):
    piece = replace(PIECES["hopper"], run=lambda _: pytest.fail("begun"), needs=("json", "no_such_package"))
    assert run_here(piece, settings, tmp_path / "out") == gpu_pieces._MISSING
    assert capsys.readouterr().out == "hopper: left out, without no_such_package\n"


def test_a_study_whose_cells_all_fail_is_no_result(settings, tmp_path, capsys, monkeypatch):
    study = find_experiment("galaxy-table4")
    missing = replace(study, cells=lambda config: [replace(cell, function="no:where") for cell in study.cells(config)])
    monkeypatch.setattr("physode.experiments.study.find_experiment", lambda name: missing)
    assert run_here(PIECES["galaxies"], settings, tmp_path / "out") == gpu_pieces._MISSING
    assert "galaxies: left out, ModuleNotFoundError: No module named 'no'" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_stopped_tells_how_far_its_trainings_are(settings, tmp_path):
    home = settings.work / "table4"
    (home / "runs" / "aca-10-percent-seed-0").mkdir(parents=True)
    (home / "cells").mkdir()
    line = {"test_mse_by_range": 0.004, "seconds": 2.0, "rhs_forward": 30.0, "rhs_backward": 10.0}
    metrics = f"{json.dumps(line)}\n{json.dumps(line)}\n" + json.dumps(line)[:20]  # the last one cut off
    (home / "runs" / "aca-10-percent-seed-0" / "metrics.jsonl").write_text(metrics)
    ended = {"failure": None, "result": {"history": [{**line, "test_mse_by_range": 0.003}]}}
    (home / "cells" / "rnn-10-percent-seed-0.json").write_text(json.dumps(ended))
    (home / "cells" / "gru-10-percent-seed-0.json").write_text(json.dumps({"failure": "lost", "result": None}))

    def stopped(_):
        raise KeyboardInterrupt

    assert run_here(replace(PIECES["hopper"], run=stopped, needs=()), settings, tmp_path / "out") == gpu_pieces._STOPPED
    rows = json.loads((tmp_path / "out" / "gpu-hopper.json").read_text())["rows"]
    assert [row["training"] for row in rows] == ["aca 10 percent seed 0", "rnn 10 percent seed 0"]
    assert [row["test MSE x 100"] for row in rows] == pytest.approx([0.4, 0.3])
    assert (rows[0]["epochs"], rows[0]["of"], rows[0]["evaluations a batch"]) == (2, 300, 40.0)


def test_ensembles_that_are_stopped_go_on_after_the_rows_that_are_there(settings, tmp_path, monkeypatch):
    first, second = ({**dict.fromkeys(gpu.ABOUT, "x"), "contestant": name, "seconds": 1.0} for name in "ab")
    asked = []

    def rows(batch, rounds, device, done):
        asked.append(list(done))
        yield from (row for row in (first, second) if tuple(row[name] for name in gpu.ABOUT) not in done)

    def stopped(*arguments):
        yield next(rows(*arguments))
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(gpu, "rows", stopped)
    assert run_here(PIECES["ensembles"], settings, out) == gpu_pieces._STOPPED
    assert json.loads((out / "gpu-ensembles.json").read_text())["rows"] == [first]
    monkeypatch.setattr(gpu, "rows", rows)
    assert run_here(PIECES["ensembles"], settings, out) == 0
    assert json.loads((out / "gpu-ensembles.json").read_text())["rows"] == [first, second]
    assert run_here(PIECES["ensembles"], settings, out) == 0
    assert [len(done) for done in asked] == [0, 1, 0]


def test_what_a_piece_had_no_time_to_write_is_written_after_it(monkeypatch, tmp_path, capsys):
    row = {**dict.fromkeys(gpu.ABOUT, "x"), "seconds": 1.0}
    (tmp_path / "ensembles-cpu-100.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(gpu_pieces, "run_apart", lambda *_: gpu_pieces._KILLED)
    here = ["--device", "cpu", "--tiny", "--work", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["gpu.sh", *here, "--pieces", "ensembles"])
    with pytest.raises(SystemExit):
        gpu_pieces.main()
    assert json.loads((tmp_path / "out" / "gpu-ensembles.json").read_text())["rows"] == [row]
    assert "ensembles  stopped, goes on" in capsys.readouterr().out


def test_a_contestant_that_fails_in_whatever_way_is_a_row(monkeypatch):
    def fails(*_, **__):
        raise AttributeError("another version")

    monkeypatch.setattr(gpu, "_right", lambda problem: None)
    monkeypatch.setattr(gpu, "measured", fails)
    found = list(gpu.rows(200, 1, "cpu"))
    assert {row["note"] for row in found if "not installed" not in row["note"]} == {"AttributeError: another version"}
    assert len({tuple(row[name] for name in gpu.ABOUT) for row in found}) == len(found)
    assert list(gpu.rows(200, 1, "cpu", [tuple(row[name] for name in gpu.ABOUT) for row in found])) == []
